//! A plugin's file: checked and signed, without a node.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use commonhold_client::types::PLUGIN_LEN_MAX;
use commonhold_format::policy::package::{Package, seal};
use commonhold_format::statement::PolicyManifest;
use data_encoding::HEXLOWER;
use serde_json::json;

use super::super::print_json;
use crate::datadir::{Places, read_party_key, write_durably};
use crate::plugins::{examine, harmless};

/// A plugin's file, which is bounded before it is read.
///
/// # Errors
/// When it cannot be read, or is longer than any plugin.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    let open = || File::open(file).with_context(|| format!("cannot read {}", file.display()));
    let mut bytes = Vec::new();
    open()?
        .take(PLUGIN_LEN_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        bytes.len() <= PLUGIN_LEN_MAX,
        "{} has more than 16 MiB, which is the most that a plugin may have",
        file.display()
    );
    Ok(bytes)
}

/// `plugin check`.
///
/// # Errors
/// What is wrong with the file.
pub fn check(file: &Path, json: bool) -> Result<()> {
    let bytes = read(file)?;
    let checked = examine(&bytes);
    // What it says of itself helps also with one that does not load.
    let manifest = Package::open(&bytes).map(|package| package.manifest);
    if json {
        let why = checked.as_ref().err();
        let manifest = manifest.as_ref().ok().map(|it| manifest_json(it, bytes.len()));
        print_json(&json!({ "ok": checked.is_ok(), "why": why, "manifest": manifest }))?;
    } else if let Ok(manifest) = &manifest {
        print_manifest(manifest, bytes.len());
    }
    match checked {
        Ok(_) if json => Ok(()),
        Ok(_) => {
            println!("ok: it can be installed, and passes its self-test");
            Ok(())
        }
        Err(why) => bail!("{}: {why}", file.display()),
    }
}

fn manifest_json(manifest: &PolicyManifest, bytes: usize) -> serde_json::Value {
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "kind": manifest.kind.to_string(),
        "api": manifest.api,
        "capabilities": manifest.capabilities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "about": harmless(&manifest.about),
        "component": HEXLOWER.encode(&manifest.component),
        "component_bytes": manifest.size,
        "bytes": bytes,
        "author": manifest.author.map(|author| author.to_string()),
    })
}

fn print_manifest(manifest: &PolicyManifest, bytes: usize) {
    let PolicyManifest { name, version, kind, api, capabilities, about, component, author, .. } = manifest;
    println!("{name} {version}, {kind} policy, built for API {api}");
    if !about.is_empty() {
        println!("about      {}", harmless(about));
    }
    let asks: Vec<&str> = capabilities.iter().map(|it| it.as_str()).collect();
    println!("asks for   {}", if asks.is_empty() { "nothing".to_owned() } else { asks.join(", ") });
    println!("component  {}", HEXLOWER.encode(component));
    println!("bytes      {bytes}");
    match author {
        Some(author) => println!("signed by  {author}"),
        None => println!("signed by  nobody"),
    }
}

/// `plugin sign`.
///
/// # Errors
/// What is wrong with the file, or the key.
pub fn sign(dir: &Path, file: &Path, json: bool) -> Result<()> {
    let bytes = read(file)?;
    let key = read_party_key(&Places::new(dir))?;
    let package = Package::open(&bytes).with_context(|| file.display().to_string())?;
    let before = package.manifest.author;
    let sealed = seal(package.component, &package.manifest, Some(&key)).map_err(|error| anyhow!(error))?;
    write_durably(file, &sealed, 0o644)?;
    let party = key.id();
    if json {
        let before = before.map(|author| author.to_string());
        return print_json(
            &json!({ "file": file, "name": package.manifest.name, "author": party.to_string(), "before": before }),
        );
    }
    println!(
        "{}: {} {} is signed by {party}",
        file.display(),
        package.manifest.name,
        package.manifest.version
    );
    if let Some(before) = before.filter(|before| *before != party) {
        println!(
            "it was signed by {before} before; nodes that trust that author for it will not take this file"
        );
    }
    Ok(())
}
