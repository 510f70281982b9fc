//! Identifiers: one text each, and nothing else is read.

#![allow(clippy::unwrap_used)]

use commonhold_format::ids::{ChunkId, ContractId, NodeId, PartyId, SegmentId};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_id_survives_its_text_and_its_cbor(bytes in any::<[u8; 32]>()) {
        let chunk = ChunkId(bytes);
        prop_assert_eq!(chunk.to_string().parse::<ChunkId>().unwrap(), chunk);
        prop_assert_eq!(ContractId(bytes).to_string(), chunk.to_string());
        prop_assert_eq!(chunk.to_string().parse::<SegmentId>().unwrap().0, bytes);
        prop_assert_eq!(chunk.to_string().parse::<PartyId>().unwrap().0, bytes);
        let node = NodeId(bytes);
        let text = node.to_string();
        prop_assert!(text.starts_with("12D3KooW"));
        prop_assert_eq!(text.parse::<NodeId>().unwrap(), node);
        prop_assert_eq!(NodeId::from_peer_id_bytes(&node.to_peer_id_bytes()), Some(node));

        let mut expected = vec![0x58, 32];
        expected.extend(bytes);
        prop_assert_eq!(&minicbor::to_vec(chunk).unwrap(), &expected);
        prop_assert_eq!(&minicbor::to_vec(node).unwrap(), &expected);
        prop_assert_eq!(minicbor::decode::<NodeId>(&expected).unwrap(), node);
    }

    #[test]
    fn no_text_is_read_that_would_not_be_written(text in "[0-9a-fA-F]{62,66}|12D3KooW[1-9A-Za-z]{40,48}") {
        if let Ok(id) = text.parse::<ChunkId>() {
            prop_assert_eq!(id.to_string(), text.clone());
        }
        if let Ok(id) = text.parse::<NodeId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

#[test]
fn texts_that_are_not_an_id_are_refused_with_what_was_expected() {
    let good = "ab".repeat(32);
    assert!(good.parse::<ChunkId>().is_ok());
    for bad in [
        String::new(),
        good[1..].to_owned(),
        format!("{good}00"),
        good.to_uppercase(),
        format!("0x{}", &good[2..]),
        format!(" {}", &good[1..]),
    ] {
        let error = bad.parse::<ChunkId>().unwrap_err();
        assert_eq!(error.found, bad);
        assert!(error.to_string().contains("64 lower-case hexadecimal"));
    }
    let long = "é".repeat(5000);
    let error = long.parse::<NodeId>().unwrap_err();
    assert_eq!(error.found.chars().count(), 80);
}

#[test]
fn only_ed25519_identity_peer_ids_are_nodes() {
    let node = NodeId([5; 32]);
    let bytes = node.to_peer_id_bytes();
    assert_eq!(NodeId::from_peer_id_bytes(&bytes[..37]), None);
    assert_eq!(NodeId::from_peer_id_bytes(&[&bytes[..], &[0]].concat()), None);
    for at in 0..6 {
        let mut other = bytes;
        other[at] ^= 1;
        assert_eq!(NodeId::from_peer_id_bytes(&other), None);
        let text = bs58::encode(other).into_string();
        assert!(text.parse::<NodeId>().is_err());
    }
    // A SHA-256 peer id of an RSA key.
    assert!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<NodeId>().is_err());
}

#[test]
fn the_text_of_a_node_is_base58_of_the_identity_multihash() {
    // Base58 of 00 24 08 01 12 20 and 32 zero bytes, worked out outside this code.
    let node = NodeId([0; 32]);
    assert_eq!(node.to_string(), "12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw");
}
