//! `share`, `shares`, `unshare`: links for others.
//!
//! Invariant: a password comes from the terminal or standard input, never from the command line, and is
//! wiped; a link is printed to whoever asked and written nowhere else.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, bail, ensure};
use commonhold_client::Client;
use commonhold_client::types::{FileKind, PASSWORD_LEN_MAX, ShareRequest, ShareView};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use zeroize::{Zeroize, Zeroizing};

use super::{shown, time};
use crate::cli::drive::{Share, Writable};
use crate::commands::print_json;
use crate::config::Span;

/// Gives out a link.
pub async fn share(client: &Client, flags: Share, json: bool) -> Result<()> {
    let info = client.info(&flags.path).await?;
    match info.entry.kind {
        FileKind::Folder if !flags.folder => {
            bail!("{} is a folder: add --folder to share all that is and will be in it", shown(&flags.path));
        }
        FileKind::File if flags.folder => bail!("{} is a file, and no folder", shown(&flags.path)),
        _ => {}
    }
    let password = if flags.password { Some(read_password()?) } else { None };
    let mut request = ShareRequest {
        path: flags.path,
        expires_seconds: flags.expires.map(|Span(seconds)| seconds),
        password: password.as_ref().map(|it| it.as_str().to_owned()),
        drop_box: flags.writable == Some(Writable::DropBox),
        base: flags.base,
    };
    let share = client.share(&request).await;
    request.password.zeroize();
    let share = share?;
    if json {
        return print_json(&share);
    }
    println!("{}", shown(&share.link));
    if std::io::stdout().is_terminal() && !flags.no_qr {
        // A link that is too long for a QR code is still a link.
        if let Ok(drawn) = qr(&share.link) {
            println!("\n{drawn}");
        }
    }
    if let Some(problem) = &share.problem {
        eprintln!("note: {}", shown(problem));
    }
    eprintln!("{}", said(&share));
    Ok(())
}

/// What the link grants, in a sentence.
fn said(share: &ShareView) -> String {
    let what = if share.drop_box { "put files into" } else { "read" };
    let who = if share.password { "Whoever has this link and the password" } else { "Whoever has this link" };
    let until = share.expires_ms.map_or_else(String::new, |ms| format!(" until {}", time(ms)));
    let id = share.id.get(..12).unwrap_or(&share.id);
    format!("{who} can {what} {}{until}. Revoke it with `unshare {id}`.", shown(&share.path))
}

/// The link as a QR code of half blocks, with the quiet zone that readers need. Dark on light whatever the
/// terminal's colours are.
fn qr(link: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(link, EcLevel::L)?;
    let text = code.render::<Dense1x2>().quiet_zone(true).build();
    Ok(text.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m")).collect::<Vec<_>>().join("\n"))
}

/// The password, without echo and twice from a terminal, or all of standard input but its last line break.
fn read_password() -> Result<Zeroizing<String>> {
    let password = if std::io::stdin().is_terminal() {
        let password = Zeroizing::new(rpassword::prompt_password("password for the link: ")?);
        let again = Zeroizing::new(rpassword::prompt_password("once more: ")?);
        ensure!(*password == *again, "the two are not the same");
        password
    } else {
        let mut text = Zeroizing::new(String::new());
        let most = PASSWORD_LEN_MAX as u64 + 3;
        std::io::stdin().take(most).read_to_string(&mut text).context("the password cannot be read")?;
        Zeroizing::new(
            text.strip_suffix('\n').map_or(text.as_str(), |it| it.trim_end_matches('\r')).to_owned(),
        )
    };
    let len = password.len();
    ensure!(len >= 1, "the password is empty");
    ensure!(len <= PASSWORD_LEN_MAX, "the password is longer than {PASSWORD_LEN_MAX} bytes");
    Ok(password)
}

/// The links that were given out.
pub async fn shares(client: &Client, json: bool) -> Result<()> {
    let view = client.shares().await?;
    if json {
        return print_json(&view);
    }
    for it in &view.shares {
        let mut facts = vec![format!("since {}", time(it.created_ms))];
        facts.extend(it.expires_ms.map(|ms| format!("until {}", time(ms))));
        facts.extend(it.password.then(|| "with a password".to_owned()));
        facts.extend(it.drop_box.then(|| "drop box".to_owned()));
        println!("{}  {}  {}", it.id.get(..12).unwrap_or(&it.id), shown(&it.path), facts.join(", "));
        println!("              {}", shown(&it.link));
        if let Some(problem) = &it.problem {
            println!("              {}", shown(problem));
        }
    }
    if view.shares.is_empty() {
        println!("nothing is shared");
    }
    Ok(())
}

/// Revokes a link.
pub async fn unshare(client: &Client, id: &str, json: bool) -> Result<()> {
    let id = id_of(id)?;
    let share = client.unshare(&id).await?;
    if json {
        return print_json(&share);
    }
    println!("{} is no longer shared under {}", shown(&share.path), share.id.get(..12).unwrap_or(&share.id));
    eprintln!(
        "Who opened the link may have kept what it showed, and its keys: see spec/links.md, section 7."
    );
    Ok(())
}

/// The id that a person typed: its first digits, or the whole link.
fn id_of(text: &str) -> Result<String> {
    let Some((_, rest)) = text.rsplit_once("/s/") else { return Ok(text.to_owned()) };
    let id = rest.split('#').next().unwrap_or_default();
    let bytes = data_encoding::BASE64URL_NOPAD.decode(id.as_bytes()).ok().filter(|bytes| bytes.len() == 32);
    let bytes = bytes.with_context(|| "this is not a link of this program".to_owned())?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LINK: &str = "https://drive.example.org/s/11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\
                        #HVyCJQzTTgyqzMC7OfJT7nnN9vMh6M4dhR1zYRBhGeI";

    #[test]
    fn a_link_names_its_id() {
        let id = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(id_of(LINK).unwrap(), id);
        assert_eq!(id_of(&id[..12]).unwrap(), id[..12]);
        assert!(id_of("https://example.org/s/short").is_err());
    }

    #[test]
    fn a_link_fits_a_qr_code() {
        let drawn = qr(LINK).unwrap();
        assert!(drawn.lines().count() > 20);
        assert!(drawn.lines().all(|line| line.ends_with("\x1b[0m")));
    }
}
