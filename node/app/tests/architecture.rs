//! Who may import whom (spec/architecture.md): read from `cargo metadata`, so that a forbidden
//! arrow fails here and not in somebody's head.
#![allow(clippy::unwrap_used)]

mod workspace;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};
use workspace::metadata;

/// Each crate of ours, and those of ours that it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("commonhold-format", &[]),
    ("commonhold-client", &[]),
    ("commonhold-plugin", &[]),
    ("commonhold-engine", &["commonhold-format"]),
    ("commonhold-store", &["commonhold-format"]),
    ("commonhold-ledger", &["commonhold-format"]),
    ("commonhold-net", &["commonhold-format"]),
    ("commonhold-host", &["commonhold-format"]),
    ("commonhold-drive", &["commonhold-format"]),
    ("commonhold-gateway", &["commonhold-format", "commonhold-client"]),
    (
        "commonhold",
        &[
            "commonhold-format",
            "commonhold-client",
            "commonhold-engine",
            "commonhold-store",
            "commonhold-ledger",
            "commonhold-net",
            "commonhold-host",
            "commonhold-drive",
            "commonhold-gateway",
            "commonhold-host",
        ],
    ),
];

/// What every plugin under `plugins/` may import of ours: what other authors' plugins can import too.
const PLUGINS_MAY_IMPORT: &[&str] = &["commonhold-plugin"];

/// Libraries that one crate alone may import.
const IN_ONE_CRATE: &[(&str, &str)] = &[
    ("rs_merkle", "commonhold-format"),
    ("heed", "commonhold-store"),
    ("libp2p", "commonhold-net"),
    ("axum", "commonhold-gateway"),
    ("s3s", "commonhold-gateway"),
    ("s3s", "commonhold-gateway"),
    ("wasmtime", "commonhold-host"),
];

/// What crates of pure decisions and formats must not import: async, clocks, randomness, I/O.
const PURE: &[&str] = &["commonhold-format", "commonhold-engine"];
const IMPURE: &[&str] = &["tokio", "futures", "getrandom", "rand", "chrono", "time", "reqwest", "walkdir"];

/// Normal and build dependencies of our crates, by crate name.
fn imports(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .map(|dependency| dependency.name.to_string())
                .collect();
            (package.name.to_string(), names)
        })
        .collect()
}

#[test]
fn only_the_allowed_arrows_exist() {
    let metadata = metadata();
    let imports = imports(&metadata);
    let plugins: BTreeSet<&str> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.manifest_path.starts_with(metadata.workspace_root.join("plugins")))
        .map(|package| package.name.as_str())
        .collect();
    assert!(plugins.len() > 3, "only {plugins:?} are plugins");
    let known: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    let ours: BTreeSet<&str> = imports.keys().map(String::as_str).collect();
    assert_eq!(
        ours.difference(&plugins).copied().collect::<BTreeSet<_>>(),
        known,
        "a crate was added or removed: say here and in spec/architecture.md whom it may import"
    );
    let of_plugins = plugins.iter().map(|name| (*name, PLUGINS_MAY_IMPORT));
    for (name, allowed) in MAY_IMPORT.iter().copied().chain(of_plugins) {
        for import in imports[name].iter().filter(|import| ours.contains(import.as_str())) {
            assert!(allowed.contains(&import.as_str()), "{name} must not import {import}");
        }
    }
}

#[test]
fn each_heavy_library_has_one_door() {
    for (name, imports) in imports(&metadata()) {
        for (library, door) in IN_ONE_CRATE {
            assert!(
                !imports.contains(*library) || name == *door,
                "{name} must reach {library} through {door}"
            );
        }
    }
}

#[test]
fn formats_and_decisions_are_pure() {
    let imports = imports(&metadata());
    for name in PURE {
        for library in IMPURE {
            assert!(!imports[*name].contains(*library), "{name} must not import {library}");
        }
    }
}

/// Clocks and randomness can also be reached through std, and I/O always: look for their names.
#[test]
fn pure_crates_do_not_name_clocks_files_or_sockets() {
    let metadata = metadata();
    let mut files = 0;
    for package in
        metadata.workspace_packages().iter().filter(|package| PURE.contains(&package.name.as_str()))
    {
        let src = package.manifest_path.parent().unwrap().join("src");
        for entry in walkdir::WalkDir::new(src).into_iter().map(Result::unwrap) {
            if entry.path().extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for forbidden in
                ["SystemTime", "Instant::now", "std::fs", "std::net::Tcp", "std::net::Udp", "async fn"]
            {
                assert!(!code.contains(forbidden), "{} names {forbidden}", entry.path().display());
            }
        }
    }
    assert!(files > 10, "only {files} files were looked at");
}
