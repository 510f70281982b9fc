//! The commands of the drive: calls to the running node, and lines or one JSON document about its answers.
//!
//! Invariant: names that come from the drive are shown without control characters, and what cannot be
//! undone is asked for first, or allowed with `-y`. Not here: what the drive is (the node knows).

pub(in crate::commands) mod fetch;
mod fetch_tree;
mod get;
mod health;
mod history;
mod listing;
mod open;
mod pattern;
mod plan;
mod put;
mod s3;
mod send;
mod share;
mod tree;

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, bail};
use commonhold_client::Client;
use commonhold_client::types::FileKind;

pub use self::get::{cat, get};
pub use self::health::drive;
pub use self::history::{bin, restore, versions};
pub use self::listing::{copy, du, find, ls, make_folder, move_to, rm};
pub use self::open::open;
pub use self::put::{put, sync};
pub use self::s3::s3;
pub use self::share::{share, shares, unshare};

/// A text from elsewhere, fit for a terminal: control characters and those that change the direction of
/// text are replaced.
pub fn shown(text: &str) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hostile(c) { '\u{fffd}' } else { c }).collect()
}

/// A time for people, on the operator's clock, to the minute, with its offset from UTC.
fn time(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M %:z").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// Asks before something that cannot be undone. Where nobody can be asked, only `yes` allows it.
///
/// # Errors
/// When the answer is not yes, or there is nobody to ask.
fn confirm(what: &str, yes: bool) -> Result<()> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if yes {
        return Ok(());
    }
    if !stdin.is_terminal() || !stderr.is_terminal() {
        bail!("{what} This cannot be undone, and there is no terminal to ask on: say -y. Nothing was done");
    }
    write!(stderr, "{what} This cannot be undone. Go on? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}

/// Warnings of an answer, for people.
fn print_warnings(warnings: &[String]) {
    for warning in warnings {
        eprintln!("note: {}", shown(warning));
    }
}

/// How many of something.
fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Where something named `name` goes that is put at `to`: into it if that is a folder or ends in a slash,
/// otherwise it becomes that.
async fn destination(client: &Client, to: &str, name: &str) -> Result<String> {
    if to.ends_with('/') {
        return Ok(tree::join(to, name));
    }
    let folder = client.info_if_there(to).await?.is_some_and(|info| info.entry.kind == FileKind::Folder);
    Ok(if folder { tree::join(to, name) } else { to.to_owned() })
}

/// The name that a file or folder of this machine has in the drive.
fn own_name(path: &Path) -> Result<&str> {
    let Some(name) = path.file_name() else {
        bail!("{} has no name to store it under", path.display());
    };
    match name.to_str().map(commonhold_format::drive::Name::new) {
        None => bail!("the name of {} is not UTF-8: store it with --to under another one", path.display()),
        Some(Err(error)) => bail!("{error}"),
        Some(Ok(_)) => Ok(name.to_str().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_24_names_cannot_write_on_the_terminal() {
        assert_eq!(shown("a\x1b[2Jb\nc\u{202e}d\u{85}ä☀"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}ä☀");
    }

    #[test]
    fn times_that_no_calendar_has_are_shown_somehow() {
        for ms in [i64::MIN, -1, 0, i64::MAX] {
            assert!(!time(ms).is_empty());
        }
    }
}
