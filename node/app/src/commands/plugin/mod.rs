//! `plugin …`: writing, building, checking and signing plugins, and operating them on a node. What changes
//! the plugins of a node goes through it while it runs, and else to its data directory.

mod backtest;
mod bench;
mod build;
mod cases;
mod component;
mod file;
mod new;
mod operate;
mod print;
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
/// A sentence; also when a plugin is not taken.
pub async fn run(dir: &Path, command: Plugin, json: bool) -> Result<()> {
    let dir = dir.to_owned();
    match command {
        Plugin::New(flags) => blocking(move || new::run(flags, json)).await,
        Plugin::Build(flags) => blocking(move || build::run(flags, json)).await,
        Plugin::Test(flags) => blocking(move || test::run(&flags, json)).await,
        Plugin::Bench(flags) => blocking(move || bench::run(&flags, json)).await,
        Plugin::Backtest(flags) => backtest::run(&dir, flags, json).await,
        Plugin::Check { file } => blocking(move || file::check(&file, json)).await,
        Plugin::Sign { file } => blocking(move || file::sign(&dir, &file, json)).await,
        Plugin::Install(flags) => operate::install(&dir, flags, json).await,
        Plugin::List => operate::list(&dir, json).await,
        Plugin::Show { name } => operate::show(&dir, &name, json).await,
        Plugin::Enable { name, set } => operate::enable(&dir, name, &set, json).await,
        Plugin::Disable { name } => operate::disable(&dir, name, json).await,
        Plugin::Set { name, values, unset } => operate::set(&dir, name, &values, &unset, json).await,
        Plugin::Remove { name } => operate::remove(&dir, name, json).await,
        Plugin::Reload { name } => operate::reload(&dir, name, json).await,
    }
}
