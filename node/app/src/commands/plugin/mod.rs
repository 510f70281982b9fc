//! `plugin …`: what authors and operators do with policy plugins.

pub mod backtest;
pub mod bench;
mod build;
mod cases;
mod component;
mod new;
mod questions;
pub mod test;
mod toolchain;
mod trial;

use std::path::Path;

use anyhow::Result;

use crate::cli::plugin::Plugin;

/// Runs one of the commands.
///
/// # Errors
/// A sentence for the person who typed it.
pub async fn run(dir: &Path, command: Plugin, json: bool) -> Result<()> {
    match command {
        Plugin::New(flags) => tokio::task::spawn_blocking(move || new::run(flags, json)).await?,
        Plugin::Build(flags) => tokio::task::spawn_blocking(move || build::run(flags, json)).await?,
        Plugin::Test(flags) => test::run(flags, json).await,
        Plugin::Bench(flags) => bench::run(flags, json).await,
        Plugin::Backtest(flags) => backtest::run(dir, flags, json).await,
    }
}
