//! Syncs: shared by concurrent appends, waited for before an answer, and never tried again after a
//! failure.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use commonhold_format::statement::{AuditIntent, Statement};
use tempfile::TempDir;

use super::*;
use crate::frame::HEADER;

fn key() -> PartyKey {
    PartyKey::from_seed(&[1; 32])
}

fn note(number: u64) -> SignedNote {
    let intent = AuditIntent {
        contract: commonhold_format::ids::ContractId([2; 32]),
        epoch: number,
        revision: 1,
        commitment: [3; 32],
        time: 1,
    };
    SignedNote::sign(Statement::AuditIntent(intent).to_text(), &key()).unwrap()
}

fn open_with(
    dir: &TempDir,
    sync: impl Fn(&File) -> io::Result<()> + Send + std::marker::Sync + 'static,
) -> Ledger {
    let disk = Disk { sync: Box::new(sync), ..Disk::default() };
    Ledger::open_with(dir.path(), key(), "test".to_owned(), disk).unwrap()
}

#[test]
fn concurrent_appends_share_syncs_and_each_is_durable_before_its_answer() {
    const THREADS: u64 = 8;
    const EACH: u64 = 25;
    let dir = TempDir::new().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    // Bytes that the last finished sync has covered for certain: the length before it began.
    let covered = Arc::new(AtomicUsize::new(0));
    let ledger = {
        let (syncs, covered) = (syncs.clone(), covered.clone());
        open_with(&dir, move |log| {
            let before = log.metadata()?.len() as usize;
            std::thread::sleep(Duration::from_millis(2));
            syncs.fetch_add(1, Ordering::SeqCst);
            covered.fetch_max(before, Ordering::SeqCst);
            Ok(())
        })
    };
    let places = std::thread::scope(|scope| {
        let work = |thread| {
            let (ledger, covered) = (&ledger, &covered);
            move || {
                for at in 0..EACH {
                    let index = ledger.append(&note(thread * EACH + at)).unwrap();
                    let place = ledger.inner.state().places[index as usize];
                    let end = place.offset as usize + place.head.len as usize;
                    assert!(covered.load(Ordering::SeqCst) >= end, "answered before its sync");
                    assert!(ledger.len() > index);
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).count()
    });
    assert_eq!((places as u64, ledger.len()), (THREADS, THREADS * EACH));
    let syncs = syncs.load(Ordering::SeqCst) as u64;
    assert!(syncs < THREADS * EACH / 2, "{syncs} syncs for {} appends", THREADS * EACH);
    drop(ledger);
    assert_eq!(open_with(&dir, File::sync_data).len(), THREADS * EACH);
}

#[test]
fn attack_41_after_a_failed_sync_the_ledger_stops() {
    let dir = TempDir::new().unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let syncs = Arc::new(AtomicUsize::new(0));
    let ledger = {
        let (fails, syncs) = (fails.clone(), syncs.clone());
        open_with(&dir, move |log| {
            syncs.fetch_add(1, Ordering::SeqCst);
            if fails.load(Ordering::SeqCst) { Err(io::Error::other("bad disk")) } else { log.sync_data() }
        })
    };
    ledger.append(&note(0)).unwrap();
    let (head, tried) = (ledger.head(), syncs.load(Ordering::SeqCst));
    fails.store(true, Ordering::SeqCst);
    match ledger.append(&note(1)) {
        Err(LedgerError::Stopped { why, .. }) => assert_eq!(why, "bad disk"),
        other => panic!("{other:?}"),
    }
    // The disk says that it is well again: no matter, and no further try.
    fails.store(false, Ordering::SeqCst);
    for number in [0, 1, 2] {
        assert!(matches!(ledger.append(&note(number)), Err(LedgerError::Stopped { .. })));
    }
    assert!(matches!(ledger.checkpoint(), Err(LedgerError::Stopped { .. })));
    assert_eq!(syncs.load(Ordering::SeqCst), tried + 1);
    // What was durable can still be read, and nothing else shows.
    assert_eq!(ledger.head(), head);
    assert_eq!(ledger.entries(0, 10), [(0, note(0))]);
    drop(ledger);
    // The next open takes what is on the disk, and syncs it first.
    let ledger = open_with(&dir, File::sync_data);
    assert!(!ledger.is_empty());
    assert_eq!(ledger.append(&note(1)).unwrap(), 1);
}

#[test]
fn attack_41_a_failed_sync_fails_everybody_who_waited_for_it() {
    let dir = TempDir::new().unwrap();
    let ledger = open_with(&dir, |_| {
        std::thread::sleep(Duration::from_millis(30));
        Err(io::Error::other("bad disk"))
    });
    std::thread::scope(|scope| {
        for number in 0..6 {
            let ledger = &ledger;
            scope.spawn(move || {
                assert!(matches!(ledger.append(&note(number)), Err(LedgerError::Stopped { .. })));
            });
        }
    });
    assert!(ledger.is_empty());
}

#[test]
fn the_checkpoint_never_covers_what_is_not_durable() {
    let dir = TempDir::new().unwrap();
    let ledger = open_with(&dir, |log| {
        std::thread::sleep(Duration::from_millis(50));
        log.sync_data()
    });
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| ledger.append(&note(0)).unwrap());
        while fs::metadata(dir.path().join(LOG)).unwrap().len() == HEADER.len() as u64 {
            std::thread::yield_now();
        }
        let head = Checkpoint::from_text(ledger.checkpoint().unwrap().text()).unwrap();
        assert_eq!((head.size, ledger.len(), ledger.entries(0, 1)), (0, 0, vec![]));
        appending.join().unwrap();
    });
    assert_eq!(ledger.len(), 1);
}

#[test]
fn attack_41_a_batch_that_cannot_be_written_is_taken_back_whole_and_the_ledger_goes_on() {
    let dir = TempDir::new().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let disk = {
        let full = full.clone();
        Disk {
            // A disk that takes half of it and is full then.
            write: Box::new(move |mut log, bytes| {
                if !full.load(Ordering::SeqCst) {
                    return io::Write::write_all(&mut log, bytes);
                }
                io::Write::write_all(&mut log, &bytes[..bytes.len() / 2])?;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }),
            ..Disk::default()
        }
    };
    let ledger = Ledger::open_with(dir.path(), key(), "test".to_owned(), disk).unwrap();
    ledger.append_all(&[note(0), note(1)]).unwrap();
    let (head, len) = (ledger.head(), fs::metadata(dir.path().join(LOG)).unwrap().len());
    full.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for number in 2..8 {
            let ledger = &ledger;
            scope.spawn(move || match ledger.append(&note(number)) {
                Err(LedgerError::Io { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::StorageFull),
                other => panic!("{other:?}"),
            });
        }
    });
    // Those that are there cost no write.
    assert_eq!(ledger.append(&note(1)).unwrap(), 1);
    assert!(matches!(ledger.append_all(&[note(0), note(9)]), Err(LedgerError::Io { .. })));
    assert_eq!((ledger.head(), fs::metadata(dir.path().join(LOG)).unwrap().len()), (head, len));
    full.store(false, Ordering::SeqCst);
    assert_eq!(ledger.append_all(&[note(3), note(0), note(3), note(4)]).unwrap(), [2, 0, 2, 3]);
    drop(ledger);
    let ledger = open_with(&dir, File::sync_data);
    let found: Vec<SignedNote> = ledger.entries(0, 10).into_iter().map(|(_, note)| note).collect();
    assert_eq!(found, [note(0), note(1), note(3), note(4)]);
}

#[test]
fn a_note_on_its_way_is_not_written_twice() {
    let dir = TempDir::new().unwrap();
    let ledger = open_with(&dir, |log| {
        std::thread::sleep(Duration::from_millis(5));
        log.sync_data()
    });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..10 {
                    let index = ledger.append(&note(number)).unwrap();
                    assert_eq!(ledger.entries(index, 1), [(index, note(number))]);
                }
            });
        }
    });
    assert_eq!(ledger.len(), 10);
}
