//! What notes say: contracts, revisions, receipts, audits, payments, trust lines, claims, and the heads of ledgers
//! (spec/notes.md).
//!
//! Invariant: a statement has one text, and a text is accepted only if it is the text of the
//! statement that it parses to, with every bound of this module kept. The fields are public, so a
//! statement that was built and not parsed may be out of bounds; its text is then refused by
//! whoever reads it. Not here: signatures ([`crate::note`]), and whether a statement may follow
//! another one or is true (the engine decides).

mod agreement;
mod audit;
mod checkpoint;
mod manifest;
mod money;
mod receipt;
mod text;

use self::text::Fields;
use crate::note::SignedNote;

pub use self::agreement::{Contract, PartsDue, Prices, Revision};
pub use self::audit::{AuditIntent, AuditOutcome, AuditRecord, OutcomeError};
pub use self::checkpoint::{Checkpoint, ledger_origin, parse_ledger_origin};
pub use self::manifest::{
    Capability, POLICY_ABOUT_LEN_MAX, POLICY_NAME_LEN_MAX, PolicyManifest, is_policy_name,
};
pub use self::money::{Claim, Payment, Trust};
pub use self::receipt::Receipt;

/// Longest text of a statement or checkpoint, bytes. The longest statement has below 1,000; the
/// rest is for the origin of a checkpoint.
pub const TEXT_LEN_MAX: usize = 4096;
/// Most of any amount or price, microcredits: sums and differences of two fit 64 bits with a sign.
pub const AMOUNT_MAX: u64 = (1 << 63) - 1;
/// Latest time, Unix seconds, and longest duration: the last second of the year 9999. Sums of
/// times cannot overflow, and every calendar can show them.
pub const SECONDS_MAX: u64 = 253_402_300_799;

/// Any statement, told apart by its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `commonhold/contract/v1`
    Contract(Contract),
    /// `commonhold/revision/v1`
    Revision(Revision),
    /// `commonhold/receipt/v1`
    Receipt(Receipt),
    /// `commonhold/audit-intent/v1`
    AuditIntent(AuditIntent),
    /// `commonhold/audit-record/v1`
    AuditRecord(AuditRecord),
    /// `commonhold/payment/v1`
    Payment(Payment),
    /// `commonhold/trust/v1`
    Trust(Trust),
    /// `commonhold/claim/v1`
    Claim(Claim),
}

/// Why a text is not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct StatementError {
    /// The first line that is not as it must be, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Statement {
    /// The statement's one text: its kind, then `name: value` lines in a fixed order.
    pub fn to_text(&self) -> String {
        match self {
            Statement::Contract(contract) => contract.to_text(),
            Statement::Revision(revision) => revision.to_text(),
            Statement::Receipt(receipt) => receipt.to_text(),
            Statement::AuditIntent(intent) => intent.to_text(),
            Statement::AuditRecord(record) => record.to_text(),
            Statement::Payment(payment) => payment.to_text(),
            Statement::Trust(trust) => trust.to_text(),
            Statement::Claim(claim) => claim.to_text(),
        }
    }

    /// The kind's word: `contract`, `revision`, `receipt`, `audit-intent`, `audit-record`, `payment`,
    /// `trust` or `claim`.
    pub fn kind(&self) -> &'static str {
        match self {
            Statement::Contract(_) => "contract",
            Statement::Revision(_) => "revision",
            Statement::Receipt(_) => "receipt",
            Statement::AuditIntent(_) => "audit-intent",
            Statement::AuditRecord(_) => "audit-record",
            Statement::Payment(_) => "payment",
            Statement::Trust(_) => "trust",
            Statement::Claim(_) => "claim",
        }
    }

    /// Strict inverse of [`Statement::to_text`].
    ///
    /// # Errors
    /// [`StatementError`] names the line that is not as it must be.
    pub fn from_text(text: &str) -> Result<Self, StatementError> {
        let refuse = |why: &str| Err(StatementError { line: 1, why: why.to_owned() });
        if text.len() > TEXT_LEN_MAX {
            return refuse("longer than any statement");
        }
        let (kind, mut fields) = Fields::of(text);
        let statement = match kind {
            Contract::KIND => Self::Contract(Contract::read(&mut fields)?),
            Revision::KIND => Self::Revision(Revision::read(&mut fields)?),
            Receipt::KIND => Self::Receipt(Receipt::read(&mut fields)?),
            AuditIntent::KIND => Self::AuditIntent(AuditIntent::read(&mut fields)?),
            AuditRecord::KIND => Self::AuditRecord(AuditRecord::read(&mut fields)?),
            Payment::KIND => Self::Payment(Payment::read(&mut fields)?),
            Trust::KIND => Self::Trust(Trust::read(&mut fields)?),
            Claim::KIND => Self::Claim(Claim::read(&mut fields)?),
            _ => return refuse("a kind of statement that is not known"),
        };
        fields.end()?;
        Ok(statement)
    }

    /// What a note says. Its signatures are not looked at.
    ///
    /// # Errors
    /// As [`Statement::from_text`].
    pub fn of(note: &SignedNote) -> Result<Self, StatementError> {
        Self::from_text(note.text())
    }
}
