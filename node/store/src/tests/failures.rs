//! Disks that fail: the store stops, says so, and has lost nothing that it acknowledged.

use std::cell::Cell;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use commonhold_format::statement::AuditOutcome;
use tempfile::TempDir;

use super::people::{Chunk, Deal, chunk, deal, open, root};
use super::simulated::Simulated;
use crate::error::{BookError, CommitError, PutError, StoreError};
use crate::{Role, Store};

/// Nothing is acknowledged any more, and what was is still served.
fn assert_stopped(store: &Store, deal: &Deal, kept: &[Chunk]) {
    assert!(matches!(store.failure(), Some(StoreError::Failed { .. })));
    assert!(matches!(chunk(900, 10).put(store, deal), Err(PutError::Failed(_))));
    if let Some(kept) = kept.first() {
        assert!(matches!(kept.put(store, deal), Err(PutError::Failed(_))));
    }
    assert!(matches!(deal.try_commit(store, &[], &[]), Err(CommitError::Failed(_))));
    let other = super::people::deal(99);
    let entered = store.open_contract(Role::Provider, &other.contract, &other.note);
    assert!(matches!(entered, Err(BookError::Store(StoreError::Failed { .. }))));
    let (receipt, note) = deal.receipt(1);
    assert!(matches!(store.receipt(&deal.id, &receipt, &note), Err(BookError::Store(_))));
    let audited = store.audited(&deal.id, 1, AuditOutcome::Passed, [1; 32]);
    assert!(matches!(audited, Err(BookError::Store(_))));
    let state = store.contract(&deal.id).unwrap();
    assert_eq!((state.receipt, state.next_epoch), (None, 1), "only what is durable is shown");
    kept.iter().for_each(|chunk| chunk.assert_held(store));
}

#[test]
fn attack_41_after_a_failed_sync_nothing_is_acknowledged_and_the_sync_is_not_tried_again() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let (kept, lost) = (chunk(1, 500), chunk(2, 500));
    {
        let store = disk.open(dir.path());
        let deal = deal(1).enter(&store, Role::Provider);
        deal.keep(&store, std::slice::from_ref(&kept));
        lost.put(&store, &deal).unwrap();
        disk.fail_syncs(true);
        let adds = [lost.addition()];
        let outcome = deal.try_commit(&store, &adds, &[]);
        assert!(matches!(outcome, Err(CommitError::Failed(StoreError::Failed { .. }))), "{outcome:?}");
        // A system may call the next sync a success after it has dropped the pages.
        disk.fail_syncs(false);
        let syncs = disk.syncs();
        assert!(matches!(deal.try_commit(&store, &adds, &[]), Err(CommitError::Failed(_))));
        assert_eq!(disk.syncs(), syncs);
        assert_eq!(store.contract(&deal.id).unwrap().revision.unwrap().0.sequence, 1);
        assert_eq!(root(&store, &deal.id).unwrap().1, 1);
        assert_stopped(&store, &deal, std::slice::from_ref(&kept));
    }
    let store = open(dir.path());
    kept.assert_held(&store);
    assert!(!store.holds(&lost.id));
    deal(1).keep(&store, &[lost]);
}

#[test]
fn attack_41_after_a_failed_write_nothing_is_acknowledged() {
    for written in [0, 1, 80, 300] {
        let dir = TempDir::new().unwrap();
        let disk = Simulated::default();
        let (kept, lost) = (chunk(1, 500), chunk(2, 500));
        {
            let store = disk.open(dir.path());
            let deal = deal(1).enter(&store, Role::Provider);
            deal.keep(&store, std::slice::from_ref(&kept));
            disk.fail_write_after(written);
            let put = lost.put(&store, &deal);
            assert!(matches!(put, Err(PutError::Failed(StoreError::Failed { .. }))), "{put:?}");
            assert!(!store.holds(&lost.id));
            assert_stopped(&store, &deal, std::slice::from_ref(&kept));
        }
        let store = open(dir.path());
        kept.assert_held(&store);
        assert_eq!((store.usage().live_bytes, store.usage().dead_bytes), (kept.record_len(), 0));
        deal(1).keep(&store, &[lost]);
    }
}

#[test]
fn a_pack_that_cannot_be_made_stops_the_store() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let store = disk.open_with(dir.path(), |setup| setup.pack_len_max = Some(1));
    let deal = deal(1).enter(&store, Role::Provider);
    disk.fail_creates();
    assert!(matches!(chunk(1, 10).put(&store, &deal), Err(PutError::Failed(_))));
    assert_stopped(&store, &deal, &[]);
}

const THREADS: u8 = 8;

/// Eight contracts with a chunk put and a commit each, all at once after `prepare`; answers how they
/// came out.
fn commit_at_once(store: &Store, prepare: impl FnOnce()) -> Vec<Result<(), CommitError>> {
    let deals: Vec<Deal> = (0..THREADS).map(|salt| deal(salt).enter(store, Role::Provider)).collect();
    prepare();
    let begin = Barrier::new(usize::from(THREADS));
    thread::scope(|scope| {
        let commit = |deal: Deal| {
            let begin = &begin;
            scope.spawn(move || {
                let chunk = chunk(u64::from(deal.contract.salt[0]), 2000);
                chunk.put(store, &deal).unwrap();
                begin.wait();
                deal.try_commit(store, &[chunk.addition()], &[])
            })
        };
        let commits: Vec<_> = deals.into_iter().map(commit).collect();
        commits.into_iter().map(|commit| commit.join().unwrap()).collect()
    })
}

/// How many syncs eight commits at once take while each sync takes its time.
fn syncs_of_commits_at_once() -> u64 {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let store = disk.open(dir.path());
    let before = Cell::new(0);
    let outcomes = commit_at_once(&store, || {
        disk.sync_takes(Duration::from_millis(200));
        before.set(disk.syncs());
    });
    assert!(outcomes.iter().all(Result::is_ok));
    disk.syncs() - before.get()
}

#[test]
fn concurrent_commits_share_syncs() {
    // The first that came, those that came while it ran, and one more for a slow thread. On a machine
    // that is busy all threads may be slow, but not again and again.
    let tries: Vec<u64> =
        (0..20).map_while(|_| Some(syncs_of_commits_at_once()).filter(|it| *it > 3)).collect();
    assert!(tries.len() < 20, "{tries:?} syncs for {THREADS} commits");
}

#[test]
fn attack_41_all_commits_that_share_a_failed_sync_fail() {
    let dir = TempDir::new().unwrap();
    let disk = Simulated::default();
    let store = disk.open(dir.path());
    let before = Cell::new(0);
    let outcomes = commit_at_once(&store, || {
        disk.fail_syncs(true);
        before.set(disk.syncs());
    });
    assert!(outcomes.iter().all(|it| matches!(it, Err(CommitError::Failed(_)))), "{outcomes:?}");
    assert_eq!(disk.syncs() - before.get(), 1);
}
