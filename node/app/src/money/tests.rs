//! Countersigning without a network that is of any use.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::credit::tests::{Place, both, line, me, owner, paid};
use commonhold_net::{NetConfig, start};

const LATER: u64 = 2_000_000_000;

/// The purse of a provider whose operator trusts party 2.
async fn purse(place: &Place) -> Arc<Purse> {
    let (net, _) = start(NetConfig {
        peer_seed: commonhold_format::keys::DeviceSecret::from_bytes([1; 32]).peer_seed(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: Vec::new(),
        dht_server: false,
        policy: crate::policies::Policies::built_in().transport,
        moment: crate::clock::moment,
    })
    .await
    .unwrap();
    Arc::new(Purse {
        ledger: place.ledger.clone(),
        party: Arc::new(me()),
        net,
        vault: place.vault.clone(),
        trusted: HashSet::from([owner(2).id()]),
        creditor: Arc::new(place.creditor(3600)),
        turns: PurseTurns::default(),
    })
}

fn half_signed(sequence: u64, limit_microcredits: u64) -> Vec<u8> {
    let trust = line(limit_microcredits, sequence, LATER);
    SignedNote::sign(Statement::Trust(trust).to_text(), &owner(2)).unwrap().to_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_32_of_many_texts_for_one_sequence_that_come_at_once_one_is_signed() {
    let place = Place::new();
    let purse = purse(&place).await;
    for sequence in 1..=5 {
        let texts = (0..8).map(|limit| {
            let (purse, note) = (purse.clone(), half_signed(sequence, limit));
            tokio::task::spawn_blocking(move || purse.countersign(&note).is_ok())
        });
        let signed = futures::future::join_all(texts).await.into_iter().filter(|it| *it.as_ref().unwrap());
        assert_eq!(signed.count(), 1, "sequence {sequence}");
    }
    assert_eq!(purse.ledger.conflicts().unwrap(), []);
    assert_eq!(purse.ledger.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_37_a_party_that_sends_notes_without_end_is_told_to_wait() {
    let place = Place::new();
    let purse = purse(&place).await;
    for sequence in 1..=NOTES_PER_HOUR_MAX as u64 {
        assert!(purse.countersign(&half_signed(sequence, 1)).unwrap().is_new);
    }
    let (reason, _) = purse.countersign(&half_signed(NOTES_PER_HOUR_MAX as u64 + 1, 1)).unwrap_err();
    assert_eq!(reason, Refusal::Busy);
    // What is known is answered, and is nothing new.
    assert!(!purse.countersign(&half_signed(1, 1)).unwrap().is_new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_33_a_trust_line_is_not_taken_back_while_something_is_owed_on_it() {
    let place = Place::new();
    paid(&place, 2, 50_000);
    let contract = place.open(3, |_| {});
    place.audited(3, &contract, 1, unix_seconds() - 10 * 86_400, 30_000);
    let purse = purse(&place).await;
    purse.countersign(&half_signed(1, 40_000)).unwrap();
    purse.creditor.changed();
    let (reason, why) = purse.countersign(&half_signed(2, 0)).unwrap_err();
    assert_eq!(reason, Refusal::Conflict);
    assert!(why.contains("30000"), "{why}");
    purse.countersign(&half_signed(2, 30_000)).unwrap();
    purse.creditor.changed();
    // It is paid: then it may go.
    let payment = commonhold_format::statement::Payment {
        payer: owner(3).id(),
        payee: me().id(),
        sequence: 1,
        paid_microcredits: 30_000,
        reference: [0; 32],
        time: unix_seconds(),
    };
    place.ledger.append(&both(3, Statement::Payment(payment))).unwrap();
    purse.creditor.changed();
    purse.countersign(&half_signed(3, 0)).unwrap();
}
