//! `plugin build`: from a folder with a plugin.toml to a plugin's file.
//!
//! Invariant: what is written imports what plugin.toml names and nothing else, and exports the kind that
//! it names. What it is not: a check that it runs, which is `plugin check`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use commonhold_format::policy::package::{Package, seal};
use commonhold_format::policy::{API_VERSION, Kind};
use commonhold_format::statement::{Capability, PolicyManifest};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::json;

use super::component::{self, Shape};
use super::toolchain::{TARGET, Toolchain};
use crate::cli::plugin::Build;
use crate::commands::print_json;

/// Name of the file that describes a plugin to `plugin build`.
pub const DESCRIPTION: &str = "plugin.toml";

/// What plugin.toml says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// See [`PolicyManifest`], which gets all of this.
    pub name: String,
    version: String,
    kind: Kind,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    about: String,
}

impl Description {
    /// Reads the one of a folder.
    ///
    /// # Errors
    /// That there is none, or its line that is wrong.
    pub fn read(dir: &Path) -> Result<Self> {
        let file = dir.join(DESCRIPTION);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "cannot read {}: name a plugin's folder, or begin one with `commonhold plugin new`",
                file.display()
            )
        })?;
        toml::from_str(&text).with_context(|| file.display().to_string())
    }

    fn capabilities(&self) -> Result<BTreeSet<Capability>> {
        self.capabilities.iter().map(|it| it.parse().map_err(anyhow::Error::msg)).collect()
    }
}

/// Runs the command.
///
/// # Errors
/// A sentence; what the compiler says is on standard error before it.
pub fn run(flags: Build, json: bool) -> Result<()> {
    let one = flags.dirs.len() == 1;
    ensure!(one || (flags.out.is_none() && flags.from.is_none()), "--out and --from go with one plugin");
    let mut built = Vec::new();
    for dir in &flags.dirs {
        built.push(build(dir, &flags).with_context(|| dir.display().to_string())?);
    }
    if json {
        return print_json(&built);
    }
    for it in &built {
        println!("{it}");
    }
    Ok(())
}

/// What came of one plugin.
#[derive(Debug, serde::Serialize)]
struct Built {
    file: PathBuf,
    name: String,
    version: String,
    kind: Kind,
    api: String,
    capabilities: Vec<&'static str>,
    unused_capabilities: Vec<&'static str>,
    bytes: usize,
    sha256: String,
}

impl std::fmt::Display for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let asks =
            if self.capabilities.is_empty() { "nothing".to_owned() } else { self.capabilities.join(", ") };
        writeln!(
            f,
            "{}: {} {}, {} {}, {} bytes, asks for {asks}, unsigned",
            self.file.display(),
            self.name,
            self.version,
            self.kind,
            self.api,
            self.bytes
        )?;
        if !self.unused_capabilities.is_empty() {
            writeln!(
                f,
                "plugin.toml names {} and the plugin does not call it: take it out, so that nobody is asked to grant it",
                self.unused_capabilities.join(", ")
            )?;
        }
        write!(f, "sha256 {}", self.sha256)
    }
}

fn build(dir: &Path, flags: &Build) -> Result<Built> {
    let description = Description::read(dir)?;
    let asked = description.capabilities().context(DESCRIPTION)?;
    let code = match &flags.from {
        Some(file) => file.clone(),
        None => compile(dir, flags.target_dir.as_deref())?,
    };
    let code = std::fs::read(&code).with_context(|| format!("cannot read {}", code.display()))?;
    let component = component::component(&code)?;
    let Shape { kind, api, capabilities } = component::shape(&component)?;
    ensure!(
        kind == description.kind,
        "{DESCRIPTION} says kind = \"{}\" and the plugin exports {kind}",
        description.kind
    );
    ensure!(
        minor(&api) == minor(API_VERSION),
        "it is built for version {api} of the interface, and this program has {API_VERSION}: build it with the commonhold-plugin of this version"
    );
    if let Some(missing) = capabilities.difference(&asked).next() {
        bail!(
            "it calls {missing}, and {DESCRIPTION} does not ask for it: write capabilities = {:?}",
            words(&capabilities.union(&asked).copied().collect())
        );
    }
    let manifest = PolicyManifest {
        name: description.name,
        version: description.version,
        kind,
        api,
        capabilities: asked.clone(),
        about: description.about,
        component: [0; 32],
        size: 0,
        author: None,
    };
    let sealed = seal(&component, &manifest, None)?;
    let manifest = Package::open(&sealed)?.manifest;
    let file = flags.out.clone().unwrap_or_else(|| dir.join(format!("{}.wasm", manifest.name)));
    write(&file, &sealed)?;
    Ok(Built {
        file,
        name: manifest.name,
        version: manifest.version,
        kind,
        api: manifest.api,
        capabilities: words(&capabilities),
        unused_capabilities: words(&asked.difference(&capabilities).copied().collect()),
        bytes: sealed.len(),
        sha256: HEXLOWER.encode(&manifest.component),
    })
}

fn words(capabilities: &BTreeSet<Capability>) -> Vec<&'static str> {
    capabilities.iter().map(|it| it.as_str()).collect()
}

fn minor(version: &str) -> Option<(&str, &str)> {
    let mut parts = version.split('.');
    Some((parts.next()?, parts.next()?))
}

/// In one step, so that whoever watches the file never sees half of it.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let half = file.with_extension("wasm.new");
    std::fs::write(&half, bytes)
        .and_then(|()| std::fs::rename(&half, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Lets cargo build the crate of a folder; the module that it made.
fn compile(dir: &Path, target_dir: Option<&Path>) -> Result<PathBuf> {
    let manifest = dir.join("Cargo.toml");
    let manifest = manifest.canonicalize().with_context(|| {
        format!(
            "there is no {}: a plugin that is not Rust is built by other tools and given with --from",
            manifest.display()
        )
    })?;
    let mut cargo = Toolchain::find()?.cargo(&manifest, target_dir);
    let mut running = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be started: install Rust from https://rustup.rs")?;
    let mut module = None;
    for line in BufReader::new(running.stdout.take().context("cargo's output")?).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?).unwrap_or(json!(null));
        let ours = message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|it| Path::new(it) == manifest);
        let files = message["filenames"].as_array().filter(|_| ours).into_iter().flatten();
        let mut files = files.filter_map(|file| file.as_str()).map(PathBuf::from);
        module = files.find(|file| file.extension().is_some_and(|it| it == "wasm")).or(module);
    }
    ensure!(running.wait()?.success(), "it does not compile for {TARGET}; cargo's messages are above");
    module.with_context(|| {
        format!(
            "{} makes no module: write `[lib]` and `crate-type = [\"cdylib\"]` into it",
            manifest.display()
        )
    })
}
