//! The vectors of spec/audit.md: drawn positions, and proofs that are verified or refused.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::audit::{Challenge, Proof, ProofError, ProofReport, nonce_commitment, verify_proof};
use commonhold_format::ids::{ChunkId, ContractId};
use vector_case::Case;

fn challenge(case: &mut Case) -> Challenge {
    case.object("challenge", |fields| Challenge {
        contract: ContractId(fields.hash("contract")),
        revision: fields.number("revision"),
        inventory_root: fields.hash("inventory_root"),
        entries: fields.number("entries"),
        span: fields.number("span"),
        epoch: fields.number("epoch"),
        nonce: fields.hash("nonce"),
        beacon: fields.optional_hash("beacon"),
    })
}

#[test]
fn audit_vectors() {
    vector_case::for_each("audit", |expect, case| {
        let challenge = challenge(case);
        if expect == "positions" {
            positions(&challenge, case);
        } else {
            assert_eq!(outcome(&challenge, case), expect, "{}", case.name());
        }
    });
}

fn positions(challenge: &Challenge, case: &mut Case) {
    assert_eq!(challenge.seed(), case.hash("seed"), "{}", case.name());
    let positions: Vec<String> = challenge.positions().iter().map(u64::to_string).collect();
    assert_eq!(positions, case.texts("positions"), "{}", case.name());
    let commitment = nonce_commitment(&challenge.contract, challenge.epoch, &challenge.nonce);
    assert_eq!(commitment, case.hash("commitment"));
    let cbor = case.bytes("challenge_cbor");
    assert_eq!(minicbor::to_vec(challenge).unwrap(), cbor, "{}", case.name());
    assert_eq!(minicbor::decode::<Challenge>(&cbor).unwrap(), *challenge);
}

fn outcome(challenge: &Challenge, case: &mut Case) -> &'static str {
    let bytes = case.bytes("proof");
    let Ok(proof) = minicbor::decode::<Proof>(&bytes) else {
        return "malformed";
    };
    assert_eq!(minicbor::to_vec(&proof).unwrap(), bytes, "{}", case.name());
    assert_eq!(proof.evidence(challenge), case.hash("evidence"));
    match verify_proof(challenge, &proof) {
        Ok(report) => {
            let expected = ProofReport {
                leaves: case.number("leaves"),
                holes: case.number("holes"),
                lost: case.hashes("lost").into_iter().map(ChunkId).collect(),
            };
            assert_eq!(report, expected, "{}", case.name());
            "verified"
        }
        Err(ProofError::Count { .. }) => "count",
        Err(ProofError::Inventory { .. }) => "inventory",
        Err(ProofError::Shape { .. }) => "shape",
    }
}
