//! What is packed is found again in its segments, and nobody is given more than they can open.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::custody::{BoxFuture, Custody, CustodyError, PlacedChunks};
use crate::keeper::{Keeper, lock};
use commonhold_format::ids::{NodeId, SegmentId};
use commonhold_format::seal::open_small;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

/// Keeps the plain segments: the first k chunks one after the other.
#[derive(Default)]
struct Shelf(Mutex<HashMap<SegmentId, Vec<u8>>>);

impl Custody for Shelf {
    fn code(&self) -> BoxFuture<'_, Result<Code, CustodyError>> {
        Box::pin(async { Err(CustodyError::NoProviders) })
    }

    fn keep(
        &self,
        code: Code,
        len: u32,
        chunks: Vec<(ChunkId, Bytes)>,
    ) -> BoxFuture<'_, Result<Segment, CustodyError>> {
        Box::pin(async move {
            let mut bytes: Vec<u8> = Vec::new();
            for (_, chunk) in &chunks[..usize::from(code.k())] {
                bytes.extend_from_slice(chunk);
            }
            bytes.truncate(len as usize);
            let ids = chunks.iter().map(|(id, _)| *id).collect();
            let holders = vec![NodeId([0; 32]); usize::from(code.n())];
            let segment = Segment { code, len, chunks: ids, holders };
            lock(&self.0).insert(segment.id(), bytes);
            Ok(segment)
        })
    }

    fn fetch(&self, _: &Segment, _: Option<NodeId>) -> BoxFuture<'_, Result<PlacedChunks, CustodyError>> {
        Box::pin(async { Err(CustodyError::NoProviders) })
    }

    fn retain(&self, _: HashSet<SegmentId>) -> BoxFuture<'_, Result<(), CustodyError>> {
        Box::pin(async { Ok(()) })
    }
}

async fn add_file(packer: &mut Packer, bytes: &[u8]) -> ObjectRef {
    let mut file = packer.begin_file(bytes.len() as u64).await.unwrap();
    for part in bytes.chunks(100_001) {
        packer.write(&mut file, part).await.unwrap();
    }
    packer.finish(file).await.unwrap()
}

/// Reads a file by the rules of spec/drive-layout.md, sections 2 and 3, alone.
fn read_by_the_book(shelf: &Shelf, table: &[Segment], object: &ObjectRef) -> Vec<u8> {
    let sealing =
        Sealing::with_commitment(ObjectKind::File, &object.id, &object.key, &object.commitment).unwrap();
    let mut out = Vec::new();
    let mut record = 0;
    for (place, extent) in object.extents.iter().enumerate() {
        let segments = lock(&shelf.0);
        let segment = &segments[&table[extent.segment as usize].id()];
        let stretch = &segment[extent.offset as usize..][..extent.len as usize];
        for sealed in stretch.chunks(RECORD_LEN) {
            let last = record + 1 == record_count(object.len);
            let wrong = place as u32 + 1;
            assert!(sealing.open_record(wrong, record, last, &mut sealed.to_vec()).is_err());
            let mut sealed = sealed.to_vec();
            out.extend_from_slice(sealing.open_record(place as u32, record, last, &mut sealed).unwrap());
            record += 1;
        }
    }
    assert_eq!(record, record_count(object.len));
    assert!(out[object.len as usize..].iter().all(|byte| *byte == 0));
    out.truncate(object.len as usize);
    out
}

#[tokio::test]
async fn the_layout_is_the_one_of_the_specification() {
    const MIB: usize = 1 << 20;
    let shelf = Arc::new(Shelf::default());
    let keeper = Keeper::new(shelf.clone());
    let mut packer = Packer::new(keeper.pending(), Code::new(2, 3).unwrap());
    let contents: Vec<Vec<u8>> = [5000, MIB, 5 * MIB, 70_000, 1_500_000, 4 * MIB, 1]
        .into_iter()
        .map(|len| (0..len).map(|at| (at * 7 + len) as u8).collect())
        .collect();
    let mut objects = Vec::new();
    for bytes in &contents {
        objects.push(add_file(&mut packer, bytes).await);
    }
    let folder = vec![7; 5 * MIB];
    let folder_object = packer.add_object(ObjectKind::Folder, &folder).await.unwrap();
    let table = packer.flush().await.unwrap();
    let places: Vec<Vec<(u32, u32)>> = objects
        .iter()
        .map(|object| object.extents.iter().map(|extent| (extent.segment, extent.offset)).collect())
        .collect();
    let first = sealed_len(5000) as u32;
    let third = first + sealed_len(MIB as u64) as u32;
    // The small ones share segment 0 while the large one passes by; what no longer fits opens
    // the next shared segment.
    assert_eq!(places[0], [(0, 0)]);
    assert_eq!(places[1], [(0, first)]);
    assert_eq!(places[2], [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(places[3], [(0, third)]);
    assert_eq!(places[4], [(4, 0)]);
    assert_eq!(places[5], [(5, 0), (6, 0), (7, 0)]);
    assert_eq!(places[6], [(4, sealed_len(1_500_000) as u32)]);
    for object in [&objects[2], &objects[5]] {
        let full = object.extents.len() - 1;
        assert!(object.extents[..full].iter().all(|extent| extent.len == 2 << 20));
        for extent in &object.extents {
            assert_eq!(table[extent.segment as usize].len, extent.len, "nothing else is in it");
        }
    }
    for (object, bytes) in objects.iter().zip(&contents) {
        let sealed: u64 = object.extents.iter().map(|extent| u64::from(extent.len)).sum();
        assert_eq!(sealed, sealed_len(object.len));
        assert!(read_by_the_book(&shelf, &table, object) == *bytes);
    }

    // A folder larger than a segment begins a fresh one and is whole when put together.
    assert_eq!(folder_object.extents[0].offset, 0);
    let mut sealed = Vec::new();
    for extent in &folder_object.extents {
        let segments = lock(&shelf.0);
        let segment = &segments[&table[extent.segment as usize].id()];
        sealed.extend_from_slice(&segment[extent.offset as usize..][..extent.len as usize]);
    }
    let ObjectRef { id, key, commitment, len, .. } = &folder_object;
    let opened = open_small(ObjectKind::Folder, id, key, commitment, *len, &sealed).unwrap();
    assert!(*opened == folder);
}

#[tokio::test]
async fn attack_25_what_nobody_would_open_is_not_written() {
    let keeper = Keeper::new(Arc::new(Shelf::default()));
    let mut packer = Packer::new(keeper.pending(), Code::new(2, 3).unwrap());
    let error = packer.add_object(ObjectKind::Folder, &vec![0; OBJECT_LEN_MAX + 1]).await.unwrap_err();
    assert_eq!(error.code(), "too_large");
}

#[tokio::test]
async fn a_file_has_exactly_its_length() {
    let keeper = Keeper::new(Arc::new(Shelf::default()));
    let mut packer = Packer::new(keeper.pending(), Code::new(2, 3).unwrap());
    let mut file = packer.begin_file(10_000).await.unwrap();
    packer.write(&mut file, &[1; 9_999]).await.unwrap();
    assert!(packer.write(&mut file, &[1; 2]).await.is_err());
    let mut file = packer.begin_file(10_000).await.unwrap();
    packer.write(&mut file, &[1; 9_999]).await.unwrap();
    assert!(packer.finish(file).await.is_err());
}
