//! What the index does with what it is told, and with what it cannot read.

use tempfile::TempDir;

use super::people::{chunk, deal, open};
use crate::compaction::Stop;
use crate::error::{OpenError, StoreError};
use crate::index::value::{entries_key, holding_key};
use crate::index::{NewRevision, Table, Tables, Written};
use crate::record::Place;
use crate::{Role, Store, StoreConfig};

/// A table, and the key and value that are put there.
type Case<'a> = (fn(&Tables) -> Table, &'a [u8], &'a [u8]);

/// A store of one chunk after a value of its index was replaced.
fn broken(dir: &TempDir, (table, key, bytes): Case<'_>) -> Result<Store, OpenError> {
    {
        let store = open(dir.path());
        deal(1).enter(&store, Role::Provider).keep(&store, &[chunk(1, 100)]);
        let (key, bytes) = (key.to_vec(), bytes.to_vec());
        store.0.writer.write(move |change| Ok(table(change.tables).put(change.txn, &key, &bytes)?)).unwrap();
    }
    Store::open(StoreConfig::new(dir.path(), 1 << 30))
}

#[test]
fn attack_41_a_value_that_does_not_decode_is_found_by_opening_or_by_the_check() {
    let (deal, chunk) = (deal(1), chunk(1, 100).id);
    let holding = holding_key(&chunk, &deal.id);
    let entries = entries_key(&deal.id, 0);
    let at_opening: [Case<'_>; 4] = [
        (|it| it.contracts, &deal.id.0, &[2, 0xff]),
        (|it| it.contracts, b"short", b""),
        (|it| it.packs, &[0; 4], b"?"),
        (|it| it.meta, b"tail", &[2, 0]),
    ];
    for case in at_opening {
        let dir = TempDir::new().unwrap();
        match broken(&dir, case) {
            Err(OpenError::Index(StoreError::Damaged { key, .. })) => {
                assert_eq!(key, data_encoding::HEXLOWER.encode(case.1));
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("the store opened"),
        }
        // The packs have it all.
        crate::rebuild_index(&StoreConfig::new(dir.path(), 1 << 30)).unwrap();
        assert!(open(dir.path()).check(&Stop::default()).unwrap().findings.is_empty());
    }
    let by_the_check: [Case<'_>; 8] = [
        (|it| it.chunks, &chunk.0, b"?"),
        (|it| it.chunks, &[9; 32], &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0, 100]),
        (|it| it.holdings, &holding, &[2, 0, 0, 0, 0, 0, 0, 0, 0, 4]),
        // These decode, but are not what the contract's inventory and role say.
        (|it| it.holdings, &holding, &[2, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
        (|it| it.holdings, b"short", &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (|it| it.entries, &entries, b""),
        (|it| it.entries, &entries, &[2; 45]),
        (
            |it| it.trash,
            &[9; 32],
            &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 9],
        ),
    ];
    for (number, case) in by_the_check.into_iter().enumerate() {
        let dir = TempDir::new().unwrap();
        let store = broken(&dir, case).unwrap();
        let found = store.check(&Stop::default());
        assert!(!found.as_ref().is_ok_and(|report| report.findings.is_empty()), "case {number}: {found:?}");
        drop(store);
        crate::rebuild_index(&StoreConfig::new(dir.path(), 1 << 30)).unwrap();
        let store = open(dir.path());
        let report = store.check(&Stop::default()).unwrap();
        assert!(report.findings.is_empty(), "case {number}: {report:?}");
        super::people::chunk(1, 100).assert_held(&store);
    }
}

#[test]
fn attack_41_a_record_that_was_put_because_an_older_one_is_damaged_is_not_replaced_by_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    let chunk = chunk(1, 100).id;
    let place = |offset| Place { pack: 5, offset, len: 100 };
    // Two commits that were under way at once: the second to be written has the older record.
    let write = |added: Vec<u64>, healed: Vec<u64>, elsewhere: Vec<_>| {
        let at = |offsets: Vec<u64>| offsets.into_iter().map(|offset| (chunk, place(offset))).collect();
        let new = NewRevision {
            id: deal.id,
            state: store.contract(&deal.id).unwrap(),
            entries: Vec::new(),
            hashes: Vec::new(),
            removed: Vec::new(),
            held: vec![(chunk, 0)],
            added: at(added),
            healed: at(healed),
            elsewhere,
            trash_ends: 0,
        };
        let missing = match store.0.writer.write_revision(new).unwrap() {
            Written::Done => Vec::new(),
            Written::Missing(chunks) => chunks,
        };
        (store.0.index.place(&chunk).unwrap().map(|place| place.offset), missing)
    };
    // What another contract has let go since the commit looked is missing, and nothing is written.
    assert_eq!(write(vec![200], vec![], vec![chunk]), (None, vec![chunk]));
    // Nothing to heal: nobody holds the chunk.
    assert_eq!(write(vec![], vec![100], vec![]), (None, vec![]));
    assert_eq!(write(vec![200], vec![], vec![]), (Some(200), vec![]));
    assert_eq!(write(vec![200], vec![], vec![chunk]), (Some(200), vec![]));
    assert_eq!(write(vec![100], vec![], vec![]), (Some(200), vec![]));
    assert_eq!(write(vec![], vec![300], vec![]), (Some(300), vec![]));
}
