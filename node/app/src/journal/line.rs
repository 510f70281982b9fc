//! One line of the journal.
//!
//! Invariant: a line is one JSON object without a line break, at most [`LINE_LEN_MAX`] bytes; `time` and
//! `event` are always there.

use commonhold_format::policy::{Answer, Key, Question};
use commonhold_format::statement::{Contract, Prices};
use commonhold_host::Decider;
use serde::{Deserialize, Serialize};

use super::{cut, trim};

/// Longest line, bytes. A question with all the candidates that are kept has less than half of it.
pub const LINE_LEN_MAX: usize = 512 << 10;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it was noted, Unix milliseconds. Transfers are noted when they end.
    pub time: u64,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A policy was asked.
    Decision {
        /// What.
        question: Question,
        /// The answer that counted.
        answer: Answer,
        /// Whose it was.
        by: By,
        /// Candidates, addresses or sources that are missing in the question.
        #[serde(default, skip_serializing_if = "is_zero")]
        left_out: u32,
    },
    /// A chunk was fetched, or was not.
    Fetched {
        /// How.
        #[serde(flatten)]
        moved: Moved,
    },
    /// A chunk was sent, or was not.
    Sent {
        /// How.
        #[serde(flatten)]
        moved: Moved,
    },
    /// Both signed a contract.
    ContractOpened {
        /// This node's part in it.
        side: Side,
        /// What it says.
        #[serde(flatten)]
        terms: Terms,
    },
    /// One of the two would not sign.
    ContractRefused {
        /// This node's part in it.
        side: Side,
        /// What it would have said.
        #[serde(flatten)]
        terms: Terms,
        /// Why, in the provider's words.
        why: String,
    },
    /// Lines are missing before this one.
    Omitted {
        /// Because the disk did not keep up.
        queue: u64,
        /// Because there were too many of a kind in a second.
        rate: std::collections::BTreeMap<String, u64>,
    },
}

/// Whose answer counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The built-in default's; there was no plugin.
    Default,
    /// A plugin's.
    Plugin {
        /// As it is installed.
        name: String,
        /// Its own version.
        version: String,
    },
    /// The default's, in place of a plugin's.
    Fallback {
        /// Whose it would have been.
        name: String,
        /// Why it was not.
        reason: String,
    },
}

/// How a chunk travelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// From or to whom.
    pub node: Key,
    /// Bytes of the chunk; 0 when nothing came.
    pub bytes: u64,
    /// How long it took, milliseconds; of one that was given up, until then.
    pub ms: u32,
    /// Why it did not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Was it given up because it was not needed any more?
    #[serde(default, skip_serializing_if = "is_false")]
    pub given_up: bool,
}

impl Moved {
    /// Did the chunk arrive?
    pub fn is_whole(&self) -> bool {
        self.error.is_none() && !self.given_up
    }
}

/// This node's part in a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It keeps data with another.
    Owner,
    /// It keeps another's data.
    Provider,
}

/// What a contract says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Its id, 64 hexadecimal digits.
    pub contract: Key,
    /// Whose data it is.
    pub owner: Key,
    /// Who keeps it.
    pub provider: Key,
    /// On which node.
    pub node: Key,
    /// What it pays.
    pub prices: Prices,
    /// Most bytes that it covers.
    pub bytes: u64,
    /// When it begins, Unix seconds.
    pub starts: u64,
    /// When it ends, Unix seconds.
    pub ends: u64,
}

impl From<&Contract> for Terms {
    fn from(contract: &Contract) -> Self {
        Self {
            contract: Key(contract.id().0),
            owner: contract.owner.into(),
            provider: contract.provider.into(),
            node: contract.node.into(),
            prices: contract.prices,
            bytes: contract.bytes_max,
            starts: contract.starts,
            ends: contract.ends,
        }
    }
}

impl Line {
    /// How much of the queue it takes.
    pub fn weight(&self) -> usize {
        match &self.what {
            What::Decision { question, .. } => trim::weight(question),
            _ => 1,
        }
    }
}

impl What {
    /// Its `event`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Decision { question, .. } => trim::name(question),
            Self::Fetched { .. } => "fetched",
            Self::Sent { .. } => "sent",
            Self::ContractOpened { .. } => "contract_opened",
            Self::ContractRefused { .. } => "contract_refused",
            Self::Omitted { .. } => "omitted",
        }
    }
}

impl From<&Decider> for By {
    fn from(by: &Decider) -> Self {
        match by {
            Decider::Default => Self::Default,
            Decider::Plugin { name, version } => {
                Self::Plugin { name: name.clone(), version: version.clone() }
            }
            Decider::Fallback { name, fault } => {
                Self::Fallback { name: name.clone(), reason: fault.to_string() }
            }
        }
    }
}

impl By {
    /// The same, with the reason cut to what a line keeps.
    pub fn cut(self) -> Self {
        match self {
            Self::Fallback { name, reason } => Self::Fallback { name, reason: cut(&reason) },
            other => other,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}
