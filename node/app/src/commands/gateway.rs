//! `gateway`: what its operator does not serve.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::print_json;
use crate::cli::Gateway;
use crate::datadir::Places;
use crate::links::blocked;

/// Shows or changes the list in the data directory; a running node sees it within a second.
///
/// # Errors
/// When the list cannot be read or written, or what was named is no link.
pub fn run(dir: &Path, command: Gateway, json: bool) -> Result<()> {
    let file = Places::new(dir).blocked_links();
    match command {
        Gateway::Block { link, remark } => {
            let (id, new) = blocked::block(&file, &link, &remark)?;
            if json {
                return print_json(&json!({ "id": id.to_string(), "changed": new }));
            }
            println!("{} {id}", if new { "blocked" } else { "was blocked before:" });
        }
        Gateway::Unblock { link } => {
            let (id, was) = blocked::unblock(&file, &link)?;
            if json {
                return print_json(&json!({ "id": id.to_string(), "changed": was }));
            }
            println!("{} {id}", if was { "served again:" } else { "was not blocked:" });
        }
        Gateway::Blocked => {
            let links = blocked::list(&file)?;
            if json {
                let links =
                    links.iter().map(|(id, remark)| json!({ "id": id.to_string(), "remark": remark }));
                return print_json(&json!({ "links": links.collect::<Vec<_>>() }));
            }
            for (id, remark) in &links {
                println!("{}", format!("{id}  {}", super::drive::shown(remark)).trim_end());
            }
            if links.is_empty() {
                println!("no link is blocked");
            }
        }
    }
    Ok(())
}
