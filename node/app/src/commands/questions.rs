//! What `init` asks a person at a terminal: at most three things, none of which is needed.
//!
//! Invariant: what a flag says is not asked, an empty answer is the default, and a program that runs `init`
//! without a terminal is asked nothing. Never asked: anything secret (the recovery phrase has its own prompt).

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};

use crate::cli::Init;
use crate::config::{ByteSize, DISK_MIN, Multiaddr};

/// Longest answer, bytes.
const ANSWER_LEN_MAX: u64 = 4096;
/// How often one question is asked.
const TRIES: usize = 3;

/// Asks for what `flags` leave open, and puts the answers there.
///
/// # Errors
/// When an answer is wrong three times, or the terminal cannot be used.
pub fn ask(flags: &mut Init, input: &mut impl BufRead, output: &mut impl Write) -> Result<()> {
    if flags.provide.is_none() {
        let question = "How much disk to lend to others, like \"500 GiB\"? [none] ";
        flags.provide = one(question, input, output, |text| {
            let disk = ByteSize::from_str(text)?;
            let least = ByteSize(DISK_MIN);
            if disk < least { Err(format!("at least {least} are needed to lend")) } else { Ok(disk) }
        })?;
    }
    if flags.provide.is_some() && flags.store_dir.is_none() {
        let question = "In which folder, on a disk of its own for example? [in the data directory] ";
        flags.store_dir = one(question, input, output, |text| {
            let folder = PathBuf::from(text);
            if folder.is_absolute() { Ok(folder) } else { Err("write the whole path, from / on".to_owned()) }
        })?;
    }
    if flags.bootstrap.is_empty() {
        let question = "Through which node to join, as /ip4/…/p2p/PEER_ID? [none: others join this one] ";
        let address = one(question, input, output, |text| {
            let address = Multiaddr::from_str(text)?;
            if address.0.contains("/p2p/") {
                Ok(address)
            } else {
                Err("it must end in /p2p/PEER_ID".to_owned())
            }
        })?;
        flags.bootstrap.extend(address);
    }
    Ok(())
}

/// One question; `None` for an empty answer, and at the end of the input.
fn one<T>(
    question: &str,
    input: &mut impl BufRead,
    output: &mut impl Write,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>> {
    for _ in 0..TRIES {
        write!(output, "{question}")?;
        output.flush()?;
        let mut line = String::new();
        io::Read::take(&mut *input, ANSWER_LEN_MAX).read_line(&mut line)?;
        let answer = line.trim();
        if answer.is_empty() {
            return Ok(None);
        }
        match read(answer) {
            Ok(value) => return Ok(Some(value)),
            Err(why) => writeln!(output, "{why}")?,
        }
    }
    bail!("nothing was made: say it with flags instead, see `commonhold init --help`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    const ADDRESS: &str =
        "/ip4/192.0.2.7/udp/4701/quic-v1/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    fn asked(arguments: &[&str], answers: &str) -> (Result<()>, Init, String) {
        let cli = Cli::try_parse_from([&["commonhold", "init"], arguments].concat()).unwrap();
        let Command::Init(mut flags) = cli.command else { panic!("not init") };
        let mut output = Vec::new();
        let done = ask(&mut flags, &mut answers.as_bytes(), &mut output);
        (done, flags, String::from_utf8(output).unwrap())
    }

    #[test]
    fn three_questions_at_most_and_each_may_be_left_out() {
        let (done, flags, said) = asked(&[], &format!("500 GiB\n/mnt/disk\n{ADDRESS}\n"));
        done.unwrap();
        assert_eq!(flags.provide, Some(ByteSize(500 << 30)));
        assert_eq!(flags.store_dir.as_deref(), Some(std::path::Path::new("/mnt/disk")));
        assert_eq!((flags.bootstrap[0].0.as_str(), said.matches('?').count()), (ADDRESS, 3));
        for answers in ["\n\n", "", "\n"] {
            let (done, flags, said) = asked(&[], answers);
            done.unwrap();
            assert!(flags.provide.is_none() && flags.store_dir.is_none() && flags.bootstrap.is_empty());
            assert_eq!(said.matches('?').count(), 2);
        }
        let flags = ["--provide", "1 GiB", "--store-dir", "/mnt/x", "--bootstrap", ADDRESS];
        assert_eq!(asked(&flags, "").2, "");
    }

    #[test]
    fn a_wrong_answer_is_explained_and_asked_again_but_not_for_ever() {
        let (done, flags, said) = asked(&[], "much\n1 KiB\n1 GiB\nrelative\n/mnt\n\n");
        done.unwrap();
        assert_eq!(flags.provide, Some(ByteSize(1 << 30)));
        assert!(
            said.contains("is not a size") && said.contains("at least 16 MiB") && said.contains("from / on")
        );
        assert!(asked(&[], "a\nb\nc\nd\n").0.is_err());
        let long = "x".repeat(100_000);
        assert!(asked(&[], &long).0.is_err());
    }
}
