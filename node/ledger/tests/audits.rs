//! Which records of audits may stand in a ledger: one challenge, its tries and its end (spec/notes.md,
//! "What may follow what").
#![allow(clippy::unwrap_used)]

mod people;

use std::path::Path;

use commonhold_format::audit::nonce_commitment;
use commonhold_format::ids::NodeId;
use commonhold_format::statement::AuditOutcome::{NoAnswer, Offline, Quarantined};
use commonhold_format::statement::{
    AuditIntent, AuditOutcome, AuditRecord, Claim, Contract, Receipt, Revision, Statement, ledger_origin,
};
use commonhold_ledger::Ledger;
use commonhold_ledger::source;
use commonhold_ledger::verify::{Log, Report, Rules, verify};
use people::{contract, key, revision, signed};

const NOW: u64 = 1_790_000_100;

struct NoMoney;

impl Rules for NoMoney {
    fn receipt(&self, _: &Contract, _: Option<&Receipt>, _: &Receipt) -> Result<(), String> {
        Err("there is none here".to_owned())
    }

    fn claim(&self, _: &Contract, _: &[Revision], _: Option<&Receipt>, _: &Claim) -> Result<(), String> {
        Err("there is none here".to_owned())
    }
}

fn agreed() -> Contract {
    contract(&key(1), &key(2), 1)
}

fn intent(epoch: u64, nonce: u8) -> Statement {
    let contract = agreed().id();
    let commitment = nonce_commitment(&contract, epoch, &[nonce; 32]);
    Statement::AuditIntent(AuditIntent { contract, epoch, revision: 1, commitment, time: NOW })
}

fn record(epoch: u64, nonce: u8, outcome: AuditOutcome, time: u64) -> Statement {
    Statement::AuditRecord(AuditRecord {
        contract: agreed().id(),
        epoch,
        revision: 1,
        nonce: [nonce; 32],
        outcome,
        leaves: 0,
        lost_chunks: 0,
        evidence: [0; 32],
        time,
    })
}

/// A ledger with these notes of the owner behind a contract and its first revision, verified.
fn verified(dir: &Path, statements: &[Statement]) -> Report {
    let ledger = Ledger::open(dir, key(1), ledger_origin(&key(1).id(), &NodeId([8; 32]))).unwrap();
    for statement in [Statement::Contract(agreed()), revision(&agreed(), 1, 1)] {
        ledger.append(&signed(statement, &[&key(1), &key(2)])).unwrap();
    }
    for statement in statements {
        ledger.append(&signed(statement.clone(), &[&key(1)])).unwrap();
    }
    ledger.publish().unwrap();
    drop(ledger);
    let mut source = source::open(dir).unwrap();
    let mut log = Log::load(&mut *source).unwrap();
    verify(&mut log, &mut *source, &NoMoney, 1).unwrap()
}

fn findings(statements: &[Statement]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    verified(dir.path(), statements).findings.into_iter().map(|finding| finding.what).collect()
}

#[test]
fn one_challenge_has_one_intent_and_a_record_for_each_try() {
    let dir = tempfile::tempdir().unwrap();
    let report = verified(
        dir.path(),
        &[
            intent(1, 7),
            record(1, 7, NoAnswer, NOW),
            record(1, 7, Offline, NOW + 60),
            record(1, 7, Quarantined, NOW + 90),
            record(1, 7, NoAnswer, NOW + 700),
            record(1, 7, NoAnswer, NOW + 701),
            // An intent of an audit that was broken off, and the next one.
            intent(2, 8),
            intent(4, 9),
            record(4, 9, Offline, NOW + 800),
        ],
    );
    assert_eq!(report.findings, []);
    assert_eq!(report.audits_silent, 6);
}

#[test]
fn attack_28_a_challenge_that_is_closed_changed_or_set_back_is_found() {
    let silent = |time| record(1, 7, NoAnswer, time);
    // A fourth silence, and a judgement behind the end.
    let four = [intent(1, 7), silent(NOW), silent(NOW + 1), silent(NOW + 2), silent(NOW + 3)];
    assert!(findings(&four)[0].contains("closed"));
    // A challenge that never reached its provider is not used again.
    let offline = [intent(1, 7), record(1, 7, Offline, NOW), silent(NOW + 1)];
    assert!(findings(&offline)[0].contains("closed"));
    // Another nonce under the same number, whether it was announced or not.
    let swapped = [intent(1, 7), silent(NOW), record(1, 8, NoAnswer, NOW + 1)];
    assert!(findings(&swapped)[0].contains("nonce"));
    let twice = [intent(1, 7), silent(NOW), intent(1, 8), record(1, 8, NoAnswer, NOW + 1)];
    assert!(findings(&twice)[0].contains("a second time"));
    assert!(findings(&[intent(1, 7), silent(NOW), silent(NOW - 1)])[0].contains("not later"));
    assert!(findings(&[intent(2, 7), intent(1, 7)])[0].contains("after audit 2"));
    assert!(findings(&[silent(NOW)])[0].contains("was not announced"));
}
