//! Audits and repair: what was found on other disks, and what was found on this one (spec/api.md,
//! spec/audit.md).
//!
//! Invariant: the fault classes are kept apart, because they call for different answers.

use serde::{Deserialize, Serialize};

/// `POST /v1/audits`: whom to challenge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// Only this provider (peer id); without it, every provider that holds something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The challenge's nonce, 64 hexadecimal digits; without it, a random one. A given nonce makes
    /// the drawn leaves known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The answer to an [`AuditRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// One for each contract that was audited.
    pub audits: Vec<Audit>,
}

/// The fault class of an audit; kept apart because they call for different answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// All leaves were right.
    Passed,
    /// A chunk is wrong or lost.
    WrongBytes,
    /// Connected, but no answer in time.
    NoAnswer,
    /// Not reachable.
    Offline,
    /// The provider says that its disk is in quarantine.
    Quarantined,
}

impl AuditOutcome {
    /// The word in JSON, like `"wrong-bytes"`.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Passed => "passed",
            AuditOutcome::WrongBytes => "wrong-bytes",
            AuditOutcome::NoAnswer => "no-answer",
            AuditOutcome::Offline => "offline",
            AuditOutcome::Quarantined => "quarantined",
        }
    }
}

/// One audit of one contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Whose disk, a peer id.
    pub provider: String,
    /// Under which contract, 64 hexadecimal digits.
    pub contract: String,
    /// Its number under the contract.
    pub epoch: u64,
    /// The fault class.
    pub outcome: AuditOutcome,
    /// Leaves that were shown and are right.
    pub leaves: u64,
    /// Ids of chunks that were found wrong or lost.
    pub lost_chunks: Vec<String>,
    /// Bytes under the contract at the time.
    pub held_bytes: u64,
    /// Why the outcome is what it is, and what it means for the provider, in sentences.
    pub reason: String,
    /// What to do about it; empty when nothing is.
    #[serde(default)]
    pub what_to_do: String,
    /// SHA-256 of the evidence, 64 hexadecimal digits; zeros without a proof.
    pub evidence: String,
    /// Milliseconds from sending the challenge to its whole answer, or to giving it up.
    #[serde(default)]
    pub took_ms: u64,
    /// Was it a challenge that had been sent before and not been judged?
    #[serde(default)]
    pub repeated: bool,
}

/// How a provider stands with this owner, when that is not simply well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStanding {
    /// Its peer id.
    pub provider: String,
    /// `"good"`, `"probation"`, `"suspended"`, `"quarantined"`, `"absent"` or `"lost"`.
    pub state: String,
    /// Since when, Unix seconds; 0 for one that was never in another state.
    pub since: u64,
    /// Why, in sentences.
    pub reason: String,
    /// What to do about the last audit; empty when nothing is.
    pub what_to_do: String,
    /// Contract of the last audit.
    pub contract: String,
    /// Number of the last audit.
    pub epoch: u64,
    /// Its outcome.
    pub outcome: AuditOutcome,
    /// Evidence of the last audit that found wrong bytes, 64 hexadecimal digits; absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// Audits of this node's disk in the last days, as its owners told what they found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditsHere {
    /// How many days are counted, by the days of UTC.
    pub days: u64,
    /// Passed.
    pub passed: u64,
    /// Found wrong bytes, or chunks that are lost.
    pub wrong_bytes: u64,
    /// Went unanswered although the node was reached.
    pub no_answer: u64,
    /// Did not reach the node.
    pub offline: u64,
    /// Were told of a quarantine.
    pub quarantined: u64,
    /// The last one that was not passed, however long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed: Option<FailedAudit>,
}

/// An audit of this node that was not passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAudit {
    /// When, Unix seconds, by the owner's clock.
    pub time: u64,
    /// Who audited, a party.
    pub owner: String,
    /// Under which contract.
    pub contract: String,
    /// Its number under the contract.
    pub epoch: u64,
    /// The fault class.
    pub outcome: AuditOutcome,
    /// Chunks that were found wrong or lost.
    pub lost_chunks: u64,
    /// What to do about it.
    pub what_to_do: String,
    /// Hash of the evidence, which the owner has; zeros without a proof.
    pub evidence: String,
}

/// `POST /v1/repair`: what counts as gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairRequest {
    /// A holder that has been out of reach for longer than this many seconds counts as gone; 0: out
    /// of reach right now. Absent: what the node's configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_after_seconds: Option<u64>,
}

/// What one run of repair found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Segments looked at.
    pub segments: u64,
    /// Segments with all their chunks at the end.
    pub full: u64,
    /// Segments that got chunks back.
    pub repaired_segments: u64,
    /// Chunks made again and signed for.
    pub rebuilt_chunks: u64,
    /// Their bytes.
    pub rebuilt_bytes: u64,
    /// Segments that still lack chunks and can be read.
    pub at_risk: u64,
    /// Segments with fewer chunks than reading needs.
    pub lost: u64,
}
