//! What the ledger has of this node's contracts: terms, and what receipts within a time say.
//!
//! Invariant: only receipts count that both parties of their contract have signed, and what they say is
//! the difference of two cumulative totals. Not here: whether the ledger is whole (`ledger verify`).

use std::collections::BTreeMap;

use commonhold_format::ids::ContractId;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AMOUNT_MAX, Contract, Prices, Receipt, Statement};
use commonhold_ledger::verify::Log;

use super::Window;
use crate::journal::Side;

/// Clocks of two parties may differ by this much, and a contract is signed some time after its quote.
const NEAR_SECONDS: u64 = 600;

/// Cumulative totals of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Bytes times seconds.
    pub byte_seconds: u128,
    /// Bytes sent.
    pub egress_bytes: u64,
    /// Audits passed.
    pub audits_passed: u64,
}

impl From<&Receipt> for Totals {
    fn from(receipt: &Receipt) -> Self {
        let Receipt { byte_seconds, egress_bytes, audits_passed, .. } = *receipt;
        Self { byte_seconds, egress_bytes, audits_passed }
    }
}

impl Totals {
    /// What is due for them; the highest amount for more than any.
    fn due(&self, prices: &Prices) -> u64 {
        prices.amount_due(self.byte_seconds, self.egress_bytes, self.audits_passed).unwrap_or(AMOUNT_MAX)
    }
}

/// One contract of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: ContractId,
    /// What it says.
    pub contract: Contract,
    /// This node's part in it.
    pub side: Side,
    /// Totals at the times that receipts end, rising: Unix seconds, and what was signed by then.
    pub receipts: Vec<(u64, Totals)>,
}

impl Kept {
    /// Totals at both ends of a time.
    fn ends(&self, window: Window) -> (Totals, Totals) {
        let before =
            |end: u64| self.receipts.iter().rev().find(|(until, _)| *until <= end).map(|(_, it)| *it);
        let first = window.from.checked_sub(1).and_then(before);
        (first.unwrap_or_default(), before(window.to).unwrap_or_default())
    }

    /// What came up within a time.
    pub fn totals(&self, window: Window) -> Totals {
        let (first, last) = self.ends(window);
        Totals {
            byte_seconds: last.byte_seconds.saturating_sub(first.byte_seconds),
            egress_bytes: last.egress_bytes.saturating_sub(first.egress_bytes),
            audits_passed: last.audits_passed.saturating_sub(first.audits_passed),
        }
    }

    /// What that comes to at some prices, microcredits.
    pub fn due(&self, window: Window, prices: &Prices) -> u64 {
        let (first, last) = self.ends(window);
        last.due(prices).saturating_sub(first.due(prices))
    }

    /// What it came to at the contract's own, microcredits.
    pub fn earned(&self, window: Window) -> u64 {
        self.due(window, &self.contract.prices)
    }

    /// Whether it began, or receipts under it end, within a time.
    pub fn is_of(&self, window: Window) -> bool {
        window.has(self.contract.starts) || self.receipts.iter().any(|(until, _)| window.has(*until))
    }

    /// Whether what was asked at a time, in Unix milliseconds, was asked before it began.
    pub fn begins_after(&self, time: u64) -> bool {
        time / 1000 <= self.contract.starts.saturating_add(NEAR_SECONDS)
    }

    /// Whether what was asked at a time, in Unix milliseconds, was asked when it began.
    pub fn begins_near(&self, time: u64) -> bool {
        (time / 1000).abs_diff(self.contract.starts) <= NEAR_SECONDS
    }
}

/// The contracts of the ledger's own node, by the time when they began.
pub fn of_ledger(log: &Log) -> Vec<Kept> {
    let mut contracts: BTreeMap<ContractId, (Kept, u64)> = BTreeMap::new();
    for (_, note) in log.notes() {
        match Statement::of(note) {
            Ok(Statement::Contract(contract)) => {
                let side = if contract.owner == log.party {
                    Side::Owner
                } else if contract.provider == log.party && contract.node == log.node {
                    Side::Provider
                } else {
                    continue;
                };
                let id = contract.id();
                let kept = Kept { id, contract, side, receipts: Vec::new() };
                contracts.entry(id).or_insert((kept, 0));
            }
            Ok(Statement::Receipt(receipt)) => {
                let Some((kept, sequence)) = contracts.get_mut(&receipt.contract) else { continue };
                if receipt.sequence > *sequence && both_signed(note, &kept.contract) {
                    *sequence = receipt.sequence;
                    kept.receipts.push((receipt.until, Totals::from(&receipt)));
                }
            }
            _ => {}
        }
    }
    let mut kept: Vec<Kept> = contracts.into_values().map(|(kept, _)| kept).collect();
    kept.sort_by_key(|it| (it.contract.starts, it.id));
    kept
}

fn both_signed(note: &SignedNote, contract: &Contract) -> bool {
    note.is_signed_by(&contract.owner) && note.is_signed_by(&contract.provider)
}
