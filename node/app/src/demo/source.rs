//! What the demo stores, and the digests that it compares with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::commands::transfer::Plan;

/// What is not source in a source tree: what the build makes, and the history.
const NOT_SOURCE: [&str; 2] = ["target", ".git"];

/// SHA-256 of every file, by its path in the drive.
pub struct Digests {
    /// Names at the drive's root.
    pub roots: Vec<String>,
    /// Bytes in all.
    pub bytes: u64,
    files: BTreeMap<PathBuf, [u8; 32]>,
}

/// The upload of `files`, or of the project's source tree; and that tree's place.
///
/// # Errors
/// When a file is missing, or there are no files and no source tree.
pub fn plan(files: &[PathBuf]) -> Result<Plan> {
    if !files.is_empty() {
        return Plan::of(files, &[]);
    }
    Plan::of(&[source_tree()?], &NOT_SOURCE)
}

/// The source tree that this program was built from, or the current folder if it is one.
fn source_tree() -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let here = std::env::current_dir()?;
    [here, built_from]
        .into_iter()
        .find(|dir| dir.join("node/app/Cargo.toml").is_file())
        .context("the project's source tree is not there: name files to store")
}

impl Digests {
    /// Reads every file of the plan.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(plan: &Plan) -> Result<Self> {
        let mut files = BTreeMap::new();
        for (source, name) in plan.regular_files() {
            files.insert(name.to_owned(), digest(source)?);
        }
        let roots = plan.roots().map(|name| name.to_string_lossy().into_owned()).collect();
        Ok(Self { roots, bytes: plan.bytes, files })
    }

    /// Compares what stands under `folder`; answers the number of files.
    ///
    /// # Errors
    /// The first file that is missing, different or surplus.
    pub fn compare(&self, folder: &Path) -> Result<usize> {
        for (name, expected) in &self.files {
            let found = digest(&folder.join(name))?;
            ensure!(found == *expected, "{} came back different", name.display());
        }
        let count = walkdir::WalkDir::new(folder)
            .into_iter()
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_file()))
            .count();
        ensure!(count == self.files.len(), "{count} files came back, {} were stored", self.files.len());
        Ok(count)
    }
}

fn digest(path: &Path) -> Result<[u8; 32]> {
    let mut hasher = HashWriter(Sha256::new());
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    io::copy(&mut file, &mut hasher).with_context(|| path.display().to_string())?;
    Ok(hasher.0.finalize().into())
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
