//! Who may come to owe this node how much, and the notes that change it (spec/api.md, spec/credit.md).
//!
//! Invariant: amounts that may outgrow 64 bits are decimal numbers as text.

use serde::{Deserialize, Serialize};

/// `GET /v1/credit`: who may come to owe this provider how much (spec/credit.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditView {
    /// Length of an epoch, seconds.
    pub epoch_seconds: u64,
    /// Microcredits by which uncovered debts may grow in an epoch.
    pub gift_microcredits: u64,
    /// What of them is used, with one epoch of keeping what is held ahead; a decimal number.
    pub gift_used_microcredits: String,
    /// All parties that something is known of, those first that may come to owe most.
    pub parties: Vec<PartyCredit>,
}

/// How one party stands with this provider. Amounts are microcredits as decimal numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyCredit {
    /// Whose, 64 hexadecimal digits.
    pub party: String,
    /// What it owes by receipts and payments; negative when it is owed.
    pub account_microcredits: String,
    /// What it owes and has not signed for.
    pub unsigned_microcredits: String,
    /// What it may come to owe within an epoch.
    pub exposure_microcredits: String,
    /// What it may owe on its own: the operator's line and what it may hold back.
    pub own_microcredits: String,
    /// What others' trust lines carry.
    pub guaranteed_microcredits: String,
    /// What the pricing policy answers for.
    pub policy_microcredits: String,
    /// What its trust lines carry of others' debts.
    pub lent_microcredits: String,
    /// What nobody stands for.
    pub uncovered_microcredits: String,
    /// How much more it may come to owe.
    pub headroom_microcredits: String,
    /// Its contracts that are not served, and why.
    pub stopped: Vec<Stopped>,
}

/// A contract that is not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Which, 64 hexadecimal digits.
    pub contract: String,
    /// Why, and what its owner can do.
    pub why: String,
}

/// `POST /v1/payments`: says that somebody has paid this party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// Who paid, 64 hexadecimal digits.
    pub payer: String,
    /// How much more than before, microcredits.
    pub microcredits: u64,
    /// Hash of an outside document, 64 hexadecimal digits. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The payer's node, a peer id. Absent: whichever of its nodes is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// `POST /v1/trust`: answers for somebody's debt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustRequest {
    /// To whom, 64 hexadecimal digits.
    pub creditor: String,
    /// Whose debt, 64 hexadecimal digits.
    pub debtor: String,
    /// Up to how much, microcredits; 0 takes an earlier line back.
    pub limit_microcredits: u64,
    /// For how long from now, seconds.
    pub seconds: u64,
    /// The creditor's node, a peer id. Absent: whichever of its nodes is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A note that both parties have signed, of `POST /v1/payments` and `POST /v1/trust`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedView {
    /// The note, as text.
    pub note: String,
    /// Whose node countersigned, a peer id.
    pub node: String,
}
