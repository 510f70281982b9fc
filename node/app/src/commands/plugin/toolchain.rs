//! Which compiler here can build for WebAssembly.
//!
//! Two ways work. A compiler that has the target's `core` and `alloc` ready: `rustup target add` brings
//! them. Or one whose source of them is there, to build them too: Debian's `rustc-web` with
//! `rust-web-src`, or rustup's `rust-src`. That is asked of cargo with `-Zbuild-std`, which a stable
//! compiler takes only with `RUSTC_BOOTSTRAP`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The only target: no operating system at all.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Bytes of a guest's stack. Each call has a fresh instance, and what an instance has to begin with is a
/// good part of what a call costs: Rust's own 1 MiB makes it five times as slow.
const STACK_BYTES: u32 = 64 << 10;
/// Bytes of heap that a guest's memory begins with: so many as its allocator takes at once. Memory that
/// has to grow in a call makes a call without much else two to three times as slow.
const HEAP_BYTES: u32 = 64 << 10;

/// A compiler, and what it needs besides.
#[derive(Debug)]
pub struct Toolchain {
    rustc: PathBuf,
    /// `core` and `alloc` are built from its source.
    build_std: bool,
    linker: Option<PathBuf>,
}

impl Toolchain {
    /// Looks at the compilers on `PATH`, in its order, one that `RUSTC` names first.
    ///
    /// # Errors
    /// What to install.
    pub fn find() -> Result<Self> {
        let found: Vec<(PathBuf, PathBuf)> =
            compilers().into_iter().filter_map(|rustc| sysroot(&rustc).map(|root| (rustc, root))).collect();
        if found.is_empty() {
            bail!(
                "there is no Rust compiler here: install Rust from https://rustup.rs, then run `rustup target add {TARGET}`"
            );
        }
        let linker = || {
            let beside = found.iter().flat_map(|(_, root)| linkers_of(root));
            beside.chain(on_path("wasm-ld")).chain(on_path("rust-lld")).find(|it| it.is_file())
        };
        if let Some((rustc, _)) = found.iter().find(|(_, root)| has_target(root)) {
            return Ok(Self { rustc: rustc.clone(), build_std: false, linker: None });
        }
        if let Some((rustc, _)) = found.iter().find(|(_, root)| has_source(root)) {
            let linker = linker().with_context(|| {
                format!(
                    "{} can build for WebAssembly and a linker is missing: install Debian's package lld, or Rust from https://rustup.rs, which brings one",
                    rustc.display()
                )
            })?;
            return Ok(Self { rustc: rustc.clone(), build_std: true, linker: Some(linker) });
        }
        let names: Vec<String> = found.iter().map(|(rustc, _)| rustc.display().to_string()).collect();
        bail!(
            "no compiler here can build for WebAssembly ({}): run `rustup target add {TARGET}`, or, where rustup cannot download it, install Debian's packages with `apt-get install --no-install-recommends rustc-web rust-web-src`",
            names.join(", ")
        )
    }

    /// `cargo build` of one plugin's crate, optimised, for WebAssembly.
    pub fn cargo(&self, manifest: &Path, target_dir: Option<&Path>) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--lib", "--release", "--target", TARGET, "--manifest-path"]).arg(manifest);
        if let Some(dir) = target_dir {
            cargo.arg("--target-dir").arg(dir);
        }
        // The same for every plugin, so that what one build made the next can use; a profile in the
        // plugin's own manifest is not looked at in a workspace, this is.
        for (name, value) in [
            ("LTO", "true"),
            ("CODEGEN_UNITS", "1"),
            ("PANIC", "abort"),
            ("STRIP", "true"),
            ("OPT_LEVEL", "3"),
            ("DEBUG", "false"),
        ] {
            cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
        }
        let mut flags: Vec<OsString> = vec![
            format!("-Clink-arg=-zstack-size={STACK_BYTES}").into(),
            format!("-Clink-arg=--initial-heap={HEAP_BYTES}").into(),
        ];
        // Messages of panics name files: not where they lie on the author's machine.
        for (variable, name) in [("HOME", "home"), ("CARGO_HOME", "cargo")] {
            if let Some(dir) = std::env::var_os(variable).filter(|dir| dir.len() > 1) {
                let mut flag = OsString::from("--remap-path-prefix=");
                flag.push(dir);
                flag.push(format!("={name}"));
                flags.push(flag);
            }
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}".as_ref()));
        cargo.env("RUSTC", &self.rustc);
        if self.build_std {
            cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core,alloc");
        }
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        cargo
    }
}

fn compilers() -> Vec<PathBuf> {
    let named = std::env::var_os("RUSTC").map(PathBuf::from);
    let mut all: Vec<PathBuf> = named.into_iter().chain(on_path("rustc")).collect();
    let mut seen = std::collections::HashSet::new();
    all.retain(|rustc| seen.insert(rustc.canonicalize().unwrap_or_else(|_| rustc.clone())));
    all
}

fn on_path(program: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(program)).collect();
    all.into_iter().filter(|file| file.is_file())
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim_end()))
}

fn has_target(sysroot: &Path) -> bool {
    let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let files = std::fs::read_dir(libraries).into_iter().flatten().filter_map(Result::ok);
    files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
}

fn has_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
}

fn linkers_of(sysroot: &Path) -> Vec<PathBuf> {
    let targets = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().filter_map(Result::ok);
    targets.map(|dir| dir.path().join("bin/rust-lld")).collect()
}
