//! What follows from the notes in a ledger: balances and conflicts.
#![allow(clippy::unwrap_used)]

mod people;

use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{Contract, Statement};
use commonhold_ledger::{Ledger, Role, Subject};
use people::{contract, key, open, owed, receipt, revision, signed};
use proptest::prelude::*;
use tempfile::TempDir;

/// Owner 1, provider 2, a contract that both signed, and an empty ledger of the owner.
struct Scene {
    _dir: TempDir,
    ledger: Ledger,
    owner: PartyKey,
    provider: PartyKey,
    contract: Contract,
}

fn scene() -> Scene {
    let dir = TempDir::new().unwrap();
    let (owner, provider) = (key(1), key(2));
    let ledger = open(dir.path());
    let contract = contract(&owner, &provider, 0);
    Scene { _dir: dir, ledger, owner, provider, contract }
}

impl Scene {
    fn log_contract(&self) {
        self.log(&Statement::Contract(self.contract.clone()), &[&self.owner, &self.provider]);
    }

    fn log(&self, statement: &Statement, keys: &[&PartyKey]) -> u64 {
        self.ledger.append(&signed(statement.clone(), keys)).unwrap()
    }

    fn log_signed_by_both(&self, statement: &Statement) -> u64 {
        self.log(statement, &[&self.provider, &self.owner])
    }

    /// What the provider is owed, by sequence of the receipt.
    fn owed(&self) -> Option<(u64, i128)> {
        let balances = self.ledger.balances(&self.provider.id()).unwrap();
        assert!(balances.len() <= 1);
        balances.first().map(|balance| (balance.receipt_sequence, balance.owed_to_me))
    }
}

#[test]
fn the_highest_receipt_counts_for_both_parties_with_opposite_signs() {
    let it = scene();
    it.log_contract();
    assert_eq!(it.owed(), None);
    let receipts: Vec<Statement> = (1..=3).map(|n| receipt(&it.contract, n, n * 10)).collect();
    // Out of order: what counts is the sequence.
    for n in [2, 0, 1] {
        it.log_signed_by_both(&receipts[n]);
    }
    assert_eq!(it.owed(), Some((3, owed(&receipts[2]))));
    let provider = it.ledger.balances(&it.provider.id()).unwrap().remove(0);
    let owner = it.ledger.balances(&it.owner.id()).unwrap().remove(0);
    assert_eq!((provider.role, provider.counterparty), (Role::Provider, it.owner.id()));
    assert_eq!((owner.role, owner.counterparty), (Role::Owner, it.provider.id()));
    assert_eq!(owner.owed_to_me, -provider.owed_to_me);
    assert!(provider.owed_to_me > 0);
    assert_eq!((owner.contract, owner.audits_passed, owner.audits_failed), (it.contract.id(), 30, 1));
    assert_eq!((owner.egress_bytes, owner.byte_seconds), (30_000_000, 30 << 50));
}

#[test]
fn attack_28_what_is_replayed_half_signed_or_foreign_never_counts() {
    let it = scene();
    let genuine = receipt(&it.contract, 5, 50);
    // Before the contract is in the log, nothing counts.
    it.log_signed_by_both(&genuine);
    assert_eq!(it.owed(), None);
    it.log_contract();
    let expected = Some((5, owed(&genuine)));
    assert_eq!(it.owed(), expected);
    // The same again, and older ones, also with larger totals.
    it.log_signed_by_both(&genuine);
    it.log_signed_by_both(&receipt(&it.contract, 4, 4000));
    it.log_signed_by_both(&receipt(&it.contract, 1, 1));
    // Higher ones that one party signed, or one party and a stranger.
    let stranger = key(9);
    it.log(&receipt(&it.contract, 6, 60), &[&it.provider]);
    it.log(&receipt(&it.contract, 7, 70), &[&it.owner]);
    it.log(&receipt(&it.contract, 8, 80), &[&it.provider, &stranger]);
    // One of a contract that is not in the log.
    it.log_signed_by_both(&receipt(&contract(&it.owner, &it.provider, 44), 9, 90));
    // One whose amount does not follow from the prices.
    let Statement::Receipt(mut inflated) = receipt(&it.contract, 10, 100) else { unreachable!() };
    inflated.owed_microcredits += 1;
    it.log_signed_by_both(&Statement::Receipt(inflated));
    assert_eq!(it.owed(), expected);
    assert_eq!(it.ledger.conflicts().unwrap(), []);
}

#[test]
fn a_contract_that_one_party_signed_gives_no_balance() {
    let it = scene();
    it.log(&Statement::Contract(it.contract.clone()), &[&it.provider]);
    it.log_signed_by_both(&receipt(&it.contract, 1, 10));
    assert_eq!(it.owed(), None);
    it.log_contract();
    assert!(it.owed().is_some());
}

#[test]
fn a_signature_over_another_text_does_not_count() {
    let it = scene();
    it.log_contract();
    let genuine = signed(receipt(&it.contract, 1, 10), &[&it.provider, &it.owner]).to_bytes();
    let signatures = genuine.windows(2).rposition(|pair| pair == b"\n\n").unwrap() + 1;
    let text = receipt(&it.contract, 1, 11).to_text();
    let forged = SignedNote::parse(&[text.as_bytes(), &genuine[signatures..]].concat()).unwrap();
    it.ledger.append(&forged).unwrap();
    assert_eq!(it.owed(), None);
}

#[test]
fn attack_32_two_texts_for_one_sequence_are_reported_and_neither_counts() {
    let it = scene();
    it.log_contract();
    let before = receipt(&it.contract, 1, 10);
    it.log_signed_by_both(&before);
    let first = it.log_signed_by_both(&receipt(&it.contract, 2, 20));
    assert_eq!(it.ledger.conflicts().unwrap(), []);
    let second = it.log_signed_by_both(&receipt(&it.contract, 2, 21));
    assert_eq!(it.owed(), Some((1, owed(&before))));
    let conflicts = it.ledger.conflicts().unwrap();
    let [conflict] = &conflicts[..] else { panic!("{conflicts:?}") };
    assert_eq!(conflict.subject, Subject::Receipt(it.contract.id()));
    assert_eq!((conflict.sequence, conflict.first.0, conflict.second.0), (2, first, second));
    // A later receipt settles the matter of money; the evidence stays.
    let after = receipt(&it.contract, 3, 30);
    it.log_signed_by_both(&after);
    assert_eq!(it.owed(), Some((3, owed(&after))));
    assert_eq!(it.ledger.conflicts().unwrap(), conflicts);
}

#[test]
fn attack_32_a_stranger_can_verify_a_conflict_and_cannot_be_shown_a_false_one() {
    let it = scene();
    it.log_contract();
    for root in [1, 2] {
        it.log_signed_by_both(&revision(&it.contract, 7, root));
    }
    let conflict = it.ledger.conflicts().unwrap().remove(0);
    assert_eq!(conflict.subject, Subject::Revision(it.contract.id()));
    let terms = Statement::Contract(it.contract.clone());
    let both = signed(terms.clone(), &[&it.owner, &it.provider]);
    assert!(conflict.is_proven_by(Some(&both)));
    assert!(!conflict.is_proven_by(Some(&signed(terms, &[&it.owner]))));
    let other = contract(&it.owner, &it.provider, 8);
    assert!(!conflict.is_proven_by(Some(&signed(Statement::Contract(other), &[&it.owner, &it.provider]))));
    let change = |change: fn(&mut commonhold_ledger::Conflict)| {
        let mut changed = conflict.clone();
        change(&mut changed);
        changed.is_proven_by(Some(&both))
    };
    assert!(change(|_| {}));
    assert!(!change(|it| it.second = it.first.clone()));
    assert!(!change(|it| it.sequence += 1));
    assert!(!change(|it| it.subject = Subject::Receipt(it.subject.contract().unwrap())));
    let mut half = conflict.clone();
    half.second.1 = signed(revision(&it.contract, 7, 3), &[&it.provider]);
    assert!(!half.is_proven_by(Some(&both)));
}

#[test]
fn the_same_text_with_more_signatures_is_no_conflict() {
    let it = scene();
    it.log_contract();
    let body = receipt(&it.contract, 1, 10);
    it.log(&body, &[&it.provider]);
    it.log_signed_by_both(&body);
    it.log(&body, &[&it.provider, &it.owner, &key(9)]);
    assert_eq!(it.ledger.len(), 4);
    assert_eq!(it.ledger.conflicts().unwrap(), []);
    assert_eq!(it.owed(), Some((1, owed(&body))));
}

#[test]
fn attack_34_what_others_trade_with_each_other_gives_no_credit_here() {
    let it = scene();
    it.log_contract();
    it.log_signed_by_both(&receipt(&it.contract, 1, 10));
    let before = it.ledger.balances(&it.owner.id()).unwrap();
    let (friend, other) = (key(21), key(22));
    let theirs = contract(&friend, &other, 0);
    it.log(&Statement::Contract(theirs.clone()), &[&friend, &other]);
    it.log(&receipt(&theirs, 1, 1_000_000), &[&friend, &other]);
    assert_eq!(it.ledger.balances(&it.owner.id()).unwrap(), before);
    // Trading with oneself comes to nothing either.
    let own = contract(&it.owner, &it.owner, 1);
    it.log(&Statement::Contract(own.clone()), &[&it.owner]);
    it.log(&receipt(&own, 1, 1_000_000), &[&it.owner]);
    assert_eq!(it.ledger.balances(&it.owner.id()).unwrap(), before);
}

#[test]
fn balances_are_the_same_after_opening_again() {
    let dir = TempDir::new().unwrap();
    let (owner, provider) = (key(1), key(2));
    let ledger = open(dir.path());
    let terms = contract(&owner, &provider, 0);
    ledger.append(&signed(Statement::Contract(terms.clone()), &[&owner, &provider])).unwrap();
    ledger.append(&signed(receipt(&terms, 1, 10), &[&owner, &provider])).unwrap();
    ledger.append(&signed(receipt(&terms, 2, 20), &[&owner, &provider])).unwrap();
    ledger.append(&signed(receipt(&terms, 2, 21), &[&owner, &provider])).unwrap();
    let seen = |ledger: &Ledger| (ledger.balances(&owner.id()).unwrap(), ledger.conflicts().unwrap());
    let before = seen(&ledger);
    assert_eq!((before.0.len(), before.1.len()), (1, 1));
    drop(ledger);
    assert_eq!(seen(&open(dir.path())), before);
}

/// What is settled in one step: who signs, between whom, for which sequence, over how much.
#[derive(Debug, Clone)]
struct Step {
    owner: u8,
    provider: u8,
    sequence: u64,
    audits: u64,
    signers: u8,
}

fn step() -> impl Strategy<Value = Step> {
    (0..3_u8, 0..3_u8, 1..4_u64, 0..3_u64, prop_oneof![8 => Just(3_u8), 1 => Just(1), 1 => Just(2)]).prop_map(
        |(owner, provider, sequence, audits, signers)| Step { owner, provider, sequence, audits, signers },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Each party logs the notes that it signed, in its own order; the balances of all sum up to
    /// zero, contract by contract.
    #[test]
    fn balances_of_all_parties_sum_up_to_zero(
        (steps, order) in prop::collection::vec(step(), 1..25).prop_flat_map(|steps| {
            (Just(steps.clone()), Just(steps).prop_shuffle())
        }),
    ) {
        let keys: Vec<PartyKey> = (0..3).map(|n| key(n + 1)).collect();
        let dirs: Vec<TempDir> = keys.iter().map(|_| TempDir::new().unwrap()).collect();
        let open_as = |n: usize| Ledger::open(dirs[n].path(), keys[n].clone(), format!("ledger/{n}")).unwrap();
        let ledgers: Vec<Ledger> = (0..3).map(open_as).collect();
        let note = |it: &Step| {
            let (owner, provider) = (&keys[usize::from(it.owner)], &keys[usize::from(it.provider)]);
            let terms = contract(owner, provider, 0);
            let signers: Vec<&PartyKey> =
                [owner, provider].into_iter().enumerate().filter(|(at, _)| it.signers >> at & 1 == 1).map(|(_, key)| key).collect();
            let terms_note = signed(Statement::Contract(terms.clone()), &[owner, provider]);
            (terms_note, signed(receipt(&terms, it.sequence, it.audits), &signers))
        };
        for (n, ledger) in ledgers.iter().enumerate() {
            let mine = if n == 1 { &order } else { &steps };
            for it in mine.iter().filter(|it| usize::from(it.owner) == n || usize::from(it.provider) == n) {
                let (terms, receipt) = note(it);
                ledger.append_all(&[terms, receipt]).unwrap();
            }
        }
        let mut sums = std::collections::HashMap::new();
        for (ledger, key) in ledgers.iter().zip(&keys) {
            for balance in ledger.balances(&key.id()).unwrap() {
                let entry = sums.entry(balance.contract).or_insert((0_i128, 0));
                *entry = (entry.0 + balance.owed_to_me, entry.1 + 1);
            }
        }
        for (contract, (sum, sides)) in sums {
            prop_assert_eq!((sum, sides), (0, 2), "{}", contract);
        }
    }
}
