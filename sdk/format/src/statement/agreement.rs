//! What an owner and a provider agree on: prices, the contract, and its revisions.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::text::{Fields, Lines};
use super::{AMOUNT_MAX, SECONDS_MAX, StatementError};
use crate::ids::{ContractId, NodeId, PartyId};
use crate::tree::Hash;

/// Bytes of a GiB.
const GIB: u128 = 1 << 30;
/// Seconds of the 30 days that storage prices are for.
const MONTH_SECONDS: u128 = 30 * 86_400;

/// Prices in microcredits (a millionth of a credit), each a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// For 2^30 bytes held for 30 days (2,592,000 seconds).
    #[n(0)]
    pub storage_microcredits_per_gib_month: u64,
    /// For 2^30 bytes sent to the owner.
    #[n(1)]
    pub egress_microcredits_per_gib: u64,
    /// For one passed audit.
    #[n(2)]
    pub audit_microcredits: u64,
}

impl Default for Prices {
    /// One credit for a GiB-month, a tenth of one for a GiB sent, 100 microcredits for an audit.
    fn default() -> Self {
        Self {
            storage_microcredits_per_gib_month: 1_000_000,
            egress_microcredits_per_gib: 100_000,
            audit_microcredits: 100,
        }
    }
}

impl Prices {
    /// What is due for cumulative totals, in microcredits.
    ///
    /// The parts for storage, egress and audits are each rounded down and then added. Because the
    /// totals are cumulative, what rounding leaves out of one receipt is in a later one, and the
    /// amount never goes down when a total rises. `None` when it exceeds [`AMOUNT_MAX`].
    /// spec/notes.md, "Amounts".
    pub fn amount_due(&self, byte_seconds: u128, egress_bytes: u64, audits_passed: u64) -> Option<u64> {
        self.parts_due(byte_seconds, egress_bytes, audits_passed).map(|parts| parts.sum())
    }

    /// The parts of [`amount_due`](Self::amount_due), each rounded down; `None` when their sum exceeds
    /// [`AMOUNT_MAX`].
    pub fn parts_due(&self, byte_seconds: u128, egress_bytes: u64, audits_passed: u64) -> Option<PartsDue> {
        // A product beyond 2^128 is more than AMOUNT_MAX after the division too: the divisor is
        // below 2^52.
        let storage =
            byte_seconds.checked_mul(self.storage_microcredits_per_gib_month.into())? / (GIB * MONTH_SECONDS);
        let egress = u128::from(egress_bytes) * u128::from(self.egress_microcredits_per_gib) / GIB;
        let audits = u128::from(audits_passed) * u128::from(self.audit_microcredits);
        let sum = storage.checked_add(egress)?.checked_add(audits)?;
        let part = |amount: u128| u64::try_from(amount).ok();
        (sum <= u128::from(AMOUNT_MAX)).then_some(())?;
        Some(PartsDue {
            storage_microcredits: part(storage)?,
            egress_microcredits: part(egress)?,
            audits_microcredits: part(audits)?,
        })
    }
}

/// What an amount is made of. The sum is at most [`AMOUNT_MAX`] when it comes from
/// [`Prices::parts_due`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartsDue {
    /// For bytes held.
    pub storage_microcredits: u64,
    /// For bytes sent to the owner.
    pub egress_microcredits: u64,
    /// For audits passed.
    pub audits_microcredits: u64,
}

impl PartsDue {
    fn sum(&self) -> u64 {
        self.storage_microcredits + self.egress_microcredits + self.audits_microcredits
    }
}

/// The agreement under which one node of a provider keeps chunks for an owner. The owner signs it
/// first, the provider countersigns; its id is the SHA-256 of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Whose chunks they are, and who pays.
    pub owner: PartyId,
    /// Who keeps them, and is paid.
    pub provider: PartyId,
    /// The provider's node on which they are kept.
    pub node: NodeId,
    /// 16 random bytes, so that equal agreements have ids of their own.
    pub salt: [u8; 16],
    /// What is paid; the same from start to end.
    pub prices: Prices,
    /// Most bytes that may be held, at least 1.
    pub bytes_max: u64,
    /// When it begins, Unix seconds.
    pub starts: u64,
    /// When it ends, Unix seconds; after `starts`.
    pub ends: u64,
    /// Mean time between two audits, seconds, at least 1.
    pub audit_interval_seconds: u64,
    /// How long the node may be away without a consequence, seconds.
    pub grace_seconds: u64,
    /// What the owner may keep back until the end, microcredits.
    pub hold_microcredits: u64,
}

/// The inventory after a change. The owner signs it first; the provider's countersignature is its
/// receipt for bytes that are synced to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The contract.
    pub contract: ContractId,
    /// 1 for the first revision, and one more for each that follows.
    pub sequence: u64,
    /// Root of the inventory (spec/inventory.md).
    pub inventory_root: Hash,
    /// Entries of the inventory, holes included.
    pub entries: u64,
    /// Bytes that the entries span, holes included.
    pub span: u64,
    /// Bytes of the chunks that are held; at most `span`.
    pub held_bytes: u64,
    /// Chunks that are held; at most `entries`.
    pub held_chunks: u64,
    /// When the owner signed it, Unix seconds; not before the previous revision's.
    pub time: u64,
}

impl Contract {
    pub(super) const KIND: &str = "commonhold/contract/v1";

    /// The contract's id: SHA-256 of its text.
    pub fn id(&self) -> ContractId {
        ContractId(Sha256::digest(self.to_text().as_bytes()).into())
    }

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("owner", self.owner)
            .field("provider", self.provider)
            .field("node", self.node)
            .bytes("salt", &self.salt)
            .field("storage_microcredits_per_gib_month", self.prices.storage_microcredits_per_gib_month)
            .field("egress_microcredits_per_gib", self.prices.egress_microcredits_per_gib)
            .field("audit_microcredits", self.prices.audit_microcredits)
            .field("bytes_max", self.bytes_max)
            .field("starts", self.starts)
            .field("ends", self.ends)
            .field("audit_interval_seconds", self.audit_interval_seconds)
            .field("grace_seconds", self.grace_seconds)
            .field("hold_microcredits", self.hold_microcredits)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        let contract = Self {
            owner: fields.value("owner")?,
            provider: fields.value("provider")?,
            node: fields.value("node")?,
            salt: fields.bytes("salt")?,
            prices: Prices {
                storage_microcredits_per_gib_month: fields.within(
                    "storage_microcredits_per_gib_month",
                    0,
                    AMOUNT_MAX,
                )?,
                egress_microcredits_per_gib: fields.within("egress_microcredits_per_gib", 0, AMOUNT_MAX)?,
                audit_microcredits: fields.within("audit_microcredits", 0, AMOUNT_MAX)?,
            },
            bytes_max: fields.within("bytes_max", 1, u64::MAX)?,
            starts: fields.within("starts", 0, SECONDS_MAX)?,
            ends: fields.within("ends", 0, SECONDS_MAX)?,
            audit_interval_seconds: fields.within("audit_interval_seconds", 1, SECONDS_MAX)?,
            grace_seconds: fields.within("grace_seconds", 0, SECONDS_MAX)?,
            hold_microcredits: fields.within("hold_microcredits", 0, AMOUNT_MAX)?,
        };
        fields.check("ends", contract.ends > contract.starts, "the contract must end after it starts")?;
        Ok(contract)
    }
}

impl Revision {
    pub(super) const KIND: &str = "commonhold/revision/v1";

    pub(super) fn to_text(&self) -> String {
        Lines::of(Self::KIND)
            .field("contract", self.contract)
            .field("sequence", self.sequence)
            .bytes("inventory_root", &self.inventory_root)
            .field("entries", self.entries)
            .field("span", self.span)
            .field("held_bytes", self.held_bytes)
            .field("held_chunks", self.held_chunks)
            .field("time", self.time)
            .0
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, StatementError> {
        let revision = Self {
            contract: fields.value("contract")?,
            sequence: fields.within("sequence", 1, u64::MAX)?,
            inventory_root: fields.bytes("inventory_root")?,
            entries: fields.value("entries")?,
            span: fields.value("span")?,
            held_bytes: fields.value("held_bytes")?,
            held_chunks: fields.value("held_chunks")?,
            time: fields.within("time", 0, SECONDS_MAX)?,
        };
        let Self { entries, span, held_bytes, held_chunks, .. } = revision;
        fields.check("held_bytes", held_bytes <= span, "more bytes are held than the inventory spans")?;
        fields.check("held_chunks", held_chunks <= entries, "more chunks are held than there are entries")?;
        Ok(revision)
    }
}
