//! The vectors of spec/chunk-tree.md, "Inclusion": paths and why they are refused.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::tree::{PathError, verify_path};

#[test]
fn inclusion_vectors() {
    vector_case::for_each("inclusion", |expect, case| {
        let (root, leaf, path) = (case.hash("root"), case.hash("leaf"), case.hashes("path"));
        let (size, index) = (case.number("size"), case.number("index"));
        let found = match verify_path(&root, size, index, &leaf, &path) {
            Ok(()) => "ok",
            Err(PathError::OutOfRange { .. }) => "out-of-range",
            Err(PathError::Length { .. }) => "length",
            Err(PathError::Root) => "root",
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}
