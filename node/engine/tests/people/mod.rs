//! Providers, contracts and receipts for the tests of this folder.
#![allow(dead_code, reason = "each test file uses a part")]

use std::ops::Range;

use commonhold_engine::audit::Standing;
use commonhold_engine::placement::{Candidate, Subnet};
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::statement::{AuditOutcome, Contract, Prices, Receipt, Revision};
use proptest::prelude::*;

/// Noon of a day in 2026; what matters is that clocks can jump both ways from it.
pub(crate) const NOON: u64 = 1_790_000_000;
pub(crate) const DAY: u64 = 86_400;

pub(crate) fn id(n: u16) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    bytes
}

pub(crate) fn node(n: u16) -> NodeId {
    NodeId(id(n))
}

pub(crate) fn candidate(node_number: u16, party: u16, free_bytes: u64, subnet: Option<Subnet>) -> Candidate {
    Candidate {
        node: node(node_number),
        party: PartyId(id(party)),
        free_bytes,
        prices: Prices::default(),
        latency_ms: 20,
        standing: Standing::default(),
        subnet,
        region: 0,
    }
}

/// Up to 40 candidates with distinct nodes that share parties, subnets and standings at random.
pub(crate) fn candidates(count: Range<usize>) -> impl Strategy<Value = Vec<Candidate>> {
    let outcome = prop_oneof![
        6 => Just(None),
        1 => Just(Some(AuditOutcome::WrongBytes)),
        1 => Just(Some(AuditOutcome::NoAnswer)),
        1 => Just(Some(AuditOutcome::Quarantined)),
    ];
    let one = (0..20_u16, 0_u64..4_000_000, prop::option::of(0..10_u8), outcome);
    (prop::collection::vec(one, count), any::<u8>()).prop_map(|(rows, offset)| {
        let number = |at: usize| at as u16 + u16::from(offset) * 3;
        rows.into_iter()
            .enumerate()
            .map(|(at, (party, free, subnet, outcome))| {
                let mut it = candidate(number(at), party, free, subnet.map(|n| Subnet::V4([81, 2, n])));
                if let Some(outcome) = outcome {
                    it.standing = it.standing.record(outcome, NOON).0;
                }
                it
            })
            .collect()
    })
}

/// A contract from noon on for 30 days over 1 GiB.
pub(crate) fn contract() -> Contract {
    Contract {
        owner: PartyId(id(1)),
        provider: PartyId(id(2)),
        node: node(3),
        salt: [4; 16],
        prices: Prices::default(),
        bytes_max: 1 << 30,
        starts: NOON,
        ends: NOON + 30 * DAY,
        audit_interval_seconds: DAY,
        grace_seconds: DAY,
        hold_microcredits: 0,
    }
}

/// A revision that holds `chunks` chunks of 1,000 bytes.
pub(crate) fn revision(contract: &Contract, sequence: u64, chunks: u64, time: u64) -> Revision {
    Revision {
        contract: contract.id(),
        sequence,
        inventory_root: id(sequence as u16),
        entries: chunks,
        span: chunks * 1000,
        held_bytes: chunks * 1000,
        held_chunks: chunks,
        time,
    }
}

/// A receipt whose amount is exact.
pub(crate) fn receipt(
    contract: &Contract,
    sequence: u64,
    until: u64,
    byte_seconds: u128,
    audits: u64,
) -> Receipt {
    let mut receipt = Receipt {
        contract: contract.id(),
        sequence,
        until,
        byte_seconds,
        egress_bytes: sequence * 1_000_000,
        audits_passed: audits,
        audits_failed: 0,
        owed_microcredits: 0,
        evidence: [0; 32],
        owner_node: NodeId([8; 32]),
        owner_head: (sequence * 10, id(sequence as u16)),
        provider_head: (sequence * 7, id(sequence as u16 + 500)),
    };
    price(contract, &mut receipt);
    receipt
}

pub(crate) fn price(contract: &Contract, receipt: &mut Receipt) {
    receipt.owed_microcredits = contract
        .prices
        .amount_due(receipt.byte_seconds, receipt.egress_bytes, receipt.audits_passed)
        .expect("the totals of tests are small");
}

/// The same contract under another salt, and so with another id.
pub(crate) fn contract_with_salt(salt: u8) -> Contract {
    Contract { salt: [salt; 16], ..contract() }
}
