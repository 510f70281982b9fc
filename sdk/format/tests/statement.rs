//! What notes say: one text for each statement, and amounts that follow from totals alone.

#![allow(clippy::unwrap_used)]

use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{
    AMOUNT_MAX, AuditIntent, AuditOutcome, AuditRecord, Checkpoint, Claim, Contract, Payment, Prices,
    Receipt, Revision, SECONDS_MAX, Statement, TEXT_LEN_MAX, Trust,
};
use proptest::prelude::*;

const OUTCOMES: [AuditOutcome; 5] = [
    AuditOutcome::Passed,
    AuditOutcome::WrongBytes,
    AuditOutcome::NoAnswer,
    AuditOutcome::Offline,
    AuditOutcome::Quarantined,
];
/// A GiB for 30 days.
const GIB_MONTH: u128 = (1 << 30) * 30 * 86_400;

fn contract() -> impl Strategy<Value = Statement> {
    (
        any::<([u8; 32], [u8; 32], [u8; 32], [u8; 16])>(),
        (0..=AMOUNT_MAX, 0..=AMOUNT_MAX, 0..=AMOUNT_MAX, 0..=AMOUNT_MAX),
        (1..=u64::MAX, 0..SECONDS_MAX, 1..=SECONDS_MAX, 0..=SECONDS_MAX),
        1..=SECONDS_MAX,
    )
        .prop_map(
            |((owner, provider, node, salt), amounts, (bytes_max, starts, interval, grace), lasts)| {
                Statement::Contract(Contract {
                    owner: PartyId(owner),
                    provider: PartyId(provider),
                    node: NodeId(node),
                    salt,
                    prices: Prices {
                        storage_microcredits_per_gib_month: amounts.0,
                        egress_microcredits_per_gib: amounts.1,
                        audit_microcredits: amounts.2,
                    },
                    bytes_max,
                    starts,
                    ends: (starts + lasts).min(SECONDS_MAX),
                    audit_interval_seconds: interval,
                    grace_seconds: grace,
                    hold_microcredits: amounts.3,
                })
            },
        )
}

fn revision() -> impl Strategy<Value = Statement> {
    let counts = any::<(u64, u64, u64, u64)>();
    (any::<([u8; 32], [u8; 32])>(), 1..=u64::MAX, counts, 0..=SECONDS_MAX).prop_map(
        |((contract, inventory_root), sequence, (a, b, c, d), time)| {
            Statement::Revision(Revision {
                contract: ContractId(contract),
                sequence,
                inventory_root,
                entries: a.max(b),
                span: c.max(d),
                held_bytes: c.min(d),
                held_chunks: a.min(b),
                time,
            })
        },
    )
}

fn money() -> impl Strategy<Value = Statement> {
    let parties = any::<([u8; 32], [u8; 32], [u8; 32])>();
    let parties = parties.prop_filter("three parties", |(a, b, c)| a != b && b != c && a != c);
    let totals = any::<(u128, u64, u64)>();
    let times = (0..=SECONDS_MAX, 0..=SECONDS_MAX);
    (0..3, parties, totals, (1..=u64::MAX, 1..=u64::MAX), times, 0..=AMOUNT_MAX).prop_map(
        |(kind, (a, b, c), totals, (sequence, revision), times, amount)| match kind {
            0 => Statement::Payment(Payment {
                payer: PartyId(a),
                payee: PartyId(b),
                sequence,
                paid_microcredits: amount,
                reference: c,
                time: times.0,
            }),
            1 => Statement::Trust(Trust {
                guarantor: PartyId(a),
                creditor: PartyId(b),
                debtor: PartyId(c),
                sequence,
                limit_microcredits: amount,
                ends: times.0,
            }),
            _ => Statement::Claim(Claim {
                contract: ContractId(a),
                sequence,
                revision,
                until: times.0.min(times.1),
                byte_seconds: totals.0,
                egress_bytes: totals.1,
                audits_passed: totals.2,
                owed_microcredits: amount,
                time: times.0.max(times.1),
            }),
        },
    )
}

fn receipt() -> impl Strategy<Value = Statement> {
    let hashes = any::<([u8; 32], [u8; 32], [u8; 32], [u8; 32])>();
    let totals = any::<(u128, u64, u64, u64, u64, u64)>();
    (hashes, totals, 1..=u64::MAX, 0..=SECONDS_MAX, 0..=AMOUNT_MAX).prop_map(
        |(hashes, totals, sequence, until, owed_microcredits)| {
            Statement::Receipt(Receipt {
                contract: ContractId(hashes.0),
                sequence,
                until,
                byte_seconds: totals.0,
                egress_bytes: totals.1,
                audits_passed: totals.2,
                audits_failed: totals.3,
                owed_microcredits,
                evidence: hashes.1,
                owner_node: NodeId(hashes.0),
                owner_head: (totals.4, hashes.2),
                provider_head: (totals.5, hashes.3),
            })
        },
    )
}

fn audit() -> impl Strategy<Value = Statement> {
    let hashes = any::<([u8; 32], [u8; 32], [u8; 32])>();
    (hashes, any::<u64>(), 1..=u64::MAX, 0..=SECONDS_MAX, 0..6usize, 0..=64u32, any::<u32>()).prop_map(
        |((contract, nonce, evidence), epoch, revision, time, outcome, leaves, lost)| {
            let contract = ContractId(contract);
            let Some(outcome) = OUTCOMES.get(outcome).copied() else {
                let commitment = evidence;
                return Statement::AuditIntent(AuditIntent { contract, epoch, revision, commitment, time });
            };
            let (leaves, lost_chunks) = match outcome {
                AuditOutcome::Passed => (leaves, 0),
                AuditOutcome::WrongBytes => (leaves, lost % (65 - leaves)),
                _ => (0, 0),
            };
            Statement::AuditRecord(AuditRecord {
                contract,
                epoch,
                revision,
                nonce,
                outcome,
                leaves,
                lost_chunks,
                evidence,
                time,
            })
        },
    )
}

fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![contract(), revision(), receipt(), audit(), money()]
}

fn some_receipt() -> Receipt {
    Receipt {
        contract: ContractId([1; 32]),
        sequence: 9,
        until: 1_750_000_000,
        byte_seconds: 1 << 60,
        egress_bytes: 10,
        audits_passed: 20,
        audits_failed: 3,
        owed_microcredits: 1234,
        evidence: [2; 32],
        owner_node: NodeId([4; 32]),
        owner_head: (5, [3; 32]),
        provider_head: (6, [4; 32]),
    }
}

#[test]
fn every_outcome_has_a_word() {
    for outcome in OUTCOMES {
        assert_eq!(outcome.as_str().parse(), Ok(outcome));
        assert_eq!(outcome.to_string(), outcome.as_str());
    }
    assert!("failed".parse::<AuditOutcome>().is_err());
}

#[test]
fn the_longest_statement_leaves_room() {
    let mut receipt = some_receipt();
    receipt.byte_seconds = u128::MAX;
    for number in [&mut receipt.sequence, &mut receipt.egress_bytes, &mut receipt.owner_head.0] {
        *number = u64::MAX;
    }
    let mut note =
        SignedNote::sign(Statement::Receipt(receipt).to_text(), &PartyKey::from_seed(&[1; 32])).unwrap();
    assert!(note.countersign(&PartyKey::from_seed(&[2; 32])));
    assert!(note.text().len() < TEXT_LEN_MAX / 4, "{}", note.text().len());
    assert!(note.to_bytes().len() < 1536, "{}", note.to_bytes().len());
}

#[test]
fn attack_28_every_value_of_a_receipt_is_under_its_signature() {
    let base = some_receipt();
    let text = Statement::Receipt(base.clone()).to_text();
    let mut changed = vec![base; 13];
    changed[0].contract = ContractId([9; 32]);
    changed[1].sequence -= 1;
    changed[2].until -= 1;
    changed[3].byte_seconds -= 1;
    changed[4].egress_bytes -= 1;
    changed[5].audits_passed -= 1;
    changed[6].audits_failed -= 1;
    changed[7].owed_microcredits -= 1;
    changed[8].evidence[31] ^= 1;
    changed[9].owner_head.0 -= 1;
    changed[10].owner_head.1[0] ^= 1;
    changed[11].provider_head.0 -= 1;
    changed[12].provider_head.1[0] ^= 1;
    for receipt in changed {
        assert_ne!(Statement::Receipt(receipt).to_text(), text);
    }
}

#[test]
fn a_statement_of_one_kind_is_never_another() {
    let key = PartyKey::from_seed(&[1; 32]);
    let head = Checkpoint { origin: "ledger".to_owned(), size: 3, root: [7; 32] };
    let note = SignedNote::sign(head.to_text(), &key).unwrap();
    assert!(Statement::of(&note).is_err());
    let receipt = Statement::Receipt(some_receipt());
    let note = SignedNote::sign(receipt.to_text(), &key).unwrap();
    assert_eq!(Statement::of(&note), Ok(receipt));
    assert!(Checkpoint::from_text(note.text()).is_err());
}

#[test]
fn default_prices_charge_what_they_say() {
    let prices = Prices::default();
    assert_eq!(prices.amount_due(GIB_MONTH, 0, 0), Some(1_000_000));
    assert_eq!(prices.amount_due(0, 1 << 30, 0), Some(100_000));
    assert_eq!(prices.amount_due(0, 0, 1), Some(100));
    assert_eq!(prices.amount_due(10 * GIB_MONTH, 3 << 30, 7), Some(10_300_700));
    // An hour of a MiB is 1.36 microcredits.
    assert_eq!(prices.amount_due((1 << 20) * 3600, 0, 0), Some(1));
}

proptest! {
    #[test]
    fn statements_survive_their_text(statement in statement()) {
        let text = statement.to_text();
        prop_assert!(text.ends_with('\n') && text.len() <= TEXT_LEN_MAX);
        prop_assert_eq!(Statement::from_text(&text), Ok(statement));
    }

    #[test]
    fn a_changed_text_is_refused_or_says_something_else(
        statement in statement(), at in any::<prop::sample::Index>(), with in "[ -~\n]{0,2}"
    ) {
        let text = statement.to_text();
        let at = at.index(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
        match Statement::from_text(&changed) {
            Ok(read) => {
                prop_assert_eq!(&read.to_text(), &changed);
                prop_assert_eq!(read == statement, changed == text);
            }
            Err(error) => prop_assert!((1..=16).contains(&error.line)),
        }
    }

    #[test]
    fn a_text_that_lost_or_swapped_lines_is_refused(
        statement in statement(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()
    ) {
        let text = statement.to_text();
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        let moved = lines.remove(from);
        prop_assert!(Statement::from_text(&lines.concat()).is_err());
        lines.insert(to, moved);
        prop_assert_eq!(Statement::from_text(&lines.concat()).is_ok(), from == to);
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
        prop_assert!(Statement::from_text(&text).is_err());
        let _ = Checkpoint::from_text(&text);
    }

    #[test]
    fn checkpoints_survive_their_text(origin in "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,80}", size: u64, root: [u8; 32]) {
        let head = Checkpoint { origin, size, root };
        prop_assert_eq!(Checkpoint::from_text(&head.to_text()), Ok(head));
    }

    #[test]
    fn attack_28_an_amount_never_goes_down_when_a_total_rises(
        prices in any::<(u32, u32, u32)>(), totals in (0..=u128::MAX >> 40, any::<u32>(), any::<u32>()),
        more in (any::<u64>(), any::<u32>(), any::<u32>())
    ) {
        let prices = Prices {
            storage_microcredits_per_gib_month: prices.0.into(),
            egress_microcredits_per_gib: prices.1.into(),
            audit_microcredits: prices.2.into(),
        };
        let due = |byte_seconds, egress: u64, audits: u64| prices.amount_due(byte_seconds, egress, audits);
        let before = due(totals.0, totals.1.into(), totals.2.into());
        let after = due(
            totals.0 + u128::from(more.0),
            u64::from(totals.1) + u64::from(more.1),
            u64::from(totals.2) + u64::from(more.2),
        );
        match (before, after) {
            (Some(before), Some(after)) => prop_assert!(before <= after),
            (None, after) => prop_assert_eq!(after, None),
            (Some(_), None) => {}
        }
    }

    #[test]
    fn receipts_in_between_change_no_amount(
        steps in prop::collection::vec((0u64..1 << 50, 0u64..1 << 34, 0u64..100), 1..20)
    ) {
        // Totals are cumulative: what is owed at the end does not depend on how often it was
        // written down, and the differences of the amounts add up to it.
        let prices = Prices::default();
        let (mut totals, mut owed, mut sum) = ((0u128, 0u64, 0u64), 0, 0);
        for (byte_seconds, egress, audits) in steps {
            totals = (totals.0 + u128::from(byte_seconds), totals.1 + egress, totals.2 + audits);
            let due = prices.amount_due(totals.0, totals.1, totals.2).unwrap();
            sum += due - owed;
            owed = due;
        }
        prop_assert_eq!(Some(sum), prices.amount_due(totals.0, totals.1, totals.2));
        let exact = totals.0 as f64 * 1e6 / GIB_MONTH as f64 + totals.1 as f64 * 1e5 / (1u64 << 30) as f64 + totals.2 as f64 * 100.0;
        prop_assert!((owed as f64 - exact).abs() <= 2.0 + exact * 1e-12);
    }
}
