//! What a challenger says of an audit: that it will ask, and what it found.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use super::text::{Fields, Lines};
use super::{SECONDS_MAX, StatementError};
use crate::audit::AUDIT_SAMPLES;
use crate::ids::ContractId;
use crate::tree::Hash;

/// The challenger's promise, signed and logged before the nonce is revealed: afterwards it cannot
/// try nonces until one suits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditIntent {
    /// The contract.
    pub contract: ContractId,
    /// Number of the audit under the contract; rises with each one.
    pub epoch: u64,
    /// Sequence of the revision that is challenged, at least 1.
    pub revision: u64,
    /// [`nonce_commitment`](crate::audit::nonce_commitment) of the nonce.
    pub commitment: Hash,
    /// When it was signed, Unix seconds.
    pub time: u64,
}

/// What an audit found. Signed by the challenger alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// The contract.
    pub contract: ContractId,
    /// Number of the audit, as in its intent.
    pub epoch: u64,
    /// Sequence of the revision that was challenged, at least 1.
    pub revision: u64,
    /// The nonce that the intent committed to.
    pub nonce: [u8; 32],
    /// The class of what was found.
    pub outcome: AuditOutcome,
    /// Leaves that were shown and right.
    pub leaves: u32,
    /// Chunks that were said or found to be lost.
    pub lost_chunks: u32,
    /// Hash of challenge and proof (spec/audit.md); zeros when there was no answer.
    pub evidence: Hash,
    /// When it was signed, Unix seconds.
    pub time: u64,
}

/// Classes of what an audit finds, kept apart because their consequences differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum AuditOutcome {
    /// Everything shown was right.
    #[n(0)]
    Passed,
    /// A chunk is lost, or was shown wrong.
    #[n(1)]
    WrongBytes,
    /// Connected, and no proof came in time.
    #[n(2)]
    NoAnswer,
    /// The node could not be reached.
    #[n(3)]
    Offline,
    /// The provider says that its disk is in quarantine.
    #[n(4)]
    Quarantined,
}

impl AuditOutcome {
    const ALL: [Self; 5] = [Self::Passed, Self::WrongBytes, Self::NoAnswer, Self::Offline, Self::Quarantined];

    /// The word in a note: `passed`, `wrong-bytes`, `no-answer`, `offline` or `quarantined`.
    pub fn as_str(&self) -> &'static str {
        match self {
            AuditOutcome::Passed => "passed",
            AuditOutcome::WrongBytes => "wrong-bytes",
            AuditOutcome::NoAnswer => "no-answer",
            AuditOutcome::Offline => "offline",
            AuditOutcome::Quarantined => "quarantined",
        }
    }

    /// Was a proof judged?
    fn is_of_a_proof(self) -> bool {
        matches!(self, AuditOutcome::Passed | AuditOutcome::WrongBytes)
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is none of an audit's outcomes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected passed, wrong-bytes, no-answer, offline or quarantined")]
pub struct OutcomeError;

impl FromStr for AuditOutcome {
    type Err = OutcomeError;

    fn from_str(word: &str) -> Result<Self, OutcomeError> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word).ok_or(OutcomeError)
    }
}

impl AuditIntent {
    pub(super) const KIND: &str = "commonhold/audit-intent/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("contract", self.contract)
            .field("epoch", self.epoch)
            .field("revision", self.revision)
            .bytes("commitment", &self.commitment)
            .field("time", self.time)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        Ok(Self {
            contract: fields.value("contract")?,
            epoch: fields.value("epoch")?,
            revision: fields.within("revision", 1, u64::MAX)?,
            commitment: fields.bytes("commitment")?,
            time: fields.within("time", 0, SECONDS_MAX)?,
        })
    }
}

impl AuditRecord {
    pub(super) const KIND: &str = "commonhold/audit-record/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("contract", self.contract)
            .field("epoch", self.epoch)
            .field("revision", self.revision)
            .bytes("nonce", &self.nonce)
            .field("outcome", self.outcome)
            .field("leaves", self.leaves)
            .field("lost_chunks", self.lost_chunks)
            .bytes("evidence", &self.evidence)
            .field("time", self.time)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        let record = Self {
            contract: fields.value("contract")?,
            epoch: fields.value("epoch")?,
            revision: fields.within("revision", 1, u64::MAX)?,
            nonce: fields.bytes("nonce")?,
            outcome: fields.value("outcome")?,
            leaves: fields.value("leaves")?,
            lost_chunks: fields.value("lost_chunks")?,
            evidence: fields.bytes("evidence")?,
            time: fields.within("time", 0, SECONDS_MAX)?,
        };
        let Self { outcome, leaves, lost_chunks, .. } = record;
        let shown = u64::from(leaves) + u64::from(lost_chunks);
        fields.check("leaves", shown <= AUDIT_SAMPLES as u64, "an audit draws 64 positions at most")?;
        fields.check(
            "lost_chunks",
            lost_chunks == 0 || outcome != AuditOutcome::Passed,
            "an audit that finds a chunk lost is not passed",
        )?;
        fields.check("leaves", shown == 0 || outcome.is_of_a_proof(), "without a proof nothing was shown")?;
        Ok(record)
    }
}
