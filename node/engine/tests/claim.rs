//! Claims: they follow from what both signed, and nothing else passes.

#![allow(clippy::unwrap_used)]

use commonhold_engine::claim::{ClaimFault, check_claim, draw_claim};
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::statement::{Claim, Contract, Prices, Receipt, Revision};
use proptest::prelude::*;

const START: u64 = 1_750_000_000;
const DAY: u64 = 86_400;

fn contract() -> Contract {
    Contract {
        owner: PartyId([1; 32]),
        provider: PartyId([2; 32]),
        node: NodeId([3; 32]),
        salt: [4; 16],
        prices: Prices::default(),
        bytes_max: 1 << 40,
        starts: START,
        ends: START + 100 * DAY,
        audit_interval_seconds: DAY,
        grace_seconds: DAY,
        hold_microcredits: 0,
    }
}

fn revision(sequence: u64, held_bytes: u64, time: u64) -> Revision {
    Revision {
        contract: contract().id(),
        sequence,
        inventory_root: [9; 32],
        entries: 100,
        span: 1 << 40,
        held_bytes,
        held_chunks: 10,
        time,
    }
}

fn receipt(sequence: u64, until: u64, byte_seconds: u128) -> Receipt {
    Receipt {
        contract: contract().id(),
        sequence,
        until,
        byte_seconds,
        egress_bytes: 5 << 30,
        audits_passed: 7,
        audits_failed: 0,
        owed_microcredits: 0,
        evidence: [0; 32],
        owner_node: NodeId([5; 32]),
        owner_head: (1, [0; 32]),
        provider_head: (1, [0; 32]),
    }
}

fn history() -> Vec<Revision> {
    vec![
        revision(1, 1 << 30, START),
        revision(2, 3 << 30, START + DAY),
        revision(3, 2 << 30, START + 3 * DAY),
    ]
}

#[test]
fn a_claim_is_what_the_notes_give() {
    let claim = draw_claim(&contract(), &history(), None, START + 5 * DAY, START + 6 * DAY).unwrap();
    // A GiB for a day, three for two, two for two.
    assert_eq!(claim.byte_seconds, (u128::from(DAY) * (1 + 3 * 2 + 2 * 2)) << 30);
    assert_eq!((claim.sequence, claim.revision, claim.egress_bytes), (1, 3, 0));
    assert_eq!(claim.owed_microcredits, 11 * 1_000_000 / 30);
    let before = receipt(4, START + 3 * DAY, 1);
    let claim = draw_claim(&contract(), &history(), Some(&before), START + 5 * DAY, START + 6 * DAY).unwrap();
    assert_eq!((claim.sequence, claim.egress_bytes, claim.audits_passed), (5, 5 << 30, 7));
    assert_eq!(claim.owed_microcredits, 11 * 1_000_000 / 30 + 500_000 + 700);
    // Time after the contract's end is owed by nobody.
    let late = draw_claim(&contract(), &history(), None, START + 101 * DAY, START + 200 * DAY);
    assert!(matches!(late, Err(ClaimFault::Until { .. })), "{late:?}");
}

#[test]
fn attack_31_a_claim_that_says_more_is_refused() {
    let (terms, history) = (contract(), history());
    let before = receipt(4, START + 3 * DAY, 1);
    let good = draw_claim(&terms, &history, Some(&before), START + 5 * DAY, START + 6 * DAY).unwrap();
    type Change = fn(&mut Claim);
    let lies: [Change; 11] = [
        |it| it.byte_seconds += 1,
        |it| it.byte_seconds -= 1,
        |it| it.egress_bytes += 1,
        |it| it.audits_passed += 1,
        |it| it.owed_microcredits += 1,
        |it| it.owed_microcredits -= 1,
        |it| it.sequence += 1,
        |it| it.revision += 1,
        |it| it.revision -= 1,
        |it| it.until += 1,
        |it| it.contract.0[0] ^= 1,
    ];
    for (number, lie) in lies.iter().enumerate() {
        let mut claim = good.clone();
        lie(&mut claim);
        assert!(check_claim(&terms, &history, Some(&before), &claim).is_err(), "lie {number}");
    }
    assert_eq!(check_claim(&terms, &history, Some(&before), &good), Ok(()));
    // Without all revisions nobody can tell.
    for missing in 0..3 {
        let mut some = history.clone();
        some.remove(missing);
        let found = check_claim(&terms, &some, Some(&before), &good);
        assert!(matches!(found, Err(ClaimFault::Gap { .. })), "{found:?}");
    }
    assert!(draw_claim(&terms, &[], None, START, START).is_err());
}

proptest! {
    #[test]
    fn whatever_is_drawn_passes_for_everybody(
        steps in prop::collection::vec((0u64..1 << 40, 0u64..3 * DAY), 1..20),
        wait in 0u64..10 * DAY,
        passed in 0u64..10 * DAY,
        signed in any::<bool>(),
    ) {
        let mut time = START;
        let mut revisions = Vec::new();
        for (number, (held, gap)) in steps.into_iter().enumerate() {
            revisions.push(revision(number as u64 + 1, held, time));
            time += gap;
        }
        let last = revisions.last().unwrap().time;
        let before = signed.then(|| receipt(1, last, 1));
        let until = (last + wait).min(contract().ends);
        match draw_claim(&contract(), &revisions, before.as_ref(), until, until + passed) {
            Ok(claim) => prop_assert_eq!(check_claim(&contract(), &revisions, before.as_ref(), &claim), Ok(())),
            Err(fault) => prop_assert!(last > contract().ends, "{}", fault),
        }
    }
}
