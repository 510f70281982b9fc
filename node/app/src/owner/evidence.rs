//! Evidence of audits that has served its time is removed (spec/audit.md, "How long evidence is kept").
//!
//! Invariant: a bundle of challenge and proof goes only when it is as old as `keep_evidence` and a
//! receipt that counts its audit, signed by both parties, stands behind it in the ledger. Notes never
//! go. Not here: evidence of forks, which is kept for ever.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{AuditOutcome, Contract, Receipt, Statement};
use data_encoding::HEXLOWER;

use super::{Owner, blocking};
use crate::clock::unix_seconds;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(86_400);
/// Evidence that no record cites is of an audit that was broken off, or is being recorded right now.
const UNCITED_SECONDS: u64 = 86_400;

/// What the notes of a ledger say about evidence.
#[derive(Default)]
struct Cited {
    contracts: HashMap<ContractId, Contract>,
    /// By contract: audits passed and failed so far.
    counts: HashMap<ContractId, (u64, u64)>,
    /// By contract, audits with evidence that no receipt counts yet.
    waiting: HashMap<ContractId, Vec<Unsettled>>,
    /// Time of the audit, by the hash of evidence that a receipt counts.
    settled: HashMap<[u8; 32], u64>,
    all: HashSet<[u8; 32]>,
}

/// An audit with evidence.
struct Unsettled {
    /// Audits of the contract that passed and that failed, up to this one.
    counts: (u64, u64),
    time: u64,
    evidence: [u8; 32],
}

impl Unsettled {
    fn is_counted_by(&self, receipt: &Receipt) -> bool {
        let (passed, failed) = self.counts;
        passed <= receipt.audits_passed && failed <= receipt.audits_failed
    }
}

impl Cited {
    /// Takes in the next note of the ledger of `owner`.
    fn take(&mut self, note: &SignedNote, owner: &PartyId) {
        match Statement::of(note) {
            Ok(Statement::Contract(contract))
                if contract.owner == *owner
                    && note.is_signed_by(owner)
                    && note.is_signed_by(&contract.provider) =>
            {
                self.contracts.insert(contract.id(), contract);
            }
            Ok(Statement::AuditRecord(record)) if self.contracts.contains_key(&record.contract) => {
                let (passed, failed) = self.counts.entry(record.contract).or_default();
                match record.outcome {
                    AuditOutcome::Passed => *passed += 1,
                    AuditOutcome::WrongBytes => *failed += 1,
                    _ => return,
                }
                let (counts, time, evidence) = ((*passed, *failed), record.time, record.evidence);
                let audit = Unsettled { counts, time, evidence };
                self.waiting.entry(record.contract).or_default().push(audit);
                self.all.insert(record.evidence);
            }
            Ok(Statement::Receipt(receipt)) => {
                let Some(contract) = self.contracts.get(&receipt.contract) else { return };
                let Some(waiting) = self.waiting.get_mut(&receipt.contract) else { return };
                // Verifying signatures is dear, and most receipts count what the one before did not.
                if !waiting.iter().any(|audit| audit.is_counted_by(&receipt))
                    || !note.is_signed_by(&contract.owner)
                    || !note.is_signed_by(&contract.provider)
                {
                    return;
                }
                for audit in waiting.extract_if(.., |audit| audit.is_counted_by(&receipt)) {
                    let at = self.settled.entry(audit.evidence).or_default();
                    *at = audit.time.max(*at);
                }
            }
            _ => {}
        }
    }

    /// Whether a bundle may go; `age` is that of its file, seconds.
    fn is_spent(&self, evidence: &[u8; 32], age: u64, keep: u64, now: u64) -> bool {
        match self.settled.get(evidence) {
            Some(time) => now.saturating_sub(*time) >= keep,
            None => !self.all.contains(evidence) && age >= keep.max(UNCITED_SECONDS),
        }
    }
}

/// The hash that a file of the folder is named by; `None` for other files.
fn hash_of(name: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(name.strip_suffix(".cbor")?.as_bytes()).ok()?.try_into().ok()
}

/// Removes what is spent; answers how many files and bytes went.
fn sweep(folder: &Path, cited: &Cited, keep: u64, now: u64) -> std::io::Result<(u64, u64)> {
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        files => files?,
    };
    let (mut count, mut bytes) = (0, 0);
    for file in files {
        let file = file?;
        let Some(evidence) = file.file_name().to_str().and_then(hash_of) else { continue };
        let meta = file.metadata()?;
        let age = meta.modified().ok().and_then(|it| SystemTime::now().duration_since(it).ok());
        if cited.is_spent(&evidence, age.map_or(0, |age| age.as_secs()), keep, now) {
            std::fs::remove_file(file.path())?;
            count += 1;
            bytes += meta.len();
        }
    }
    Ok((count, bytes))
}

impl Owner {
    /// Removes evidence that is `keep_seconds` old and settled, now and once a day, until this
    /// node stops.
    pub async fn prune_forever(&self, keep_seconds: u64) {
        loop {
            match self.prune(keep_seconds).await {
                Ok((0, _)) => {}
                Ok((files, bytes)) => {
                    tracing::info!(files, bytes, "evidence that was kept long enough is gone")
                }
                Err(error) => tracing::warn!(error, "old evidence could not be removed"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn prune(&self, keep_seconds: u64) -> Result<(u64, u64), String> {
        const PAGE: usize = 256;
        let (ledger, owner, folder) = (self.ledger.clone(), self.party.id(), self.evidence.clone());
        blocking(move || {
            let mut cited = Cited::default();
            let mut from = 0;
            loop {
                // A note that cannot be read might be the one that cites a bundle: then nothing goes.
                let page = ledger.read(from, PAGE).map_err(|error| error.to_string())?;
                from += page.len() as u64;
                page.iter().for_each(|(_, note)| cited.take(note, &owner));
                if page.len() < PAGE {
                    break;
                }
            }
            sweep(&folder, &cited, keep_seconds, unix_seconds()).map_err(|error| error.to_string())
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use commonhold_format::ids::NodeId;
    use commonhold_format::keys::PartyKey;
    use commonhold_format::statement::{AuditRecord, Prices};

    const NOW: u64 = 1_750_000_000;
    const DAY: u64 = 86_400;

    fn owner() -> PartyKey {
        PartyKey::from_seed(&[1; 32])
    }

    fn provider() -> PartyKey {
        PartyKey::from_seed(&[2; 32])
    }

    fn contract() -> Contract {
        Contract {
            owner: owner().id(),
            provider: provider().id(),
            node: NodeId([3; 32]),
            salt: [4; 16],
            prices: Prices::default(),
            bytes_max: 1,
            starts: NOW,
            ends: NOW + 1,
            audit_interval_seconds: 1,
            grace_seconds: 1,
            hold_microcredits: 0,
        }
    }

    fn signed(statement: Statement, both: bool) -> SignedNote {
        let mut note = SignedNote::sign(statement.to_text(), &owner()).unwrap();
        if both {
            note.countersign(&provider());
        }
        note
    }

    fn record(epoch: u64, outcome: AuditOutcome) -> SignedNote {
        let record = AuditRecord {
            contract: contract().id(),
            epoch,
            revision: 1,
            nonce: [0; 32],
            outcome,
            leaves: 0,
            lost_chunks: 0,
            evidence: [epoch as u8; 32],
            time: NOW,
        };
        signed(Statement::AuditRecord(record), false)
    }

    fn receipt(sequence: u64, passed: u64, failed: u64, both: bool) -> SignedNote {
        let receipt = Receipt {
            contract: contract().id(),
            sequence,
            until: NOW,
            byte_seconds: 0,
            egress_bytes: 0,
            audits_passed: passed,
            audits_failed: failed,
            owed_microcredits: 0,
            evidence: [0; 32],
            owner_node: NodeId([5; 32]),
            owner_head: (0, [0; 32]),
            provider_head: (0, [0; 32]),
        };
        signed(Statement::Receipt(receipt), both)
    }

    /// Which of the bundles 1, 2, 3 a day later may go after a term.
    fn spent(notes: &[SignedNote], keep: u64) -> Vec<u8> {
        let mut cited = Cited::default();
        cited.take(&signed(Statement::Contract(contract()), true), &owner().id());
        notes.iter().for_each(|note| cited.take(note, &owner().id()));
        (1..=3).filter(|at| cited.is_spent(&[*at; 32], DAY, keep, NOW + DAY)).collect()
    }

    #[test]
    fn evidence_goes_when_it_is_old_and_settled_and_not_before() {
        use AuditOutcome::{Passed, WrongBytes};
        let (one, two, three) = (record(1, Passed), record(2, WrongBytes), record(3, Passed));
        let audits = [one.clone(), two.clone(), three.clone()];
        let with = |receipts: &[SignedNote]| [&audits, receipts].concat();
        assert_eq!(spent(&with(&[receipt(1, 2, 1, true)]), DAY), [1, 2, 3]);
        assert!(spent(&with(&[receipt(1, 2, 1, true)]), DAY + 1).is_empty());
        // A receipt that counts some of them, one that only one party signed, one that came before.
        assert_eq!(spent(&with(&[receipt(1, 1, 1, true)]), 0), [1, 2]);
        assert_eq!(spent(&with(&[receipt(1, 1, 0, true)]), 0), [1]);
        assert!(spent(&with(&[receipt(1, 2, 1, false)]), 0).is_empty());
        assert_eq!(spent(&[one, receipt(1, 9, 9, true), two, three], 0), [1]);
    }

    #[test]
    fn only_bundles_of_audits_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(folder.path().join(name), b"x").unwrap();
        let bundle = |at: u8| format!("{}.cbor", HEXLOWER.encode(&[at; 32]));
        let names = [bundle(1), bundle(2), bundle(9), "fork-01.tar".to_owned(), "01.cbor".to_owned()];
        names.iter().for_each(|name| write(name));
        let mut cited = Cited::default();
        cited.take(&signed(Statement::Contract(contract()), true), &owner().id());
        for note in [record(1, AuditOutcome::Passed), receipt(1, 1, 0, true), record(2, AuditOutcome::Passed)]
        {
            cited.take(&note, &owner().id());
        }
        assert_eq!(sweep(folder.path(), &cited, 0, NOW + DAY).unwrap(), (1, 1));
        // Of the audit that is not settled, of one that is being recorded, and what is no bundle.
        let left = names.iter().filter(|name| folder.path().join(name).exists()).count();
        assert_eq!(left, names.len() - 1);
        assert!(!folder.path().join(bundle(1)).exists());
        assert_eq!(sweep(&folder.path().join("none"), &cited, 0, NOW).unwrap(), (0, 0));
    }
}
