//! The vectors of spec/ledger.md: which head continues which, and the paths of tiles.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::log::{ConsistencyError, TileId, verify_consistency};
use sha2::{Digest, Sha256};

#[test]
fn consistency_vectors() {
    vector_case::for_each("consistency", |expect, case| {
        let (old, new) = (case.number("old_size"), case.number("new_size"));
        let (old_root, new_root, proof) =
            (case.hash("old_root"), case.hash("new_root"), case.hashes("proof"));
        let found = match verify_consistency((old, &old_root), (new, &new_root), &proof) {
            Ok(()) => "ok",
            Err(ConsistencyError::Shrunk { .. }) => "shrunk",
            Err(ConsistencyError::Length { .. }) => "length",
            Err(ConsistencyError::OldRoot) => "old-root",
            Err(ConsistencyError::NewRoot) => "new-root",
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}

#[test]
fn tile_vectors() {
    vector_case::for_each("tile", |expect, case| {
        if expect == "list" {
            let names: Vec<String> = TileId::all(case.number("size")).map(|tile| tile.to_string()).collect();
            assert_eq!(names.len(), case.number::<usize>("count"), "{}", case.name());
            let hash: [u8; 32] = Sha256::digest(names.join("\n").as_bytes()).into();
            assert_eq!(hash, case.hash("names"), "{}", case.name());
            assert_eq!(names.last().cloned().unwrap_or_default(), case.text("last"));
            return;
        }
        let path = case.text("path");
        let Ok(tile) = path.parse::<TileId>() else {
            assert_eq!(expect, "refused", "{}", case.name());
            return;
        };
        assert_eq!(expect, "ok", "{}", case.name());
        assert_eq!(tile.level.map_or("entries".to_owned(), |level| level.to_string()), case.text("level"));
        assert_eq!((tile.index, tile.width), (case.number("index"), case.number("width")));
        assert_eq!(tile.to_string(), path);
    });
}
