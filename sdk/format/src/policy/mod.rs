//! What is asked of a policy and what it answers (spec/policy.md; the same records as WIT in
//! spec/wit).
//!
//! A policy is the built-in default (engine) or a plugin (host). Both answer [`Question`]s, and each
//! answer is checked by [`Question::check`] before it is used, whoever gave it.
//!
//! Invariant: a checked answer names only candidates of its question and stays within the bounds of
//! its page in spec/. What it is not: a decision. Rules that no policy may bend (room, standing, one
//! chunk for each party and subnet, credit) are applied after it by whoever asked.
//!
//! In JSON each question is an object whose `ask` names the function, with the names of the WIT in
//! snake_case; keys are 64 hexadecimal digits.

pub mod package;
mod placement;
mod pricing;
mod transport;

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, PartyId};
use crate::statement::{AMOUNT_MAX, Prices};

pub use self::placement::{
    AdmitOffer, CODE_EXPANSION_MAX, CODE_LOSSES_MIN, Candidate, ChooseCode, CodeAnswer, Purpose, Rank,
    Standing,
};
pub use self::pricing::{Ceiling, Credit, CreditLimit, Market, Peer, Quote, Usage};
pub use self::transport::{
    Address, AdmitConnection, DIAL_AT_ONCE_MAX, Dial, DialPlan, Fetch, FetchPlan, HEDGE_AFTER_MS_MIN, Limit,
    Limits, Scope, Send, Source, Traffic, Transport,
};

/// Most candidates, addresses or sources in one question.
pub const LIST_LEN_MAX: usize = 10_000;
/// Longest reason of a verdict, bytes.
pub const REASON_LEN_MAX: usize = 200;
/// Version of the WIT that this is: plugins name it, see [`crate::statement::PolicyManifest`].
pub const API_VERSION: &str = "0.1.0";

/// The three worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Where chunks go.
    Placement,
    /// How data travels.
    Transport,
    /// What things cost.
    Pricing,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Placement, Self::Transport, Self::Pricing];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::Transport => "transport",
            Self::Pricing => "pricing",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no kind of policy: placement, transport or pricing"))
    }
}

/// The public key of a party or a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The WIT's four words.
    pub fn words(&self) -> [u64; 4] {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.0[8 * at..8 * at + 8]);
            u64::from_be_bytes(bytes)
        };
        [word(0), word(1), word(2), word(3)]
    }
}

impl From<PartyId> for Key {
    fn from(party: PartyId) -> Self {
        Self(party.0)
    }
}

impl From<NodeId> for Key {
    fn from(node: NodeId) -> Self {
        Self(node.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a key is 64 lower-case hexadecimal digits"))
    }
}

/// When a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Moment {
    /// Unix seconds.
    pub unix_seconds: u64,
    /// Minutes since Monday 00:00 in the operator's time zone, 0 to 10,079.
    pub minute_of_week: u32,
}

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Yes?
    pub admit: bool,
    /// Why not, for the other side to read; at most [`REASON_LEN_MAX`] bytes.
    #[serde(default)]
    pub reason: String,
}

impl Verdict {
    /// Yes.
    pub fn yes() -> Self {
        Self { admit: true, reason: String::new() }
    }
}

/// Why an answer is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAnswer(pub String);

fn bad<T>(why: impl Into<String>) -> Result<T, BadAnswer> {
    Err(BadAnswer(why.into()))
}

/// A question with the type of its answer.
pub trait Ask: Sized {
    /// What it is answered with.
    type Answer;

    /// As one of all.
    fn into_question(self) -> Question;

    /// The answer to a question that came from [`into_question`](Self::into_question).
    fn of(answer: Answer) -> Option<Self::Answer>;

    /// Whether the answer keeps the bounds.
    ///
    /// # Errors
    /// Which one it does not keep.
    fn check(&self, answer: &Self::Answer) -> Result<(), BadAnswer>;
}

macro_rules! questions {
    ($($(#[$doc:meta])* $name:ident: $kind:ident -> $answer:ident),* $(,)?) => {
        /// All that is asked of policies.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "ask", rename_all = "snake_case")]
        pub enum Question {
            $($(#[$doc])* $name($name)),*
        }

        impl Question {
            /// The world that it belongs to.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$name(_) => Kind::$kind),* }
            }

            /// Whether an answer is one to this question and keeps its bounds.
            ///
            /// # Errors
            /// Which one it does not keep.
            pub fn check(&self, answer: &Answer) -> Result<(), BadAnswer> {
                match (self, answer) {
                    $((Self::$name(ask), Answer::$answer(answer)) => ask.check(answer),)*
                    _ => bad("it answers another question"),
                }
            }
        }

        $(impl From<$name> for Question {
            fn from(ask: $name) -> Self {
                Self::$name(ask)
            }
        })*
    };
}

macro_rules! asks {
    ($($name:ident -> $answer:ident($type:ty) $check:expr;)*) => {
        $(impl Ask for $name {
            type Answer = $type;

            fn into_question(self) -> Question {
                Question::$name(self)
            }

            fn of(answer: Answer) -> Option<$type> {
                match answer {
                    Answer::$answer(answer) => Some(answer),
                    _ => None,
                }
            }

            fn check(&self, answer: &$type) -> Result<(), BadAnswer> {
                let check: fn(&$name, &$type) -> Result<(), BadAnswer> = $check;
                check(self, answer)
            }
        })*
    };
}

questions! {
    /// Placement: the code of a file's segments.
    ChooseCode: Placement -> Code,
    /// Placement: who holds chunks.
    Rank: Placement -> Ranking,
    /// Placement: whether to take a contract on.
    AdmitOffer: Placement -> Verdict,
    /// Transport: which addresses to dial.
    Dial: Transport -> DialPlan,
    /// Transport: how fast chunks go.
    Limit: Transport -> Limits,
    /// Transport: how a segment is fetched.
    Fetch: Transport -> FetchPlan,
    /// Transport: how a segment is sent.
    Send: Transport -> Parallel,
    /// Transport: whether a peer may stay connected.
    AdmitConnection: Transport -> Verdict,
    /// Pricing: what keeping data costs.
    Quote: Pricing -> Prices,
    /// Pricing: how far a party may go into debt.
    CreditLimit: Pricing -> Credit,
    /// Pricing: the highest prices that an owner accepts.
    Ceiling: Pricing -> Prices,
}

/// All that policies answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A code.
    Code(CodeAnswer),
    /// Positions in the candidates, best first.
    Ranking(Vec<u32>),
    /// Yes or no.
    Verdict(Verdict),
    /// Where to dial.
    DialPlan(DialPlan),
    /// How fast chunks go.
    Limits(Limits),
    /// How a segment is fetched.
    FetchPlan(FetchPlan),
    /// Chunks at the same time.
    Parallel(u32),
    /// Prices.
    Prices(Prices),
    /// Credit.
    Credit(Credit),
}

asks! {
    ChooseCode -> Code(CodeAnswer) ChooseCode::check_code;
    Rank -> Ranking(Vec<u32>) |ask, answer| positions("candidates", ask.candidates.len(), answer);
    AdmitOffer -> Verdict(Verdict) |_, answer| verdict(answer);
    Dial -> DialPlan(DialPlan) Dial::check_plan;
    Limit -> Limits(Limits) |_, _| Ok(());
    Fetch -> FetchPlan(FetchPlan) Fetch::check_plan;
    Send -> Parallel(u32) Send::check_parallel;
    AdmitConnection -> Verdict(Verdict) |_, answer| verdict(answer);
    Quote -> Prices(Prices) |_, answer| prices(answer, AMOUNT_MAX);
    CreditLimit -> Credit(Credit) |_, answer| answer.check();
    // No ceiling is the highest number.
    Ceiling -> Prices(Prices) |_, _| Ok(());
}

/// Somebody who answers: the built-in default, a plugin, or a plugin with the default behind it.
pub trait Policy: core::marker::Send + Sync {
    /// Answers; the answer passes [`Question::check`]. Takes microseconds, 100 ms at most.
    fn answer(&self, question: &Question) -> Answer;
}

impl dyn Policy + '_ {
    /// Asks with the question's own type.
    ///
    /// # Panics
    /// When the policy breaks its contract and answers another question.
    pub fn ask<Q: Ask>(&self, question: Q) -> Q::Answer {
        Q::of(self.answer(&question.into_question())).expect("a policy answers what it was asked")
    }
}

/// Positions in a list: each at most once, all of them there.
fn positions(what: &str, len: usize, answer: &[u32]) -> Result<(), BadAnswer> {
    if answer.len() > len {
        return bad(format!("it names {} of {len} {what}", answer.len()));
    }
    let mut seen = vec![false; len];
    for position in answer {
        match usize::try_from(*position).ok().and_then(|at| seen.get_mut(at)) {
            None => return bad(format!("it names number {position} of {len} {what}, counted from 0")),
            Some(seen) if *seen => return bad(format!("it names number {position} of the {what} twice")),
            Some(seen) => *seen = true,
        }
    }
    Ok(())
}

fn verdict(answer: &Verdict) -> Result<(), BadAnswer> {
    match answer.reason.len() {
        ..=REASON_LEN_MAX => Ok(()),
        len => bad(format!("its reason has {len} bytes, at most {REASON_LEN_MAX} are passed on")),
    }
}

fn prices(answer: &Prices, max: u64) -> Result<(), BadAnswer> {
    let rows = [
        ("storage", answer.storage_microcredits_per_gib_month),
        ("egress", answer.egress_microcredits_per_gib),
        ("audits", answer.audit_microcredits),
    ];
    match rows.into_iter().find(|(_, price)| *price > max) {
        Some((what, price)) => bad(format!("its price for {what} is {price}, at most {max} can be paid")),
        None => Ok(()),
    }
}
