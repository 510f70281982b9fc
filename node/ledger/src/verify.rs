//! Checking a whole ledger from its first note, offline (spec/ledger.md, "Verifying").
//!
//! Invariant: nothing of the ledger is believed: the root follows from the notes, every signature line
//! of a party is verified, each rule is applied again, and what could not be checked is counted and
//! said. What counterparties can plant in an honest ledger (lines of other keys, the same text again) is
//! no finding. Not here: who was right where two notes contradict each other, and whether the ledger
//! that is shown is the one that others are shown (witnesses and [`crate::compare`] are for that).

mod walk;

use std::collections::{BTreeMap, HashSet};

use commonhold_format::ids::PartyId;
use commonhold_format::note::{party_name, party_of};
use commonhold_format::statement::{Claim, Contract, Receipt, Revision};

use self::walk::Walk;
use crate::source::Source;

pub use crate::log::{LoadError, Log};

/// Most findings that are listed; the rest is counted.
pub const FINDINGS_MAX: usize = 1000;

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
    /// Tiles of hashes that were shown, each with the hashes that follow from the notes.
    pub tiles: u64,
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
    /// What does not hold, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many further things do not hold.
    pub findings_more: u64,
    /// What could not be checked, in sentences.
    pub unchecked: Vec<String>,
}

impl Report {
    fn find(&mut self, entry: impl Into<Option<u64>>, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { entry: entry.into(), what: what.into() });
        } else {
            self.findings_more += 1;
        }
    }

    /// Says how many of something could not be checked, if any.
    fn unchecked(&mut self, count: u64, what: &str) {
        if count > 0 {
            self.unchecked.push(format!("{count} {what}"));
        }
    }
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
    log.verify_signatures(threads);
    let mut report = Walk::new(log, rules).run(source)?;
    report.tiles = log.tiles;
    for conflict in log.conflicts() {
        let (first, second) = (conflict.first.0, conflict.second.0);
        report.find(
            second,
            format!("a second {} {}, beside entry {first}", conflict.subject, conflict.sequence),
        );
    }
    cosignatures(log, &mut report);
    let (silent, without) = (report.audits_silent, report.audits_without_evidence);
    report
        .unchecked(without, "audits without their evidence: only the challenger's signature stands for them");
    report.unchecked(silent, "audits without an answer: that there was none is the challenger's word");
    Ok(report)
}

/// The lines on the head beside its own.
fn cosignatures(log: &Log, report: &mut Report) {
    let mut cosigners: HashSet<PartyId> = HashSet::new();
    let mut foreign = 0;
    for line in log.checkpoint.signatures() {
        match party_of(&line.name) {
            Some(party) if cosigners.insert(party) => match log.checkpoint.cosigned_by(&party) {
                Some(time) => report.cosignatures.push((party, time)),
                None => report.find(None, format!("the cosignature of {} is not valid", party_name(&party))),
            },
            Some(_) => {}
            None if line.name == log.head.origin => {}
            None => foreign += 1,
        }
    }
    report.unchecked(foreign, "lines on the head are of keys that are no party's");
    if report.cosignatures.is_empty() {
        report.unchecked.push(
            "nobody cosigned this head: that others are shown the same ledger cannot be seen from it"
                .to_owned(),
        );
    }
}
