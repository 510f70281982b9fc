//! `plugin …` as clap sees it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use commonhold_format::policy::Kind;

use crate::config::Span;

/// `plugin …`
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Begin a plugin: a folder with a policy that works, its tests and how to go on.
    New(New),
    /// Build plugins from source: the file beside plugin.toml, unsigned.
    Build(Build),
    /// Ask a plugin what its cases ask, under the limits of a node, and compare.
    Test(Test),
    /// Measure a plugin's calls beside the built-in default's.
    Bench(Bench),
    /// Replay what this node was asked before through a plugin, and say what would have come of it; whether
    /// the node runs or not.
    Backtest(Backtest),
}

/// Flags of `plugin new`.
#[derive(Debug, Args)]
pub struct New {
    /// What it decides: placement, transport or pricing.
    pub kind: Kind,
    /// Its name, and that of its new folder: a-z, 0-9 and -, a letter first.
    pub name: String,
    /// The language that it is written in.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    pub lang: Lang,
    /// Make the folder in this one instead of in the working directory.
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Where sdk/plugin of Commonhold's source is; without it, the source that this program was built
    /// from, or the one around the working directory.
    #[arg(long, value_name = "FOLDER")]
    pub sdk: Option<PathBuf>,
}

/// Languages that `plugin new` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lang {
    /// Rust, with the crate commonhold-plugin.
    Rust,
}

/// Flags of `plugin build`.
#[derive(Debug, Args)]
pub struct Build {
    /// Folders of plugins, each with a plugin.toml.
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub dirs: Vec<PathBuf>,
    /// Do not build, but take this component or core module, from other tools for other languages say.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Write the plugin here instead of to NAME.wasm beside plugin.toml.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Let cargo build in this folder; what is compiled there is used again.
    #[arg(long, value_name = "FOLDER")]
    pub target_dir: Option<PathBuf>,
}

/// Flags of `plugin test`.
#[derive(Debug, Args)]
pub struct Test {
    /// The plugin's file, or its folder.
    pub plugin: PathBuf,
    /// The cases, as TOML, as JSON of the same shape, or as JSON lines cut from a journal; without it,
    /// cases.toml, cases.json or cases.jsonl beside the plugin.
    #[arg(long, value_name = "FILE")]
    pub cases: Option<PathBuf>,
}

/// Flags of `plugin bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// The plugin's file.
    pub file: PathBuf,
    /// A value for its configuration, like "floor=9"; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Setting>,
}

/// Flags of `plugin backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// The plugin's file.
    pub file: PathBuf,
    /// Replay only so long, like "30d", counted back from the newest that is recorded; without it, all.
    #[arg(long, value_name = "DURATION")]
    pub since: Option<Span>,
    /// A value for its configuration, like "floor=9"; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Setting>,
    /// Say how long calls took, which is never the same twice.
    #[arg(long)]
    pub timings: bool,
}

/// A value of a plugin's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// What it is.
    pub value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                Ok(Self { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err(format!("{text:?} is not a setting; write KEY=VALUE")),
        }
    }
}
