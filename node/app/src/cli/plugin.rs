//! `plugin …` as clap sees it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use commonhold_format::ids::PartyId;
use commonhold_format::policy::Kind;
use commonhold_format::statement::Capability;

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
    /// Check a plugin's file: size, manifest, signature, version, imports, and its self-test. Needs no
    /// node and no data directory.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Sign a plugin's file as this data directory's party, whether the node runs or not.
    Sign {
        /// The file; it is replaced.
        file: PathBuf,
    },
    /// Install a plugin, or another version of one. It does not decide before `plugin enable`; one that
    /// decides already is replaced at once.
    Install(Install),
    /// List who decides, and the plugins that are installed.
    List,
    /// Show one plugin: manifest, grant, metrics, faults, and what it wrote for the operator.
    Show {
        /// Its name.
        name: String,
    },
    /// Let a plugin decide from now on.
    Enable {
        /// Its name.
        name: String,
        /// Set a value that it reads, like "regions=NL,DE". May be repeated.
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Let the built-in default decide again.
    Disable {
        /// The plugin's name, or placement, transport or pricing.
        name: String,
    },
    /// Set values that a plugin reads; one that decides is loaded again with them.
    Set {
        /// Its name.
        name: String,
        /// Values, like "regions=NL,DE".
        #[arg(value_name = "KEY=VALUE")]
        values: Vec<String>,
        /// Take a value away. May be repeated.
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
    },
    /// Remove a plugin with its grant and what it remembers; the default decides where it did.
    Remove {
        /// Its name.
        name: String,
    },
    /// Let the running node read plugins from disk again: one, or all that are enabled. It notices
    /// changes by itself within seconds; this says what came of it.
    Reload {
        /// Its name.
        name: Option<String>,
    },
}

/// Flags of `plugin install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The plugin's file.
    pub file: PathBuf,
    /// Trust this author (64 hexadecimal digits) for this plugin. Your own party needs no naming.
    #[arg(long, value_name = "KEY")]
    pub author: Option<PartyId>,
    /// Take a plugin that nobody signed. It is pinned to its hash.
    #[arg(long)]
    pub unsigned: bool,
    /// For development: load every change of plugins/NAME/plugin.wasm, whoever wrote it.
    #[arg(long)]
    pub follow: bool,
    /// Put an older version in the place of a newer one.
    #[arg(long)]
    pub downgrade: bool,
    /// What it may import: config, log, state, with commas between. Without it, what an older version
    /// was granted.
    #[arg(long, value_name = "CAPABILITIES", value_delimiter = ',')]
    pub grant: Option<Vec<Capability>>,
    /// Set a value that it reads, like "regions=NL,DE". May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
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
    /// Set a value that it reads, like "regions=NL,DE". May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of `plugin backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// The plugin's file.
    pub file: PathBuf,
    /// Replay only so long, like "30d", counted back from the newest that is recorded; without it, all.
    #[arg(long, value_name = "DURATION")]
    pub since: Option<Span>,
    /// Set a value that it reads, like "regions=NL,DE". May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Say how long calls took, which is never the same twice.
    #[arg(long)]
    pub timings: bool,
}
