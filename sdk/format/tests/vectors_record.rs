//! The vectors of spec/records.md.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::keys::{PartyKey, verify};
use commonhold_format::record::{NodeRecord, Offer, RecordError, node_key, validate};
use commonhold_format::statement::Prices;

fn node_record(fields: &mut vector_case::Case) -> NodeRecord {
    NodeRecord {
        node: NodeId(fields.hash("node")),
        party: PartyId(fields.hash("party")),
        sequence: fields.number("sequence"),
        expires: fields.number("expires"),
        addresses: fields.texts("addresses"),
        offer: fields.has("offer").then(|| {
            let mut texts = fields.texts("offer");
            let region = (texts.len() > 5).then(|| texts.remove(5).parse().unwrap());
            let [free_bytes, storage, egress, audit, term_seconds_max] =
                texts.iter().map(|number| number.parse().unwrap()).collect::<Vec<u64>>().try_into().unwrap();
            let prices = Prices {
                storage_microcredits_per_gib_month: storage,
                egress_microcredits_per_gib: egress,
                audit_microcredits: audit,
            };
            Offer { free_bytes, prices, term_seconds_max, region }
        }),
    }
}

#[test]
fn record_vectors() {
    vector_case::for_each("record", |expect, case| {
        let (key, value, now) = (case.bytes("key"), case.bytes("value"), case.number("now"));
        let found = match validate(&key, &value, now) {
            Ok(sequence) => {
                assert_eq!(sequence, case.number::<u64>("sequence"), "{}", case.name());
                if case.has("record") {
                    let record = case.object("record", node_record);
                    assert_eq!(NodeRecord::decode(&value).unwrap(), record);
                    assert_eq!(node_key(&record.node).to_vec(), key);
                    // Ed25519 is deterministic, so the party's signature is the vector's own. The
                    // node's key comes from a device secret, of which the vector knows nothing.
                    let party = PartyKey::from_seed(&case.hash("party_seed"));
                    let (signed, signatures) = value.split_at(value.len() - 128);
                    let message = [b"commonhold/v1/node-record-signature", signed].concat();
                    assert_eq!(party.sign(&message).to_vec(), signatures[..64]);
                    assert!(verify(&record.node.0, &message, signatures[64..].try_into().unwrap()));
                }
                "ok"
            }
            Err(RecordError::Shape(_)) => "shape",
            Err(RecordError::Signature) => "signature",
            Err(RecordError::Key) => "key",
            Err(RecordError::Expired) => "expired",
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}
