//! The questions of the world `placement` (spec/policy-placement.md).

use serde::{Deserialize, Serialize};

use super::{BadAnswer, Key, Moment, bad};
use crate::code::{CODE_N_MAX, Code};
use crate::statement::Prices;

/// Chunks of a segment that may be lost at least, whatever code a policy chooses.
pub const CODE_LOSSES_MIN: u32 = 2;
/// Most bytes stored for each byte, whatever code a policy chooses.
pub const CODE_EXPANSION_MAX: u32 = 8;

/// How a provider stands, of those that may get new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing is held against it. Code 1.
    #[default]
    Good,
    /// It could not show bytes that it had signed for. Code 2.
    Probation,
}

impl Standing {
    /// The WIT's code.
    pub fn code(self) -> u32 {
        match self {
            Self::Good => 1,
            Self::Probation => 2,
        }
    }
}

/// What chunks are placed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A new segment, or somebody who reads. Code 1.
    #[default]
    Use,
    /// Repair. Code 2.
    Repair,
}

impl Purpose {
    /// The WIT's code.
    pub fn code(self) -> u32 {
        match self {
            Self::Use => 1,
            Self::Repair => 2,
        }
    }
}

/// A provider that may get a chunk, or holds one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Candidate {
    /// The node that would keep the chunk.
    pub node: Key,
    /// The party that runs it.
    pub party: Key,
    /// The same number, the same party.
    pub operator: u32,
    /// The same number, the same subnet; 0 has none.
    pub subnet: u32,
    /// Where it says that it is: 256 · first letter + second of an ISO 3166 code; 0 when it does not.
    pub region: u32,
    /// How it stands.
    pub standing: Standing,
    /// Audits passed for this owner.
    pub audits_passed: u32,
    /// Audits failed for this owner.
    pub audits_failed: u32,
    /// Round trip, milliseconds.
    pub latency_ms: u32,
    /// One more than the index of the chunk of this segment that it lost; 0 when it lost none.
    pub returning: u32,
    /// Bytes that it says are free.
    pub free_bytes: u64,
    /// What it asks.
    pub prices: Prices,
    /// −log2 of a uniform draw, 32 bits behind the point.
    pub lot: u64,
}

/// Which code the segments of a file get.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChooseCode {
    /// When.
    #[serde(default)]
    pub now: Moment,
    /// Who could hold chunks; at most one of each party and subnet.
    pub candidates: Vec<Candidate>,
}

/// A code as a policy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeAnswer {
    /// Chunks that give a segment back.
    pub k: u32,
    /// All chunks.
    pub n: u32,
}

impl From<Code> for CodeAnswer {
    fn from(code: Code) -> Self {
        Self { k: code.k().into(), n: code.n().into() }
    }
}

impl CodeAnswer {
    /// The code, if it is one.
    pub fn code(self) -> Option<Code> {
        Code::new(u8::try_from(self.k).ok()?, u8::try_from(self.n).ok()?).ok()
    }
}

impl ChooseCode {
    /// A code is within the bounds of codes, can lose [`CODE_LOSSES_MIN`] and stores at most
    /// [`CODE_EXPANSION_MAX`] bytes for each. One that needs more holders than there are is a way to say
    /// that nothing is to be stored yet.
    pub(super) fn check_code(&self, answer: &CodeAnswer) -> Result<(), BadAnswer> {
        let CodeAnswer { k, n } = *answer;
        if answer.code().is_none() {
            return bad(format!("{k} of {n} is not a code; 1 <= k <= n <= {CODE_N_MAX} is"));
        }
        if n - k < CODE_LOSSES_MIN {
            return bad(format!("{k} of {n} can lose {}, at least {CODE_LOSSES_MIN} are needed", n - k));
        }
        if n > k * CODE_EXPANSION_MAX {
            return bad(format!("{k} of {n} stores more than {CODE_EXPANSION_MAX} bytes for each"));
        }
        Ok(())
    }
}

/// Who is to hold chunks of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// When.
    #[serde(default)]
    pub now: Moment,
    /// What for.
    #[serde(default)]
    pub purpose: Purpose,
    /// The segment's code.
    pub code: CodeAnswer,
    /// Holders that are wanted.
    pub holders: u32,
    /// Bytes of each chunk.
    pub chunk_len: u32,
    /// Who holds other chunks of it already.
    #[serde(default)]
    pub taken: Vec<Candidate>,
    /// Who may hold one: with room, and in a standing that allows new data.
    pub candidates: Vec<Candidate>,
}

/// Whether this node takes a contract on that passed its other rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdmitOffer {
    /// When.
    pub now: Moment,
    /// The owner.
    pub owner: Key,
    /// Bytes that it would cover.
    pub bytes: u64,
    /// Its term, seconds.
    pub term_seconds: u64,
    /// What it pays.
    pub prices: Prices,
    /// Microcredits that the owner may hold back until its end.
    pub hold: u64,
    /// Bytes that this node lends.
    pub allotted_bytes: u64,
    /// Of those, free.
    pub free_bytes: u64,
    /// Contracts of this owner that have not ended.
    pub contracts_of_owner: u32,
    /// Contracts that have not ended.
    pub contracts: u32,
    /// What the owner owes by what both signed, microcredits; negative when it is owed.
    pub account: i64,
}
