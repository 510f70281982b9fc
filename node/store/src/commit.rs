//! A commit: from a signed revision to a durable one.
//!
//! Invariant: nothing is written unless both parties have signed exactly what the inventory comes
//! to and every added chunk is here; the index names no byte that was not synced before. When a
//! commit fails, nothing has changed; when it fails because the disk did, the next opening shows
//! all of it or nothing. Not here: whether a revision should be agreed to.

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Revision, Statement};
use commonhold_format::wire::Addition;

use crate::book::{Account, Change, ContractState, Page, Role};
use crate::error::{BookError, CommitError};
use crate::index::{NewRevision, Written};
use crate::{Shared, Store, check_says};

impl Store {
    /// Makes a revision and what it changes durable: removals first, then additions in order. The
    /// note must be the revision's and carry both signatures, and the revision must say what
    /// [`Store::preview`] says.
    ///
    /// On the provider's side every added chunk must have been [put](Store::put) or be held under
    /// another contract; its bytes are synced first, and concurrent commits share syncs. On the
    /// owner's side the lost marks of added chunks are cleared. The same revision again changes
    /// nothing and is a success. spec/store.md, "Commit".
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
        // The parties of a contract never change, so this needs no lock.
        if !page.state().both_signed(note) {
            return Err(BookError::Unsigned.into());
        }
        check_says(note, &Statement::Revision(revision.clone()))?;
        if revision.contract != *id {
            return Err(BookError::Note.into());
        }
        let mut account = page.account();
        let state = page.state();
        if state.revision.as_ref().is_some_and(|(_, last)| last.text() == note.text()) {
            return Ok(());
        }
        let last = state.revision.as_ref().map(|(last, _)| last);
        let (preview, change) = account.apply(last, adds, removes)?;
        let recorded = if preview.is(revision) {
            store.record(&page, &mut account, state.after(revision, note), &change, adds)
        } else {
            Err(CommitError::Mismatch)
        };
        if recorded.is_err() {
            account.undo(change);
        }
        recorded
    }
}

impl Shared {
    /// Makes a change that is applied to `account` durable: bytes first, then the index.
    fn record(
        &self,
        page: &Page,
        account: &mut Account,
        state: ContractState,
        change: &Change,
        adds: &[Addition],
    ) -> Result<(), CommitError> {
        let id = state.contract.id();
        let held = |add: &Addition| Some((add.chunk, account.index_of(&add.chunk)?));
        let mut new = NewRevision {
            id,
            state: state.clone(),
            removed: change.removed.clone(),
            appended: change.appended.clone(),
            held: adds.iter().filter_map(held).collect(),
            added: Vec::new(),
            healed: Vec::new(),
            elsewhere: Vec::new(),
        };
        // Held up to the end: it keeps the packs of these records in place.
        let staged;
        if state.role == Role::Provider {
            staged = self.shelf.stage(&id, adds)?;
            new.added = staged.added.clone();
            new.healed = staged.healed.clone();
            new.elsewhere = self.held_elsewhere(&staged.elsewhere)?;
            staged.sync()?;
        }
        match self.index.write_revision(new, self.shelf.clone())? {
            Written::Done(_) => {
                page.enter(account, state);
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
            match self.index.place(&add.chunk)? {
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
