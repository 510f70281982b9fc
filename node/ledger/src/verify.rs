//! Checking a whole ledger from its first note, offline (spec/ledger.md, "Verifying").
//!
//! Invariant: nothing of the ledger is believed: the root follows from the notes, every signature line
//! of a party is verified, each rule is applied again, and what could not be checked is counted and
//! said. Not here: who was right where two notes contradict each other, and whether the ledger that is
//! shown is the one that others are shown (witnesses and [`crate::compare`] are for that).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use commonhold_format::course::AuditCourse;
use commonhold_format::evidence::{EVIDENCE_LEN_MAX, check_audit};
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::log::{TILE_WIDTH, TileId, decode_entries, encode_entries};
use commonhold_format::note::{NOTE_LEN_MAX, SignedNote, party_of};
use commonhold_format::statement::{
    AuditIntent, AuditRecord, Checkpoint, Claim, Contract, Receipt, Revision, Statement,
};
use commonhold_format::tree::{GrowingTree, Hash, leaf_hash};
use data_encoding::HEXLOWER;

use crate::book::{Account, Balance, Book, Conflict, Notes, adds_up};
use crate::error::LedgerError;
use crate::source::Source;

/// Most entries of a ledger that is loaded: ten million, some 10 GB of memory.
const ENTRIES_MAX: u64 = 10_000_000;
/// Longest bundle of entries.
const BUNDLE_LEN_MAX: usize = TILE_WIDTH as usize * (NOTE_LEN_MAX + 2);

/// Rules that decide whether a note may follow another; the same ones by which nodes sign.
pub trait Rules: Sync {
    /// Whether a receipt may follow the one before it under its contract.
    ///
    /// # Errors
    /// A sentence that says what does not hold.
    fn receipt(&self, contract: &Contract, previous: Option<&Receipt>, next: &Receipt) -> Result<(), String>;

    /// Whether a claim follows from the revisions, 1 to that which it names, and the last receipt.
    ///
    /// # Errors
    /// A sentence that says what does not hold.
    fn claim(
        &self,
        contract: &Contract,
        revisions: &[Revision],
        receipt: Option<&Receipt>,
        claim: &Claim,
    ) -> Result<(), String>;
}

/// A ledger that was read whole; its root is the one in its signed head.
pub struct Log {
    /// The head.
    pub head: Checkpoint,
    /// The head's note, with its cosignatures.
    pub checkpoint: SignedNote,
    /// Whose ledger it is.
    pub party: PartyId,
    /// On which node.
    pub node: NodeId,
    /// The tree over the notes.
    pub tree: GrowingTree,
    notes: Vec<SignedNote>,
    book: Book,
    // The parties whose signature on a note was verified, as far as they were.
    signers: Vec<Vec<PartyId>>,
}

/// A ledger that cannot be read as one, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

impl From<String> for LoadError {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl Log {
    /// Reads a ledger and checks that its notes have the root that its party signed. Signatures of
    /// notes are not looked at yet.
    ///
    /// # Errors
    /// [`LoadError`], a sentence.
    pub fn load(source: &mut dyn Source) -> Result<Self, LoadError> {
        let checkpoint =
            source.get("checkpoint", NOTE_LEN_MAX)?.ok_or("there is no checkpoint".to_owned())?;
        let checkpoint = SignedNote::parse(&checkpoint).map_err(|error| format!("checkpoint: {error}"))?;
        let (head, party, node) =
            Checkpoint::of_ledger(&checkpoint).map_err(|error| format!("checkpoint: {error}"))?;
        if head.size > ENTRIES_MAX {
            return Err(LoadError(format!("{} entries are more than {ENTRIES_MAX}", head.size)));
        }
        let mut log = Self {
            head,
            checkpoint,
            party,
            node,
            tree: GrowingTree::new(),
            notes: Vec::new(),
            book: Book::default(),
            signers: Vec::new(),
        };
        for tile in TileId::all(log.head.size) {
            match tile.level {
                None => log.take_entries(source, &tile)?,
                // Hashes follow from the entries; those that are shown must be the same.
                Some(_) => {
                    let shown = source.get(&tile.to_string(), TILE_WIDTH as usize * 32)?;
                    let hashes = log.tree.tile(&tile);
                    let hashes = hashes.as_ref().map(|hashes| hashes.as_flattened());
                    if shown.is_some_and(|shown| hashes != Some(&shown[..])) {
                        return Err(LoadError(format!("{tile} does not have the hashes of the entries")));
                    }
                }
            }
        }
        if log.tree.root() != log.head.root {
            let (size, party) = (log.head.size, log.party);
            return Err(LoadError(format!(
                "the {size} notes do not have the root that {party} signed: they were altered"
            )));
        }
        Ok(log)
    }

    fn take_entries(&mut self, source: &mut dyn Source, tile: &TileId) -> Result<(), LoadError> {
        let bundle = source.get(&tile.to_string(), BUNDLE_LEN_MAX)?;
        let bundle = bundle.ok_or_else(|| format!("{tile} is missing"))?;
        let entries = decode_entries(&bundle, tile.width.into())
            .ok_or_else(|| format!("{tile} does not have {} entries", tile.width))?;
        for bytes in entries {
            let index = self.tree.len();
            let note = SignedNote::parse(bytes).map_err(|error| format!("entry {index}: {error}"))?;
            self.book.add(index, &note);
            self.tree.push(leaf_hash(bytes));
            self.notes.push(note);
        }
        Ok(())
    }

    /// A resource of tlog-tiles: hashes of a tile, or a bundle of entries.
    pub fn tile(&self, tile: &TileId) -> Option<Vec<u8>> {
        if tile.level.is_some() {
            return self.tree.tile(tile).map(|hashes| hashes.as_flattened().to_vec());
        }
        let first = usize::try_from(tile.first()).ok()?;
        let notes = self.notes.get(first..first + usize::from(tile.width))?;
        let notes: Vec<Vec<u8>> = notes.iter().map(SignedNote::to_bytes).collect();
        encode_entries(notes.iter().map(Vec::as_slice))
    }

    /// The note of an entry.
    pub fn note(&self, index: u64) -> Option<&SignedNote> {
        self.notes.get(usize::try_from(index).ok()?)
    }

    /// All notes with their indices, in order.
    pub fn notes(&self) -> impl Iterator<Item = (u64, &SignedNote)> {
        self.notes.iter().enumerate().map(|(index, note)| (index as u64, note))
    }

    /// Verifies every signature line of a party, on `threads` threads. Answers how many are valid, and
    /// the entries with a line that is not.
    pub(crate) fn verify_signatures(&mut self, threads: usize) -> (u64, Vec<u64>, u64) {
        let share = self.notes.len().div_ceil(threads.max(1)).max(1);
        let judged: Vec<Vec<Signers>> = std::thread::scope(|scope| {
            let parts: Vec<_> = self
                .notes
                .chunks(share)
                .map(|part| scope.spawn(move || part.iter().map(Signers::of).collect()))
                .collect();
            parts.into_iter().map(|part| part.join().unwrap_or_default()).collect()
        });
        let (mut valid, mut wrong, mut foreign) = (0, Vec::new(), 0);
        self.signers.clear();
        for (index, judged) in judged.into_iter().flatten().enumerate() {
            valid += judged.valid.len() as u64;
            foreign += judged.foreign;
            if judged.wrong > 0 {
                wrong.push(index as u64);
            }
            self.signers.push(judged.valid);
        }
        (valid, wrong, foreign)
    }

    fn signed_by(&self, index: u64, party: &PartyId) -> bool {
        self.signers_of(index).contains(party)
    }

    /// The parties whose signature on an entry was verified; none before signatures were.
    pub(crate) fn signers_of(&self, index: u64) -> &[PartyId] {
        let signers = usize::try_from(index).ok().and_then(|index| self.signers.get(index));
        signers.map_or(&[], Vec::as_slice)
    }

    /// What each contract of `me` comes to; see [`crate::Ledger::balances`].
    pub fn balances(&self, me: &PartyId) -> Vec<Balance> {
        Notes::balances(self, me).unwrap_or_default()
    }

    /// What stands between `me` and others; see [`crate::Ledger::accounts`].
    pub fn accounts(&self, me: &PartyId) -> Vec<Account> {
        Notes::accounts(self, me).unwrap_or_default()
    }

    /// Two texts for one subject and sequence; see [`crate::Ledger::conflicts`].
    pub fn conflicts(&self) -> Vec<Conflict> {
        Notes::conflicts(self).unwrap_or_default()
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("head", &self.head).finish_non_exhaustive()
    }
}

impl Notes for Log {
    fn look<T>(&self, up: impl FnOnce(&Book) -> T) -> T {
        up(&self.book)
    }

    fn notes(&self, indices: &[u64]) -> Result<Vec<(u64, SignedNote)>, LedgerError> {
        Ok(indices.iter().filter_map(|index| Some((*index, self.note(*index)?.clone()))).collect())
    }

    fn is_signed(&self, entry: &(u64, SignedNote), party: &PartyId) -> bool {
        if self.signers.is_empty() { entry.1.is_signed_by(party) } else { self.signed_by(entry.0, party) }
    }
}

/// Whose signatures a note has.
#[derive(Default)]
struct Signers {
    valid: Vec<PartyId>,
    wrong: u32,
    foreign: u64,
}

impl Signers {
    fn of(note: &SignedNote) -> Self {
        let mut signers = Self::default();
        for line in note.signatures() {
            match party_of(&line.name) {
                Some(party) if note.is_signed_by(&party) => signers.valid.push(party),
                Some(_) => signers.wrong += 1,
                None => signers.foreign += 1,
            }
        }
        signers
    }
}

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The entry it is about, if it is about one.
    pub entry: Option<u64>,
    /// A sentence.
    pub what: String,
}

/// What a verification found. It passed when `findings` is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Notes by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Signature lines that are valid.
    pub signatures: u64,
    /// Receipts that both signed, follow the one before and owe what the prices give.
    pub receipts: u64,
    /// Claims that follow from what both signed.
    pub claims: u64,
    /// Heads of this ledger that receipts name, each found in this very log.
    pub heads: u64,
    /// Audits whose leaves were all drawn and checked again.
    pub audits: u64,
    /// Audits without an answer: the challenger's word.
    pub audits_silent: u64,
    /// Audits whose evidence is not there, and why that may be.
    pub audits_without_evidence: u64,
    /// Who cosigned the head, and when (Unix seconds).
    pub cosignatures: Vec<(PartyId, u64)>,
    /// What does not hold.
    pub findings: Vec<Finding>,
    /// What could not be checked, in sentences.
    pub unchecked: Vec<String>,
}

/// Verifies a ledger from its first note to its head: signatures, rules, balances, audits with the
/// evidence that `source` has.
///
/// # Errors
/// A sentence, when the evidence cannot be read.
pub fn verify(
    log: &mut Log,
    source: &mut dyn Source,
    rules: &dyn Rules,
    threads: usize,
) -> Result<Report, LoadError> {
    let mut report = Report::default();
    let (valid, wrong, foreign) = log.verify_signatures(threads);
    report.signatures = valid;
    for entry in wrong {
        report.find(entry, "a signature on it is not valid");
    }
    if foreign > 0 {
        report.unchecked.push(format!("{foreign} signature lines of other kinds than parties'"));
    }
    let mut walk = Walk { log, rules, report, contracts: HashMap::new() };
    for (index, note) in log.notes() {
        walk.take(index, note, source)?;
    }
    let mut report = walk.report;
    for conflict in log.conflicts() {
        let (first, second) = (conflict.first.0, conflict.second.0);
        report.find(
            second,
            format!("a second {} {}, beside entry {first}", conflict.subject, conflict.sequence),
        );
    }
    let mut cosigners: HashSet<PartyId> = HashSet::new();
    for line in log.checkpoint.signatures() {
        if let Some(party) = party_of(&line.name).filter(|party| cosigners.insert(*party)) {
            match log.checkpoint.cosigned_by(&party) {
                Some(time) => report.cosignatures.push((party, time)),
                None => report.find(None, format!("the cosignature of {party} is not valid")),
            }
        }
    }
    if report.cosignatures.is_empty() {
        report.unchecked.push(
            "nobody cosigned this head: that others are shown the same ledger cannot be seen from it"
                .to_owned(),
        );
    }
    if report.audits_without_evidence > 0 {
        report.unchecked.push(format!(
            "{} audits without their evidence: only the challenger's signature stands for them",
            report.audits_without_evidence
        ));
    }
    if report.audits_silent > 0 {
        report.unchecked.push(format!(
            "{} audits without an answer: that there was none is the challenger's word",
            report.audits_silent
        ));
    }
    Ok(report)
}

impl Report {
    fn find(&mut self, entry: impl Into<Option<u64>>, what: impl Into<String>) {
        self.findings.push(Finding { entry: entry.into(), what: what.into() });
    }
}

/// What was seen of a contract so far.
struct Seen {
    contract: Contract,
    revisions: Vec<Revision>,
    receipts: Vec<Receipt>,
    audits: BTreeMap<u64, AuditCourse>,
}

struct Walk<'a> {
    log: &'a Log,
    rules: &'a dyn Rules,
    report: Report,
    contracts: HashMap<ContractId, Seen>,
}

impl Walk<'_> {
    fn take(&mut self, index: u64, note: &SignedNote, source: &mut dyn Source) -> Result<(), LoadError> {
        let statement = match Statement::of(note) {
            Ok(statement) => statement,
            Err(error) => {
                *self.report.kinds.entry("unknown").or_default() += 1;
                self.report.find(index, format!("it is no statement: {error}"));
                return Ok(());
            }
        };
        *self.report.kinds.entry(statement.kind()).or_default() += 1;
        match statement {
            Statement::Contract(contract) => self.contract(index, contract),
            Statement::Revision(revision) => self.revision(index, revision),
            Statement::Receipt(receipt) => self.receipt(index, receipt),
            Statement::AuditIntent(intent) => self.intent(index, intent),
            Statement::AuditRecord(record) => self.record(index, &record, source)?,
            Statement::Claim(claim) => self.claim(index, &claim),
            Statement::Payment(it) => self.needs(index, &[it.payer, it.payee]),
            Statement::Trust(it) => self.needs(index, &[it.guarantor, it.creditor]),
        }
        Ok(())
    }

    fn needs(&mut self, index: u64, parties: &[PartyId]) {
        for party in parties {
            if !self.log.signed_by(index, party) {
                self.report.find(index, format!("it lacks the signature of {party}"));
            }
        }
    }

    /// The contract of a note, which must have been logged before it; a finding otherwise.
    fn of(&mut self, index: u64, id: &ContractId) -> ControlFlow<(), &mut Seen> {
        if self.contracts.contains_key(id) {
            return self.contracts.get_mut(id).map_or(ControlFlow::Break(()), ControlFlow::Continue);
        }
        self.report.find(index, format!("contract {id} does not stand before it"));
        ControlFlow::Break(())
    }

    fn contract(&mut self, index: u64, contract: Contract) {
        self.needs(index, &[contract.owner, contract.provider]);
        let id = contract.id();
        let new = Seen { contract, revisions: Vec::new(), receipts: Vec::new(), audits: BTreeMap::new() };
        self.contracts.entry(id).or_insert(new);
    }

    fn revision(&mut self, index: u64, revision: Revision) {
        let ControlFlow::Continue(seen) = self.of(index, &revision.contract) else { return };
        let parties = [seen.contract.owner, seen.contract.provider];
        let (last, time) = seen.revisions.last().map_or((0, 0), |last| (last.sequence, last.time));
        let (sequence, id) = (revision.sequence, revision.contract);
        let goes_back = revision.time < time;
        if sequence > last {
            seen.revisions.push(revision);
        }
        self.needs(index, &parties);
        if sequence <= last {
            self.report.find(index, format!("revision {sequence} follows revision {last}"));
        } else if goes_back {
            self.report.find(index, "its time is before that of the revision before");
        } else if sequence > last + 1 {
            // An owner that came back with its phrase alone begins a new ledger in the middle.
            let gap = format!("revisions {} to {} of contract {id} are not here", last + 1, sequence - 1);
            self.report.unchecked.push(gap);
        }
    }

    fn receipt(&mut self, index: u64, receipt: Receipt) {
        let (rules, party) = (self.rules, self.log.party);
        let ControlFlow::Continue(seen) = self.of(index, &receipt.contract) else { return };
        let parties = [seen.contract.owner, seen.contract.provider];
        let begins_late = seen.receipts.is_empty() && receipt.sequence > 1;
        let verdict = if begins_late {
            if adds_up(&seen.contract, &receipt) {
                Ok(())
            } else {
                Err("its amount is not what the prices give".to_owned())
            }
        } else {
            rules.receipt(&seen.contract, seen.receipts.last(), &receipt)
        };
        let (size, root) = if party == parties[0] { receipt.owner_head } else { receipt.provider_head };
        let (before, owner_node) = (receipt.sequence - 1, receipt.owner_node);
        let provider_node = seen.contract.node;
        if verdict.is_ok() {
            seen.receipts.push(receipt);
        }
        self.needs(index, &parties);
        match verdict {
            Ok(()) => self.report.receipts += 1,
            Err(fault) => self.report.find(index, fault),
        }
        if begins_late {
            let gap = format!("entry {index} follows receipts 1 to {before}, which are not here");
            self.report.unchecked.push(gap);
        } else if (party, self.log.node) == (parties[0], owner_node)
            || (party, self.log.node) == (parties[1], provider_node)
        {
            // The ledger as it was when this was drawn up. One that others were shown has to be in it.
            if size <= index && self.log.tree.root_at(size) == Some(root) {
                self.report.heads += 1;
            } else {
                let what =
                    format!("it names {size} entries of this ledger with another root than they have here");
                self.report.find(index, what);
            }
        }
    }

    fn intent(&mut self, index: u64, intent: AuditIntent) {
        let ControlFlow::Continue(seen) = self.of(index, &intent.contract) else { return };
        let owner = seen.contract.owner;
        let last = seen.audits.last_key_value().map_or(0, |(epoch, _)| *epoch);
        let epoch = intent.epoch;
        // The same text with other signature lines is another entry and no other intent.
        let known = seen.audits.get(&epoch).map(|course| *course.intent() == intent);
        if known.is_none() {
            seen.audits.insert(epoch, AuditCourse::new(intent));
        }
        self.needs(index, &[owner]);
        match known {
            Some(false) => self.report.find(index, format!("audit {epoch} is announced a second time")),
            None if epoch < last => {
                self.report.find(index, format!("audit {epoch} is announced after audit {last}"));
            }
            _ => {}
        }
    }

    fn record(&mut self, index: u64, record: &AuditRecord, source: &mut dyn Source) -> Result<(), LoadError> {
        let ControlFlow::Continue(seen) = self.of(index, &record.contract) else { return Ok(()) };
        let owner = seen.contract.owner;
        let revision = seen.revisions.iter().rev().find(|revision| revision.sequence == record.revision);
        let (Some(course), Some(revision)) = (seen.audits.get_mut(&record.epoch), revision) else {
            self.report.find(index, "its intent, or the revision that it challenged, is not before it");
            return Ok(());
        };
        let follows = course.take(record).map_err(|fault| fault.to_string());
        let is_silent = record.evidence == Hash::default();
        let path = format!("evidence/{}.cbor", HEXLOWER.encode(&record.evidence));
        let evidence = if is_silent { Some(Vec::new()) } else { source.get(&path, EVIDENCE_LEN_MAX)? };
        let check = |it: Vec<u8>| check_audit(&seen.contract, revision, course.intent(), record, &it);
        let checked =
            follows.and_then(|()| evidence.map(check).transpose().map_err(|fault| fault.to_string()));
        self.needs(index, &[owner]);
        match checked {
            Ok(None) => self.report.audits_without_evidence += 1,
            Ok(Some(None)) => self.report.audits_silent += 1,
            Ok(Some(Some(_))) => self.report.audits += 1,
            Err(fault) => self.report.find(index, format!("the audit does not hold: {fault}")),
        }
        Ok(())
    }

    fn claim(&mut self, index: u64, claim: &Claim) {
        let rules = self.rules;
        let ControlFlow::Continue(seen) = self.of(index, &claim.contract) else { return };
        let provider = seen.contract.provider;
        let receipt = seen.receipts.iter().rev().find(|receipt| receipt.sequence < claim.sequence);
        let count = seen.revisions.iter().take_while(|revision| revision.sequence <= claim.revision).count();
        let verdict = rules.claim(&seen.contract, &seen.revisions[..count], receipt, claim);
        self.needs(index, &[provider]);
        match verdict {
            Ok(()) => self.report.claims += 1,
            Err(fault) => self.report.find(index, fault),
        }
    }
}
