//! A commit: from a signed revision to a durable one.
//!
//! Invariant: nothing is written unless both parties have signed exactly what the inventory comes
//! to and every added chunk is here; the index names no byte that was not synced before. When a
//! commit fails, nothing has changed; when it fails because the disk did, the next opening shows
//! all of it or nothing. Not here: whether a revision should be agreed to.

use std::collections::{HashMap, HashSet};
use std::sync::MutexGuard;

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Revision, Statement};
use commonhold_format::wire::Addition;

use crate::book::{ContractState, Page, Preview, Role};
use crate::error::{BookError, CommitError};
use crate::index::{NewRevision, TxnBlocks, Written};
use crate::inventory::{Changed, Edit};
use crate::{Shared, Store, check_says};

/// What changes an inventory comes to.
struct Plan {
    changed: Changed,
    /// Chunks that it holds no more.
    removed: Vec<ChunkId>,
    /// Added chunks, those that it held before among them, with their index.
    held: Vec<(ChunkId, u64)>,
}

impl Store {
    /// Makes a revision and what it changes durable: removals first, then additions in order. The
    /// note must be the revision's and carry both signatures, and the revision must say what
    /// [`Store::preview`] says.
    ///
    /// On the provider's side every added chunk must have been [put](Store::put), be held under
    /// another contract, or be in the trash; concurrent commits share syncs. On the owner's side
    /// the lost marks of added chunks are cleared. The same revision again is a success and changes
    /// nothing, but that records that were put in the place of damaged ones are durable with it.
    /// spec/store.md, "Commit".
    ///
    /// # Errors
    /// [`CommitError`]; nothing has changed then.
    pub fn commit(
        &self,
        id: &ContractId,
        revision: &Revision,
        note: &SignedNote,
        adds: &[Addition],
        removes: &[u64],
    ) -> Result<(), CommitError> {
        let store = &*self.0;
        let page = store.book.page(id).ok_or(BookError::Unknown)?;
        // The parties of a contract never change, so this needs no turn.
        if !page.state().both_signed(note) {
            return Err(BookError::Unsigned.into());
        }
        check_says(note, &Statement::Revision(revision.clone()))?;
        if revision.contract != *id {
            return Err(BookError::Note.into());
        }
        let turn = page.turn();
        let state = page.state();
        if state.revision.as_ref().is_some_and(|(_, last)| last.text() == note.text()) {
            return store.heal(&state, adds);
        }
        let plan = store.plan(id, &state, adds, removes)?;
        if !Preview::new(&state, &plan.changed.shape).is(revision) {
            return Err(CommitError::Mismatch);
        }
        store.record(&page, &turn, (*state).clone().after(revision, note), plan, adds)
    }

    /// What the inventory would come to after these changes: removals first, then additions in
    /// order. An addition that the inventory holds already appends nothing. Nothing changes. Waits
    /// for a commit of the same contract that is under way.
    ///
    /// # Errors
    /// [`BookError::Unknown`], [`BookError::GivenUp`] and [`BookError::Change`].
    pub fn preview(&self, id: &ContractId, adds: &[Addition], removes: &[u64]) -> Result<Preview, BookError> {
        let page = self.0.book.page(id).ok_or(BookError::Unknown)?;
        let _turn = page.turn();
        let state = page.state();
        let plan = self.0.plan(id, &state, adds, removes)?;
        Ok(Preview::new(&state, &plan.changed.shape))
    }
}

impl Shared {
    /// Works a change out. The caller has the contract's turn.
    fn plan(
        &self,
        id: &ContractId,
        state: &ContractState,
        adds: &[Addition],
        removes: &[u64],
    ) -> Result<Plan, BookError> {
        if state.given_up {
            return Err(BookError::GivenUp);
        }
        let reading = self.index.reading()?;
        let (tables, txn) = (&self.index.tables, &reading.txn);
        let blocks = TxnBlocks { tables, txn, contract: *id };
        let mut edit = Edit::new(state.shape(), &blocks);
        let mut removed = HashSet::new();
        for index in removes {
            removed.extend(edit.remove(*index)?.chunk);
        }
        let mut held = Vec::with_capacity(adds.len());
        let mut appended = HashMap::new();
        for add in adds {
            let before = match appended.get(&add.chunk) {
                Some(index) => Some(*index),
                None if removed.contains(&add.chunk) => None,
                None => tables.held(txn, &add.chunk, id)?.map(|held| held.index),
            };
            let index = match before {
                Some(index) => index,
                None => {
                    let index = edit.push(add.chunk, add.len)?;
                    appended.insert(add.chunk, index);
                    index
                }
            };
            held.push((add.chunk, index));
        }
        // What was removed and added again is held.
        let removed = removed.into_iter().filter(|chunk| !appended.contains_key(chunk)).collect();
        Ok(Plan { changed: edit.finish()?, removed, held })
    }

    /// Makes durable what was put in the place of damaged records, for a commit that is there already.
    /// The caller has the contract's turn.
    fn heal(&self, state: &ContractState, adds: &[Addition]) -> Result<(), CommitError> {
        if state.role != Role::Provider {
            return Ok(());
        }
        let id = state.contract.id();
        // Held up to the end, as below.
        let staged = self.shelf.stage(&id, adds)?;
        // As healed ones: what is not held gets no place by being added again.
        let healed: Vec<_> = staged.added.iter().chain(&staged.healed).copied().collect();
        if !healed.is_empty() {
            self.writer.write_revision(NewRevision::again(id, state.clone(), healed))?;
        }
        Ok(())
    }

    /// Makes a change durable.
    fn record(
        &self,
        page: &Page,
        turn: &MutexGuard<'_, ()>,
        state: ContractState,
        plan: Plan,
        adds: &[Addition],
    ) -> Result<(), CommitError> {
        let id = state.contract.id();
        let mut new = NewRevision {
            id,
            state: state.clone(),
            entries: plan.changed.entries,
            hashes: plan.changed.hashes,
            removed: plan.removed,
            held: plan.held,
            added: Vec::new(),
            healed: Vec::new(),
            elsewhere: Vec::new(),
            trash_ends: self.trash_ends(),
        };
        // Held up to the end: it keeps the packs of these records in place.
        let staged;
        if state.role == Role::Provider {
            staged = self.shelf.stage(&id, adds)?;
            new.added = staged.added.clone();
            new.healed = staged.healed.clone();
            new.elsewhere = self.held_elsewhere(&staged.elsewhere)?;
        }
        match self.writer.write_revision(new)? {
            Written::Done => {
                page.enter(turn, state);
                Ok(())
            }
            Written::Missing(chunks) => Err(CommitError::Missing(chunks)),
        }
    }

    /// Checks additions that were not put now: the index must have the chunks, in the lengths that
    /// the additions say.
    fn held_elsewhere(&self, adds: &[Addition]) -> Result<Vec<ChunkId>, CommitError> {
        let mut missing = Vec::new();
        for add in adds {
            match self.index.find(&add.chunk)?.map(|found| found.place()) {
                None => missing.push(add.chunk),
                Some(place) if place.len != add.len => {
                    return Err(CommitError::Length { chunk: add.chunk, said: add.len, held: place.len });
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() {
            Ok(adds.iter().map(|add| add.chunk).collect())
        } else {
            Err(CommitError::Missing(missing))
        }
    }
}
