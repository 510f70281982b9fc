//! `plugin …` as clap sees it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use commonhold_format::policy::Kind;

/// `plugin …`
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Begin a plugin: a folder with a policy that works, its tests and how to go on.
    New(New),
    /// Build plugins from source: the file beside plugin.toml, unsigned.
    Build(Build),
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
