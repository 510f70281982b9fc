//! Inventories in blocks against the one in memory.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use commonhold_format::inventory::Inventory;
use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Kept {
    entries: HashMap<u64, Vec<InventoryEntry>>,
    hashes: HashMap<(u8, u64), Vec<Hash>>,
}

impl Kept {
    fn apply(&mut self, changed: &Changed) {
        self.entries.extend(changed.entries.iter().cloned());
        self.hashes.extend(changed.hashes.iter().map(|(level, block, it)| ((*level, *block), it.clone())));
    }
}

impl Blocks for Kept {
    type Error = (u8, u64);

    fn entries(&self, block: u64) -> Result<Vec<InventoryEntry>, (u8, u64)> {
        self.entries.get(&block).cloned().ok_or((0, block))
    }

    fn hashes(&self, level: u8, block: u64) -> Result<Vec<Hash>, (u8, u64)> {
        self.hashes.get(&(level, block)).cloned().ok_or((level, block))
    }

    fn damaged(&self, level: u8, block: u64, _: &str) -> (u8, u64) {
        (level, block)
    }
}

fn id(number: u64) -> ChunkId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ChunkId(id)
}

fn len(number: u64) -> u32 {
    1 + (number * 7919 % 1000) as u32
}

/// Both, grown to `count` entries in steps of `step`.
fn grown(count: u64, step: u64) -> (Inventory, Shape, Kept) {
    let (mut plain, mut shape, mut kept) = (Inventory::new(), Shape::empty(), Kept::default());
    let mut at = 0;
    while at < count {
        let mut edit = Edit::new(shape, &kept);
        for number in at..count.min(at + step) {
            assert_eq!(edit.push(id(number), len(number)), Ok(number));
            plain.push(id(number), len(number)).unwrap();
        }
        let changed = edit.finish().unwrap();
        shape = changed.shape;
        kept.apply(&changed);
        at += step;
    }
    (plain, shape, kept)
}

fn shape_of(plain: &Inventory) -> Shape {
    Shape {
        entries: plain.len(),
        span: plain.span(),
        held_bytes: plain.held_bytes(),
        held_chunks: plain.held_chunks(),
        root: plain.root(),
    }
}

fn assert_same(plain: &Inventory, shape: Shape, kept: &Kept, indices: impl Iterator<Item = u64>) {
    assert_eq!(shape, shape_of(plain));
    let stored = StoredInventory::new(shape, kept);
    for index in indices {
        assert_eq!(stored.entry(index), Ok(plain.entry(index)), "entry {index}");
        assert_eq!(stored.path(index), Ok(plain.path(index)), "path {index}");
        if let Some(entry) = plain.entry(index) {
            for position in [entry.offset, entry.end() - 1, entry.end()] {
                assert_eq!(stored.locate(position), Ok(plain.locate(position)), "position {position}");
            }
        }
    }
    assert_eq!(stored.entries_from(3, 40), Ok(plain.entries().iter().skip(3).take(40).copied().collect()));
    let rebuilt = rebuild_hashes(plain.entries().iter().copied()).unwrap();
    assert_eq!(rebuilt.shape, shape);
    for (level, block, hashes) in &rebuilt.hashes {
        assert_eq!(kept.hashes(*level, *block).as_ref(), Ok(hashes), "level {level}, block {block}");
    }
    assert_eq!(rebuilt.hashes.len(), kept.hashes.len());
}

#[test]
fn inventories_of_all_sizes_are_those_in_memory() {
    let mut sizes: Vec<u64> = (0..70).collect();
    sizes.extend([255, 256, 257, 271, 272, 273, 511, 4095, 4096, 4097]);
    for size in sizes {
        for step in [1, 5, 16, 300] {
            let (plain, shape, kept) = grown(size, if size > 300 { step.max(16) } else { step });
            let few = (0..40).chain(size.saturating_sub(20)..size + 2).chain([size / 2, size * 2 / 3]);
            assert_same(&plain, shape, &kept, few);
        }
    }
}

#[test]
fn blocks_that_are_missing_or_wrong_are_errors() {
    let (_, shape, kept) = grown(600, 100);
    let at = shape.span / 2;
    let all = |kept: &Kept| {
        let stored = StoredInventory::new(shape, kept);
        (stored.path(300), stored.entry(300).map(|_| ()), stored.locate(at).map(|_| ()))
    };
    assert!(matches!(all(&kept), (Ok(Some(_)), Ok(()), Ok(()))));
    let mut broken = Kept { entries: kept.entries.clone(), hashes: kept.hashes.clone() };
    broken.entries.remove(&18);
    assert_eq!(StoredInventory::new(shape, &broken).entry(300), Err((0, 18)));
    broken.entries.insert(18, kept.entries[&18][..15].to_vec());
    assert_eq!(StoredInventory::new(shape, &broken).path(300), Err((0, 18)));
    for (level, block) in [(1, 1), (2, 0)] {
        let mut broken = Kept { entries: kept.entries.clone(), hashes: kept.hashes.clone() };
        broken.hashes.get_mut(&(level, block)).unwrap()[2][0] ^= 1;
        assert!(StoredInventory::new(shape, &broken).path(300).is_err());
        broken.hashes.get_mut(&(level, block)).unwrap().pop();
        assert_eq!(StoredInventory::new(shape, &broken).path(300), Err((level, block)));
        assert!(Edit::new(shape, &broken).push(id(1), 1).is_ok());
    }
}

proptest! {
    #[test]
    fn random_changes_come_to_what_the_one_in_memory_comes_to(
        steps in proptest::collection::vec(
            (proptest::collection::vec(any::<proptest::sample::Index>(), 0..6), 0..40u64), 1..12,
        ),
    ) {
        let (mut plain, mut shape, mut kept) = (Inventory::new(), Shape::empty(), Kept::default());
        let mut next = 0;
        for (removes, pushes) in steps {
            let mut edit = Edit::new(shape, &kept);
            for remove in removes {
                let index = remove.index(plain.len() as usize + 1) as u64;
                match (plain.remove(index), edit.remove(index)) {
                    (Ok(plain), Ok(ours)) => prop_assert_eq!(plain, ours),
                    (Err(plain), Err(EditError::Refused(ours))) => prop_assert_eq!(plain, ours),
                    other => panic!("{other:?}"),
                }
            }
            for _ in 0..pushes {
                prop_assert_eq!(edit.push(id(next), len(next)), Ok(plain.push(id(next), len(next)).unwrap()));
                next += 1;
            }
            let changed = edit.finish().unwrap();
            shape = changed.shape;
            kept.apply(&changed);
            assert_same(&plain, shape, &kept, 0..plain.len() + 1);
        }
        let mut edit = Edit::new(shape, &kept);
        prop_assert!(matches!(edit.push(id(1), 0), Err(EditError::Refused(InventoryError::ChunkLength(0)))));
        prop_assert!(matches!(edit.push(ChunkId([0; 32]), 1), Err(EditError::Refused(InventoryError::ChunkId))));
        prop_assert_eq!(edit.finish().unwrap().shape, shape);
    }
}
