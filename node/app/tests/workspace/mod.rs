//! The workspace as cargo sees it, for the tests that check its structure.

use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};

/// Metadata for this machine's platform: what a build here needs is there, and no more is fetched.
pub fn metadata() -> Metadata {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(rustc.stdout).unwrap();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let options = ["--locked".to_owned(), "--filter-platform".to_owned(), host.to_owned()];
    MetadataCommand::new().other_options(options).exec().unwrap()
}
