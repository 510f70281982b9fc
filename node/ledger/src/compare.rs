//! Two ledgers held beside each other: forks, contradictions, and notes that one of them lacks, each as
//! evidence that a stranger can check (spec/ledger.md, "Comparing" and "Evidence").
//!
//! Invariant: a piece of evidence is written only when [`Evidence::check`] confirms it, and it holds
//! for somebody who has nothing but its file. Not here: which of two ledgers is the honest one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write;

use commonhold_format::ids::PartyId;
use commonhold_format::log::verify_consistency;
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote};
use commonhold_format::statement::{Checkpoint, Receipt, Statement, parse_ledger_origin};
use commonhold_format::tree::{Hash, leaf_hash, root_over};
use data_encoding::{BASE64, HEXLOWER};

use crate::book::{Conflict, Subject, binds, numbered};
use crate::bundle::add;
use crate::source::{Source, Tar};
use crate::verify::Log;

/// How long after a receipt's time both ledgers must have it.
pub const RECEIPT_DEADLINE_SECONDS: u64 = 86_400;
/// Most leaves of a ledger in one piece of evidence.
const LEAVES_LEN_MAX: usize = 32 << 20;
const MAGIC: &str = "commonhold/evidence/v1";

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
    /// Both parties signed two texts for one subject and sequence.
    Conflict {
        /// The contract, for revisions and receipts.
        contract: Option<SignedNote>,
        /// One text.
        first: SignedNote,
        /// The other.
        second: SignedNote,
    },
    /// A receipt that both signed is not in the ledger of one of them, after its deadline.
    Missing {
        /// The contract.
        contract: SignedNote,
        /// The receipt.
        receipt: SignedNote,
        /// The signed head of the ledger that lacks it.
        head: SignedNote,
        /// The leaf hashes of that ledger.
        leaves: Vec<Hash>,
        /// A note in that ledger that is later than the deadline, and its index.
        later: (u64, SignedNote),
    },
}

impl Evidence {
    /// Checks it with nothing else at hand. Answers what it proves.
    ///
    /// # Errors
    /// A sentence that says why it proves nothing.
    pub fn check(&self) -> Result<String, String> {
        match self {
            Self::Fork { stated, head, root, proof } => check_fork(stated, head, root, proof),
            Self::Conflict { contract, first, second } => check_conflict(contract.as_ref(), first, second),
            Self::Missing { contract, receipt, head, leaves, later } => {
                check_missing(contract, receipt, head, leaves, later)
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

    /// Writes it as a tar of notes that a person can read.
    ///
    /// # Errors
    /// A sentence.
    pub fn write(&self, out: impl Write) -> Result<(), String> {
        let mut tar = tar::Builder::new(out);
        let mut about = format!("{MAGIC}\n{}\n", self.kind());
        let mut files: Vec<(&str, Vec<u8>)> = Vec::new();
        match self {
            Self::Fork { stated, head, root, proof } => {
                match stated {
                    Stated::Head(note) => files.push(("stated.note", note.to_bytes())),
                    Stated::Receipt { contract, receipt } => {
                        files.push(("contract.note", contract.to_bytes()));
                        files.push(("receipt.note", receipt.to_bytes()));
                    }
                }
                files.push(("head.note", head.to_bytes()));
                for hash in std::iter::once(root).chain(proof) {
                    about.push_str(&BASE64.encode(hash));
                    about.push('\n');
                }
            }
            Self::Conflict { contract, first, second } => {
                files.extend(contract.iter().map(|note| ("contract.note", note.to_bytes())));
                files.push(("first.note", first.to_bytes()));
                files.push(("second.note", second.to_bytes()));
            }
            Self::Missing { contract, receipt, head, leaves, later } => {
                files.push(("contract.note", contract.to_bytes()));
                files.push(("receipt.note", receipt.to_bytes()));
                files.push(("head.note", head.to_bytes()));
                files.push(("later.note", later.1.to_bytes()));
                files.push(("leaves", leaves.as_flattened().to_vec()));
                about.push_str(&format!("{}\n", later.0));
            }
        }
        add(&mut tar, "evidence.txt", about.as_bytes())?;
        for (name, bytes) in files {
            add(&mut tar, name, &bytes)?;
        }
        let mut out = tar.into_inner().map_err(|error| error.to_string())?;
        out.flush().map_err(|error| error.to_string())
    }

    /// Reads what [`Evidence::write`] wrote; nothing in it is believed before [`Evidence::check`].
    ///
    /// # Errors
    /// A sentence.
    pub fn read(tar: &mut Tar) -> Result<Self, String> {
        let about = tar.get("evidence.txt", 16 * 1024)?.ok_or("there is no evidence.txt in it")?;
        let about = String::from_utf8(about).map_err(|_| "evidence.txt is not text".to_owned())?;
        let mut lines = about.lines();
        if lines.next() != Some(MAGIC) {
            return Err("evidence.txt is not of this version".to_owned());
        }
        let kind = lines.next().unwrap_or_default();
        let mut note = |name: &str| -> Result<SignedNote, String> {
            let bytes = tar.get(name, NOTE_LEN_MAX)?.ok_or_else(|| format!("there is no {name} in it"))?;
            SignedNote::parse(&bytes).map_err(|error| format!("{name}: {error}"))
        };
        match kind {
            "fork" => {
                let head = note("head.note")?;
                let stated = match note("stated.note") {
                    Ok(note) => Stated::Head(note),
                    Err(_) => {
                        Stated::Receipt { contract: note("contract.note")?, receipt: note("receipt.note")? }
                    }
                };
                let hash = |line: &str| -> Result<Hash, String> {
                    let bytes = BASE64.decode(line.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
                    bytes.ok_or_else(|| "evidence.txt has a line that is not a hash".to_owned())
                };
                let mut hashes = lines.take(100).map(hash).collect::<Result<Vec<_>, _>>()?.into_iter();
                let root = hashes.next().ok_or("evidence.txt has no root")?;
                Ok(Self::Fork { stated, head, root, proof: hashes.collect() })
            }
            "conflict" => {
                let (first, second) = (note("first.note")?, note("second.note")?);
                Ok(Self::Conflict { contract: note("contract.note").ok(), first, second })
            }
            "missing" => {
                let index =
                    lines.next().and_then(|line| line.parse().ok()).ok_or("evidence.txt has no index")?;
                let (contract, receipt, head, later) =
                    (note("contract.note")?, note("receipt.note")?, note("head.note")?, note("later.note")?);
                let leaves = tar.get("leaves", LEAVES_LEN_MAX)?.ok_or("there are no leaves in it")?;
                let (leaves, rest) = leaves.as_chunks::<32>();
                if !rest.is_empty() {
                    return Err("leaves are not whole hashes".to_owned());
                }
                Ok(Self::Missing { contract, receipt, head, leaves: leaves.to_vec(), later: (index, later) })
            }
            _ => Err("evidence.txt names no kind of evidence that is known".to_owned()),
        }
    }
}

/// A receipt that both parties of its contract signed.
fn signed_receipt(contract: &SignedNote, receipt: &SignedNote) -> Result<Receipt, String> {
    match Statement::of(receipt) {
        Ok(Statement::Receipt(found)) if binds(receipt, Some(contract)) => Ok(found),
        _ => Err("the receipt and its contract are not signed by both of the contract's parties".to_owned()),
    }
}

/// Which part a party has in a contract: whether it is the owner.
fn is_owner(contract: &SignedNote, party: &PartyId) -> Result<bool, String> {
    match Statement::of(contract) {
        Ok(Statement::Contract(it)) if it.owner == *party => Ok(true),
        Ok(Statement::Contract(it)) if it.provider == *party => Ok(false),
        _ => Err(format!("{party} has no part in the contract")),
    }
}

fn check_fork(stated: &Stated, head: &SignedNote, root: &Hash, proof: &[Hash]) -> Result<String, String> {
    let (long, party, node) = Checkpoint::of_ledger(head)?;
    let (size, said, by) = match stated {
        Stated::Head(note) => {
            let (short, _, _) = Checkpoint::of_ledger(note)?;
            if short.origin != long.origin {
                return Err("the two heads are of different ledgers".to_owned());
            }
            (short.size, short.root, "an earlier head")
        }
        Stated::Receipt { contract, receipt } => {
            let found = signed_receipt(contract, receipt)?;
            let is_owner = is_owner(contract, &party)?;
            let Ok(Statement::Contract(terms)) = Statement::of(contract) else {
                return Err("the contract is none".to_owned());
            };
            // A party may have several nodes, each with a ledger.
            if (if is_owner { found.owner_node } else { terms.node }) != node {
                return Err("the receipt is about the ledger of another node".to_owned());
            }
            let (size, root) = if is_owner { found.owner_head } else { found.provider_head };
            (size, root, "a receipt")
        }
    };
    verify_consistency((size, root), (long.size, &long.root), proof).map_err(|error| error.to_string())?;
    if said == *root {
        return Err("the statement fits the head: nothing was forked".to_owned());
    }
    Ok(format!(
        "{party} forked its ledger on node {node}: {by} that it signed says that its first {size} entries have \
         root {}, and its head of {} entries says {}",
        HEXLOWER.encode(&said),
        long.size,
        HEXLOWER.encode(root)
    ))
}

fn check_conflict(
    contract: Option<&SignedNote>,
    first: &SignedNote,
    second: &SignedNote,
) -> Result<String, String> {
    let (subject, sequence) = numbered(first).ok_or("the first note has no number")?;
    let conflict = Conflict { subject, sequence, first: (0, first.clone()), second: (0, second.clone()) };
    if !conflict.is_proven_by(contract) {
        return Err(
            "these are not two texts for one subject and sequence that both parties signed".to_owned()
        );
    }
    Ok(format!("both parties signed two texts for {subject}, sequence {sequence}"))
}

fn check_missing(
    contract: &SignedNote,
    receipt: &SignedNote,
    head: &SignedNote,
    leaves: &[Hash],
    later: &(u64, SignedNote),
) -> Result<String, String> {
    let (checkpoint, party, node) = Checkpoint::of_ledger(head)?;
    let found = signed_receipt(contract, receipt)?;
    let Ok(Statement::Contract(terms)) = Statement::of(contract) else {
        return Err("the contract is none".to_owned());
    };
    if (if is_owner(contract, &party)? { found.owner_node } else { terms.node }) != node {
        return Err("the receipt belongs into the ledger of another node".to_owned());
    }
    if leaves.len() as u64 != checkpoint.size || root_over(leaves) != checkpoint.root {
        return Err("the leaves do not have the root that the head states".to_owned());
    }
    let leaf = leaf_hash(&receipt.to_bytes());
    if leaves.contains(&leaf) {
        return Err("the receipt is in the ledger".to_owned());
    }
    let (index, note) = later;
    let there = usize::try_from(*index).ok().and_then(|index| leaves.get(index));
    if there != Some(&leaf_hash(&note.to_bytes())) {
        return Err("the later note is not in the ledger".to_owned());
    }
    let time = time_of(note).ok_or("the later note has no time")?;
    if time <= found.until.saturating_add(RECEIPT_DEADLINE_SECONDS) {
        return Err("the later note is not later than the receipt's deadline".to_owned());
    }
    Ok(format!(
        "{party} signed receipt {} of contract {} and does not have it in its ledger of {} entries, though entry \
         {index} is from after the deadline",
        found.sequence, found.contract, checkpoint.size
    ))
}

/// When a note says it is from.
fn time_of(note: &SignedNote) -> Option<u64> {
    match Statement::of(note).ok()? {
        Statement::Revision(it) => Some(it.time),
        Statement::Receipt(it) => Some(it.until),
        Statement::AuditIntent(it) => Some(it.time),
        Statement::AuditRecord(it) => Some(it.time),
        Statement::Payment(it) => Some(it.time),
        Statement::Claim(it) => Some(it.time),
        Statement::Contract(_) | Statement::Trust(_) => None,
    }
}

/// What two ledgers show when they are held beside each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What a stranger can check.
    pub evidence: Vec<Evidence>,
    /// Numbered notes that both have.
    pub shared: u64,
    /// Heads of one ledger that a receipt names, compared with that ledger.
    pub heads: u64,
    /// What is not the same and proves nothing yet, in sentences.
    pub differences: Vec<String>,
}

/// Compares two ledgers: of one node, whether one is the beginning of the other; of two parties, what
/// both signed. Their signatures should have been verified before.
pub fn compare(a: &Log, b: &Log) -> Comparison {
    let mut found = Comparison::default();
    if a.head.origin == b.head.origin {
        same_origin(a, b, &mut found);
    }
    let (of_a, of_b) = (Shared::of(a), Shared::of(b));
    contradictions(&of_a, &of_b, &mut found);
    for (log, other, theirs) in [(a, b, &of_b), (b, a, &of_a)] {
        stated_heads(log, theirs, &mut found);
        if a.head.origin != b.head.origin {
            missing(log, other, theirs, &mut found);
        }
    }
    let mut proven = HashSet::new();
    found.evidence.retain(|it| it.check().is_ok_and(|what| proven.insert(what)));
    found
}

fn same_origin(a: &Log, b: &Log, found: &mut Comparison) {
    let (short, long) = if a.head.size <= b.head.size { (a, b) } else { (b, a) };
    let size = short.head.size;
    let Some((root, proof)) = long.tree.root_at(size).zip(long.tree.consistency(size, long.head.size)) else {
        return;
    };
    if root == short.head.root {
        return;
    }
    let stated = Stated::Head(short.checkpoint.clone());
    found.evidence.push(Evidence::Fork { stated, head: long.checkpoint.clone(), root, proof });
    let same = short.notes().zip(long.notes()).take_while(|(x, y)| x.1 == y.1).count();
    found.differences.push(format!("the two histories part at entry {same}"));
}

/// Notes of a ledger that both of their parties signed, by subject and sequence.
struct Shared<'a> {
    contracts: HashMap<commonhold_format::ids::ContractId, &'a SignedNote>,
    numbered: HashMap<(Subject, u64), Vec<&'a SignedNote>>,
}

impl<'a> Shared<'a> {
    fn of(log: &'a Log) -> Self {
        let mut shared = Self { contracts: HashMap::new(), numbered: HashMap::new() };
        for (_, note) in log.notes() {
            if let Ok(Statement::Contract(contract)) = Statement::of(note)
                && note.is_signed_by(&contract.owner)
                && note.is_signed_by(&contract.provider)
            {
                shared.contracts.entry(contract.id()).or_insert(note);
            }
        }
        for (_, note) in log.notes() {
            let Some((subject, sequence)) = numbered(note) else { continue };
            if binds(note, shared.contract(&subject)) {
                shared.numbered.entry((subject, sequence)).or_default().push(note);
            }
        }
        shared
    }

    fn contract(&self, subject: &Subject) -> Option<&'a SignedNote> {
        self.contracts.get(&subject.contract()?).copied()
    }
}

fn contradictions(a: &Shared<'_>, b: &Shared<'_>, found: &mut Comparison) {
    for (key, notes) in &a.numbered {
        let contract = a.contract(&key.0).or_else(|| b.contract(&key.0)).cloned();
        let theirs = b.numbered.get(key).map_or(&[][..], Vec::as_slice);
        let all: Vec<&SignedNote> = notes.iter().chain(theirs).copied().collect();
        if !theirs.is_empty() && all.iter().all(|note| note.text() == all[0].text()) {
            found.shared += 1;
        }
        if let Some(second) = all.iter().find(|note| note.text() != all[0].text()) {
            let (first, second) = (all[0].clone(), (*second).clone());
            found.evidence.push(Evidence::Conflict { contract: contract.clone(), first, second });
        }
    }
}

/// Heads of `log` that receipts in the other ledger name.
fn stated_heads(log: &Log, theirs: &Shared<'_>, found: &mut Comparison) {
    let Some((party, node)) = parse_ledger_origin(&log.head.origin) else { return };
    for notes in theirs.numbered.values() {
        for note in notes {
            let Ok(Statement::Receipt(receipt)) = Statement::of(note) else { continue };
            let Some(contract) = theirs.contract(&Subject::Receipt(receipt.contract)) else { continue };
            let Ok(Statement::Contract(terms)) = Statement::of(contract) else { continue };
            let owns = (terms.owner, receipt.owner_node) == (party, node);
            let (size, said) = match (owns, (terms.provider, terms.node) == (party, node)) {
                (true, _) => receipt.owner_head,
                (_, true) => receipt.provider_head,
                _ => continue,
            };
            let Some(root) = log.tree.root_at(size) else {
                let what = format!(
                    "receipt {} of contract {} names {size} entries of a ledger that shows {}",
                    receipt.sequence, receipt.contract, log.head.size
                );
                found.differences.push(what);
                continue;
            };
            found.heads += 1;
            if root == said {
                continue;
            }
            let Some(proof) = log.tree.consistency(size, log.head.size) else { continue };
            let stated = Stated::Receipt { contract: contract.clone(), receipt: (*note).clone() };
            found.evidence.push(Evidence::Fork { stated, head: log.checkpoint.clone(), root, proof });
        }
    }
}

/// Receipts of `theirs` in which the party of `log` has a part and which `log` does not have.
fn missing(log: &Log, other: &Log, theirs: &Shared<'_>, found: &mut Comparison) {
    let leaves: Vec<Hash> = log.notes().map(|(_, note)| leaf_hash(&note.to_bytes())).collect();
    let there: HashSet<&Hash> = leaves.iter().collect();
    let times: Vec<(u64, u64)> = log.notes().filter_map(|(at, note)| Some((time_of(note)?, at))).collect();
    let latest = times.into_iter().max();
    for notes in theirs.numbered.values() {
        for note in notes {
            let Ok(Statement::Receipt(receipt)) = Statement::of(note) else { continue };
            let subject = Subject::Receipt(receipt.contract);
            let Some(contract) = theirs.contract(&subject) else { continue };
            let Ok(Statement::Contract(terms)) = Statement::of(contract) else { continue };
            let me = (log.party, log.node);
            if ((terms.provider, terms.node) != me && (terms.owner, receipt.owner_node) != me)
                || there.contains(&leaf_hash(&note.to_bytes()))
            {
                continue;
            }
            match latest {
                Some((time, at)) if time > receipt.until.saturating_add(RECEIPT_DEADLINE_SECONDS) => {
                    let Some(later) = log.note(at) else { continue };
                    found.evidence.push(Evidence::Missing {
                        contract: contract.clone(),
                        receipt: (*note).clone(),
                        head: log.checkpoint.clone(),
                        leaves: leaves.clone(),
                        later: (at, later.clone()),
                    });
                }
                _ => found.differences.push(format!(
                    "receipt {} of contract {} is in the ledger of {} and not yet in that of {}",
                    receipt.sequence, receipt.contract, other.party, log.party
                )),
            }
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.check() {
            Ok(what) => f.write_str(&what),
            Err(why) => write!(f, "nothing: {why}"),
        }
    }
}
