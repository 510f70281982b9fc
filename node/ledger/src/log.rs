//! A ledger of somebody, read whole: its notes have the root that its party signed.
//!
//! Invariant: nothing of a [`Log`] is believed but what follows from its bytes: each note is in its one
//! form, the tree is built from the notes, and the head that the ledger's own key signed has that root.
//! Not here: whether the notes are signed and follow each other ([`crate::verify`]).

use std::collections::HashMap;

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::log::{TILE_WIDTH, TileId, decode_entries, encode_entries};
use commonhold_format::note::{NOTE_LEN_MAX, PartyVerifier, SignedNote};
use commonhold_format::statement::{Checkpoint, Statement, StatementError};
use commonhold_format::tree::{GrowingTree, Hash, leaf_hash};

use crate::book::{Account, Balance, Book, Conflict, Key, Notes};
use crate::error::LedgerError;
use crate::source::Source;

/// Most entries of a ledger that is loaded.
const ENTRIES_MAX: u64 = 10_000_000;
/// Most bytes of its notes: a node of 20 contracts writes as much in some 200 years.
const NOTES_LEN_MAX: u64 = 4 << 30;
/// Longest bundle of entries.
const BUNDLE_LEN_MAX: usize = TILE_WIDTH as usize * (NOTE_LEN_MAX + 2);
/// Bundles that are read before their notes are parsed, on several threads: at most 16,384 notes.
const WINDOW: usize = 64;

/// A ledger that was read whole; its root is the one in its signed head.
pub struct Log {
    /// The head.
    pub head: Checkpoint,
    /// The head's note, with its cosignatures.
    pub checkpoint: SignedNote,
    /// Whose ledger it is.
    pub party: PartyId,
    /// On which node.
    pub node: NodeId,
    /// The tree over the notes.
    pub tree: GrowingTree,
    /// Tiles of hashes that were shown, each with the hashes that follow from the notes.
    pub tiles: u64,
    notes: Vec<SignedNote>,
    book: Book,
    // Of each note, once they were looked at.
    signers: Vec<Signers>,
}

/// A ledger that cannot be read as one, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

impl From<String> for LoadError {
    fn from(why: String) -> Self {
        Self(why)
    }
}

/// What came of one entry's bytes.
type Parsed = Result<(Hash, SignedNote, Option<Key>), String>;

fn parse(bytes: &[u8]) -> Parsed {
    let note = SignedNote::parse(bytes).map_err(|error| error.to_string())?;
    let key = Key::of(&note);
    Ok((leaf_hash(bytes), note, key))
}

/// `work` on each item, on as many threads as the machine has cores, in order.
///
/// # Panics
/// When `work` does.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    on_threads(threads, items, || (), |(), item| work(item))
}

/// `work` on each item, in order, on `threads` threads that each have a state of their own.
///
/// # Panics
/// When `work` does: results that are missing must not pass for results.
fn on_threads<T: Sync, S, R: Send>(
    threads: usize,
    items: &[T],
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(threads.max(1)).max(1);
    let mut results = Vec::with_capacity(items.len());
    std::thread::scope(|scope| {
        let of = |part| {
            let (state, work) = (&state, &work);
            scope.spawn(move || {
                let mut state = state();
                Iterator::map(<[T]>::iter(part), |item| work(&mut state, item)).collect::<Vec<R>>()
            })
        };
        let parts: Vec<_> = items.chunks(share).map(of).collect();
        for part in parts {
            match part.join() {
                Ok(part) => results.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    results
}

impl Log {
    /// Reads a ledger and checks that its notes have the root that its party signed. Signatures of
    /// notes are not looked at yet.
    ///
    /// # Errors
    /// [`LoadError`], a sentence.
    pub fn load(source: &mut dyn Source) -> Result<Self, LoadError> {
        let checkpoint =
            source.get("checkpoint", NOTE_LEN_MAX)?.ok_or("there is no checkpoint".to_owned())?;
        let checkpoint = SignedNote::parse(&checkpoint).map_err(|error| format!("checkpoint: {error}"))?;
        let (head, party, node) =
            Checkpoint::of_ledger(&checkpoint).map_err(|error| format!("checkpoint: {error}"))?;
        if head.size > ENTRIES_MAX {
            return Err(LoadError(format!("{} entries are more than {ENTRIES_MAX}", head.size)));
        }
        let mut log = Self {
            head,
            checkpoint,
            party,
            node,
            tree: GrowingTree::new(),
            tiles: 0,
            notes: Vec::new(),
            book: Book::default(),
            signers: Vec::new(),
        };
        log.take_entries(source)?;
        for tile in TileId::all(log.head.size).filter(|tile| tile.level.is_some()) {
            // Hashes follow from the entries; those that are shown must be the same.
            let Some(shown) = source.get(&tile.to_string(), TILE_WIDTH as usize * 32)? else { continue };
            if log.tile(&tile).as_ref() != Some(&shown) {
                return Err(LoadError(format!("{tile} does not have the hashes of the entries")));
            }
            log.tiles += 1;
        }
        if log.tree.root() != log.head.root {
            let (size, party) = (log.head.size, log.party);
            return Err(LoadError(format!(
                "the {size} notes do not have the root that {party} signed: they were altered"
            )));
        }
        Ok(log)
    }

    fn take_entries(&mut self, source: &mut dyn Source) -> Result<(), LoadError> {
        let tiles: Vec<TileId> =
            TileId::all(self.head.size).take_while(|tile| tile.level.is_none()).collect();
        let mut total = 0;
        for window in tiles.chunks(WINDOW) {
            let mut bundles = Vec::with_capacity(window.len());
            for tile in window {
                let bundle = bundle_of(source, tile)?;
                total += bundle.len() as u64;
                bundles.push((usize::from(tile.width), bundle));
            }
            if total > NOTES_LEN_MAX {
                return Err(LoadError(format!("its notes have more than {NOTES_LEN_MAX} bytes")));
            }
            let parsed: Vec<Option<Vec<Parsed>>> = on_all_cores(&bundles, |(width, bundle)| {
                Some(decode_entries(bundle, *width)?.into_iter().map(parse).collect())
            });
            for (tile, entries) in window.iter().zip(parsed) {
                let entries =
                    entries.ok_or_else(|| format!("{tile} does not have {} entries", tile.width))?;
                let mut hashes = Vec::with_capacity(entries.len());
                for entry in entries {
                    let index = self.notes.len() as u64;
                    let (hash, note, key) = entry.map_err(|error| format!("entry {index}: {error}"))?;
                    if let Some(key) = key {
                        self.book.add(index, key);
                    }
                    hashes.push(hash);
                    self.notes.push(note);
                }
                self.tree.extend(hashes);
            }
        }
        Ok(())
    }

    /// A resource of tlog-tiles: hashes of a tile, or a bundle of entries.
    pub fn tile(&self, tile: &TileId) -> Option<Vec<u8>> {
        if tile.level.is_some() {
            return self.tree.tile(tile).map(|hashes| hashes.as_flattened().to_vec());
        }
        self.entries(tile.first(), tile.first() + u64::from(tile.width))
    }

    /// The entries from `from` up to `end`, laid out as in a bundle; `None` when there are fewer.
    pub(crate) fn entries(&self, from: u64, end: u64) -> Option<Vec<u8>> {
        let range = usize::try_from(from).ok()?..usize::try_from(end).ok()?;
        let notes: Vec<Vec<u8>> = self.notes.get(range)?.iter().map(SignedNote::to_bytes).collect();
        encode_entries(notes.iter().map(Vec::as_slice))
    }

    /// The note of an entry.
    pub fn note(&self, index: u64) -> Option<&SignedNote> {
        self.notes.get(usize::try_from(index).ok()?)
    }

    /// All notes with their indices, in order.
    pub fn notes(&self) -> impl Iterator<Item = (u64, &SignedNote)> {
        self.notes.iter().enumerate().map(|(index, note)| (index as u64, note))
    }

    /// What the notes of some entries say, in order. Read on all cores.
    pub(crate) fn statements(
        &self,
        entries: std::ops::Range<usize>,
    ) -> Vec<Result<Statement, StatementError>> {
        on_all_cores(self.notes.get(entries).unwrap_or_default(), Statement::of)
    }

    /// Verifies every signature line of a party, on `threads` threads, once: what is asked about
    /// signatures afterwards costs nothing.
    ///
    /// One by one, each key's point worked out once. Not in batches, though they take a third of the
    /// time: a batch takes signatures with a component of small order that strict verification refuses
    /// (tests/batch.rs), and what would rule those out costs as much as it saves.
    pub fn verify_signatures(&mut self, threads: usize) {
        if self.signers.len() < self.notes.len() {
            self.signers =
                on_threads(threads, &self.notes, HashMap::new, |keys, note| Signers::of(note, keys));
        }
    }

    /// Whose signatures an entry has, if they were verified.
    pub(crate) fn signers(&self, index: u64) -> Option<&Signers> {
        self.signers.get(usize::try_from(index).ok()?)
    }

    /// Whether a party signed an entry.
    pub(crate) fn signed_by(&self, index: u64, party: &PartyId) -> bool {
        match self.signers(index) {
            Some(signers) => signers.valid.contains(party),
            None => self.note(index).is_some_and(|note| note.is_signed_by(party)),
        }
    }

    /// What each contract of `me` comes to; see [`crate::Ledger::balances`].
    pub fn balances(&self, me: &PartyId) -> Vec<Balance> {
        Notes::balances(self, me).unwrap_or_default()
    }

    /// What stands between `me` and others; see [`crate::Ledger::accounts`].
    pub fn accounts(&self, me: &PartyId) -> Vec<Account> {
        Notes::accounts(self, me).unwrap_or_default()
    }

    /// Two texts for one subject and sequence; see [`crate::Ledger::conflicts`].
    pub fn conflicts(&self) -> Vec<Conflict> {
        Notes::conflicts(self).unwrap_or_default()
    }
}

/// A bundle of entries. Of one that is not full, a server may show no more than the full one that took
/// its place.
fn bundle_of(source: &mut dyn Source, tile: &TileId) -> Result<Vec<u8>, LoadError> {
    if let Some(bundle) = source.get(&tile.to_string(), BUNDLE_LEN_MAX)? {
        return Ok(bundle);
    }
    let full = TileId { width: TILE_WIDTH as u16, ..*tile };
    let shown = if full == *tile { None } else { source.get(&full.to_string(), BUNDLE_LEN_MAX)? };
    let shown = shown.ok_or_else(|| format!("{tile} is missing"))?;
    let entries = decode_entries(&shown, TILE_WIDTH as usize)
        .ok_or_else(|| format!("{full} does not have {TILE_WIDTH} entries"))?;
    encode_entries(entries.into_iter().take(tile.width.into()))
        .ok_or_else(|| LoadError(format!("{tile} is missing")))
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Notes for Log {
    fn look<T>(&self, up: impl FnOnce(&Book) -> T) -> T {
        up(&self.book)
    }

    fn notes(&self, indices: &[u64]) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        Ok(indices.iter().filter_map(|index| Some((*index, self.note(*index)?.clone()))).collect())
    }

    fn is_signed(&self, entry: &(u64, SignedNote), party: &PartyId) -> bool {
        self.signed_by(entry.0, party)
    }
}

/// Whose signatures a note has.
#[derive(Debug, Default)]
pub(crate) struct Signers {
    /// Parties whose line is valid.
    pub(crate) valid: Vec<PartyId>,
    /// Parties whose line is not.
    pub(crate) wrong: Vec<PartyId>,
    /// Lines of other keys, which everybody ignores.
    pub(crate) foreign: u32,
}

impl Signers {
    /// `keys` are those that were met before, by name.
    fn of(note: &SignedNote, keys: &mut HashMap<String, Option<PartyVerifier>>) -> Self {
        let mut signers = Self::default();
        for line in note.signatures() {
            if !keys.contains_key(&line.name) {
                keys.insert(line.name.clone(), PartyVerifier::named(&line.name));
            }
            let key = keys.get(&line.name).and_then(Option::as_ref);
            match key.and_then(|key| Some((key.party(), key.judge(note, line)?))) {
                Some((party, true)) => signers.valid.push(party),
                Some((party, false)) => signers.wrong.push(party),
                None => signers.foreign += 1,
            }
        }
        signers
    }
}
