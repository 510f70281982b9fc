//! `web`: the way into the web app that the running node serves.
//!
//! Invariant: the token reaches the browser behind the `#` of a link, which no server is sent, and never
//! stands on a command line, which every user of the machine could read: with `--open` the link lies in a
//! page in the data directory that only its owner can read, and the browser is given that page's path.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use serde_json::json;
use zeroize::Zeroizing;

use super::print_json;
use crate::datadir::{Places, read_api, write_durably};

/// The page's name in the data directory.
const PAGE: &str = "web.html";
/// What opens a page in the browser of whoever is logged in.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Prints the link, and opens it if asked to.
///
/// # Errors
/// When no node runs on `dir`, or nothing that opens pages could be started.
pub fn run(dir: &Path, open: bool, json: bool) -> Result<()> {
    let places = Places::new(dir);
    let Some((url, token)) = read_api(&places)? else {
        bail!("no node is running for {0}: start it with `commonhold --data-dir {0} up`", dir.display());
    };
    let link = Zeroizing::new(format!("{url}/#token={}", *token));
    if json {
        print_json(&json!({ "url": *link }))?;
    } else {
        println!("{}", *link);
        if !open {
            println!();
            println!(
                "Open this link in a browser on this machine. Whoever has it can read, change and delete"
            );
            println!("all your files, so do not pass it on.");
        }
    }
    if open {
        open_page(&places.dir().join(PAGE), &link)?;
    }
    Ok(())
}

/// Writes a page that goes to `link`, and has the browser open it.
fn open_page(page: &Path, link: &str) -> Result<()> {
    write_durably(page, redirect(link).as_bytes(), 0o600)?;
    let page = std::path::absolute(page)?;
    for opener in OPENERS {
        let opened = Command::new(opener)
            .arg(&page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if opened.is_ok_and(|status| status.success()) {
            return Ok(());
        }
    }
    bail!("no browser could be opened from here: open the link above by hand")
}

/// A page without scripts that goes to `link` at once.
fn redirect(link: &str) -> Zeroizing<String> {
    // A loopback URL and hexadecimal digits have none of these; the page stays one page whatever they are.
    let link = Zeroizing::new(link.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;"));
    Zeroizing::new(format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={0}\"><title>Commonhold</title>\
         <p><a href=\"{0}\">Open the drive</a>\n",
        *link
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_goes_to_the_link_and_is_nothing_else() {
        let page = redirect("http://127.0.0.1:4700/#token=00ff");
        assert!(page.contains("content=\"0; url=http://127.0.0.1:4700/#token=00ff\""));
        assert!(!page.contains("<script"));
        let hostile = redirect("http://127.0.0.1/\"><script>alert(1)</script>");
        assert!(!hostile.contains("<script") && !hostile.contains("\"><s"));
    }
}
