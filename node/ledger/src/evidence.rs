//! Faults of a party that a stranger can check with nothing but one file (spec/ledger.md, "Evidence").
//!
//! Invariant: [`Evidence::check`] accuses nobody who keeps to the duties of spec/notes.md, whatever
//! everybody else signs, withholds, sends again or adds to notes. So each kind rests on two statements
//! that the accused signed itself, and none on the time in a note or on its exact bytes. Not here: how
//! evidence is found ([`crate::compare`], [`crate::heads`]).

mod file;

use std::fmt;

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::log::{decode_entries, verify_consistency};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Checkpoint, Contract, Receipt, Statement};
use commonhold_format::tree::{Frontier, Hash, leaf_hash};
use data_encoding::HEXLOWER;

use crate::book::{Role, Subject, binds, numbered};

/// Most bytes of a ledger's entries in one piece of evidence.
pub const ENTRIES_LEN_MAX: usize = 64 << 20;

/// A statement of one party about its own ledger: so many entries, with this root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stated {
    /// A signed head.
    Head(SignedNote),
    /// A receipt that it signed, with the contract that says which part the party has in it.
    Receipt {
        /// The contract.
        contract: SignedNote,
        /// The receipt.
        receipt: SignedNote,
    },
}

/// What proves a fault of somebody to a stranger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// One party stated two histories of its ledger: `stated` names a size and root that is not the
    /// beginning of `head`.
    Fork {
        /// The statement that does not fit.
        stated: Stated,
        /// A signed head of the same ledger, at least as long.
        head: SignedNote,
        /// The root that the first entries of `head` have, as many as `stated` names.
        root: Hash,
        /// The proof that `head` continues that root.
        proof: Vec<Hash>,
    },
    /// Both parties signed two revisions or receipts of a contract with one sequence. The one who signs
    /// last is at fault: whoever signs first may have drawn up several, of which the other takes one.
    Conflict {
        /// The contract.
        contract: SignedNote,
        /// One text.
        first: SignedNote,
        /// The other.
        second: SignedNote,
    },
    /// A party signed a receipt and stated a ledger with it that lacks an earlier receipt of the same
    /// contract, which it had signed, and which has to be in the log before the next one is signed.
    Missing {
        /// The contract.
        contract: SignedNote,
        /// Whose ledger lacks it.
        role: Role,
        /// The receipt that is missing, with the head of the ledger before it.
        earlier: SignedNote,
        /// One with a higher sequence, with the head of the ledger that has to have the earlier one.
        later: SignedNote,
        /// The roots of the full subtrees of the ledger as the earlier receipt states it.
        frontier: Vec<Hash>,
        /// The ledger's entries between the two heads, laid out as in a bundle of tlog-tiles.
        entries: Vec<u8>,
    },
}

/// What a piece of evidence proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Who is at fault.
    pub accused: PartyId,
    /// What it did, in a sentence.
    pub what: String,
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Evidence {
    /// Checks it with nothing else at hand. Answers what it proves.
    ///
    /// # Errors
    /// A sentence that says why it proves nothing.
    pub fn check(&self) -> Result<Proven, String> {
        match self {
            Self::Fork { stated, head, root, proof } => check_fork(stated, head, root, proof),
            Self::Conflict { contract, first, second } => check_conflict(contract, first, second),
            Self::Missing { contract, role, earlier, later, frontier, entries } => {
                check_missing(contract, *role, [earlier, later], frontier, entries)
            }
        }
    }

    /// Its kind's word: `fork`, `conflict` or `missing`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fork { .. } => "fork",
            Self::Conflict { .. } => "conflict",
            Self::Missing { .. } => "missing",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.check() {
            Ok(proven) => proven.fmt(f),
            Err(why) => write!(f, "nothing: {why}"),
        }
    }
}

/// A ledger as one party stated it when it signed a receipt.
pub(crate) struct StatedHead {
    pub(crate) party: PartyId,
    pub(crate) node: NodeId,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// What a receipt that both signed says of the ledger of one of them.
pub(crate) fn stated_head(contract: &Contract, receipt: &Receipt, role: Role) -> StatedHead {
    let (party, node, (size, root)) = match role {
        Role::Owner => (contract.owner, receipt.owner_node, receipt.owner_head),
        Role::Provider => (contract.provider, contract.node, receipt.provider_head),
    };
    StatedHead { party, node, size, root }
}

/// A contract and a receipt under it, each signed by both parties.
fn signed_receipt(contract: &SignedNote, receipt: &SignedNote) -> Result<(Contract, Receipt), String> {
    match (Statement::of(contract), Statement::of(receipt)) {
        (Ok(Statement::Contract(terms)), Ok(Statement::Receipt(found))) if binds(receipt, Some(contract)) => {
            Ok((terms, found))
        }
        _ => Err("the receipt and its contract are not signed by both of the contract's parties".to_owned()),
    }
}

fn check_fork(stated: &Stated, head: &SignedNote, root: &Hash, proof: &[Hash]) -> Result<Proven, String> {
    let (long, party, node) = Checkpoint::of_ledger(head)?;
    let (by, statements) = match stated {
        Stated::Head(note) => {
            let (short, ..) = Checkpoint::of_ledger(note)?;
            if short.origin != long.origin {
                return Err("the two heads are of different ledgers".to_owned());
            }
            ("a head", vec![(short.size, short.root)])
        }
        Stated::Receipt { contract, receipt } => {
            let (terms, found) = signed_receipt(contract, receipt)?;
            // A party may have several nodes, each with a ledger, and be on both sides.
            let stated = [Role::Owner, Role::Provider].map(|role| stated_head(&terms, &found, role));
            let of_this = stated.into_iter().filter(|stated| (stated.party, stated.node) == (party, node));
            ("a receipt", of_this.map(|stated| (stated.size, stated.root)).collect())
        }
    };
    let mut why = "the statement is about another ledger than the head".to_owned();
    for (size, said) in statements {
        why = match verify_consistency((size, root), (long.size, &long.root), proof) {
            Err(error) => error.to_string(),
            Ok(()) if said == *root => "the statement fits the head: nothing was forked".to_owned(),
            Ok(()) => {
                let what = format!(
                    "{party} forked its ledger on node {node}: {by} that it signed says that its first {size} entries \
                     have root {}, and its head of {} entries says {}",
                    HEXLOWER.encode(&said),
                    long.size,
                    HEXLOWER.encode(root)
                );
                return Ok(Proven { accused: party, what });
            }
        };
    }
    Err(why)
}

fn check_conflict(contract: &SignedNote, first: &SignedNote, second: &SignedNote) -> Result<Proven, String> {
    let refused =
        || "these are not two texts for one contract and sequence that both parties signed".to_owned();
    let about = numbered(first).filter(|about| numbered(second) == Some(*about));
    let (subject, sequence) = about.ok_or_else(refused)?;
    if first.text() == second.text() || !binds(first, Some(contract)) || !binds(second, Some(contract)) {
        return Err(refused());
    }
    let Ok(Statement::Contract(terms)) = Statement::of(contract) else { return Err(refused()) };
    let accused = match subject {
        Subject::Revision(_) => terms.provider,
        Subject::Receipt(_) => terms.owner,
        // A party may have several nodes; none of them sees what another one has signed.
        Subject::Payment { .. } | Subject::Trust { .. } => return Err(refused()),
    };
    let what = format!(
        "{accused} countersigned two texts for {subject}, sequence {sequence}, and both parties' signatures are \
         on both"
    );
    Ok(Proven { accused, what })
}

fn check_missing(
    contract: &SignedNote,
    role: Role,
    [earlier, later]: [&SignedNote; 2],
    frontier: &[Hash],
    entries: &[u8],
) -> Result<Proven, String> {
    let (terms, first) = signed_receipt(contract, earlier)?;
    let (_, next) = signed_receipt(contract, later)?;
    if first.sequence >= next.sequence {
        return Err("the later receipt does not have a higher sequence".to_owned());
    }
    let [before, after] = [&first, &next].map(|receipt| stated_head(&terms, receipt, role));
    if before.node != after.node {
        return Err("the two receipts are about ledgers of different nodes".to_owned());
    }
    let edge = Frontier::new(before.size, frontier).filter(|edge| edge.root() == before.root);
    let mut edge = edge.ok_or("the subtrees do not have the root that the earlier receipt states")?;
    let count = after.size.checked_sub(before.size).and_then(|count| usize::try_from(count).ok());
    let entries = count
        .and_then(|count| decode_entries(entries, count))
        .ok_or("there are not as many entries as lie between the two receipts")?;
    for entry in &entries {
        edge.push(leaf_hash(entry));
    }
    if edge.root() != after.root {
        return Err("the entries do not have the root that the later receipt states".to_owned());
    }
    let place = Some((Subject::Receipt(first.contract), first.sequence));
    let is_it = |entry: &&[u8]| {
        // Whatever lines it has: another signature over the same text is the same receipt.
        SignedNote::parse(entry).is_ok_and(|note| numbered(&note) == place && binds(&note, Some(contract)))
    };
    if entries.iter().any(is_it) {
        return Err("a receipt of that sequence is in the ledger".to_owned());
    }
    let what = format!(
        "{} signed receipt {} of contract {} with a ledger of {} entries on node {}, which lacks receipt {}, though \
         it signed that before",
        after.party, next.sequence, first.contract, after.size, after.node, first.sequence
    );
    Ok(Proven { accused: after.party, what })
}
