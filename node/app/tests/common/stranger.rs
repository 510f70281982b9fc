//! An owner made by hand: it speaks to a real node over the network and does what it likes.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commonhold_engine::policy::BuiltIn;
use commonhold_format::ids::{ChunkId, ContractId, NodeId, PartyId};
use commonhold_format::inventory::Inventory;
use commonhold_format::keys::{DeviceSecret, PartyKey};
use commonhold_format::note::SignedNote;
use commonhold_format::policy::Moment;
use commonhold_format::record::NodeRecord;
use commonhold_format::statement::{Contract, Prices, Receipt, Revision, Statement};
use commonhold_format::tree::chunk_id;
use commonhold_format::wire::{Addition, Refusal, Request, Response};
use commonhold_net::{Incoming, Net, NetConfig, start};
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Who a provider is, from its `status`.
#[derive(Clone)]
pub struct Target {
    pub node: NodeId,
    pub party: PartyId,
    pub addresses: Vec<String>,
}

impl Target {
    pub fn of(status: &Value) -> Self {
        let addresses = status["addresses"].as_array().unwrap();
        Self {
            node: status["peer_id"].as_str().unwrap().parse().unwrap(),
            party: status["party"].as_str().unwrap().parse().unwrap(),
            addresses: addresses.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
        }
    }
}

/// An answer that is a refusal.
pub type Refused = (Refusal, String);

/// One contract as the stranger knows it.
pub struct Deal {
    pub contract: Contract,
    pub inventory: Inventory,
    pub revision: Option<(Revision, SignedNote)>,
    pub receipt: Option<(Receipt, SignedNote)>,
}

/// A node with a key of its own and no rules.
pub struct Stranger {
    pub net: Net,
    pub party: PartyKey,
    pub target: Target,
}

impl Stranger {
    pub async fn new(seed: u8, target: &Target) -> Self {
        let device = DeviceSecret::from_bytes([seed; 32]);
        let party = PartyKey::from_seed(&[seed; 32]);
        let (net, mut incoming) = start(NetConfig {
            peer_seed: device.peer_seed(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: Vec::new(),
            dht_server: false,
            policy: Arc::new(BuiltIn),
            moment: Moment::default,
        })
        .await
        .unwrap();
        net.remember(target.node, target.addresses.clone());
        let record = NodeRecord {
            node: net.node(),
            party: party.id(),
            sequence: 1,
            expires: now() + 3600,
            addresses: net.addresses(),
            offer: None,
        };
        let record = record.encode(&device, &party).unwrap();
        tokio::spawn(async move {
            while let Some(Incoming { request, answer, .. }) = incoming.recv().await {
                let refused = || commonhold_format::wire::refused(Refusal::Other, "a stranger".to_owned());
                let _ = answer.send(match request {
                    Request::Hello => Response::Record { record: record.clone() },
                    _ => refused(),
                });
            }
        });
        Self { net, party, target: target.clone() }
    }

    pub async fn call(&self, request: Request) -> Result<Response, Refused> {
        match self.net.call(self.target.node, request, LONG).await.unwrap() {
            Response::Refused { reason, message } => Err((reason, message)),
            response => Ok(response),
        }
    }

    async fn note(&self, request: Request) -> Result<SignedNote, Refused> {
        match self.call(request).await? {
            Response::Note { note } => Ok(SignedNote::parse(&note).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    pub fn sign(&self, statement: Statement) -> SignedNote {
        SignedNote::sign(statement.to_text(), &self.party).unwrap()
    }

    /// Opens a contract for so many bytes.
    pub async fn open(&self, bytes_max: u64, change: impl FnOnce(&mut Contract)) -> Result<Deal, Refused> {
        let mut contract = Contract {
            owner: self.party.id(),
            provider: self.target.party,
            node: self.target.node,
            salt: [7; 16],
            prices: Prices::default(),
            bytes_max,
            starts: now(),
            ends: now() + 30 * 86_400,
            audit_interval_seconds: 86_400,
            grace_seconds: 3600,
            hold_microcredits: 0,
        };
        change(&mut contract);
        let note = self.sign(Statement::Contract(contract.clone()));
        self.note(Request::OpenContract { note: note.to_bytes() }).await?;
        Ok(Deal { contract, inventory: Inventory::new(), revision: None, receipt: None })
    }

    pub async fn put(&self, contract: ContractId, bytes: &[u8]) -> Result<Addition, Refused> {
        let (chunk, len) = (chunk_id(bytes), bytes.len() as u32);
        self.call(Request::PutChunk { contract, chunk, bytes: Bytes::copy_from_slice(bytes) }).await?;
        Ok(Addition { chunk, len })
    }

    /// The signed revision after a change of `deal`, which stays as it is.
    pub fn propose(
        &self,
        deal: &Deal,
        adds: &[Addition],
        removes: &[u64],
    ) -> (Revision, SignedNote, Inventory) {
        let mut inventory = Inventory::from_entries(deal.inventory.entries().to_vec()).unwrap();
        for index in removes {
            inventory.remove(*index).unwrap();
        }
        for add in adds {
            inventory.push(add.chunk, add.len).unwrap();
        }
        let revision = Revision {
            contract: deal.contract.id(),
            sequence: deal.revision.as_ref().map_or(0, |(last, _)| last.sequence) + 1,
            inventory_root: inventory.root(),
            entries: inventory.len(),
            span: inventory.span(),
            held_bytes: inventory.held_bytes(),
            held_chunks: inventory.held_chunks(),
            time: now(),
        };
        let note = self.sign(Statement::Revision(revision.clone()));
        (revision, note, inventory)
    }

    /// Has a change signed by the provider.
    pub async fn commit(
        &self,
        deal: &mut Deal,
        adds: Vec<Addition>,
        removes: Vec<u64>,
    ) -> Result<(), Refused> {
        let (revision, note, inventory) = self.propose(deal, &adds, &removes);
        let signed = self.note(Request::Commit { note: note.to_bytes(), adds, removes }).await?;
        assert!(signed.is_signed_by(&self.target.party) && signed.text() == note.text());
        deal.inventory = inventory;
        deal.revision = Some((revision, signed));
        Ok(())
    }

    /// Puts a chunk and has it signed for.
    pub async fn keep(&self, deal: &mut Deal, bytes: &[u8]) -> Result<ChunkId, Refused> {
        let add = self.put(deal.contract.id(), bytes).await?;
        self.commit(deal, vec![add], vec![]).await?;
        Ok(add.chunk)
    }

    pub async fn get(&self, chunk: ChunkId, contract: Option<ContractId>) -> Result<Bytes, Refused> {
        match self.call(Request::GetChunk { chunk, contract }).await? {
            Response::Chunk { bytes } => Ok(bytes),
            other => panic!("{other:?}"),
        }
    }

    /// The next receipt as the provider signs it.
    pub async fn draw(&self, deal: &Deal) -> Result<(Receipt, SignedNote), Refused> {
        let note = self
            .note(Request::DrawReceipt {
                contract: deal.contract.id(),
                egress_bytes: 0,
                audits_passed: 0,
                audits_failed: 0,
                evidence: [0; 32],
                owner_size: 0,
                owner_root: commonhold_format::tree::empty_root(),
            })
            .await?;
        let Ok(Statement::Receipt(receipt)) = Statement::of(&note) else { panic!("{note:?}") };
        Ok((receipt, note))
    }

    /// Signs a receipt and hands it back.
    pub async fn settle(&self, deal: &mut Deal) -> Result<(), Refused> {
        let (receipt, mut note) = self.draw(deal).await?;
        assert!(note.countersign(&self.party));
        self.call(Request::SettleReceipt { note: note.to_bytes() }).await?;
        deal.receipt = Some((receipt, note));
        Ok(())
    }
}

/// The notes of a node's ledger, from its local API.
pub fn notes(view: &Value) -> Vec<SignedNote> {
    let entries = view["entries"].as_array().unwrap();
    entries.iter().map(|it| SignedNote::parse(it["note"].as_str().unwrap().as_bytes()).unwrap()).collect()
}
