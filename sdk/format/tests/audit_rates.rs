//! How often an audit notices that bytes are gone: the figures of spec/audit.md, by simulation
//! with the positions of real challenges.

#![allow(clippy::unwrap_used)]

use commonhold_format::audit::{AUDIT_SAMPLES, Challenge};
use commonhold_format::ids::ContractId;
use commonhold_format::tree::{LEAF_LEN, leaf_hash};
use proptest::prelude::*;

/// How often one of `audits` consecutive audits notices that `lost` leaves of `total` are gone.
/// The positions are those of real challenges; which leaves are gone is drawn for each trial.
fn caught(trials: u64, audits: u64, total: u64, lost: impl Fn(u64, u64) -> bool) -> f64 {
    let mut challenge = Challenge {
        contract: ContractId([7; 32]),
        revision: 1,
        inventory_root: [0; 32],
        entries: total / 1024,
        span: total * LEAF_LEN as u64,
        epoch: 0,
        nonce: [9; 32],
        beacon: None,
    };
    let mut noticed = 0;
    for trial in 0..trials {
        let found = (0..audits).any(|audit| {
            challenge.epoch = trial * audits + audit;
            let positions = challenge.positions();
            positions.iter().any(|at| lost(trial, at / LEAF_LEN as u64))
        });
        noticed += u64::from(found);
    }
    noticed as f64 / trials as f64
}

/// A loss scattered over all leaves: `per_mille` of them, others in each trial.
fn scattered(per_mille: u64) -> impl Fn(u64, u64) -> bool {
    move |trial, leaf| {
        let mut input = [0; 16];
        input[..8].copy_from_slice(&trial.to_be_bytes());
        input[8..].copy_from_slice(&leaf.to_be_bytes());
        let draw = u64::from_be_bytes(leaf_hash(&input)[..8].try_into().unwrap());
        draw % 1000 < per_mille
    }
}

#[test]
fn attack_29_losses_of_1_5_and_50_percent_are_caught_at_the_promised_rates() {
    let total = 1 << 20;
    // 1 - 0.95^64 = 0.9625; 1 - 0.99^(64 x 7) = 0.9889; 1 - 0.99^64 = 0.4744.
    let five_in_a_day = caught(4000, 1, total, scattered(50));
    assert!(five_in_a_day >= 0.955, "{five_in_a_day}");
    let one_in_a_week = caught(2000, 7, total, scattered(10));
    assert!(one_in_a_week >= 0.985, "{one_in_a_week}");
    let one_in_a_day = caught(2000, 1, total, scattered(10));
    assert!((0.44..0.51).contains(&one_in_a_day), "{one_in_a_day}");
    assert_eq!(caught(200, 1, total, scattered(500)), 1.0);
}

#[test]
fn attack_29_a_loss_in_one_piece_is_caught_at_least_as_often_as_a_scattered_one() {
    // 5 % in one piece covers at least two whole parts of 64, so it is always noticed.
    let total = 1 << 20;
    let begins = |trial: u64| trial * 7919 % (total - total / 20);
    let piece = |trial, leaf| (begins(trial)..begins(trial) + total / 20).contains(&leaf);
    assert_eq!(caught(500, 1, total, piece), 1.0);
    // 1 % lies within one or two parts; independent draws would notice 47 %, parts notice more.
    let begins = |trial: u64| trial * 7919 % (total - total / 100);
    let piece = |trial, leaf| (begins(trial)..begins(trial) + total / 100).contains(&leaf);
    let rate = caught(2000, 1, total, piece);
    assert!(rate >= 0.55, "{rate}");
}

proptest! {
    /// The inequality behind "never worse than independent draws", for any loss per part.
    #[test]
    fn one_draw_in_each_part_never_misses_more_than_independent_draws(
        lost in prop::collection::vec(0.0f64..=1.0, AUDIT_SAMPLES)
    ) {
        let parts: f64 = lost.iter().map(|fraction| 1.0 - fraction).product();
        let mean = lost.iter().sum::<f64>() / AUDIT_SAMPLES as f64;
        let independent = (1.0 - mean).powi(AUDIT_SAMPLES as i32);
        prop_assert!(parts <= independent * (1.0 + 1e-9));
    }
}
