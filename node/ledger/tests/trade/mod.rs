//! An owner and a provider who keep to the duties of spec/notes.md, each with a ledger on disk; and
//! ledgers made of any notes, for lies.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use commonhold_format::audit::{Challenge, nonce_commitment, prove};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::inventory::Inventory;
use commonhold_format::keys::PartyKey;
use commonhold_format::log::{TileId, encode_entries};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{
    AuditIntent, AuditOutcome, AuditRecord, Checkpoint, Claim, Contract, Payment, Prices, Receipt, Revision,
    Statement, Trust, ledger_origin,
};
use commonhold_format::tree::{GrowingTree, LeafProof, chunk_id, leaf_hash};
use commonhold_ledger::Ledger;
use commonhold_ledger::source::Source;
use commonhold_ledger::verify::{Log, Report, Rules, verify};
use tempfile::TempDir;

pub(crate) const START: u64 = 1_790_000_000;

pub(crate) fn key(seed: u8) -> PartyKey {
    PartyKey::from_seed(&[seed; 32])
}

/// The succession of receipts as spec/notes.md, section 4, has it; claims are recomputed as far as
/// byte-seconds go.
pub(crate) struct PlainRules;

impl Rules for PlainRules {
    fn receipt(&self, contract: &Contract, previous: Option<&Receipt>, next: &Receipt) -> Result<(), String> {
        let last = previous.map_or(0, |previous| previous.sequence);
        if next.sequence != last + 1 {
            return Err(format!("receipt {} follows receipt {last}", next.sequence));
        }
        if let Some(previous) = previous {
            let falls = next.until < previous.until
                || next.byte_seconds < previous.byte_seconds
                || next.egress_bytes < previous.egress_bytes
                || next.audits_passed < previous.audits_passed
                || next.audits_failed < previous.audits_failed
                || next.provider_head.0 < previous.provider_head.0
                || (next.owner_node == previous.owner_node && next.owner_head.0 < previous.owner_head.0);
            if falls {
                return Err("a total went down".to_owned());
            }
        }
        let due = contract.prices.amount_due(next.byte_seconds, next.egress_bytes, next.audits_passed);
        if due == Some(next.owed_microcredits) { Ok(()) } else { Err("the amount is not that".to_owned()) }
    }

    fn claim(
        &self,
        _: &Contract,
        revisions: &[Revision],
        receipt: Option<&Receipt>,
        claim: &Claim,
    ) -> Result<(), String> {
        let sequence = receipt.map_or(0, |receipt| receipt.sequence) + 1;
        let byte_seconds = byte_seconds(revisions, claim.until);
        if (claim.sequence, claim.byte_seconds) == (sequence, byte_seconds) {
            Ok(())
        } else {
            Err("the claim does not follow".to_owned())
        }
    }
}

pub(crate) fn byte_seconds(revisions: &[Revision], until: u64) -> u128 {
    let ends = revisions.iter().skip(1).map(|next| next.time).chain([until]);
    revisions.iter().zip(ends).map(|(it, end)| u128::from(it.held_bytes) * u128::from(end - it.time)).sum()
}

/// A note with the signatures of these.
pub(crate) fn signed(statement: Statement, keys: &[&PartyKey]) -> SignedNote {
    let mut note = SignedNote::sign(statement.to_text(), keys[0]).unwrap();
    keys[1..].iter().for_each(|key| assert!(note.countersign(key)));
    note
}

/// The same text with a line that somebody else added.
pub(crate) fn with_line(note: &SignedNote, key: &PartyKey, valid: bool) -> SignedNote {
    let text = if valid { note.text().to_owned() } else { "something else\n".to_owned() };
    let line = SignedNote::sign(text, key).unwrap();
    let whole = String::from_utf8(note.to_bytes()).unwrap();
    let mut lines: Vec<&str> = whole[note.text().len() + 1..].lines().collect();
    let other = String::from_utf8(line.to_bytes()).unwrap();
    lines.push(other.lines().last().unwrap());
    lines.sort_unstable();
    let all = format!("{}\n{}\n", note.text(), lines.join("\n"));
    SignedNote::parse(all.as_bytes()).unwrap()
}

/// A party's ledger on its node.
pub(crate) struct Party {
    pub(crate) key: PartyKey,
    pub(crate) node: NodeId,
    pub(crate) dir: TempDir,
    pub(crate) ledger: Ledger,
}

impl Party {
    pub(crate) fn new(seed: u8) -> Self {
        let (key, node, dir) = (key(seed), NodeId([seed; 32]), TempDir::new().unwrap());
        let ledger = open(&dir, &key, node);
        Self { key, node, dir, ledger }
    }

    /// The process is killed at this point and started again: nothing is closed in order.
    pub(crate) fn crash(&mut self) {
        let dir = TempDir::new().unwrap();
        for file in ["log", "checkpoint", "published"] {
            std::fs::copy(self.dir.path().join(file), dir.path().join(file)).unwrap();
        }
        self.ledger = open(&dir, &self.key, self.node);
        self.dir = dir;
    }

    pub(crate) fn notes(&self) -> Vec<SignedNote> {
        let mut notes = Vec::new();
        while let Some(page) =
            Some(self.ledger.read(notes.len() as u64, 1000).unwrap()).filter(|it| !it.is_empty())
        {
            notes.extend(page.into_iter().map(|(_, note)| note));
        }
        notes
    }

    pub(crate) fn shelf(&self) -> Shelf {
        Shelf::of(&self.key, self.node, &self.notes())
    }

    pub(crate) fn load(&self) -> Log {
        Log::load(&mut self.shelf()).unwrap()
    }
}

fn open(dir: &TempDir, key: &PartyKey, node: NodeId) -> Ledger {
    Ledger::open(dir.path(), key.clone(), ledger_origin(&key.id(), &node)).unwrap()
}

/// The files of a ledger, in memory, to be changed at will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shelf(pub(crate) BTreeMap<String, Vec<u8>>);

impl Shelf {
    /// What a party that signs its own head shows, of any notes.
    pub(crate) fn of(key: &PartyKey, node: NodeId, notes: &[SignedNote]) -> Self {
        let bytes: Vec<Vec<u8>> = notes.iter().map(SignedNote::to_bytes).collect();
        let mut tree = GrowingTree::new();
        tree.extend(bytes.iter().map(|note| leaf_hash(note)));
        let mut files = BTreeMap::new();
        files.insert("checkpoint".to_owned(), head(key, node, &tree).to_bytes());
        for tile in TileId::all(tree.len()) {
            let first = tile.first() as usize;
            let content = match tile.level {
                Some(_) => tree.tile(&tile).unwrap().as_flattened().to_vec(),
                None => {
                    let entries = bytes[first..first + usize::from(tile.width)].iter();
                    encode_entries(entries.map(Vec::as_slice)).unwrap()
                }
            };
            files.insert(tile.to_string(), content);
        }
        Self(files)
    }

    pub(crate) fn with(mut self, evidence: &BTreeMap<String, Vec<u8>>) -> Self {
        self.0.extend(evidence.clone());
        self
    }

    pub(crate) fn load(&mut self) -> Result<Log, String> {
        Log::load(self).map_err(|error| error.0)
    }

    pub(crate) fn verify(&mut self) -> Report {
        let mut log = self.load().unwrap();
        verify(&mut log, self, &PlainRules, 2).unwrap()
    }
}

impl Source for Shelf {
    fn get(&mut self, path: &str, max: usize) -> Result<Option<Vec<u8>>, String> {
        match self.0.get(path) {
            Some(bytes) if bytes.len() > max => Err(format!("{path} is too long")),
            found => Ok(found.cloned()),
        }
    }
}

/// A signed head over a tree.
pub(crate) fn head(key: &PartyKey, node: NodeId, tree: &GrowingTree) -> SignedNote {
    let origin = ledger_origin(&key.id(), &node);
    let head = Checkpoint { origin: origin.clone(), size: tree.len(), root: tree.root() };
    SignedNote::sign_as(head.to_text(), &origin, key).unwrap()
}

/// Owner and provider under one contract, with everything that happened.
pub(crate) struct Trade {
    pub(crate) owner: Party,
    pub(crate) provider: Party,
    pub(crate) terms: Contract,
    pub(crate) contract: SignedNote,
    pub(crate) inventory: Inventory,
    chunks: Vec<Vec<u8>>,
    pub(crate) revisions: Vec<Revision>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) evidence: BTreeMap<String, Vec<u8>>,
    epoch: u64,
    pub(crate) now: u64,
}

impl Trade {
    pub(crate) fn new() -> Self {
        Self::between(Party::new(1), Party::new(2), 0)
    }

    pub(crate) fn between(owner: Party, provider: Party, salt: u8) -> Self {
        let terms = Contract {
            owner: owner.key.id(),
            provider: provider.key.id(),
            node: provider.node,
            salt: [salt; 16],
            prices: Prices::default(),
            bytes_max: 1 << 40,
            starts: START,
            ends: START + 10_000_000,
            audit_interval_seconds: 86_400,
            grace_seconds: 86_400,
            hold_microcredits: 0,
        };
        let contract = signed(Statement::Contract(terms.clone()), &[&owner.key, &provider.key]);
        provider.ledger.append(&contract).unwrap();
        owner.ledger.append(&contract).unwrap();
        Self {
            owner,
            provider,
            terms,
            contract,
            inventory: Inventory::new(),
            chunks: Vec::new(),
            revisions: Vec::new(),
            receipts: Vec::new(),
            evidence: BTreeMap::new(),
            epoch: 0,
            now: START + 100,
        }
    }

    /// The next revision, signed by both and in neither ledger yet.
    pub(crate) fn next_revision(&mut self) -> SignedNote {
        self.now += 60;
        let chunk = vec![self.chunks.len() as u8; 3_000];
        self.inventory.push(chunk_id(&chunk), chunk.len() as u32).unwrap();
        self.chunks.push(chunk);
        let revision = Revision {
            contract: self.terms.id(),
            sequence: self.revisions.len() as u64 + 1,
            inventory_root: self.inventory.root(),
            entries: self.inventory.len(),
            span: self.inventory.span(),
            held_bytes: self.inventory.held_bytes(),
            held_chunks: self.inventory.held_chunks(),
            time: self.now,
        };
        self.revisions.push(revision.clone());
        signed(Statement::Revision(revision), &[&self.owner.key, &self.provider.key])
    }

    pub(crate) fn revise(&mut self) {
        let note = self.next_revision();
        self.provider.ledger.append(&note).unwrap();
        self.owner.ledger.append(&note).unwrap();
    }

    /// The statements of an audit, and its evidence, in no ledger yet.
    pub(crate) fn next_audit(&mut self, outcome: AuditOutcome) -> (AuditIntent, AuditRecord, Vec<u8>) {
        self.now += 3_600;
        self.epoch += 1;
        let revision = self.revisions.last().unwrap();
        let challenge = Challenge {
            contract: self.terms.id(),
            revision: revision.sequence,
            inventory_root: revision.inventory_root,
            entries: revision.entries,
            span: revision.span,
            epoch: self.epoch,
            nonce: [self.epoch as u8; 32],
            beacon: None,
        };
        let intent = AuditIntent {
            contract: challenge.contract,
            epoch: self.epoch,
            revision: revision.sequence,
            commitment: nonce_commitment(&challenge.contract, self.epoch, &challenge.nonce),
            time: self.now,
        };
        let mut record = AuditRecord {
            contract: challenge.contract,
            epoch: self.epoch,
            revision: revision.sequence,
            nonce: challenge.nonce,
            outcome,
            leaves: 0,
            lost_chunks: 0,
            evidence: [0; 32],
            time: self.now + 1,
        };
        if outcome != AuditOutcome::Passed {
            return (intent, record, Vec::new());
        }
        let proof = prove(&challenge, &self.inventory, |id: &ChunkId, _, leaf| {
            let chunk = self.chunks.iter().find(|chunk| chunk_id(chunk) == *id)?;
            LeafProof::from_chunk(id, chunk, leaf)
        })
        .unwrap();
        record.leaves = 64;
        record.evidence = proof.evidence(&challenge);
        (intent, record, proof.bundle(&challenge))
    }

    pub(crate) fn audit(&mut self, outcome: AuditOutcome) {
        let (intent, record, evidence) = self.next_audit(outcome);
        if !evidence.is_empty() {
            self.evidence.insert(evidence_path(&record), evidence);
        }
        self.owner.ledger.append(&signed(Statement::AuditIntent(intent), &[&self.owner.key])).unwrap();
        self.owner.ledger.append(&signed(Statement::AuditRecord(record), &[&self.owner.key])).unwrap();
    }

    /// The next receipt with the heads of this moment.
    pub(crate) fn next_receipt(&mut self) -> Receipt {
        self.now += 60;
        let count = self.receipts.len() as u64 + 1;
        let byte_seconds = byte_seconds(&self.revisions, self.now);
        Receipt {
            contract: self.terms.id(),
            sequence: count,
            until: self.now,
            byte_seconds,
            egress_bytes: count * 1_000_000,
            audits_passed: self.epoch,
            audits_failed: 0,
            owed_microcredits: self
                .terms
                .prices
                .amount_due(byte_seconds, count * 1_000_000, self.epoch)
                .unwrap(),
            evidence: [0; 32],
            owner_node: self.owner.node,
            owner_head: self.owner.ledger.head(),
            provider_head: self.provider.ledger.head(),
        }
    }

    pub(crate) fn both_sign(&self, receipt: &Receipt) -> SignedNote {
        signed(Statement::Receipt(receipt.clone()), &[&self.provider.key, &self.owner.key])
    }

    pub(crate) fn settle(&mut self) {
        let receipt = self.next_receipt();
        let note = self.both_sign(&receipt);
        self.receipts.push(receipt);
        self.owner.ledger.append(&note).unwrap();
        self.provider.ledger.append(&note).unwrap();
    }

    /// The payment that brings the total to `paid`.
    pub(crate) fn payment(&self, sequence: u64, paid: u64, time: u64) -> SignedNote {
        let payment = Payment {
            payer: self.owner.key.id(),
            payee: self.provider.key.id(),
            sequence,
            paid_microcredits: paid,
            reference: [0; 32],
            time,
        };
        signed(Statement::Payment(payment), &[&self.provider.key, &self.owner.key])
    }

    pub(crate) fn trust(&self, sequence: u64, limit: u64) -> SignedNote {
        let trust = Trust {
            guarantor: key(9).id(),
            creditor: self.provider.key.id(),
            debtor: self.owner.key.id(),
            sequence,
            limit_microcredits: limit,
            ends: self.terms.ends,
        };
        signed(Statement::Trust(trust), &[&key(9), &self.provider.key])
    }

    pub(crate) fn claim(&mut self) -> Claim {
        self.now += 60;
        let last = self.receipts.last();
        let byte_seconds = byte_seconds(&self.revisions, self.now);
        let (egress_bytes, audits_passed) = last.map_or((0, 0), |it| (it.egress_bytes, it.audits_passed));
        Claim {
            contract: self.terms.id(),
            sequence: last.map_or(0, |last| last.sequence) + 1,
            revision: self.revisions.len() as u64,
            until: self.now,
            byte_seconds,
            egress_bytes,
            audits_passed,
            owed_microcredits: self
                .terms
                .prices
                .amount_due(byte_seconds, egress_bytes, audits_passed)
                .unwrap(),
            time: self.now,
        }
    }

    /// Some weeks in which everybody behaves: every kind of note is in one of the ledgers.
    pub(crate) fn honest() -> Self {
        let mut trade = Self::new();
        trade.revise();
        trade.revise();
        trade.audit(AuditOutcome::Passed);
        trade.settle();
        trade.audit(AuditOutcome::Offline);
        trade.revise();
        trade.audit(AuditOutcome::Passed);
        trade.settle();
        for (sequence, paid) in [(1, 500), (2, 900)] {
            let payment = trade.payment(sequence, paid, trade.now);
            trade.owner.ledger.append(&payment).unwrap();
            trade.provider.ledger.append(&payment).unwrap();
        }
        trade.provider.ledger.append(&trade.trust(1, 1_000)).unwrap();
        let claim = trade.claim();
        let claim = signed(Statement::Claim(claim), &[&trade.provider.key]);
        trade.provider.ledger.append(&claim).unwrap();
        trade.settle();
        trade
    }
}

pub(crate) fn evidence_path(record: &AuditRecord) -> String {
    let digits: String = record.evidence.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("evidence/{digits}.cbor")
}
