//! Two ledgers held beside each other: forks, contradictions, and notes that one of them lacks
//! (spec/ledger.md, "Comparing").
//!
//! Invariant: a piece of evidence is given only when [`Evidence::check`] confirms it; everything else
//! that differs is said in a sentence and accuses nobody. Not here: which of two ledgers is the honest
//! one, and faults that one ledger shows by itself ([`crate::verify`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use commonhold_format::ids::ContractId;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Receipt, Statement};

use crate::book::{Key, Role, Subject};
use crate::evidence::{ENTRIES_LEN_MAX, stated_head};
use crate::log::Log;

pub use crate::evidence::{Evidence, Proven, Stated};

/// Most pieces of evidence, and most sentences, that a comparison gives; the rest is counted.
const LIST_MAX: usize = 100;

/// What two ledgers show when they are held beside each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What a stranger can check.
    pub evidence: Vec<Evidence>,
    /// Numbered notes that both have, byte for byte.
    pub shared: u64,
    /// Heads of one of the ledgers that receipts name, compared with it.
    pub heads: u64,
    /// What is not the same and proves nothing, in sentences.
    pub differences: Vec<String>,
    more: u64,
}

impl Comparison {
    fn differs(&mut self, what: String) {
        if self.differences.len() < LIST_MAX {
            self.differences.push(what);
        } else {
            self.more += 1;
        }
    }

    fn proves(&mut self, evidence: Evidence) {
        match evidence.check() {
            Ok(_) if self.evidence.len() < LIST_MAX => self.evidence.push(evidence),
            Ok(_) => self.more += 1,
            Err(why) => {
                self.differs(format!("something that looks like a {} proves nothing: {why}", evidence.kind()))
            }
        }
    }
}

/// Compares two ledgers: of one node, whether one is the beginning of the other; of two parties, what
/// both signed. Costs no signature checks when those of the logs were verified before
/// ([`Log::verify_signatures`]).
pub fn compare(a: &Log, b: &Log) -> Comparison {
    let mut found = Comparison::default();
    let terms = contracts([a, b]);
    let (of_a, of_b) = (Signed::of(a, &terms), Signed::of(b, &terms));
    let receipts = Receipts::of([&of_a, &of_b]);
    if a.head.origin == b.head.origin {
        same_origin(a, b, &mut found);
        if found.evidence.is_empty() {
            stated_heads(if a.head.size < b.head.size { b } else { a }, &terms, &receipts, &mut found);
        }
    } else {
        stated_heads(a, &terms, &receipts, &mut found);
        stated_heads(b, &terms, &receipts, &mut found);
        missing(a, &of_a, &terms, &receipts, &mut found);
        missing(b, &of_b, &terms, &receipts, &mut found);
        only_in_one([a, b], [&of_a, &of_b], &terms, &mut found);
    }
    contradictions(&of_a, &of_b, &terms, &mut found);
    if found.more > 0 {
        found.differences.push(format!("and {} things more", found.more));
    }
    found
}

/// Contracts that both of their parties signed, in either ledger.
type Terms<'a> = HashMap<ContractId, (Contract, &'a SignedNote)>;

fn contracts<'a>(logs: [&'a Log; 2]) -> Terms<'a> {
    let mut terms = Terms::new();
    for log in logs {
        for (index, note) in log.notes() {
            if let Ok(Statement::Contract(contract)) = Statement::of(note)
                && log.signed_by(index, &contract.owner)
                && log.signed_by(index, &contract.provider)
            {
                terms.entry(contract.id()).or_insert((contract, note));
            }
        }
    }
    terms
}

/// Notes of a ledger that both of their parties signed, by subject and sequence.
struct Signed<'a>(BTreeMap<(Subject, u64), Vec<&'a SignedNote>>);

impl<'a> Signed<'a> {
    fn of(log: &'a Log, terms: &Terms<'_>) -> Self {
        let mut signed: BTreeMap<(Subject, u64), Vec<&SignedNote>> = BTreeMap::new();
        for (index, note) in log.notes() {
            let Some(Key::Numbered(subject, sequence)) = Key::of(note) else { continue };
            let contract = subject.contract().and_then(|id| terms.get(&id)).map(|(contract, _)| contract);
            let Some(signers) = subject.signers(contract) else { continue };
            if signers.iter().all(|party| log.signed_by(index, party)) {
                signed.entry((subject, sequence)).or_default().push(note);
            }
        }
        Self(signed)
    }

    fn has(&self, subject: Subject, sequence: u64) -> bool {
        self.0.contains_key(&(subject, sequence))
    }
}

/// Receipts of both ledgers, by contract and sequence, each text once.
struct Receipts<'a>(BTreeMap<ContractId, BySequence<'a>>);

type BySequence<'a> = BTreeMap<u64, Vec<(Receipt, &'a SignedNote)>>;

impl<'a> Receipts<'a> {
    fn of(ledgers: [&Signed<'a>; 2]) -> Self {
        let mut receipts = Self(BTreeMap::new());
        for ((_, sequence), notes) in ledgers.into_iter().flat_map(|ledger| &ledger.0) {
            for note in notes {
                let Ok(Statement::Receipt(receipt)) = Statement::of(note) else { continue };
                let same = receipts.0.entry(receipt.contract).or_default().entry(*sequence).or_default();
                if same.iter().all(|(known, _)| *known != receipt) {
                    same.push((receipt, note));
                }
            }
        }
        receipts
    }
}

/// The part that the ledger's party has in a contract as far as `receipt` is about this very ledger; a
/// party may be on both sides, and have several nodes.
fn roles(log: &Log, contract: &Contract, receipt: &Receipt) -> impl Iterator<Item = Role> {
    let me = (log.party, log.node);
    let stated = [Role::Owner, Role::Provider].map(|role| (role, stated_head(contract, receipt, role)));
    stated.into_iter().filter(move |(_, head)| (head.party, head.node) == me).map(|(role, _)| role)
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
    found.proves(Evidence::Fork { stated, head: long.checkpoint.clone(), root, proof });
    let same = short.notes().zip(long.notes()).take_while(|(x, y)| x.1 == y.1).count();
    found.differs(format!("the two histories part at entry {same}"));
}

/// Heads of `log` that receipts name: the first that is not in it is evidence.
fn stated_heads(log: &Log, terms: &Terms<'_>, receipts: &Receipts<'_>, found: &mut Comparison) {
    let mut wrong = Vec::new();
    for (id, by_sequence) in &receipts.0 {
        let Some((contract, contract_note)) = terms.get(id) else { continue };
        for (receipt, note) in by_sequence.values().flatten() {
            for role in roles(log, contract, receipt) {
                let stated = stated_head(contract, receipt, role);
                let Some(root) = log.tree.root_at(stated.size) else {
                    found.differs(format!(
                        "receipt {} of contract {id} names {} entries of a ledger that shows {}",
                        receipt.sequence, stated.size, log.head.size
                    ));
                    continue;
                };
                found.heads += 1;
                if root != stated.root {
                    wrong.push((stated.size, root, *contract_note, *note));
                }
            }
        }
    }
    wrong.sort_unstable_by_key(|(size, ..)| *size);
    let more = wrong.len().saturating_sub(1);
    if let Some((size, root, contract, receipt)) = wrong.into_iter().next()
        && let Some(proof) = log.tree.consistency(size, log.head.size)
    {
        let stated = Stated::Receipt { contract: contract.clone(), receipt: receipt.clone() };
        found.proves(Evidence::Fork { stated, head: log.checkpoint.clone(), root, proof });
    }
    if more > 0 {
        found.differs(format!(
            "{more} further receipts name heads that are not in the ledger of {}",
            log.party
        ));
    }
}

/// Receipts that `log` lacks although its party signed a later one: of each contract the first is
/// evidence.
fn missing(log: &Log, own: &Signed<'_>, terms: &Terms<'_>, receipts: &Receipts<'_>, found: &mut Comparison) {
    for (id, by_sequence) in &receipts.0 {
        let Some((contract, contract_note)) = terms.get(id) else { continue };
        let lacking = by_sequence.iter().filter(|(sequence, _)| !own.has(Subject::Receipt(*id), **sequence));
        let mut proven = false;
        for (sequence, texts) in lacking {
            for (receipt, note) in texts {
                for role in roles(log, contract, receipt) {
                    let later = by_sequence.range(sequence + 1..).flat_map(|(_, texts)| texts);
                    let evidence = if proven {
                        None
                    } else {
                        lack(log, contract, contract_note, role, (receipt, note), later)
                    };
                    match evidence {
                        Some(evidence) => {
                            proven = true;
                            found.proves(evidence);
                        }
                        None => found.differs(format!(
                            "receipt {sequence} of contract {id} is not in the ledger of {}",
                            log.party
                        )),
                    }
                }
            }
        }
    }
}

/// The evidence that `log` has to have a receipt, if one of the later ones shows it.
fn lack<'a>(
    log: &Log,
    contract: &Contract,
    contract_note: &SignedNote,
    role: Role,
    (receipt, note): (&Receipt, &SignedNote),
    later: impl Iterator<Item = &'a (Receipt, &'a SignedNote)>,
) -> Option<Evidence> {
    let before = stated_head(contract, receipt, role);
    let is_here = |size, root| log.tree.root_at(size) == Some(root);
    let mut later = later.filter(|(later, _)| {
        let after = stated_head(contract, later, role);
        after.node == before.node && is_here(after.size, after.root)
    });
    let (next, next_note) = later.next().filter(|_| is_here(before.size, before.root))?;
    let entries = log.entries(before.size, stated_head(contract, next, role).size)?;
    (entries.len() <= ENTRIES_LEN_MAX).then(|| Evidence::Missing {
        contract: contract_note.clone(),
        role,
        earlier: note.clone(),
        later: (*next_note).clone(),
        frontier: log.tree.frontier(before.size).unwrap_or_default(),
        entries,
    })
}

/// Other notes that bind the party of a ledger and are in the other one alone. That proves nothing: it
/// may have signed first and never got the note back, or have it on another node.
fn only_in_one(logs: [&Log; 2], signed: [&Signed<'_>; 2], terms: &Terms<'_>, found: &mut Comparison) {
    for (at, own) in [(0, signed[0]), (1, signed[1])] {
        let (log, others) = (logs[at], signed[1 - at]);
        for (subject, sequence) in others.0.keys().filter(|key| !own.0.contains_key(key)) {
            let contract = subject.contract().and_then(|id| terms.get(&id)).map(|(contract, _)| contract);
            let binds_it = subject.signers(contract).is_some_and(|signers| signers.contains(&log.party));
            if binds_it && !matches!(subject, Subject::Receipt(_)) {
                found.differs(format!(
                    "{subject}, sequence {sequence}, is not in the ledger of {}",
                    log.party
                ));
            }
        }
    }
}

fn contradictions(a: &Signed<'_>, b: &Signed<'_>, terms: &Terms<'_>, found: &mut Comparison) {
    let keys: HashSet<_> = a.0.keys().chain(b.0.keys()).collect();
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable();
    for key in keys {
        let [ours, theirs] = [a, b].map(|ledger| ledger.0.get(key).map_or(&[][..], Vec::as_slice));
        if ours.iter().any(|note| theirs.contains(note)) {
            found.shared += 1;
        } else if ours.iter().any(|note| theirs.iter().any(|other| other.text() == note.text())) {
            let (subject, sequence) = key;
            found
                .differs(format!("{subject}, sequence {sequence}, has other signature lines in one of them"));
        }
        let all: Vec<&SignedNote> = ours.iter().chain(theirs).copied().collect();
        if let Some(second) = all.iter().find(|note| note.text() != all[0].text()) {
            let Some((_, contract)) = key.0.contract().and_then(|id| terms.get(&id)) else {
                let (subject, sequence) = key;
                found.differs(format!("there are two texts for {subject}, sequence {sequence}"));
                continue;
            };
            let (contract, first, second) = ((*contract).clone(), all[0].clone(), (*second).clone());
            found.proves(Evidence::Conflict { contract, first, second });
        }
    }
}
