//! Records in the DHT: forged, expired, oversized or misplaced ones are refused.

#![allow(clippy::unwrap_used)]

use commonhold_format::head::Head;
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::keys::{DeviceSecret, PartyKey};
use commonhold_format::record::{
    ADDRESS_LEN_MAX, ADDRESSES_MAX, NodeRecord, Offer, RECORD_LEN_MAX, RecordError, Region,
    VALIDITY_SECONDS_MAX, head_key, node_key, validate,
};
use commonhold_format::statement::Prices;
use proptest::prelude::*;

const NOW: u64 = 1_750_000_000;

fn keys() -> (DeviceSecret, PartyKey) {
    (DeviceSecret::from_bytes([1; 32]), PartyKey::from_seed(&[2; 32]))
}

fn record() -> NodeRecord {
    let (device, party) = keys();
    NodeRecord {
        node: device.node(),
        party: party.id(),
        sequence: NOW * 1000,
        expires: NOW + 3600,
        addresses: vec!["/ip4/203.0.113.7/udp/4101/quic-v1".to_owned()],
        offer: Some(Offer {
            free_bytes: 1 << 40,
            prices: Prices::default(),
            term_seconds_max: 86_400 * 365,
            region: None,
        }),
    }
}

fn encoded(record: &NodeRecord) -> Vec<u8> {
    let (device, party) = keys();
    record.encode(&device, &party).unwrap()
}

fn check(value: &[u8], now: u64) -> Result<u64, RecordError> {
    validate(&node_key(&keys().0.node()), value, now)
}

#[test]
fn a_record_is_valid_until_it_expires() {
    let value = encoded(&record());
    assert_eq!(value[0], 0x01);
    assert_eq!(NodeRecord::decode(&value), Ok(record()));
    assert_eq!(check(&value, NOW), Ok(NOW * 1000));
    assert_eq!(check(&value, NOW + 3599), Ok(NOW * 1000));
    assert_eq!(check(&value, NOW + 3600), Err(RecordError::Expired));
    assert_eq!(check(&value, u64::MAX), Err(RecordError::Expired));
}

#[test]
fn attack_35_a_record_that_claims_to_be_valid_for_too_long_is_refused() {
    let mut longest = record();
    longest.expires = NOW + VALIDITY_SECONDS_MAX;
    assert_eq!(check(&encoded(&longest), NOW), Ok(longest.sequence));
    assert_eq!(check(&encoded(&longest), NOW - 1), Err(RecordError::Expired));
    longest.expires = u64::MAX;
    assert_eq!(check(&encoded(&longest), NOW), Err(RecordError::Expired));
    assert_eq!(check(&encoded(&longest), 0), Err(RecordError::Expired));
}

#[test]
fn attack_35_a_record_under_anothers_key_is_refused() {
    let value = encoded(&record());
    let node = keys().0.node();
    for key in [node_key(&NodeId([9; 32])), head_key(&PartyId(node.0)), node.0, [0; 32]] {
        assert_eq!(validate(&key, &value, NOW), Err(RecordError::Key));
    }
    assert_eq!(validate(&node_key(&node)[..31], &value, NOW), Err(RecordError::Key));
    assert_eq!(validate(&[], &value, NOW), Err(RecordError::Key));
}

#[test]
fn attack_35_a_record_is_signed_by_both_of_its_own_keys() {
    let (device, party) = keys();
    let record = record();
    let other_device = DeviceSecret::from_bytes([3; 32]);
    let other_party = PartyKey::from_seed(&[3; 32]);
    assert_eq!(record.encode(&other_device, &party), Err(RecordError::Key));
    assert_eq!(record.encode(&device, &other_party), Err(RecordError::Key));
    // Each signature is the other's record's, or the other kind's.
    let value = encoded(&record);
    let end = value.len() - 128;
    let mut stolen = record.clone();
    stolen.party = other_party.id();
    let stolen = stolen.encode(&device, &other_party).unwrap();
    let mut mixed = value.clone();
    mixed[end..end + 64].copy_from_slice(&stolen[end..end + 64]);
    assert_eq!(check(&mixed, NOW), Err(RecordError::Signature));
    let mut mixed = value.clone();
    mixed[end + 64..].copy_from_slice(&stolen[end + 64..]);
    assert_eq!(check(&mixed, NOW), Err(RecordError::Signature));
    let mut swapped = value.clone();
    swapped[end..].rotate_left(64);
    assert_eq!(check(&swapped, NOW), Err(RecordError::Signature));
}

#[test]
fn attack_35_an_oversized_record_is_refused() {
    let longest = NodeRecord {
        addresses: vec!["x".repeat(ADDRESS_LEN_MAX); ADDRESSES_MAX],
        sequence: u64::MAX,
        ..record()
    };
    let value = encoded(&longest);
    assert!(value.len() <= RECORD_LEN_MAX);
    assert_eq!(check(&value, NOW), Ok(u64::MAX));
    let mut padded = value;
    padded.resize(RECORD_LEN_MAX + 1, 0);
    assert!(matches!(check(&padded, NOW), Err(RecordError::Shape(_))));
    assert!(matches!(NodeRecord::decode(&padded), Err(RecordError::Shape(_))));
    for addresses in [
        vec!["x".to_owned(); ADDRESSES_MAX + 1],
        vec!["x".repeat(ADDRESS_LEN_MAX + 1)],
        vec![String::new()],
        vec!["/dns/a b".to_owned()],
        vec!["/dns/\u{1b}[2J".to_owned()],
    ] {
        let (device, party) = keys();
        let refused = NodeRecord { addresses, ..record() }.encode(&device, &party);
        assert!(matches!(refused, Err(RecordError::Shape(_))));
    }
}

#[test]
fn a_region_is_two_capital_letters_and_costs_nothing_when_there_is_none() {
    let region: Region = "DE".parse().unwrap();
    assert_eq!((region.to_string().as_str(), region.code()), ("DE", 256 * 68 + 69));
    for text in ["", "D", "DEU", "de", "D1", "D ", "ÄE", "Ä", "D\n"] {
        assert!(text.parse::<Region>().is_err(), "{text:?}");
    }
    let mut somewhere = record();
    somewhere.offer.as_mut().unwrap().region = Some(region);
    let (with, without) = (encoded(&somewhere), encoded(&record()));
    assert_eq!(NodeRecord::decode(&with), Ok(somewhere));
    // A text of two bytes, and nothing where there is none.
    assert_eq!(with.len(), without.len() + 3);
}

#[test]
fn attack_35_a_drive_head_stands_under_its_own_key_alone() {
    let signer = PartyKey::from_seed(&[5; 32]);
    let drive = signer.id();
    let mut head = Head { drive, sequence: 3, previous: [7; 32], sealed: vec![8; 100], signature: [0; 64] };
    let unsigned = head.encode();
    let unsigned = &unsigned[..unsigned.len() - 64];
    head.signature = signer.sign(&[b"commonhold/v1/drive-head-signature", unsigned].concat());
    let value = head.encode();
    assert_eq!(value[0], 0x02);
    let key = head_key(&drive);
    assert_eq!(validate(&key, &value, NOW), Ok(3));
    assert_eq!(validate(&key, &value, u64::MAX), Ok(3));
    assert_eq!(validate(&node_key(&NodeId(drive.0)), &value, NOW), Err(RecordError::Key));
    assert_eq!(validate(&head_key(&PartyId([1; 32])), &value, NOW), Err(RecordError::Key));
    let mut raised = value;
    raised[40] += 1;
    assert_eq!(validate(&key, &raised, NOW), Err(RecordError::Signature));
}

proptest! {
    #[test]
    fn records_survive_their_encoding(
        sequence: u64, expires: u64, addresses in prop::collection::vec("[!-~]{1,256}", 0..=16),
        offer in prop::option::of((any::<[u64; 5]>(), prop::option::of("[A-Z]{2}")))
    ) {
        let offer = offer.map(|([free_bytes, a, b, c, term_seconds_max], region)| Offer {
            region: region.map(|region| region.parse().unwrap()),
            free_bytes,
            prices: Prices {
                storage_microcredits_per_gib_month: a,
                egress_microcredits_per_gib: b,
                audit_microcredits: c,
            },
            term_seconds_max,
        });
        let record = NodeRecord { sequence, expires, addresses, offer, ..record() };
        let value = encoded(&record);
        prop_assert_eq!(NodeRecord::decode(&value), Ok(record));
        prop_assert_eq!(check(&value, expires.saturating_sub(1)), if expires == 0 { Err(RecordError::Expired) } else { Ok(sequence) });
    }

    #[test]
    fn attack_35_a_changed_record_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut value = encoded(&record());
        let at = at.index(value.len());
        value[at] ^= 1 << bit;
        prop_assert!(check(&value, NOW).is_err());
        prop_assert!(NodeRecord::decode(&value).is_err());
    }

    #[test]
    fn attack_35_a_cut_or_longer_record_is_refused(at in any::<prop::sample::Index>(), more in prop::collection::vec(any::<u8>(), 1..200)) {
        let value = encoded(&record());
        prop_assert!(check(&value[..at.index(value.len())], NOW).is_err());
        prop_assert!(check(&[value, more].concat(), NOW).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(kind in 0u8..4, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let value = [&[kind][..], &bytes].concat();
        prop_assert!(check(&value, NOW).is_err());
        prop_assert!(check(&bytes, NOW).is_err());
    }
}
