//! A provider made by hand: it keeps what it is given in memory, and answers probes as the test says.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commonhold_engine::policy::BuiltIn;
use commonhold_format::audit;
use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::Inventory;
use commonhold_format::keys::{DeviceSecret, PartyKey};
use commonhold_format::note::SignedNote;
use commonhold_format::policy::Moment;
use commonhold_format::probe::{ProbedLeaf, probed_leaf};
use commonhold_format::record::{NodeRecord, Offer};
use commonhold_format::statement::{Prices, Statement};
use commonhold_format::tree::{LeafProof, leaf_count};
use commonhold_format::wire::{Refusal, Request, Response, refused};
use commonhold_net::{Incoming, Net, NetConfig, start};

/// How it answers probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    /// As it should.
    Rightly,
    /// Not: as a node of an older version, it closes the stream.
    Ends,
    /// With this refusal.
    Refuses(Refusal),
    /// With the answer to something else.
    Otherwise,
    /// With right leaves, each in the place of another chunk.
    OtherChunks,
    /// With the leaf beside the one that was drawn.
    OtherLeaves,
    /// With paths in another order.
    OtherPaths,
    /// With one element less.
    TooFew,
    /// With one element more.
    TooMany,
    /// With null for everything.
    Nothing,
}

struct Kept {
    contract: SignedNote,
    revision: Option<SignedNote>,
    inventory: Inventory,
}

struct State {
    party: PartyKey,
    record: Vec<u8>,
    contracts: HashMap<ContractId, Kept>,
    chunks: HashMap<ChunkId, Bytes>,
    probing: Probing,
    audits: usize,
}

/// The provider. It has more room than anybody, and asks for nothing.
pub struct Lender {
    pub net: Net,
    state: Arc<Mutex<State>>,
}

impl Lender {
    pub async fn new(seed: u8, bootstrap: Vec<String>) -> Self {
        let device = DeviceSecret::from_bytes([seed; 32]);
        let party = PartyKey::from_seed(&[seed; 32]);
        let (net, mut incoming) = start(NetConfig {
            peer_seed: device.peer_seed(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap,
            dht_server: true,
            policy: Arc::new(BuiltIn),
            moment: Moment::default,
        })
        .await
        .unwrap();
        let offer = Offer {
            free_bytes: 1 << 40,
            prices: Prices::default(),
            term_seconds_max: 366 * 86_400,
            region: None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let record = NodeRecord {
            node: net.node(),
            party: party.id(),
            sequence: 1,
            expires: now + 3600,
            addresses: net.addresses(),
            offer: Some(offer),
        };
        let record = record.encode(&device, &party).unwrap();
        let state = Arc::new(Mutex::new(State {
            party,
            record,
            contracts: HashMap::new(),
            chunks: HashMap::new(),
            probing: Probing::Rightly,
            audits: 0,
        }));
        let answering = state.clone();
        tokio::spawn(async move {
            while let Some(Incoming { request, answer, .. }) = incoming.recv().await {
                // Without an answer the stream ends.
                if let Some(response) = answering.lock().unwrap().answer(request) {
                    let _ = answer.send(response);
                }
            }
        });
        Self { net, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn answer_probes(&self, probing: Probing) {
        self.state().probing = probing;
    }

    /// Audits that it has answered.
    pub fn audits(&self) -> usize {
        self.state().audits
    }

    /// Chunks that it has signed for.
    pub fn held(&self) -> u64 {
        self.state().contracts.values().map(|it| it.inventory.held_chunks()).sum()
    }
}

impl State {
    fn answer(&mut self, request: Request) -> Option<Response> {
        Some(match request {
            Request::Hello => Response::Record { record: self.record.clone() },
            Request::OpenContract { note } => {
                let mut contract = SignedNote::parse(&note).unwrap();
                contract.countersign(&self.party);
                let Ok(Statement::Contract(terms)) = Statement::of(&contract) else { panic!("no contract") };
                let response = Response::Note { note: contract.to_bytes() };
                let kept = Kept { contract, revision: None, inventory: Inventory::new() };
                self.contracts.insert(terms.id(), kept);
                response
            }
            Request::ContractState { contract } => {
                let kept = &self.contracts[&contract];
                let revision = kept.revision.as_ref().map(SignedNote::to_bytes).unwrap_or_default();
                Response::ContractState { contract: kept.contract.to_bytes(), revision, receipt: Vec::new() }
            }
            Request::PutChunk { chunk, bytes, .. } => {
                self.chunks.insert(chunk, bytes);
                Response::Done
            }
            Request::Commit { note, adds, removes } => {
                let mut note = SignedNote::parse(&note).unwrap();
                let Ok(Statement::Revision(revision)) = Statement::of(&note) else { panic!("no revision") };
                let kept = self.contracts.get_mut(&revision.contract).unwrap();
                for index in removes {
                    kept.inventory.remove(index).unwrap();
                }
                for add in adds {
                    let held = kept.inventory.entries().iter().any(|it| it.chunk == Some(add.chunk));
                    if !held {
                        kept.inventory.push(add.chunk, add.len).unwrap();
                    }
                }
                assert_eq!(kept.inventory.root(), revision.inventory_root);
                note.countersign(&self.party);
                kept.revision = Some(note.clone());
                Response::Note { note: note.to_bytes() }
            }
            Request::GetChunk { chunk, .. } => match self.chunks.get(&chunk) {
                Some(bytes) => Response::Chunk { bytes: bytes.clone() },
                None => refused(Refusal::Unknown, "not here"),
            },
            Request::Audit { challenge } => {
                self.audits += 1;
                let show = |chunk: &ChunkId, _, leaf| self.leaf(chunk, |_| leaf);
                let proof = audit::prove(&challenge, &self.contracts[&challenge.contract].inventory, show);
                let Ok(proof) = proof;
                Response::Proof { proof: proof.without_inventory_paths() }
            }
            Request::AuditResult { .. } => Response::Done,
            Request::Probe { nonce, chunks } => return self.probed(nonce, &chunks),
            // As a node that does not know the question.
            Request::Quote { .. } => return None,
            _ => refused(Refusal::Busy, "not today"),
        })
    }

    fn leaf(&self, chunk: &ChunkId, of: impl Fn(u32) -> u64) -> Option<LeafProof> {
        let bytes = self.chunks.get(chunk)?;
        LeafProof::from_chunk(chunk, bytes, of(u32::try_from(bytes.len()).unwrap()))
    }

    fn probed(&self, nonce: [u8; 32], chunks: &[ChunkId]) -> Option<Response> {
        let beside = u64::from(self.probing == Probing::OtherLeaves);
        let show = |chunk: &ChunkId| {
            let of = |len| (probed_leaf(&nonce, chunk, len).unwrap() + beside) % leaf_count(len);
            self.leaf(chunk, of).map(ProbedLeaf::from)
        };
        let mut shown: Vec<Option<ProbedLeaf>> = chunks.iter().map(show).collect();
        match self.probing {
            Probing::Rightly => {}
            // A chunk of one leaf has no other.
            Probing::OtherLeaves => shown.iter_mut().for_each(|it| {
                it.take_if(|it| it.path.is_empty());
            }),
            Probing::Ends => return None,
            Probing::Refuses(reason) => return Some(refused(reason, "not today")),
            Probing::Otherwise => return Some(Response::Done),
            Probing::OtherChunks => shown.rotate_left(1),
            Probing::OtherPaths => shown.iter_mut().flatten().for_each(|it| match it.path.len() {
                0 | 1 => it.path.push([0; 32]),
                _ => it.path.reverse(),
            }),
            Probing::TooFew => drop(shown.pop()),
            Probing::TooMany => shown.push(shown[0].clone()),
            Probing::Nothing => shown.fill(None),
        }
        Some(Response::Probed { shown })
    }
}
