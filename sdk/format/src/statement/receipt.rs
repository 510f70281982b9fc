//! The receipt: what an owner owes a provider under one contract, in cumulative totals.

use super::text::{Fields, Lines};
use super::{AMOUNT_MAX, SECONDS_MAX, StatementError};
use crate::ids::{ContractId, NodeId};
use crate::tree::Hash;

/// What an owner owes a provider under one contract since its start. The provider signs it first,
/// the owner countersigns. Totals are cumulative, so the receipt with the highest sequence says
/// all, and one that is lost or shown again does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The contract.
    pub contract: ContractId,
    /// 1 for the first receipt, and one more for each that follows.
    pub sequence: u64,
    /// The end of the time that it covers, Unix seconds.
    pub until: u64,
    /// Sum over the contract's time until then of held bytes times seconds.
    pub byte_seconds: u128,
    /// Bytes sent to the owner.
    pub egress_bytes: u64,
    /// Audits passed.
    pub audits_passed: u64,
    /// Audits failed.
    pub audits_failed: u64,
    /// [`Prices::amount_due`](super::Prices::amount_due) for these totals, at most [`AMOUNT_MAX`].
    pub owed_microcredits: u64,
    /// Hash of the last audit's evidence (spec/audit.md); zeros when there is none.
    pub evidence: Hash,
    /// The owner's node on which its ledger is: an owner may have several, or come back on a new one.
    pub owner_node: NodeId,
    /// Size and root of the owner's ledger on that node when the receipt was drawn up.
    pub owner_head: (u64, Hash),
    /// Size and root of the provider's ledger when the receipt was drawn up.
    pub provider_head: (u64, Hash),
}

impl Receipt {
    pub(super) const KIND: &str = "commonhold/receipt/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("contract", self.contract)
            .field("sequence", self.sequence)
            .field("until", self.until)
            .field("byte_seconds", self.byte_seconds)
            .field("egress_bytes", self.egress_bytes)
            .field("audits_passed", self.audits_passed)
            .field("audits_failed", self.audits_failed)
            .field("owed_microcredits", self.owed_microcredits)
            .bytes("evidence", &self.evidence)
            .field("owner_node", self.owner_node)
            .field("owner_ledger_size", self.owner_head.0)
            .bytes("owner_ledger_root", &self.owner_head.1)
            .field("provider_ledger_size", self.provider_head.0)
            .bytes("provider_ledger_root", &self.provider_head.1)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        Ok(Self {
            contract: fields.value("contract")?,
            sequence: fields.within("sequence", 1, u64::MAX)?,
            until: fields.within("until", 0, SECONDS_MAX)?,
            byte_seconds: fields.value("byte_seconds")?,
            egress_bytes: fields.value("egress_bytes")?,
            audits_passed: fields.value("audits_passed")?,
            audits_failed: fields.value("audits_failed")?,
            owed_microcredits: fields.within("owed_microcredits", 0, AMOUNT_MAX)?,
            evidence: fields.bytes("evidence")?,
            owner_node: fields.value("owner_node")?,
            owner_head: (fields.value("owner_ledger_size")?, fields.bytes("owner_ledger_root")?),
            provider_head: (fields.value("provider_ledger_size")?, fields.bytes("provider_ledger_root")?),
        })
    }
}
