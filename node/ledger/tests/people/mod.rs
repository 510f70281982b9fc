//! Parties, notes and ledgers for the tests of this folder.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::Path;

use commonhold_format::ids::NodeId;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditIntent, Contract, Prices, Receipt, Revision, Statement};
use commonhold_ledger::{Ledger, LedgerError};

pub(crate) const ORIGIN: &str = "commonhold/ledger/test";

pub(crate) fn key(seed: u8) -> PartyKey {
    PartyKey::from_seed(&[seed; 32])
}

pub(crate) fn try_open(dir: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(dir, key(1), ORIGIN.to_owned())
}

pub(crate) fn open(dir: &Path) -> Ledger {
    try_open(dir).expect("the ledger opens")
}

pub(crate) fn signed(statement: Statement, keys: &[&PartyKey]) -> SignedNote {
    let mut note = SignedNote::sign(statement.to_text(), keys[0]).expect("statements are texts of notes");
    for key in &keys[1..] {
        note.countersign(key);
    }
    note
}

/// A note that is about nobody's money; each number gives another.
pub(crate) fn text_note(number: u64) -> SignedNote {
    let intent = AuditIntent {
        contract: contract(&key(1), &key(2), 0).id(),
        epoch: number,
        revision: 1,
        commitment: [3; 32],
        time: 1_790_000_000 + number,
    };
    signed(Statement::AuditIntent(intent), &[&key(1)])
}

pub(crate) fn contract(owner: &PartyKey, provider: &PartyKey, salt: u8) -> Contract {
    Contract {
        owner: owner.id(),
        provider: provider.id(),
        node: NodeId([7; 32]),
        salt: [salt; 16],
        prices: Prices::default(),
        bytes_max: 1 << 40,
        starts: 1_790_000_000,
        ends: 1_800_000_000,
        audit_interval_seconds: 86_400,
        grace_seconds: 86_400,
        hold_microcredits: 0,
    }
}

pub(crate) fn revision(contract: &Contract, sequence: u64, root: u8) -> Statement {
    Statement::Revision(Revision {
        contract: contract.id(),
        sequence,
        inventory_root: [root; 32],
        entries: 1,
        span: 1000,
        held_bytes: 1000,
        held_chunks: 1,
        time: 1_790_000_000 + sequence,
    })
}

/// A receipt over so many audits, with the exact amount.
pub(crate) fn receipt(contract: &Contract, sequence: u64, audits: u64) -> Statement {
    Statement::Receipt(Receipt {
        contract: contract.id(),
        sequence,
        until: 1_790_000_000 + sequence,
        byte_seconds: u128::from(audits) << 50,
        egress_bytes: audits * 1_000_000,
        audits_passed: audits,
        audits_failed: 1,
        owed_microcredits: contract
            .prices
            .amount_due(u128::from(audits) << 50, audits * 1_000_000, audits)
            .expect("the totals of tests are small"),
        evidence: [0; 32],
        owner_node: NodeId([8; 32]),
        owner_head: (sequence, [1; 32]),
        provider_head: (sequence, [2; 32]),
    })
}

pub(crate) fn owed(statement: &Statement) -> i128 {
    match statement {
        Statement::Receipt(receipt) => receipt.owed_microcredits.into(),
        other => panic!("not a receipt: {other:?}"),
    }
}
