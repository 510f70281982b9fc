//! Statements about money beside receipts: payments, trust lines, and claims.

use super::text::{Fields, Lines};
use super::{AMOUNT_MAX, SECONDS_MAX, StatementError};
use crate::ids::{ContractId, PartyId};
use crate::tree::Hash;

/// What one party has paid another outside of all ledgers, in all. The payee signs it first, because
/// it says that the money has come in; the payer countersigns. It lowers what the payer owes the
/// payee, and paid ahead it is what later receipts use up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who paid.
    pub payer: PartyId,
    /// Who was paid; another party.
    pub payee: PartyId,
    /// 1 for the first payment between these two in this direction, and one more for each that
    /// follows.
    pub sequence: u64,
    /// Everything that was paid since the first, microcredits. Never less than before.
    pub paid_microcredits: u64,
    /// Hash of an outside document (an invoice, a bank's slip), or zeros.
    pub reference: Hash,
    /// When the payee signed, Unix seconds.
    pub time: u64,
}

/// A trust line: somebody answers to a provider for what a third party owes it. The guarantor signs
/// it first, the creditor countersigns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Who answers for the debt.
    pub guarantor: PartyId,
    /// To whom.
    pub creditor: PartyId,
    /// Whose debt it is. The three are different parties.
    pub debtor: PartyId,
    /// 1 for the first of these three, and one more for each that follows and takes its place.
    pub sequence: u64,
    /// Most that the guarantor answers for, microcredits.
    pub limit_microcredits: u64,
    /// Until when debts are covered, Unix seconds: those that a claim names up to this time.
    pub ends: u64,
}

/// What a provider says an owner owes and will not sign. The provider alone signs it. It adds nothing
/// to a balance; it can be recomputed from notes that both signed, and it calls on guarantors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The contract.
    pub contract: ContractId,
    /// Sequence of the receipt that is missing: one more than the last that both signed.
    pub sequence: u64,
    /// Sequence of the last revision that both signed.
    pub revision: u64,
    /// The end of the time that it covers, Unix seconds.
    pub until: u64,
    /// Byte-seconds until then, which follow from the revisions.
    pub byte_seconds: u128,
    /// Bytes sent, as in the last receipt: what came after it nobody else can count.
    pub egress_bytes: u64,
    /// Audits passed, as in the last receipt.
    pub audits_passed: u64,
    /// [`Prices::amount_due`](super::Prices::amount_due) for these totals.
    pub owed_microcredits: u64,
    /// When the provider signed it, Unix seconds.
    pub time: u64,
}

impl Payment {
    pub(super) const KIND: &str = "commonhold/payment/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("payer", self.payer)
            .field("payee", self.payee)
            .field("sequence", self.sequence)
            .field("paid_microcredits", self.paid_microcredits)
            .bytes("reference", &self.reference)
            .field("time", self.time)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        let payment = Self {
            payer: fields.value("payer")?,
            payee: fields.value("payee")?,
            sequence: fields.within("sequence", 1, u64::MAX)?,
            paid_microcredits: fields.within("paid_microcredits", 0, AMOUNT_MAX)?,
            reference: fields.bytes("reference")?,
            time: fields.within("time", 0, SECONDS_MAX)?,
        };
        fields.check("payee", payment.payee != payment.payer, "nobody pays itself")?;
        Ok(payment)
    }
}

impl Trust {
    pub(super) const KIND: &str = "commonhold/trust/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("guarantor", self.guarantor)
            .field("creditor", self.creditor)
            .field("debtor", self.debtor)
            .field("sequence", self.sequence)
            .field("limit_microcredits", self.limit_microcredits)
            .field("ends", self.ends)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        let trust = Self {
            guarantor: fields.value("guarantor")?,
            creditor: fields.value("creditor")?,
            debtor: fields.value("debtor")?,
            sequence: fields.within("sequence", 1, u64::MAX)?,
            limit_microcredits: fields.within("limit_microcredits", 0, AMOUNT_MAX)?,
            ends: fields.within("ends", 0, SECONDS_MAX)?,
        };
        let Self { guarantor, creditor, debtor, .. } = &trust;
        fields.check("creditor", creditor != guarantor, "nobody answers to itself")?;
        let third = debtor != guarantor && debtor != creditor;
        fields.check("debtor", third, "the debtor is neither of the other two")?;
        Ok(trust)
    }
}

impl Claim {
    pub(super) const KIND: &str = "commonhold/claim/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("contract", self.contract)
            .field("sequence", self.sequence)
            .field("revision", self.revision)
            .field("until", self.until)
            .field("byte_seconds", self.byte_seconds)
            .field("egress_bytes", self.egress_bytes)
            .field("audits_passed", self.audits_passed)
            .field("owed_microcredits", self.owed_microcredits)
            .field("time", self.time)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        let claim = Self {
            contract: fields.value("contract")?,
            sequence: fields.within("sequence", 1, u64::MAX)?,
            revision: fields.within("revision", 1, u64::MAX)?,
            until: fields.within("until", 0, SECONDS_MAX)?,
            byte_seconds: fields.value("byte_seconds")?,
            egress_bytes: fields.value("egress_bytes")?,
            audits_passed: fields.value("audits_passed")?,
            owed_microcredits: fields.within("owed_microcredits", 0, AMOUNT_MAX)?,
            time: fields.within("time", 0, SECONDS_MAX)?,
        };
        fields.check("until", claim.until <= claim.time, "it claims time that had not passed")?;
        Ok(claim)
    }
}
