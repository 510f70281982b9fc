//! The inventory as a state machine, and its entries as a codec.

#![allow(clippy::unwrap_used)]

use commonhold_format::ids::ChunkId;
use commonhold_format::inventory::{Inventory, InventoryEntry, InventoryError};
use commonhold_format::tree::{CHUNK_LEN_MAX, empty_root, leaf_hash, verify_path};
use proptest::prelude::*;

const LEN_MAX: u32 = CHUNK_LEN_MAX as u32;

fn id(n: u8) -> ChunkId {
    ChunkId([n; 32])
}

/// Everything about the inventory follows from its entries.
fn check(inventory: &Inventory, expected: &[InventoryEntry]) {
    assert_eq!(inventory.entries(), expected);
    assert_eq!(inventory.len(), expected.len() as u64);
    assert_eq!(inventory.is_empty(), expected.is_empty());
    let rebuilt = Inventory::from_entries(expected.iter().copied()).unwrap();
    assert_eq!(inventory.root(), rebuilt.root());
    let held = || expected.iter().filter(|entry| entry.chunk.is_some());
    assert_eq!(inventory.held_bytes(), held().map(|entry| u64::from(entry.len)).sum::<u64>());
    assert_eq!(inventory.held_chunks(), held().count() as u64);
    let span: u64 = expected.iter().map(|entry| u64::from(entry.len)).sum();
    assert_eq!(inventory.span(), span);
    for (index, entry) in expected.iter().enumerate() {
        let index = index as u64;
        assert_eq!(inventory.entry(index), Some(*entry));
        assert_eq!(inventory.locate(entry.offset), Some(index));
        assert_eq!(inventory.locate(entry.offset + u64::from(entry.len) - 1), Some(index));
        let path = inventory.path(index).unwrap();
        let leaf = leaf_hash(&entry.to_bytes());
        assert_eq!(verify_path(&inventory.root(), inventory.len(), index, &leaf, &path), Ok(()));
    }
    assert_eq!(inventory.entry(expected.len() as u64), None);
    assert_eq!(inventory.path(expected.len() as u64), None);
    assert_eq!(inventory.locate(span), None);
    assert_eq!(inventory.locate(u64::MAX), None);
}

#[test]
fn an_empty_inventory_has_the_root_of_the_empty_tree() {
    let inventory = Inventory::new();
    check(&inventory, &[]);
    assert_eq!(inventory.root(), empty_root());
}

#[test]
fn a_hole_keeps_its_place_and_changes_the_root() {
    let mut inventory = Inventory::new();
    assert_eq!(inventory.push(id(1), 100), Ok(0));
    assert_eq!(inventory.push(id(2), LEN_MAX), Ok(1));
    assert_eq!(inventory.push(id(3), 1), Ok(2));
    let full = inventory.root();
    let removed = inventory.remove(1).unwrap();
    assert_eq!(removed.chunk, Some(id(2)));
    assert_ne!(inventory.root(), full);
    assert_eq!(inventory.span(), 101 + u64::from(LEN_MAX));
    assert_eq!(inventory.held_bytes(), 101);
    assert_eq!(inventory.locate(100), Some(1));
    assert_eq!(inventory.remove(1), Err(InventoryError::NotHeld(1)));
    assert_eq!(inventory.remove(3), Err(InventoryError::NotHeld(3)));
    assert_eq!(inventory.refill(0, id(9)), Err(InventoryError::NotAHole(0)));
    assert_eq!(inventory.refill(7, id(9)), Err(InventoryError::NotAHole(7)));
    assert_eq!(inventory.refill(1, id(0)), Err(InventoryError::ChunkId));
    inventory.refill(1, id(2)).unwrap();
    assert_eq!(inventory.root(), full);
}

#[test]
fn what_is_not_a_chunk_is_refused_and_changes_nothing() {
    let mut inventory = Inventory::new();
    inventory.push(id(1), 5).unwrap();
    let before = inventory.root();
    for len in [0, LEN_MAX + 1, u32::MAX] {
        assert_eq!(inventory.push(id(2), len), Err(InventoryError::ChunkLength(len)));
    }
    assert_eq!(inventory.push(id(0), 5), Err(InventoryError::ChunkId));
    assert_eq!((inventory.len(), inventory.root()), (1, before));
}

#[test]
fn entries_that_do_not_lie_end_to_end_are_refused() {
    let entry = |offset, len| InventoryEntry { offset, len, chunk: Some(id(1)) };
    let rebuild = |entries: &[InventoryEntry]| {
        Inventory::from_entries(entries.iter().copied())
            .map(|inventory| inventory.len())
            .map_err(|error| error.clone())
    };
    assert_eq!(rebuild(&[entry(0, 5), entry(5, 5)]), Ok(2));
    assert_eq!(rebuild(&[entry(1, 5)]), Err(InventoryError::Gap(0)));
    for overlap_or_gap in [0, 4, 6, u64::MAX] {
        assert_eq!(rebuild(&[entry(0, 5), entry(overlap_or_gap, 5)]), Err(InventoryError::Gap(1)));
    }
    assert_eq!(rebuild(&[entry(0, 0)]), Err(InventoryError::ChunkLength(0)));
}

#[test]
fn an_entry_has_44_bytes_in_a_fixed_order() {
    let entry = InventoryEntry { offset: 0x0102_0304_0506_0708, len: 0x000A_0B0C, chunk: Some(id(0xEE)) };
    let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0x0A, 0x0B, 0x0C];
    expected.extend([0xEE; 32]);
    assert_eq!(entry.to_bytes().to_vec(), expected);
    let hole = InventoryEntry { chunk: None, ..entry };
    assert_eq!(hole.to_bytes()[12..], [0; 32]);
    assert_eq!(InventoryEntry::from_bytes(&hole.to_bytes()), Some(hole));
}

#[test]
fn the_cbor_of_an_entry_is_strict() {
    let entry = InventoryEntry { offset: 24, len: 5, chunk: None };
    let bytes = minicbor::to_vec(entry).unwrap();
    assert_eq!(bytes, [0x83, 0x18, 24, 5, 0xF6]);
    let refused: &[&[u8]] = &[
        &[0x83, 0, 0, 0xF6],                                            // no length
        &[0x83, 0, 0x1A, 0, 0x10, 0, 1, 0xF6],                          // a byte above 1 MiB
        &[0x82, 0, 5],                                                  // two elements
        &[0x84, 0, 5, 0xF6, 0],                                         // four
        &[0x9F, 0, 5, 0xF6, 0xFF],                                      // of unknown length
        &[0x83, 0x1B, 255, 255, 255, 255, 255, 255, 255, 255, 5, 0xF6], // ends beyond 2^64
    ];
    for bytes in refused {
        assert!(minicbor::decode::<InventoryEntry>(bytes).is_err());
    }
    let mut zeros = vec![0x83, 0, 5, 0x58, 32];
    zeros.extend([0; 32]);
    assert!(minicbor::decode::<InventoryEntry>(&zeros).is_err());
    zeros[36] = 1;
    assert!(minicbor::decode::<InventoryEntry>(&zeros).is_ok());
}

proptest! {
    #[test]
    fn entries_survive_both_codecs(
        offset in 0..u64::MAX - u64::from(LEN_MAX), len in 1..=LEN_MAX,
        chunk in prop::option::of(any::<[u8; 32]>())
    ) {
        let chunk = chunk.map(ChunkId);
        let entry = InventoryEntry { offset, len, chunk };
        prop_assume!(chunk != Some(id(0)));
        prop_assert_eq!(InventoryEntry::from_bytes(&entry.to_bytes()), Some(entry));
        let cbor = minicbor::to_vec(entry).unwrap();
        prop_assert_eq!(minicbor::decode::<InventoryEntry>(&cbor).unwrap(), entry);
    }

    #[test]
    fn bytes_that_are_read_are_written_the_same(bytes in prop::array::uniform32(any::<u8>()), len in 0..LEN_MAX * 2) {
        let mut whole = [0; 44];
        whole[12..].copy_from_slice(&bytes);
        whole[8..12].copy_from_slice(&len.to_be_bytes());
        match InventoryEntry::from_bytes(&whole) {
            Some(entry) => prop_assert_eq!(entry.to_bytes(), whole),
            None => prop_assert!(len == 0 || len > LEN_MAX),
        }
    }

    #[test]
    fn an_inventory_follows_any_history(
        steps in prop::collection::vec((0u8..5, any::<u8>(), 1..=LEN_MAX), 0..80)
    ) {
        let mut inventory = Inventory::new();
        let mut expected: Vec<InventoryEntry> = Vec::new();
        for (step, value, len) in steps {
            let chunk = id(value.max(1));
            let index = usize::from(value) % (expected.len() + 1);
            match step {
                0 | 1 => {
                    let offset = expected.iter().map(|entry| u64::from(entry.len)).sum();
                    prop_assert_eq!(inventory.push(chunk, len), Ok(expected.len() as u64));
                    expected.push(InventoryEntry { offset, len, chunk: Some(chunk) });
                }
                2 => prop_assert_eq!(inventory.pop(), expected.pop()),
                3 => {
                    let held = expected.get_mut(index).filter(|entry| entry.chunk.is_some());
                    let before = held.as_deref().copied();
                    if let Some(entry) = held {
                        entry.chunk = None;
                    }
                    prop_assert_eq!(inventory.remove(index as u64).ok(), before);
                }
                _ => {
                    let hole = expected.get_mut(index).filter(|entry| entry.chunk.is_none());
                    let refilled = hole.is_some();
                    if let Some(entry) = hole {
                        entry.chunk = Some(chunk);
                    }
                    prop_assert_eq!(inventory.refill(index as u64, chunk).is_ok(), refilled);
                }
            }
        }
        check(&inventory, &expected);
    }
}
