//! `plugin …`: writing, building and checking plugins.

mod build;
mod component;
mod new;
mod toolchain;

use std::path::Path;

use anyhow::Result;

use crate::cli::plugin::Plugin;

/// Runs one of the commands.
///
/// # Errors
/// A sentence.
pub async fn run(_dir: &Path, command: Plugin, json: bool) -> Result<()> {
    tokio::task::spawn_blocking(move || match command {
        Plugin::New(flags) => new::run(flags, json),
        Plugin::Build(flags) => build::run(flags, json),
    })
    .await?
}
