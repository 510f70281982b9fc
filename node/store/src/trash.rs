//! The trash: what nobody holds any more, until its term ends; and contracts that have ended.
//!
//! Invariant: a chunk leaves a contract by a revision that both signed, or when the contract ended
//! longer ago than its grace, or when this node gives it up. Not here: freeing the bytes (compaction),
//! and when a contract is given up before its end (spec/credit.md).

use commonhold_format::ids::ContractId;

use crate::book::Role;
use crate::error::StoreError;
use crate::figures::{Kept, Move};
use crate::index::journal::Booked;
use crate::index::value::{self, to_expiry_key};
use crate::index::{Broken, Change, ENTRIES, EXPIRY, damaged};
use crate::{Shared, Store};

/// Chunks that one transaction takes out of the trash, or puts into it.
const CHUNKS_MAX: usize = 1024;

impl Store {
    /// Forgets the chunks whose term in the trash has ended; answers how many bytes of records are
    /// dead since. Durable on return.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn empty_trash(&self) -> Result<u64, StoreError> {
        let store = &*self.0;
        let now = (store.clock)();
        let mut bytes = 0;
        loop {
            let (count, freed) = store.writer.write(move |change| forget_ended(change, now))?;
            bytes += freed;
            if count < CHUNKS_MAX {
                return Ok(bytes);
            }
        }
    }

    /// As [`give_up_ended_if`](Self::give_up_ended_if), all of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn give_up_ended(&self) -> Result<Vec<ContractId>, StoreError> {
        self.give_up_ended_if(|_| true)
    }

    /// Gives up the contracts under which this node is the provider, that ended longer ago than their
    /// grace, and to which `may` says yes: their chunks go to the trash. Answers which those were.
    /// Durable on return, and gone on with after a crash. Whoever does not trust the clock says yes
    /// only after a while.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn give_up_ended_if(
        &self,
        mut may: impl FnMut(&ContractId) -> bool,
    ) -> Result<Vec<ContractId>, StoreError> {
        let store = &*self.0;
        let now = (store.clock)();
        let mut given_up = Vec::new();
        for id in store.book.ids() {
            let Some(page) = store.book.page(&id) else { continue };
            let state = page.state();
            let grace_ends = state.contract.ends.saturating_add(state.contract.grace_seconds);
            if state.role != Role::Provider || (now <= grace_ends && !state.given_up) {
                continue;
            }
            if !state.given_up && !may(&id) {
                continue;
            }
            if self.give_up(&id)? {
                given_up.push(id);
            }
        }
        Ok(given_up)
    }

    /// Gives up a contract under which this node is the provider: its chunks go to the trash, and it
    /// takes no more. Answers whether it was not given up before. Durable on return, and gone on with
    /// after a crash by [`give_up_ended`](Self::give_up_ended).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn give_up(&self, id: &ContractId) -> Result<bool, StoreError> {
        let store = &*self.0;
        let Some(page) = store.book.page(id).filter(|page| page.state().role == Role::Provider) else {
            return Ok(false);
        };
        let turn = page.turn();
        let mut state = (*page.state()).clone();
        let is_new = !state.given_up;
        if is_new {
            state.given_up = true;
            store.writer.write_contract(id, &state)?;
            page.enter(&turn, state);
        }
        store.shelf.abandon(id);
        store.let_go_of(*id)?;
        Ok(is_new)
    }
}

impl Shared {
    /// Puts what a contract that is given up still holds into the trash.
    fn let_go_of(&self, id: ContractId) -> Result<(), StoreError> {
        let left = |shared: &Self| {
            shared.index.read(|tables, txn| {
                let mut entries = tables.entries.prefix_iter(txn, &id.0).map_err(crate::index::unreadable)?;
                Ok(entries.next().is_some())
            })
        };
        // Most contracts that were given up are done with: no transaction for those.
        while left(self)? {
            let trash_ends = self.trash_ends();
            self.writer.write(move |change| let_go_of_some(change, id, trash_ends))?;
        }
        Ok(())
    }
}

fn let_go_of_some(change: &mut Change<'_, '_>, id: ContractId, trash_ends: u64) -> Result<(), Broken> {
    let mut blocks = Vec::new();
    let mut count = 0;
    for item in change.tables.entries.prefix_iter(change.txn, &id.0)? {
        let (key, bytes) = item?;
        let entries = value::to_entries(bytes).map_err(damaged(ENTRIES, key))?;
        count += entries.len();
        blocks.push((key.to_vec(), entries));
        if count >= CHUNKS_MAX {
            break;
        }
    }
    for (key, entries) in &blocks {
        for chunk in entries.iter().filter_map(|entry| entry.chunk) {
            change.unhold(&chunk, &id)?;
            change.let_go(&chunk, trash_ends)?;
        }
        change.delete(Booked::Entries, key)?;
    }
    // There are fewer blocks of hashes than of entries.
    let mut hashes = Vec::new();
    for item in change.tables.hashes.prefix_iter(change.txn, &id.0)?.take(blocks.len() + 1) {
        hashes.push(item?.0.to_vec());
    }
    for key in hashes {
        change.unset(change.tables.hashes, &key)?;
    }
    Ok(())
}

/// Takes some of what has ended out of the trash; answers how many chunks and bytes.
fn forget_ended(change: &mut Change<'_, '_>, now: u64) -> Result<(usize, u64), Broken> {
    let mut ended = Vec::new();
    for item in change.tables.expiry.iter(change.txn)?.take(CHUNKS_MAX) {
        let (key, _) = item?;
        let expiry = to_expiry_key(key).ok_or_else(|| "not a time and a chunk id".to_owned());
        let (ends, chunk) = expiry.map_err(damaged(EXPIRY, key))?;
        if ends > now {
            break;
        }
        ended.push(chunk);
    }
    let mut bytes = 0;
    for chunk in &ended {
        if let Some(trashed) = change.untrash(chunk)? {
            bytes += trashed.place.record_len();
            change.moved(Move { chunk: *chunk, place: trashed.place, from: Some(Kept::Trash), to: None });
        }
    }
    Ok((ended.len(), bytes))
}
