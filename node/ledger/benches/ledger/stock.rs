//! Notes as nodes write them day by day: contracts with audits, receipts and revisions.
//!
//! Invariant: every note follows from those before it by the rules, and every receipt names heads that
//! the two ledgers had; so a ledger of them passes verification whole.

use std::path::Path;

use commonhold_format::audit::nonce_commitment;
use commonhold_format::ids::NodeId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{
    AuditIntent, AuditOutcome, AuditRecord, Contract, Prices, Receipt, Revision, Statement, ledger_origin,
};
use commonhold_ledger::Ledger;

use crate::trade::{START, signed};

/// Contracts of the node.
pub(crate) const CONTRACTS: usize = 20;
/// Bytes under each contract: 20 of them are 1 TB.
const HELD_BYTES: u64 = 50_000_000_000;
const DAY_SECONDS: u64 = 86_400;

/// One contract of an owner with a provider, and how far it has come.
pub(crate) struct Deal {
    pub(crate) terms: Contract,
    owner: PartyKey,
    provider: PartyKey,
    owner_node: NodeId,
    revisions: u64,
    since: u64,
    byte_seconds: u128,
    audits: u64,
    receipts: u64,
}

/// The notes of one day under one contract, for each side.
pub(crate) struct Day {
    pub(crate) owner: Vec<SignedNote>,
    pub(crate) provider: Vec<SignedNote>,
}

impl Deal {
    pub(crate) fn new(owner: &PartyKey, owner_node: NodeId, provider: &PartyKey, node: NodeId) -> Self {
        let terms = Contract {
            owner: owner.id(),
            provider: provider.id(),
            node,
            salt: [5; 16],
            prices: Prices::default(),
            bytes_max: 2 * HELD_BYTES,
            starts: START,
            ends: START + 100 * 365 * DAY_SECONDS,
            audit_interval_seconds: DAY_SECONDS,
            grace_seconds: DAY_SECONDS,
            hold_microcredits: 0,
        };
        let (owner, provider) = (owner.clone(), provider.clone());
        Self {
            terms,
            owner,
            provider,
            owner_node,
            revisions: 0,
            since: START,
            byte_seconds: 0,
            audits: 0,
            receipts: 0,
        }
    }

    pub(crate) fn contract(&self) -> SignedNote {
        signed(Statement::Contract(self.terms.clone()), &[&self.owner, &self.provider])
    }

    /// A day with so many revisions, one audit, and the receipt after it. `heads` are those of both
    /// ledgers when the receipt is drawn up, from what they log before it.
    pub(crate) fn day(
        &mut self,
        day: u64,
        revisions: u64,
        heads: impl FnOnce(&Day) -> [(u64, [u8; 32]); 2],
    ) -> Day {
        let (id, start) = (self.terms.id(), START + day * DAY_SECONDS);
        let mut notes = Day { owner: Vec::new(), provider: Vec::new() };
        for turn in 0..revisions {
            let time = start + turn * 3_600;
            self.byte_seconds += u128::from(HELD_BYTES) * u128::from(time - self.since);
            self.since = time;
            self.revisions += 1;
            let chunks = HELD_BYTES >> 20;
            let revision = Revision {
                contract: id,
                sequence: self.revisions,
                inventory_root: [self.revisions as u8; 32],
                entries: chunks + self.revisions,
                span: HELD_BYTES + (self.revisions << 20),
                held_bytes: HELD_BYTES,
                held_chunks: chunks,
                time,
            };
            let note = signed(Statement::Revision(revision), &[&self.owner, &self.provider]);
            notes.owner.push(note.clone());
            notes.provider.push(note);
        }
        self.audits += 1;
        let (epoch, time, mut nonce) = (self.audits, start + 50_000, [day as u8; 32]);
        nonce[..8].copy_from_slice(&epoch.to_be_bytes());
        let commitment = nonce_commitment(&id, epoch, &nonce);
        let intent = AuditIntent { contract: id, epoch, revision: self.revisions, commitment, time };
        let intent = signed(Statement::AuditIntent(intent), &[&self.owner]);
        let record = AuditRecord {
            contract: id,
            epoch,
            revision: self.revisions,
            nonce,
            outcome: AuditOutcome::Passed,
            leaves: 64,
            lost_chunks: 0,
            evidence: [1 + day as u8 % 200; 32],
            time: time + 2,
        };
        let record = signed(Statement::AuditRecord(record), &[&self.owner]);
        // The provider is told what was found.
        for log in [&mut notes.owner, &mut notes.provider] {
            log.extend([intent.clone(), record.clone()]);
        }
        let until = time + 3;
        let byte_seconds = self.byte_seconds + u128::from(HELD_BYTES) * u128::from(until - self.since);
        self.receipts += 1;
        let egress_bytes = self.receipts * 3_000_000_000;
        let [owner_head, provider_head] = heads(&notes);
        let receipt = Receipt {
            contract: id,
            sequence: self.receipts,
            until,
            byte_seconds,
            egress_bytes,
            audits_passed: self.audits,
            audits_failed: 0,
            owed_microcredits: self.terms.prices.amount_due(byte_seconds, egress_bytes, self.audits).unwrap(),
            evidence: [1 + day as u8 % 200; 32],
            owner_node: self.owner_node,
            owner_head,
            provider_head,
        };
        let note = signed(Statement::Receipt(receipt), &[&self.provider, &self.owner]);
        notes.owner.push(note.clone());
        notes.provider.push(note);
        notes
    }
}

pub(crate) fn node(seed: u8) -> NodeId {
    NodeId([seed; 32])
}

pub(crate) fn open(folder: &Path, key: &PartyKey, node: NodeId) -> Ledger {
    Ledger::open(folder, key.clone(), ledger_origin(&key.id(), &node)).unwrap()
}

/// Fills the ledger of an owner with contracts at 20 providers until it has `count` notes or more.
pub(crate) fn fill(ledger: &Ledger, owner: &PartyKey, owner_node: NodeId, count: usize) {
    let providers: Vec<PartyKey> =
        (0..CONTRACTS).map(|at| PartyKey::from_seed(&[100 + at as u8; 32])).collect();
    let mut deals: Vec<Deal> = providers
        .iter()
        .enumerate()
        .map(|(at, provider)| Deal::new(owner, owner_node, provider, node(100 + at as u8)))
        .collect();
    let contracts: Vec<SignedNote> = deals.iter().map(Deal::contract).collect();
    ledger.append_all(&contracts).unwrap();
    // The receipts of a day are all drawn up before any is logged, so that a day costs one sync.
    for day in 0.. {
        let head = ledger.head();
        let mut notes = Vec::new();
        for deal in &mut deals {
            notes.extend(deal.day(day, 3, |_| [head, (day, [7; 32])]).owner);
        }
        ledger.append_all(&notes).unwrap();
        if ledger.len() >= count as u64 {
            return;
        }
    }
}
