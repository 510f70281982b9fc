//! From the first note to the last: whether each may stand where it stands.
//!
//! Invariant: what later notes are measured by is what all whose signature it needs have signed. The
//! same statement again is nothing new, whatever lines it has.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use commonhold_format::course::AuditCourse;
use commonhold_format::evidence::{EVIDENCE_LEN_MAX, check_audit};
use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::statement::{
    AuditIntent, AuditOutcome, AuditRecord, Claim, Contract, Payment, Receipt, Revision, Statement, Trust,
};
use commonhold_format::tree::Hash;
use data_encoding::HEXLOWER;

use super::{FINDINGS_MAX, Report, Rules};
use crate::book::{Subject, adds_up};
use crate::log::{LoadError, Log};
use crate::source::Source;

/// Notes that are read at once.
const WINDOW: u64 = 16_384;

/// What was seen of a contract so far, signed by those who have to sign it.
struct Seen {
    contract: Contract,
    /// By rising sequence.
    revisions: Vec<Revision>,
    /// By rising sequence.
    receipts: Vec<Receipt>,
    audits: BTreeMap<u64, AuditCourse>,
    /// Records under each epoch, since the same one again is nothing new.
    records: HashMap<u64, Vec<AuditRecord>>,
}

impl Seen {
    fn revision(&self, sequence: u64) -> Option<&Revision> {
        let at = self.revisions.binary_search_by_key(&sequence, |revision| revision.sequence);
        self.revisions.get(at.ok()?)
    }

    fn receipt(&self, sequence: u64) -> Option<&Receipt> {
        let at = self.receipts.binary_search_by_key(&sequence, |receipt| receipt.sequence);
        self.receipts.get(at.ok()?)
    }
}

/// See the module.
pub(super) struct Walk<'a> {
    log: &'a Log,
    rules: &'a dyn Rules,
    report: Report,
    contracts: HashMap<ContractId, Seen>,
    payments: HashMap<Subject, Payment>,
    trust: HashMap<Subject, u64>,
    /// Payments and trust lines that both signed.
    numbered: HashSet<(Subject, u64)>,
    /// Those that only the one who has to sign first has signed.
    half: HashSet<(Subject, u64)>,
    /// Invalid lines that were reported since something depends on them.
    wrong_needed: u64,
    /// Contracts in which the ledger's party has no part.
    of_others: u64,
    /// Gaps beyond those that are listed.
    more_gaps: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(log: &'a Log, rules: &'a dyn Rules) -> Self {
        Self {
            log,
            rules,
            report: Report::default(),
            contracts: HashMap::new(),
            payments: HashMap::new(),
            trust: HashMap::new(),
            numbered: HashSet::new(),
            half: HashSet::new(),
            wrong_needed: 0,
            of_others: 0,
            more_gaps: 0,
        }
    }

    pub(super) fn run(mut self, source: &mut dyn Source) -> Result<Report, LoadError> {
        let mut wrong = 0;
        let mut foreign = 0;
        for start in (0..self.log.head.size).step_by(WINDOW as usize) {
            let end = (start + WINDOW).min(self.log.head.size);
            let statements = self.log.statements(start as usize..end as usize);
            for (index, statement) in (start..).zip(statements) {
                if let Some(signers) = self.log.signers(index) {
                    self.report.signatures += signers.valid.len() as u64;
                    wrong += signers.wrong.len() as u64;
                    foreign += u64::from(signers.foreign);
                }
                match statement {
                    Ok(statement) => self.take(index, statement, source)?,
                    Err(error) => {
                        *self.report.kinds.entry("unknown").or_default() += 1;
                        self.report.find(index, format!("it is no statement: {error}"));
                    }
                }
            }
        }
        let spare = wrong.saturating_sub(self.wrong_needed);
        let half = self.half.difference(&self.numbered).count() as u64;
        let mut report = self.report;
        report.unchecked(half, "payments and trust lines wait for the second signature and move nothing");
        report.unchecked(self.more_gaps, "further entries follow notes that are not here");
        report.unchecked(foreign, "signature lines are not of parties: nobody can say what they are worth");
        report.unchecked(spare, "signature lines of parties are not valid, and nothing depends on them");
        report.unchecked(self.of_others, "contracts are between others than the party whose ledger this is");
        Ok(report)
    }

    fn take(&mut self, index: u64, statement: Statement, source: &mut dyn Source) -> Result<(), LoadError> {
        *self.report.kinds.entry(statement.kind()).or_default() += 1;
        match statement {
            Statement::Contract(contract) => self.contract(index, contract),
            Statement::Revision(revision) => self.revision(index, revision),
            Statement::Receipt(receipt) => self.receipt(index, receipt),
            Statement::AuditIntent(intent) => self.intent(index, intent),
            Statement::AuditRecord(record) => self.record(index, record, source)?,
            Statement::Claim(claim) => self.claim(index, &claim),
            Statement::Payment(payment) => self.payment(index, payment),
            Statement::Trust(trust) => self.trust(index, trust),
        }
        Ok(())
    }

    /// Whether all of them signed an entry; a finding for each who did not.
    fn needs(&mut self, index: u64, parties: &[PartyId]) -> bool {
        let mut all = true;
        for party in parties {
            if self.log.signed_by(index, party) {
                continue;
            }
            all = false;
            if self.log.signers(index).is_some_and(|signers| signers.wrong.contains(party)) {
                self.wrong_needed += 1;
                self.report.find(index, format!("the signature of {party} on it is not valid"));
            } else {
                self.report.find(index, format!("it lacks the signature of {party}"));
            }
        }
        all
    }

    /// The contract of a note, which must stand before it; a finding otherwise.
    fn terms(&mut self, index: u64, id: &ContractId) -> Option<Contract> {
        let terms = self.contracts.get(id).map(|seen| seen.contract.clone());
        if terms.is_none() {
            let what = format!("contract {id}, signed by both of its parties, does not stand before it");
            self.report.find(index, what);
        }
        terms
    }

    /// Whether this is the ledger of a contract's provider, on the node that the contract names. It
    /// logged everything of that contract from its first note on; an owner may have come back on
    /// another node and begun a new ledger in the middle.
    fn is_providers(&self, contract: &Contract) -> bool {
        (contract.provider, contract.node) == (self.log.party, self.log.node)
    }

    /// Notes that are not here: a fault of a ledger that must have them.
    fn gap(&mut self, index: u64, is_fault: bool, what: String) {
        if is_fault {
            self.report.find(index, what);
        } else if self.report.unchecked.len() < FINDINGS_MAX {
            self.report.unchecked.push(format!("entry {index}: {what}"));
        } else {
            self.more_gaps += 1;
        }
    }

    fn contract(&mut self, index: u64, contract: Contract) {
        if !self.needs(index, &[contract.owner, contract.provider]) {
            return;
        }
        let new = Seen {
            contract,
            revisions: Vec::new(),
            receipts: Vec::new(),
            audits: BTreeMap::new(),
            records: HashMap::new(),
        };
        let party = self.log.party;
        if let Entry::Vacant(entry) = self.contracts.entry(new.contract.id()) {
            self.of_others += u64::from(party != new.contract.owner && party != new.contract.provider);
            entry.insert(new);
        }
    }

    fn revision(&mut self, index: u64, revision: Revision) {
        let Some(terms) = self.terms(index, &revision.contract) else { return };
        if !self.needs(index, &[terms.owner, terms.provider]) {
            return;
        }
        let must_have_all = self.is_providers(&terms);
        let Some(seen) = self.contracts.get_mut(&revision.contract) else { return };
        // A second text for one sequence is told of as a conflict.
        if seen.revision(revision.sequence).is_some() {
            return;
        }
        let (last, time) = seen.revisions.last().map_or((0, 0), |last| (last.sequence, last.time));
        let (sequence, goes_back) = (revision.sequence, revision.time < time);
        if sequence > last {
            seen.revisions.push(revision);
        }
        if sequence < last {
            self.report.find(index, format!("revision {sequence} follows revision {last}"));
        } else if goes_back {
            self.report.find(index, "its time is before that of the revision before");
        }
        if sequence > last + 1 {
            let what = format!("it follows revisions {} to {}, which are not here", last + 1, sequence - 1);
            self.gap(index, must_have_all, what);
        }
    }

    fn receipt(&mut self, index: u64, receipt: Receipt) {
        let Some(terms) = self.terms(index, &receipt.contract) else { return };
        if !self.needs(index, &[terms.owner, terms.provider]) {
            return;
        }
        let (me, must_have_all) = ((self.log.party, self.log.node), self.is_providers(&terms));
        let Some(seen) = self.contracts.get_mut(&receipt.contract) else { return };
        if seen.receipt(receipt.sequence).is_some() {
            return;
        }
        // An owner that came back on another node begins its ledger there with a later receipt.
        let begins_late = seen.receipts.is_empty() && receipt.sequence > 1 && !must_have_all;
        let verdict = if !begins_late {
            self.rules.receipt(&terms, seen.receipts.last(), &receipt)
        } else if adds_up(&terms, &receipt) {
            Ok(())
        } else {
            Err("its amount is not what the prices give".to_owned())
        };
        // The ledger as it was when this was drawn up. One that others were shown has to be in it.
        let as_owner = ((terms.owner, receipt.owner_node) == me).then_some(receipt.owner_head);
        let as_provider = must_have_all.then_some(receipt.provider_head);
        let before = receipt.sequence - 1;
        if seen.receipts.last().is_none_or(|last| last.sequence < receipt.sequence) {
            seen.receipts.push(receipt);
        }
        match verdict {
            Ok(()) => self.report.receipts += 1,
            Err(fault) => self.report.find(index, fault),
        }
        if begins_late {
            self.gap(index, false, format!("it follows receipts 1 to {before}, which are not here"));
        }
        for (size, root) in as_owner.into_iter().chain(as_provider) {
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
        let Some(terms) = self.terms(index, &intent.contract) else { return };
        if !self.needs(index, &[terms.owner]) {
            return;
        }
        let Some(seen) = self.contracts.get_mut(&intent.contract) else { return };
        let epoch = intent.epoch;
        match seen.audits.get(&epoch).map(AuditCourse::intent) {
            Some(known) if *known == intent => {}
            Some(_) => self.report.find(index, format!("audit {epoch} is announced a second time")),
            None => {
                let last = seen.audits.last_key_value().map(|(last, _)| *last);
                seen.audits.insert(epoch, AuditCourse::new(intent));
                if let Some(last) = last.filter(|last| epoch < *last) {
                    self.report.find(index, format!("audit {epoch} is announced after audit {last}"));
                }
            }
        }
    }

    fn record(&mut self, index: u64, record: AuditRecord, source: &mut dyn Source) -> Result<(), LoadError> {
        let Some(terms) = self.terms(index, &record.contract) else { return Ok(()) };
        if !self.needs(index, &[terms.owner]) {
            return Ok(());
        }
        let Some(seen) = self.contracts.get_mut(&record.contract) else { return Ok(()) };
        let known = seen.records.entry(record.epoch).or_default();
        if known.contains(&record) {
            return Ok(());
        }
        known.push(record.clone());
        let Some(course) = seen.audits.get_mut(&record.epoch) else {
            self.report.find(index, format!("audit {} was not announced before it", record.epoch));
            return Ok(());
        };
        // These need no evidence.
        let answered = matches!(record.outcome, AuditOutcome::Passed | AuditOutcome::WrongBytes);
        let fault = if let Err(fault) = course.take(&record) {
            Some(fault.to_string())
        } else if record.time < course.intent().time {
            Some("it is from before the audit was announced".to_owned())
        } else if answered != (record.evidence != Hash::default()) {
            Some("an answer has evidence, and silence has none".to_owned())
        } else {
            None
        };
        if let Some(fault) = fault {
            self.report.find(index, format!("the audit does not hold: {fault}"));
            return Ok(());
        }
        let intent = course.intent().clone();
        let Some(revision) = seen.revision(record.revision) else {
            // Whoever challenges a revision has logged it.
            let what = format!("revision {}, which it challenged, does not stand before it", record.revision);
            self.report.find(index, what);
            return Ok(());
        };
        if !answered {
            self.report.audits_silent += 1;
            return Ok(());
        }
        let path = format!("evidence/{}.cbor", HEXLOWER.encode(&record.evidence));
        match source.get(&path, EVIDENCE_LEN_MAX)? {
            None => self.report.audits_without_evidence += 1,
            Some(evidence) => match check_audit(&terms, revision, &intent, &record, &evidence) {
                Ok(_) => self.report.audits += 1,
                Err(fault) => self.report.find(index, format!("the audit does not hold: {fault}")),
            },
        }
        Ok(())
    }

    fn claim(&mut self, index: u64, claim: &Claim) {
        let Some(terms) = self.terms(index, &claim.contract) else { return };
        if !self.needs(index, &[terms.provider]) {
            return;
        }
        let must_have_all = self.is_providers(&terms);
        let Some(seen) = self.contracts.get(&claim.contract) else { return };
        let receipt = seen.receipts.iter().rev().find(|receipt| receipt.sequence < claim.sequence);
        let count = seen.revisions.partition_point(|revision| revision.sequence <= claim.revision);
        let revisions = &seen.revisions[..count];
        if count as u64 != claim.revision {
            let what =
                format!("revisions 1 to {} are not all here, so it cannot be recomputed", claim.revision);
            self.gap(index, must_have_all, what);
            return;
        }
        if !must_have_all && receipt.map_or(0, |receipt| receipt.sequence) + 1 != claim.sequence {
            let what = format!("receipt {} is not here, on which it builds", claim.sequence - 1);
            self.gap(index, false, what);
            return;
        }
        match self.rules.claim(&terms, revisions, receipt, claim) {
            Ok(()) => self.report.claims += 1,
            Err(fault) => self.report.find(index, fault),
        }
    }

    /// Whether both signed a payment or trust line that was not met before. Whoever signs first logs it
    /// before the other has, so one with its signature alone is no fault.
    fn is_new(&mut self, index: u64, key: (Subject, u64), first: PartyId, second: PartyId) -> bool {
        let wrong = self.log.signers(index).is_some_and(|signers| signers.wrong.contains(&second));
        if self.log.signed_by(index, &first) && !self.log.signed_by(index, &second) && !wrong {
            self.half.insert(key);
            return false;
        }
        self.needs(index, &[first, second]) && self.numbered.insert(key)
    }

    fn payment(&mut self, index: u64, payment: Payment) {
        let subject = Subject::Payment { payer: payment.payer, payee: payment.payee };
        if !self.is_new(index, (subject, payment.sequence), payment.payee, payment.payer) {
            return;
        }
        let last = self.payments.get(&subject);
        let (before, total, time) =
            last.map_or((None, 0, 0), |last| (Some(last.sequence), last.paid_microcredits, last.time));
        let fault = if payment.paid_microcredits < total {
            Some(format!("the total that was paid went down from {total} to {}", payment.paid_microcredits))
        } else if payment.time < time {
            Some("its time is before that of the payment before".to_owned())
        } else {
            None
        };
        if self.follows(index, "payment", before, payment.sequence) {
            self.payments.insert(subject, payment);
        }
        if let Some(fault) = fault {
            self.report.find(index, fault);
        }
    }

    fn trust(&mut self, index: u64, trust: Trust) {
        let (guarantor, creditor, debtor) = (trust.guarantor, trust.creditor, trust.debtor);
        let subject = Subject::Trust { guarantor, creditor, debtor };
        if !self.is_new(index, (subject, trust.sequence), guarantor, creditor) {
            return;
        }
        let last = self.trust.get(&subject).copied();
        if self.follows(index, "trust line", last, trust.sequence) {
            self.trust.insert(subject, trust.sequence);
        }
    }

    /// Whether a number is higher than the last; a finding when it is not. A party may have several
    /// nodes with a ledger each, so some may be elsewhere.
    fn follows(&mut self, index: u64, what: &str, last: Option<u64>, next: u64) -> bool {
        let before = last.unwrap_or(0);
        if next < before {
            self.report.find(index, format!("{what} {next} follows {what} {before}"));
        } else if next > before + 1 {
            let gap = format!("it follows {what}s {} to {}, which are not here", before + 1, next - 1);
            self.gap(index, false, gap);
        }
        next > before
    }
}
