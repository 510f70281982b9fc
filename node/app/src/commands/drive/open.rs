//! `open`: what somebody else's link shows, fetched and verified by one's own node. It trusts no gateway.
//!
//! Invariant: the link and its password go to the node's local API and nowhere else.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{FileKind, LIST_MAX, LinkRequest};
use zeroize::{Zeroize, Zeroizing};

use super::shown;
use super::tree::checked;
use crate::cli::drive::Open;
use crate::commands::{print_json, transfer};
use crate::progress::{bytes_bar, human};

/// Longest link that is read.
const LINK_LEN_MAX: u64 = 4096;

/// A password that is asked for.
fn asked_password() -> Result<String> {
    let password = asked("password of the link: ")?;
    if password.is_empty() {
        bail!("the password is empty: the link opens only with the one that its owner chose");
    }
    Ok(password)
}

/// Lists what a link shows, or fetches it.
pub async fn open(client: &Client, flags: Open, json: bool) -> Result<()> {
    let Open { link, dest, list, path, password } = flags;
    let link = match link {
        Some(link) if link != "-" => link,
        _ => asked("link: ")?,
    };
    let mut request =
        LinkRequest { link: link.trim().to_owned(), path, limit: Some(LIST_MAX), ..Default::default() };
    if password {
        request.password = Some(asked_password()?);
    }
    let done = opened(client, &mut request, &dest, list, json).await;
    request.link.zeroize();
    request.password.zeroize();
    done
}

async fn opened(
    client: &Client,
    request: &mut LinkRequest,
    dest: &Path,
    list: bool,
    json: bool,
) -> Result<()> {
    let listing = match client.list_link(request).await {
        Err(error) if error.code() == Some("password") && request.password.is_none() => {
            request.password = Some(asked_password()?);
            client.list_link(request).await?
        }
        listing => listing?,
    };
    if list {
        if json {
            return print_json(&listing);
        }
        for entry in &listing.entries {
            let mark = if entry.kind == FileKind::Folder { "/" } else { "" };
            println!("{:>10}  {}{mark}", human(entry.bytes), shown(&entry.name));
        }
        return Ok(());
    }
    let path = request.path.clone().unwrap_or_default();
    // The link's root has one entry, what is shared; elsewhere, what the path names.
    let name = match path.rsplit('/').find(|part| !part.is_empty()) {
        Some(name) => name.to_owned(),
        None => match listing.entries.as_slice() {
            [only] => {
                request.path = Some(format!("/{}", only.name));
                only.name.clone()
            }
            _ => bail!("the link does not show one thing"),
        },
    };
    checked(&name)?;
    let bytes = listing.entries.iter().map(|entry| entry.bytes).sum();
    let bar = bytes_bar(bytes, json);
    let archive = client.link_archive(request).await?;
    let done = transfer::unpack_archive(archive, &name, dest, &bar).await?;
    bar.finish_and_clear();
    if json {
        return print_json(&done);
    }
    println!("{}", done.path.display());
    Ok(())
}

/// A line from the terminal, without echo, or of standard input.
fn asked(prompt: &str) -> Result<String> {
    if std::io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(prompt)?);
    }
    let mut text = Zeroizing::new(String::new());
    let mut byte = [0];
    let mut stdin = std::io::stdin().lock();
    let mut line = Zeroizing::new(Vec::new());
    while stdin.read(&mut byte)? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
        if line.len() as u64 > LINK_LEN_MAX {
            bail!("a line of standard input is too long");
        }
    }
    text.push_str(std::str::from_utf8(&line).context("standard input is not text")?.trim_end_matches('\r'));
    Ok(text.to_string())
}
