//! The vectors of spec/inventory.md: entries, their leaves and their root.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::ids::ChunkId;
use commonhold_format::inventory::{Inventory, InventoryEntry, InventoryError};

#[test]
fn inventory_vectors() {
    vector_case::for_each("inventory", |expect, case| {
        let entries = case.objects("entries", |entry| InventoryEntry {
            offset: entry.number("offset"),
            len: entry.number("len"),
            chunk: entry.optional_hash("chunk").map(ChunkId),
        });
        let found = match Inventory::from_entries(entries.iter().copied()) {
            Ok(inventory) => {
                let leaves = case.byte_strings("leaves");
                for (entry, leaf) in entries.iter().zip(&leaves) {
                    assert_eq!(entry.to_bytes().to_vec(), *leaf);
                    let leaf = leaf.as_slice().try_into().unwrap();
                    assert_eq!(InventoryEntry::from_bytes(leaf), Some(*entry));
                }
                assert_eq!(leaves.len(), entries.len());
                assert_eq!(inventory.root(), case.hash("root"), "{}", case.name());
                assert_eq!(inventory.span(), case.number::<u64>("span"));
                assert_eq!(inventory.held_bytes(), case.number::<u64>("held_bytes"));
                assert_eq!(inventory.held_chunks(), case.number::<u64>("held_chunks"));
                "ok"
            }
            Err(InventoryError::Gap(_)) => "gap",
            Err(InventoryError::ChunkLength(_)) => "chunk-length",
            Err(InventoryError::ChunkId) => "chunk-id",
            Err(other) => panic!("{}: {other}", case.name()),
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}
