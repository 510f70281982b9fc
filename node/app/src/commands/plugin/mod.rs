//! `plugin …`: what authors and operators do with policy plugins.

pub mod backtest;
pub mod bench;
mod cases;
mod questions;
pub mod test;
mod trial;

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

/// `plugin …`
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Ask a plugin what its cases ask, under the limits of a node, and compare.
    Test(test::Test),
    /// Measure a plugin's calls beside the built-in default's.
    Bench(bench::Bench),
    /// Replay what this node was asked before through a plugin, and say what would have come of it.
    /// Whether the node runs or not.
    Backtest(backtest::Backtest),
}

/// Runs one of the commands.
///
/// # Errors
/// A sentence for the person who typed it.
pub async fn run(dir: &Path, command: PluginCommand, json: bool) -> Result<()> {
    match command {
        PluginCommand::Test(flags) => test::run(flags, json).await,
        PluginCommand::Bench(flags) => bench::run(flags, json).await,
        PluginCommand::Backtest(flags) => backtest::run(dir, flags, json).await,
    }
}
