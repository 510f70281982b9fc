//! An index whose file is cut off or has something else in its pages: it is refused with a sentence, or
//! it works. LMDB by itself ends the process, and these tests with it.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::images::Rng;
use super::people::{Chunk, additions, chunk, deal};
use super::simulated::scratch;
use super::world::config;
use crate::error::{OpenError, StoreError};
use crate::index::journal::Booked;
use crate::opening::Setup;
use crate::{Role, Stop, Store, rebuild_index};

/// Bytes of LMDB's page here.
const PAGE: usize = 4096;

fn data(dir: &Path) -> std::path::PathBuf {
    dir.join("index/data.mdb")
}

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open_with(config(dir), Setup { pack_len_max: Some(64 << 10), ..Setup::default() })
}

/// A store with branches, free pages and data on pages of their own in its index.
fn sample(dir: &Path) -> Vec<Chunk> {
    let store = open(dir).unwrap();
    let deals = [deal(1).enter(&store, Role::Provider), deal(2).enter(&store, Role::Owner)];
    let chunks: Vec<Chunk> = (0..300).map(|seed| chunk(seed, 20)).collect();
    for deal in &deals {
        chunks.chunks(60).for_each(|some| match deal.id == deals[0].id {
            true => deal.keep(&store, some),
            false => deal.commit(&store, &additions(some), &[]),
        });
    }
    deals[0].commit(&store, &[], &(0..100).collect::<Vec<_>>());
    chunks[100..].to_vec()
}

fn copy(from: &Path, index: &[u8]) -> TempDir {
    let to = scratch();
    for folder in ["index", "packs"] {
        fs::create_dir(to.path().join(folder)).unwrap();
    }
    fs::copy(from.join("format"), to.path().join("format")).unwrap();
    for pack in fs::read_dir(from.join("packs")).unwrap() {
        let pack = pack.unwrap();
        fs::copy(pack.path(), to.path().join("packs").join(pack.file_name())).unwrap();
    }
    fs::write(data(to.path()), index).unwrap();
    to
}

/// Opens, reads, checks and changes what can be; answers whether the index was refused.
fn is_refused(dir: &Path, chunks: &[Chunk]) -> bool {
    let store = match open(dir) {
        Ok(store) => store,
        Err(OpenError::Index(error)) => {
            let says_what_to_do = error.to_string().contains("rebuild-index");
            assert!(says_what_to_do || matches!(error, StoreError::Read { .. }), "{error}");
            return true;
        }
        // Values that decode to something else.
        Err(OpenError::Pack { .. } | OpenError::OtherStore { .. }) => return true,
        Err(error) => panic!("{error}"),
    };
    let found = store.check(&Stop::default());
    chunks.iter().for_each(|chunk| drop(store.read(&chunk.id)));
    let next = chunk(1_000_000, 50);
    let deal = deal(9);
    let changed = store.open_contract(Role::Provider, &deal.contract, &deal.note).is_ok()
        && next.put(&store, &deal).is_ok()
        && deal.try_commit(&store, &[next.addition()], &[]).is_ok();
    drop(store.empty_trash());
    !changed || !found.is_ok_and(|report| report.findings.is_empty())
}

#[test]
fn attack_41_an_index_that_is_cut_off_is_refused() {
    let dir = scratch();
    let chunks = sample(dir.path());
    let whole = fs::read(data(dir.path())).unwrap();
    assert!(!is_refused(copy(dir.path(), &whole).path(), &chunks));
    let pages = whole.len() / PAGE;
    assert!(pages > 40, "{pages}");
    let mut refused = 0;
    for len in
        (0..pages).map(|page| page * PAGE).chain([100, PAGE + 100, whole.len() / 2 + 77, whole.len() - 1])
    {
        let cut = copy(dir.path(), &whole[..len]);
        match open(cut.path()) {
            Err(OpenError::Index(StoreError::IndexFile { file, .. })) => {
                assert_eq!(file, data(cut.path()));
                refused += 1;
            }
            // It is as good as gone.
            Err(OpenError::Index(StoreError::Damaged { .. })) if len == 0 => {}
            // What was cut off is free.
            Ok(_) => assert!(!is_refused(cut.path(), &chunks), "{len} bytes"),
            Err(error) => panic!("{len} bytes: {error}"),
        }
    }
    assert!(refused > pages * 3 / 4, "{refused} of {pages}");
    let half = copy(dir.path(), &whole[..whole.len() / 2]);
    assert!(open(half.path()).is_err_and(|error| error.to_string().contains("`store rebuild-index`")));
    rebuild_index(&config(half.path())).unwrap();
    assert!(!is_refused(half.path(), &chunks));
}

#[test]
fn attack_41_a_page_of_the_index_with_something_else_in_it_is_refused_or_free() {
    let dir = scratch();
    let chunks = sample(dir.path());
    let whole = fs::read(data(dir.path())).unwrap();
    let pages = whole.len() / PAGE;
    let mut rng = Rng(3);
    let mut refused = 0;
    for page in 0..pages {
        let place = page * PAGE..(page + 1) * PAGE;
        let noise: Vec<u8> = (0..PAGE).map(|_| rng.below(256) as u8).collect();
        let other = (page + pages / 2) % pages * PAGE;
        // The right kind of page, with nodes somewhere.
        let mut nodes = whole[place.clone()].to_vec();
        nodes[16..].copy_from_slice(&noise[16..]);
        for junk in [&[0; PAGE][..], &[0xff; PAGE], &noise, &whole[other..other + PAGE], &nodes] {
            let mut index = whole.clone();
            index[place.clone()].copy_from_slice(junk);
            refused += usize::from(is_refused(copy(dir.path(), &index).path(), &chunks));
        }
    }
    assert!(refused > pages * 2, "{refused} of {}", pages * 5);
}

#[test]
fn attack_41_bits_that_flip_in_the_index_do_not_end_the_process() {
    let dir = scratch();
    let chunks = sample(dir.path());
    let whole = fs::read(data(dir.path())).unwrap();
    let mut rng = Rng(5);
    let mut refused = 0;
    for number in 0..300 {
        let mut index = whole.clone();
        let page = rng.below((whole.len() / PAGE) as u64) as usize * PAGE;
        // Mostly where pages say what is in them.
        let within = if number % 3 == 0 { PAGE as u64 } else { 48 };
        index[page + rng.below(within) as usize] ^= 1 << rng.below(8);
        refused += usize::from(is_refused(copy(dir.path(), &index).path(), &chunks));
    }
    println!("{refused} of 300 flips were noticed");
    assert!(refused > 50, "{refused}");
}

#[test]
fn an_index_whose_last_pages_are_free_and_not_in_the_file_is_in_order() {
    let dir = scratch();
    let chunks = sample(dir.path());
    let file_pages = || fs::metadata(data(dir.path())).unwrap().len() / PAGE as u64;
    {
        let store = open(dir.path()).unwrap();
        let before = file_pages();
        // Pages that a transaction takes and gives back are not written.
        let write = |change: &mut crate::index::Change<'_, '_>| {
            change.put(Booked::Segments, &[7; 32], &[2; 600_000])?;
            change.delete(Booked::Segments, &[7; 32])
        };
        store.0.writer.write(write).unwrap();
        let known = store.0.index.env.env().info().last_page_number as u64 + 1;
        assert!(known > before + 100 && file_pages() < known, "{before}, {known}, {}", file_pages());
    }
    assert!(!is_refused(dir.path(), &chunks));
}
