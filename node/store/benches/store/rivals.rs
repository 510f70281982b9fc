//! What one could keep chunks in instead of the store. Each rival puts a stock of chunks into an
//! empty folder, makes them durable, and answers how long that took; opening its files is not in it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions};
use redb::TableDefinition;

use crate::stock::Stock;

/// The whole bytes of a stock, one after the other into one file, with a sync after every `group`
/// chunks: what the disk gives to one thread that does nothing else. Nothing could be found again.
pub(crate) fn plain_append(folder: &Path, stock: &Stock, group: usize) -> Duration {
    let mut file = File::create(folder.join("plain")).unwrap();
    let begun = Instant::now();
    for number in 0..stock.len() {
        file.write_all(stock.chunk(number).1).unwrap();
        if (number + 1) % group == 0 || number + 1 == stock.len() {
            file.sync_data().unwrap();
        }
    }
    begun.elapsed()
}

/// A file for each of the first `count` chunks, which is there whole or not at all: written under
/// another name, synced, renamed, and the folder synced.
pub(crate) fn file_per_chunk(folder: &Path, stock: &Stock, count: usize) -> Duration {
    let names = File::open(folder).unwrap();
    let partial = folder.join("partial");
    let begun = Instant::now();
    for number in 0..count.min(stock.len()) {
        let (id, bytes) = stock.chunk(number);
        let mut file = File::create(&partial).unwrap();
        file.write_all(bytes).unwrap();
        file.sync_all().unwrap();
        fs::rename(&partial, folder.join(HEXLOWER.encode(&id.0))).unwrap();
        names.sync_all().unwrap();
    }
    begun.elapsed()
}

#[allow(unsafe_code)]
fn open_lmdb(folder: &Path, map_len: usize) -> Env {
    // SAFETY: LMDB maps its file, so nobody may change it behind its back. The folder was made for
    // this run, and nobody else knows it.
    unsafe { EnvOpenOptions::new().map_size(map_len).max_dbs(1).open(folder) }.unwrap()
}

/// LMDB with the first `count` chunks as values, `group` of them in a transaction.
pub(crate) fn lmdb_values(folder: &Path, stock: &Stock, count: usize, group: usize) -> Duration {
    // Twice what is put, for the tree and for pages that are free only after a commit.
    let env = open_lmdb(folder, 2 * stock.len() * stock.chunk_len() + (64 << 20));
    let txn = env.write_txn().unwrap();
    let chunks: Database<'static, Bytes, Bytes> = env
        .create_databases_and_commit(txn, |opener, txn| {
            let chunks = opener.create_database(txn, Some("chunks"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(chunks))
        })
        .unwrap()
        .unwrap_commit();
    let count = count.min(stock.len());
    let begun = Instant::now();
    for first in (0..count).step_by(group) {
        let mut txn = env.write_txn().unwrap();
        for number in first..(first + group).min(count) {
            let (id, bytes) = stock.chunk(number);
            chunks.put(&mut txn, &id.0, bytes).unwrap();
        }
        txn.commit().unwrap();
    }
    begun.elapsed()
}

const REDB_CHUNKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("chunks");

/// redb, a B-tree without C, with all chunks as values, `group` of them in a durable transaction.
pub(crate) fn redb_values(folder: &Path, stock: &Stock, group: usize) -> Duration {
    let database = redb::Database::create(folder.join("redb")).unwrap();
    let begun = Instant::now();
    for first in (0..stock.len()).step_by(group) {
        let txn = database.begin_write().unwrap();
        {
            let mut chunks = txn.open_table(REDB_CHUNKS).unwrap();
            for number in first..(first + group).min(stock.len()) {
                let (id, bytes) = stock.chunk(number);
                chunks.insert(id.0.as_slice(), bytes).unwrap();
            }
        }
        txn.commit().unwrap();
    }
    begun.elapsed()
}
