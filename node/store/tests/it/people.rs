//! Parties, contracts, chunks and commits for the tests of this crate.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::Path;

use commonhold_format::ids::{ChunkId, ContractId, NodeId};
use commonhold_format::inventory::{InventoryEntry, InventoryView};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Prices, Receipt, Revision, Statement};
use commonhold_format::tree::{Hash, chunk_id};
use commonhold_format::wire::Addition;
use commonhold_store::{CommitError, Preview, Role, Store, StoreConfig};

/// When the contracts of tests begin.
pub(crate) const STARTS: u64 = 1_790_000_000;
/// When they end.
pub(crate) const ENDS: u64 = 1_800_000_000;
/// Bytes of a record's header.
pub(crate) const HEADER_LEN: u64 = 88;
/// Bytes of a pack's header.
pub(crate) const PACK_HEADER_LEN: u64 = 48;

/// Length of a pack in a small store, so also its reserve.
pub(crate) const PACK_LEN: u64 = 4 << 20;

pub(crate) fn open(dir: &Path) -> Store {
    open_with(dir, 1 << 30)
}

pub(crate) fn open_with(dir: &Path, allotted_bytes: u64) -> Store {
    Store::open(StoreConfig::new(dir, allotted_bytes)).expect("the store opens")
}

/// A store that keeps nothing in its trash once that is emptied.
pub(crate) fn open_without_trash(dir: &Path) -> Store {
    let config = StoreConfig { trash_term_seconds: 0, ..StoreConfig::new(dir, 1 << 30) };
    Store::open(config).expect("the store opens")
}

pub(crate) fn signed(statement: Statement, keys: &[&PartyKey]) -> SignedNote {
    let mut note = SignedNote::sign(statement.to_text(), keys[0]).expect("statements are texts of notes");
    for key in &keys[1..] {
        note.countersign(key);
    }
    note
}

/// A contract and both of its parties.
pub(crate) struct Deal {
    pub(crate) owner: PartyKey,
    pub(crate) provider: PartyKey,
    pub(crate) contract: Contract,
    pub(crate) id: ContractId,
    pub(crate) note: SignedNote,
}

/// The same contract for the same salt.
pub(crate) fn deal(salt: u8) -> Deal {
    let (owner, provider) = (PartyKey::from_seed(&[1; 32]), PartyKey::from_seed(&[2; 32]));
    let contract = Contract {
        owner: owner.id(),
        provider: provider.id(),
        node: NodeId([7; 32]),
        salt: [salt; 16],
        prices: Prices::default(),
        bytes_max: 1 << 40,
        starts: STARTS,
        ends: ENDS,
        audit_interval_seconds: 86_400,
        grace_seconds: 86_400,
        hold_microcredits: 0,
    };
    let note = signed(Statement::Contract(contract.clone()), &[&owner, &provider]);
    Deal { id: contract.id(), owner, provider, contract, note }
}

impl Deal {
    pub(crate) fn enter(self, store: &Store, role: Role) -> Self {
        store.open_contract(role, &self.contract, &self.note).expect("both have signed");
        self
    }

    pub(crate) fn revision(&self, preview: &Preview, time: u64) -> Revision {
        Revision {
            contract: self.id,
            sequence: preview.sequence,
            inventory_root: preview.inventory_root,
            entries: preview.entries,
            span: preview.span,
            held_bytes: preview.held_bytes,
            held_chunks: preview.held_chunks,
            time,
        }
    }

    pub(crate) fn sign(&self, revision: &Revision) -> SignedNote {
        signed(Statement::Revision(revision.clone()), &[&self.owner, &self.provider])
    }

    /// The revision that these changes come to, one second after the one before, and its note.
    pub(crate) fn revise(&self, store: &Store, adds: &[Addition], removes: &[u64]) -> (Revision, SignedNote) {
        let preview = store.preview(&self.id, adds, removes).expect("the change is possible");
        let revision = self.revision(&preview, STARTS + preview.sequence);
        let note = self.sign(&revision);
        (revision, note)
    }

    pub(crate) fn try_commit(
        &self,
        store: &Store,
        adds: &[Addition],
        removes: &[u64],
    ) -> Result<(), CommitError> {
        let (revision, note) = self.revise(store, adds, removes);
        store.commit(&self.id, &revision, &note, adds, removes)
    }

    pub(crate) fn commit(&self, store: &Store, adds: &[Addition], removes: &[u64]) {
        self.try_commit(store, adds, removes).expect("the commit is in order");
    }

    /// Puts chunks and commits them.
    pub(crate) fn keep(&self, store: &Store, chunks: &[Chunk]) {
        for chunk in chunks {
            chunk.put(store, self).expect("the chunk is taken in");
        }
        self.commit(store, &additions(chunks), &[]);
    }

    pub(crate) fn receipt(&self, sequence: u64) -> (Receipt, SignedNote) {
        let receipt = Receipt {
            contract: self.id,
            sequence,
            until: STARTS + sequence,
            byte_seconds: u128::from(sequence),
            egress_bytes: sequence,
            audits_passed: sequence,
            audits_failed: 0,
            owed_microcredits: sequence,
            evidence: [0; 32],
            owner_node: NodeId([8; 32]),
            owner_head: (1, [1; 32]),
            provider_head: (1, [2; 32]),
        };
        let note = signed(Statement::Receipt(receipt.clone()), &[&self.owner, &self.provider]);
        (receipt, note)
    }
}

/// A chunk and its bytes.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) id: ChunkId,
    pub(crate) bytes: Vec<u8>,
}

/// The same chunk for the same seed and length.
pub(crate) fn chunk(seed: u64, len: usize) -> Chunk {
    let bytes = chunk_bytes(seed, len);
    Chunk { id: chunk_id(&bytes), bytes }
}

/// The bytes of [`chunk`].
pub(crate) fn chunk_bytes(seed: u64, len: usize) -> Vec<u8> {
    // SplitMix64: any bytes do, as long as they differ.
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((mixed ^ (mixed >> 31)).to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

impl Chunk {
    pub(crate) fn addition(&self) -> Addition {
        Addition { chunk: self.id, len: self.bytes.len() as u32 }
    }

    pub(crate) fn record_len(&self) -> u64 {
        let len = self.bytes.len() as u64;
        let roots = if len > 16_384 { 32 * len.div_ceil(16_384) } else { 0 };
        HEADER_LEN + len + roots
    }

    pub(crate) fn put(&self, store: &Store, deal: &Deal) -> Result<(), commonhold_store::PutError> {
        store.put(deal.id, self.id, &self.bytes)
    }

    pub(crate) fn assert_held(&self, store: &Store) {
        match store.read(&self.id) {
            Ok(bytes) => assert!(bytes == self.bytes, "another chunk's bytes were served"),
            Err(error) => panic!("{} of {} bytes: {error}", self.id, self.bytes.len()),
        }
    }
}

/// Everything in a contract's inventory, holes included.
pub(crate) fn entries(store: &Store, id: &ContractId) -> Vec<InventoryEntry> {
    let entries = store.with_inventory(id, |it| it.entries_from(0, usize::MAX)).expect("the index is read");
    entries.map(|entries| entries.expect("the index is read")).unwrap_or_default()
}

/// Root and number of entries of a contract's inventory; none when there is no such contract.
pub(crate) fn root(store: &Store, id: &ContractId) -> Option<(Hash, u64)> {
    store.with_inventory(id, |it| (it.root(), it.len())).expect("the index is read")
}

/// What must hold at every moment.
pub(crate) fn assert_accounts(store: &Store) {
    let it = store.usage();
    let sum = it.used_bytes + it.trash_bytes + it.dead_bytes + it.reserve_bytes + it.free_bytes;
    assert_eq!(sum, it.allotted_bytes + it.excess_bytes, "{it:?}");
}

pub(crate) fn additions(chunks: &[Chunk]) -> Vec<Addition> {
    chunks.iter().map(Chunk::addition).collect()
}
