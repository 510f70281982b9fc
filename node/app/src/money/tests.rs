//! Countersigning without a network that is of any use.
#![allow(clippy::unwrap_used)]

use super::*;
use commonhold_format::statement::ledger_origin;
use commonhold_net::{NetConfig, start};
use commonhold_store::StoreConfig;

fn key(seed: u8) -> PartyKey {
    PartyKey::from_seed(&[seed; 32])
}

/// The purse of party 1, whose operator trusts party 2.
async fn purse(dir: &std::path::Path) -> Arc<Purse> {
    let (net, _) = start(NetConfig {
        peer_seed: commonhold_format::keys::DeviceSecret::from_bytes([1; 32]).peer_seed(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: Vec::new(),
        dht_server: false,
    })
    .await
    .unwrap();
    let ledger = Ledger::open(&dir.join("ledger"), key(1), ledger_origin(&key(1).id(), &net.node())).unwrap();
    let config = StoreConfig::new(dir.join("store"), 0);
    let outside = crate::vault::Outside { id: dir.join("id"), lost: dir.join("lost") };
    let vault = Arc::new(Vault::new(config, outside, ledger.clone()));
    let trusted = HashSet::from([key(2).id()]);
    Arc::new(Purse { ledger, party: Arc::new(key(1)), net, vault, trusted, turns: PurseTurns::default() })
}

fn line(sequence: u64, limit_microcredits: u64) -> Vec<u8> {
    let (guarantor, creditor, debtor) = (key(2).id(), key(1).id(), key(3).id());
    let trust = Trust { guarantor, creditor, debtor, sequence, limit_microcredits, ends: 2_000_000_000 };
    SignedNote::sign(Statement::Trust(trust).to_text(), &key(2)).unwrap().to_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_32_of_many_texts_for_one_sequence_that_come_at_once_one_is_signed() {
    let temp = tempfile::tempdir().unwrap();
    let purse = purse(temp.path()).await;
    for sequence in 1..=5 {
        let texts = (0..8).map(|limit| {
            let (purse, note) = (purse.clone(), line(sequence, limit));
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
    let temp = tempfile::tempdir().unwrap();
    let purse = purse(temp.path()).await;
    for sequence in 1..=u64::from(NOTES_PER_HOUR_MAX) {
        assert!(purse.countersign(&line(sequence, 1)).unwrap().is_new);
    }
    let (reason, _) = purse.countersign(&line(u64::from(NOTES_PER_HOUR_MAX) + 1, 1)).unwrap_err();
    assert_eq!(reason, Refusal::Busy);
    // What is known is answered, and is nothing new.
    assert!(!purse.countersign(&line(1, 1)).unwrap().is_new);
}
