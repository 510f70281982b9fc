//! Many threads at one store.

use std::thread;

use commonhold_store::{CommitError, PutError, Role};
use tempfile::TempDir;

use crate::people::{Chunk, PACK_LEN, additions, chunk, deal, entries, open, root};

const THREADS: u64 = 8;
const ROUNDS: u64 = 12;

#[test]
fn eight_threads_put_commit_read_and_remove_at_once() {
    let dir = TempDir::new().unwrap();
    // Every thread has a contract of its own, and all of them keep these chunks as well.
    let shared: Vec<Chunk> = (0..ROUNDS).map(|round| chunk(round, 3000)).collect();
    let own = |thread: u64, round: u64| chunk(1000 + thread * 100 + round, 700 + round as usize);
    {
        let store = open(dir.path());
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, shared) = (store.clone(), &shared);
                scope.spawn(move || {
                    let deal = deal(thread as u8).enter(&store, Role::Provider);
                    for round in 0..ROUNDS {
                        let chunks = [own(thread, round), shared[round as usize].clone()];
                        // A chunk of all may be let go by another between put and commit.
                        while {
                            chunks.iter().for_each(|chunk| chunk.put(&store, &deal).unwrap());
                            match deal.try_commit(&store, &additions(&chunks), &[]) {
                                Ok(()) => false,
                                Err(CommitError::Missing(_)) => true,
                                Err(error) => panic!("{error}"),
                            }
                        } {}
                        chunks.iter().for_each(|chunk| chunk.assert_held(&store));
                        // Even threads keep everything; odd ones let the chunk of all go again.
                        if thread % 2 == 1 {
                            deal.commit(&store, &[], &[2 * round + 1]);
                        }
                        store.usage();
                    }
                });
            }
        });
        let usage = store.usage();
        assert_eq!(usage.pending_bytes, 0);
        assert_eq!(usage.chunks, THREADS * ROUNDS + ROUNDS);
    }
    let store = open(dir.path());
    for thread in 0..THREADS {
        (0..ROUNDS).for_each(|round| own(thread, round).assert_held(&store));
        let held = entries(&store, &deal(thread as u8).id).iter().filter(|it| it.chunk.is_some()).count();
        assert_eq!(held as u64, ROUNDS * (2 - thread % 2));
    }
    shared.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn one_contract_is_changed_by_one_commit_at_a_time() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deal = deal(1).enter(&store, Role::Provider);
    // All threads commit to the same contract: of those that previewed the same revision one wins,
    // and the others preview again.
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, deal) = (store.clone(), &deal);
            scope.spawn(move || {
                let chunk = chunk(thread, 900);
                chunk.put(&store, deal).unwrap();
                loop {
                    match deal.try_commit(&store, &[chunk.addition()], &[]) {
                        Ok(()) => break,
                        Err(CommitError::Mismatch) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let (revision, _) = store.contract(&deal.id).unwrap().revision.unwrap();
    assert_eq!((revision.sequence, revision.held_chunks), (THREADS, THREADS));
    assert_eq!(root(&store, &deal.id), Some((revision.inventory_root, THREADS)));
}

#[test]
fn the_same_chunk_put_by_many_is_written_once() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let deals: Vec<_> = (0..THREADS as u8).map(|salt| deal(salt).enter(&store, Role::Provider)).collect();
    let chunk = chunk(1, 50_000);
    thread::scope(|scope| {
        for deal in &deals {
            let (store, chunk) = (&store, &chunk);
            scope.spawn(move || chunk.put(store, deal).unwrap());
        }
    });
    assert_eq!(store.usage().pending_bytes, chunk.record_len());
}

#[test]
fn the_quota_holds_when_many_put_at_once() {
    let dir = TempDir::new().unwrap();
    let len = chunk(0, 200_000).record_len();
    let store = crate::people::open_with(dir.path(), PACK_LEN + (1 << 20));
    let deal = deal(1).enter(&store, Role::Provider);
    let fits = store.usage().free_bytes / len;
    let taken: u64 = thread::scope(|scope| {
        let put = |thread| {
            let (store, deal) = (&store, &deal);
            scope.spawn(move || match chunk(thread, 200_000).put(store, deal) {
                Ok(()) => 1,
                Err(PutError::QuotaReached { .. }) => 0,
                Err(error) => panic!("{error}"),
            })
        };
        let puts: Vec<_> = (0..3 * THREADS).map(put).collect();
        puts.into_iter().map(|put| put.join().unwrap()).sum()
    });
    assert_eq!(taken, fits);
    assert_eq!(store.usage().pending_bytes, fits * len);
    crate::people::assert_accounts(&store);
}
