//! Random histories of the store against a model that is slow and plain.

use std::collections::HashMap;

use commonhold_format::ids::ChunkId;
use commonhold_format::inventory::{Inventory, InventoryEntry};
use commonhold_format::wire::Addition;
use commonhold_store::{BookError, CommitError, Preview, ReadError, Role, Stop, Store};
use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use crate::people::{Chunk, Deal, STARTS, assert_accounts, chunk, deal, open_without_trash as open, root};

const CHUNKS: usize = 10;
/// Two contracts that this node provides, and one that it owns.
const ROLES: [Role; 3] = [Role::Provider, Role::Provider, Role::Owner];

#[derive(Debug, Clone)]
enum Step {
    Put {
        contract: usize,
        chunk: usize,
    },
    Commit {
        contract: usize,
        adds: Vec<usize>,
        removes: Vec<Index>,
        seconds: u64,
    },
    /// A commit whose revision says one byte too much.
    Lie {
        contract: usize,
        adds: Vec<usize>,
    },
    /// A preview that removes an entry that may not be there.
    Remove {
        contract: usize,
        index: u64,
    },
    Lose {
        chunks: Vec<usize>,
    },
    Abandon {
        contract: usize,
    },
    EmptyTrash,
    /// Compaction as long as it is worth it.
    Compact,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let contract = 0..ROLES.len();
    let chunks = || proptest::collection::vec(0..CHUNKS, 0..4);
    let removes = proptest::collection::vec(any::<Index>(), 0..3);
    prop_oneof![
        6 => (contract.clone(), 0..CHUNKS).prop_map(|(contract, chunk)| Step::Put { contract, chunk }),
        8 => (contract.clone(), chunks(), removes, 0..100u64).prop_map(|(contract, adds, removes, seconds)| {
            Step::Commit { contract, adds, removes, seconds }
        }),
        1 => (contract.clone(), chunks()).prop_map(|(contract, adds)| Step::Lie { contract, adds }),
        1 => (contract.clone(), 0..6u64).prop_map(|(contract, index)| Step::Remove { contract, index }),
        1 => chunks().prop_map(|chunks| Step::Lose { chunks }),
        1 => contract.prop_map(|contract| Step::Abandon { contract }),
        1 => Just(Step::EmptyTrash),
        1 => Just(Step::Compact),
        2 => Just(Step::Restart),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Live,
    /// Put under this contract and not committed.
    Waiting(usize),
    /// Let go by all contracts.
    Trash,
    Dead,
}

#[derive(Clone, Default)]
struct Account {
    /// A chunk or a hole, and its length.
    entries: Vec<(Option<usize>, u32)>,
    sequence: u64,
    time: u64,
    byte_seconds: u128,
}

impl Account {
    fn held_bytes(&self) -> u64 {
        self.entries.iter().filter(|(chunk, _)| chunk.is_some()).map(|(_, len)| u64::from(*len)).sum()
    }

    fn index_of(&self, wanted: usize) -> Option<u64> {
        self.entries.iter().position(|(chunk, _)| *chunk == Some(wanted)).map(|index| index as u64)
    }

    fn holds(&self, chunk: usize) -> bool {
        self.index_of(chunk).is_some()
    }

    fn root(&self, chunks: &[Chunk]) -> [u8; 32] {
        let mut offset = 0;
        let entries = self.entries.iter().map(|(chunk, len)| {
            let entry = InventoryEntry { offset, len: *len, chunk: chunk.map(|chunk| chunks[chunk].id) };
            offset += u64::from(*len);
            entry
        });
        Inventory::from_entries(entries).expect("the model's entries lie end to end").root()
    }
}

struct Model {
    chunks: Vec<Chunk>,
    accounts: Vec<Account>,
    /// Every record of the one pack, in order.
    records: Vec<(usize, Record)>,
    lost: Vec<usize>,
}

impl Model {
    fn new() -> Self {
        let chunks = (0..CHUNKS).map(|seed| chunk(seed as u64, 1 + 37 * seed)).collect();
        Self { chunks, accounts: vec![Account::default(); 3], records: Vec::new(), lost: Vec::new() }
    }

    fn adds(&self, adds: &[usize]) -> Vec<Addition> {
        adds.iter().map(|chunk| self.chunks[*chunk].addition()).collect()
    }

    fn has(&self, chunk: usize, wanted: impl Fn(Record) -> bool) -> bool {
        self.records.iter().any(|(other, record)| *other == chunk && wanted(*record))
    }

    fn is_here(&self, chunk: usize) -> bool {
        self.has(chunk, |record| matches!(record, Record::Live | Record::Waiting(_)))
    }

    fn in_trash(&self, chunk: usize) -> bool {
        self.has(chunk, |record| record == Record::Trash)
    }

    /// The account after a change.
    fn changed(&self, contract: usize, adds: &[usize], removes: &[u64]) -> Account {
        let mut account = self.accounts[contract].clone();
        for index in removes {
            account.entries[*index as usize].0 = None;
        }
        for chunk in adds {
            if !account.holds(*chunk) {
                account.entries.push((Some(*chunk), self.chunks[*chunk].bytes.len() as u32));
            }
        }
        account.sequence += 1;
        account
    }

    fn preview(&self, account: &Account) -> Preview {
        Preview {
            sequence: account.sequence,
            inventory_root: account.root(&self.chunks),
            entries: account.entries.len() as u64,
            span: account.entries.iter().map(|(_, len)| u64::from(*len)).sum(),
            held_bytes: account.held_bytes(),
            held_chunks: account.entries.iter().filter(|(chunk, _)| chunk.is_some()).count() as u64,
        }
    }

    fn commit(&mut self, contract: usize, mut account: Account, adds: &[usize], seconds: u64) {
        let before = &self.accounts[contract];
        account.time = before.time + seconds;
        account.byte_seconds += u128::from(before.held_bytes() * seconds);
        self.accounts[contract] = account;
        if ROLES[contract] == Role::Owner {
            self.lost.retain(|chunk| !adds.contains(chunk) && self.accounts[contract].holds(*chunk));
            return;
        }
        for (chunk, record) in &mut self.records {
            let taken_over = adds.contains(chunk) && matches!(record, Record::Waiting(_) | Record::Trash);
            let held = self.accounts[..2].iter().any(|account| account.holds(*chunk));
            match record {
                _ if taken_over => *record = Record::Live,
                Record::Live if !held => *record = Record::Trash,
                _ => {}
            }
        }
    }

    fn restart(&mut self) {
        for (_, record) in &mut self.records {
            if matches!(record, Record::Waiting(_)) {
                *record = Record::Dead;
            }
        }
    }

    fn bytes(&self, wanted: impl Fn(Record) -> bool) -> u64 {
        let records = self.records.iter().filter(|(_, record)| wanted(*record));
        records.map(|(chunk, _)| self.chunks[*chunk].record_len()).sum()
    }

    fn compare(&self, store: &Store, deals: &[Deal]) {
        let usage = store.usage();
        assert_eq!(usage.live_bytes, self.bytes(|record| record == Record::Live));
        assert_eq!(usage.trash_bytes, self.bytes(|record| record == Record::Trash));
        assert!(usage.dead_bytes <= self.bytes(|record| record == Record::Dead));
        assert_accounts(store);
        assert_eq!(usage.pending_bytes, self.bytes(|record| matches!(record, Record::Waiting(_))));
        for (number, chunk) in self.chunks.iter().enumerate() {
            assert_eq!(store.holds(&chunk.id), self.is_here(number), "chunk {number}");
            match store.read(&chunk.id) {
                Ok(bytes) => assert!(self.is_here(number) && bytes == chunk.bytes),
                Err(error) => assert!(!self.is_here(number) && matches!(error, ReadError::NotHeld)),
            }
            let owned = self.accounts[2].index_of(number);
            let expected: Vec<_> =
                owned.map(|index| (index, self.lost.contains(&number))).into_iter().collect();
            let holders: Vec<_> =
                store.holders(&chunk.id).into_iter().map(|holding| (holding.index, holding.lost)).collect();
            assert_eq!(holders, expected);
        }
        for (deal, account) in deals.iter().zip(&self.accounts) {
            let state = store.contract(&deal.id).unwrap();
            assert_eq!(state.revision.map_or(0, |(last, _)| last.sequence), account.sequence);
            assert_eq!(state.byte_seconds, account.byte_seconds);
            let entries = account.entries.len() as u64;
            assert_eq!(root(store, &deal.id), Some((account.root(&self.chunks), entries)));
        }
    }

    fn take(&mut self, step: Step, store: &Store, deals: &[Deal]) {
        match step {
            Step::Put { contract, chunk } => {
                let put = self.chunks[chunk].put(store, &deals[contract]);
                assert_eq!(put.is_ok(), ROLES[contract] == Role::Provider);
                if put.is_ok() && !self.is_here(chunk) && !self.in_trash(chunk) {
                    self.records.push((chunk, Record::Waiting(contract)));
                }
            }
            Step::Commit { contract, adds, removes, seconds } => {
                let held: Vec<u64> = (0..)
                    .zip(&self.accounts[contract].entries)
                    .filter_map(|(index, (chunk, _))| chunk.map(|_| index))
                    .collect();
                let mut removes: Vec<u64> =
                    removes.iter().filter(|_| !held.is_empty()).map(|index| *index.get(&held)).collect();
                removes.sort_unstable();
                removes.dedup();
                let account = self.changed(contract, &adds, &removes);
                let additions = self.adds(&adds);
                let preview = store.preview(&deals[contract].id, &additions, &removes).unwrap();
                assert_eq!(preview, self.preview(&account));
                let time = STARTS + self.accounts[contract].time + seconds;
                let revision = deals[contract].revision(&preview, time);
                let note = deals[contract].sign(&revision);
                let outcome = store.commit(&deals[contract].id, &revision, &note, &additions, &removes);
                let missing: Vec<ChunkId> = adds
                    .iter()
                    .filter(|chunk| {
                        ROLES[contract] == Role::Provider && !self.is_here(**chunk) && !self.in_trash(**chunk)
                    })
                    .map(|chunk| self.chunks[*chunk].id)
                    .collect();
                if missing.is_empty() {
                    outcome.unwrap();
                    self.commit(contract, account, &adds, seconds);
                } else {
                    assert!(matches!(outcome, Err(CommitError::Missing(named)) if named == missing));
                }
            }
            Step::Lie { contract, adds } => {
                let additions = self.adds(&adds);
                let mut preview = store.preview(&deals[contract].id, &additions, &[]).unwrap();
                preview.held_bytes += 1;
                preview.span += 1;
                let revision = deals[contract].revision(&preview, STARTS);
                let note = deals[contract].sign(&revision);
                let outcome = store.commit(&deals[contract].id, &revision, &note, &additions, &[]);
                assert!(matches!(outcome, Err(CommitError::Mismatch)));
            }
            Step::Remove { contract, index } => {
                let outcome = store.preview(&deals[contract].id, &[], &[index]);
                let entry = self.accounts[contract].entries.get(index as usize);
                match entry {
                    Some((Some(_), _)) => assert!(outcome.is_ok()),
                    _ => assert!(matches!(outcome, Err(BookError::Change(_)))),
                }
            }
            Step::Lose { chunks } => {
                let ids: Vec<ChunkId> = chunks.iter().map(|chunk| self.chunks[*chunk].id).collect();
                store.mark_lost(&deals[2].id, &ids).unwrap();
                self.lost.extend(chunks.into_iter().filter(|chunk| self.accounts[2].holds(*chunk)));
            }
            Step::Abandon { contract } => {
                let bytes = self.bytes(|record| record == Record::Waiting(contract));
                assert_eq!(store.abandon(&deals[contract].id), bytes);
                for (_, record) in &mut self.records {
                    if *record == Record::Waiting(contract) {
                        *record = Record::Dead;
                    }
                }
            }
            Step::EmptyTrash => {
                let bytes = self.bytes(|record| record == Record::Trash);
                assert_eq!(store.empty_trash().unwrap(), bytes);
                for (_, record) in &mut self.records {
                    if *record == Record::Trash {
                        *record = Record::Dead;
                    }
                }
            }
            Step::Compact => {
                while store.compact(&Stop::default()).unwrap().is_some_and(|done| done.deleted_bytes > 0) {}
            }
            Step::Restart => unreachable!("the caller restarts"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..40)) {
        let dir = TempDir::new().unwrap();
        let mut model = Model::new();
        let mut store = open(dir.path());
        let deals: Vec<Deal> =
            (1..).zip(ROLES).map(|(salt, role)| deal(salt).enter(&store, role)).collect();
        for step in steps {
            if matches!(step, Step::Restart) {
                drop(store);
                store = open(dir.path());
                model.restart();
            } else {
                model.take(step, &store, &deals);
            }
            model.compare(&store, &deals);
        }
        drop(store);
        model.restart();
        model.compare(&open(dir.path()), &deals);
        let names: HashMap<_, _> = model.chunks.iter().map(|chunk| (chunk.id, ())).collect();
        prop_assert_eq!(names.len(), CHUNKS);
    }
}
