//! The head of a ledger, as C2SP tlog-checkpoint has it (<https://c2sp.org/tlog-checkpoint>).

use data_encoding::BASE64;

use super::{StatementError, TEXT_LEN_MAX};
use crate::ids::{NodeId, PartyId};
use crate::note::{SignedNote, party_name};
use crate::tree::Hash;

/// The origin of a node's ledger: `commonhold/ledger/`, the party, `/`, the node. It is the name of
/// the key that signs the ledger's heads too, and names that key itself.
pub fn ledger_origin(party: &PartyId, node: &NodeId) -> String {
    format!("{ORIGIN_PREFIX}{party}/{node}")
}

/// Strict inverse of [`ledger_origin`].
pub fn parse_ledger_origin(origin: &str) -> Option<(PartyId, NodeId)> {
    let (party, node) = origin.strip_prefix(ORIGIN_PREFIX)?.split_once('/')?;
    let (party, node) = (party.parse().ok()?, node.parse().ok()?);
    (ledger_origin(&party, &node) == origin).then_some((party, node))
}

const ORIGIN_PREFIX: &str = "commonhold/ledger/";

/// The head of a ledger: its size and its Merkle root. Signed by the ledger's party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What ledger it is: one line, not empty, the same in every checkpoint of that ledger.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root over them (spec/chunk-tree.md).
    pub root: Hash,
}

impl Checkpoint {
    /// Three lines: the origin, the size in decimal digits, the root in base64.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(&self.root))
    }

    /// The checkpoint that a note is, if `party` signed it under the origin's name. Of a ledger's own
    /// origin, the party is the one that the origin names.
    ///
    /// # Errors
    /// A sentence that says what does not hold.
    pub fn of(note: &SignedNote, party: &PartyId) -> Result<Self, String> {
        let checkpoint = Self::from_text(note.text()).map_err(|error| error.to_string())?;
        if !note.is_signed_as(&checkpoint.origin, party) {
            return Err(format!("{} has not signed it under its origin", party_name(party)));
        }
        Ok(checkpoint)
    }

    /// The checkpoint of a ledger that names its own key, and whose it is.
    ///
    /// # Errors
    /// A sentence that says what does not hold.
    pub fn of_ledger(note: &SignedNote) -> Result<(Self, PartyId, NodeId), String> {
        let origin = note.text().split('\n').next().unwrap_or_default();
        let (party, node) =
            parse_ledger_origin(origin).ok_or("its origin is not that of a Commonhold ledger")?;
        Ok((Self::of(note, &party)?, party, node))
    }

    /// Strict inverse of [`Checkpoint::to_text`]. Extension lines, which tlog-checkpoint permits,
    /// are refused, because nothing here would read them.
    ///
    /// # Errors
    /// [`StatementError`] names the line that is not as it must be.
    pub fn from_text(text: &str) -> Result<Self, StatementError> {
        let refuse = |line, why: &str| StatementError { line, why: why.to_owned() };
        if text.len() > TEXT_LEN_MAX {
            return Err(refuse(1, "longer than any checkpoint"));
        }
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty() && !origin.contains(char::is_control));
        let origin = origin.ok_or_else(|| refuse(1, "no origin"))?.to_owned();
        let size =
            lines.next().and_then(|line| line.parse::<u64>().ok().filter(|size| size.to_string() == line));
        let size = size.ok_or_else(|| refuse(2, "no size in decimal digits"))?;
        let root = lines.next().and_then(|root| BASE64.decode(root.as_bytes()).ok());
        let root = root.and_then(|root| root.try_into().ok());
        let root = root.ok_or_else(|| refuse(3, "no root of 32 bytes in base64"))?;
        if lines.next() != Some("") || lines.next().is_some() {
            return Err(refuse(4, "surplus lines, or no newline at the end"));
        }
        Ok(Self { origin, size, root })
    }
}
