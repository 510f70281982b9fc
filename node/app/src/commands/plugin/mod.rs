//! `plugin …`: writing, building, checking and trying plugins.

mod backtest;
mod bench;
mod build;
mod cases;
mod component;
mod new;
mod questions;
mod test;
mod toolchain;
mod trial;

use std::path::Path;

use anyhow::Result;

use super::ledger::blocking;
use crate::cli::plugin::Plugin;

/// Runs one of the commands.
///
/// # Errors
/// A sentence.
pub async fn run(dir: &Path, command: Plugin, json: bool) -> Result<()> {
    match command {
        Plugin::New(flags) => blocking(move || new::run(flags, json)).await,
        Plugin::Build(flags) => blocking(move || build::run(flags, json)).await,
        Plugin::Test(flags) => blocking(move || test::run(&flags, json)).await,
        Plugin::Bench(flags) => blocking(move || bench::run(&flags, json)).await,
        Plugin::Backtest(flags) => backtest::run(dir, flags, json).await,
    }
}
