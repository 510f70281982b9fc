//! Audits checked again from a bundle and two keys alone.

#![allow(clippy::unwrap_used)]

use commonhold_format::audit::{Challenge, Shown, nonce_commitment, prove};
use commonhold_format::evidence::{AuditBundle, AuditFault, Findings};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::inventory::Inventory;
use commonhold_format::keys::PartyKey;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::{
    AuditIntent, AuditOutcome, AuditRecord, Contract, Prices, Revision, Statement,
};
use commonhold_format::tree::{LeafProof, chunk_id};
use proptest::prelude::*;

const NOW: u64 = 1_750_000_000;

/// One audit, with every part at hand to be changed.
struct Audit {
    contract: Contract,
    revision: Revision,
    intent: AuditIntent,
    record: AuditRecord,
    evidence: Vec<u8>,
}

fn owner() -> PartyKey {
    PartyKey::from_seed(&[1; 32])
}

fn provider() -> PartyKey {
    PartyKey::from_seed(&[2; 32])
}

/// An audit of ten chunks, of which the first `lost` are gone.
fn audit(lost: usize) -> Audit {
    let chunks: Vec<Vec<u8>> = (0..10u8).map(|seed| vec![seed; 9_000]).collect();
    let mut inventory = Inventory::new();
    for chunk in &chunks {
        inventory.push(chunk_id(chunk), chunk.len() as u32).unwrap();
    }
    let contract = Contract {
        owner: owner().id(),
        provider: provider().id(),
        node: NodeId([3; 32]),
        salt: [4; 16],
        prices: Prices {
            storage_microcredits_per_gib_month: 1,
            egress_microcredits_per_gib: 1,
            audit_microcredits: 1,
        },
        bytes_max: 1 << 30,
        starts: NOW,
        ends: NOW + 1000,
        audit_interval_seconds: 100,
        grace_seconds: 100,
        hold_microcredits: 0,
    };
    let id = contract.id();
    let revision = Revision {
        contract: id,
        sequence: 4,
        inventory_root: inventory.root(),
        entries: inventory.len(),
        span: inventory.span(),
        held_bytes: 90_000,
        held_chunks: 10,
        time: NOW,
    };
    let challenge = Challenge {
        contract: id,
        revision: 4,
        inventory_root: inventory.root(),
        entries: inventory.len(),
        span: inventory.span(),
        epoch: 7,
        nonce: [9; 32],
        beacon: None,
    };
    let proof = prove(&challenge, &inventory, |id: &ChunkId, _, leaf| {
        let chunk = chunks[lost..].iter().find(|chunk| chunk_id(chunk) == *id)?;
        LeafProof::from_chunk(id, chunk, leaf)
    })
    .unwrap();
    let leaves = proof.samples.iter().filter(|it| matches!(it.shown, Shown::Leaf { .. })).count();
    Audit {
        intent: AuditIntent {
            contract: id,
            epoch: 7,
            revision: 4,
            commitment: nonce_commitment(&id, 7, &[9; 32]),
            time: NOW,
        },
        record: AuditRecord {
            contract: id,
            epoch: 7,
            revision: 4,
            nonce: [9; 32],
            outcome: if lost == 0 { AuditOutcome::Passed } else { AuditOutcome::WrongBytes },
            leaves: leaves as u32,
            lost_chunks: lost as u32,
            evidence: proof.evidence(&challenge),
            time: NOW + 1,
        },
        evidence: proof.bundle(&challenge),
        contract,
        revision,
    }
}

impl Audit {
    fn bundle(&self) -> AuditBundle {
        let both = |statement: Statement| {
            let mut note = SignedNote::sign(statement.to_text(), &owner()).unwrap();
            note.countersign(&provider());
            note
        };
        let one = |statement: Statement| SignedNote::sign(statement.to_text(), &owner()).unwrap();
        AuditBundle {
            contract: both(Statement::Contract(self.contract.clone())),
            revision: both(Statement::Revision(self.revision.clone())),
            intent: one(Statement::AuditIntent(self.intent.clone())),
            record: one(Statement::AuditRecord(self.record.clone())),
            evidence: self.evidence.clone(),
        }
    }

    fn verify(&self) -> Result<Findings, AuditFault> {
        let bundle = AuditBundle::decode(&self.bundle().encode()).unwrap();
        bundle.verify(&owner().id(), &provider().id())
    }
}

#[test]
fn what_was_found_is_found_again() {
    for lost in [0, 1, 10] {
        let audit = audit(lost);
        let found = audit.verify().unwrap();
        assert_eq!(found.record, audit.record);
        let answer = found.answer.unwrap();
        assert_eq!(answer.shown.unwrap().lost.len(), lost);
        assert_eq!(answer.challenge.positions().len(), 64);
    }
    let mut silent = audit(0);
    silent.record.outcome = AuditOutcome::Offline;
    silent.record.leaves = 0;
    assert_eq!(silent.verify(), Err(AuditFault::Evidence));
    silent.record.evidence = [0; 32];
    silent.evidence.clear();
    assert_eq!(silent.verify().unwrap().answer, None);
}

#[test]
fn attack_27_every_part_that_is_exchanged_is_named() {
    let refused = |change: &dyn Fn(&mut Audit)| {
        let mut audit = audit(1);
        change(&mut audit);
        audit.verify().unwrap_err()
    };
    assert_eq!(refused(&|it| it.revision.sequence = 5), AuditFault::Apart("intent"));
    assert_eq!(refused(&|it| it.revision.contract.0[0] ^= 1), AuditFault::Apart("revision"));
    assert_eq!(refused(&|it| it.revision.span += 1), AuditFault::Challenge);
    assert_eq!(refused(&|it| it.revision.inventory_root[0] ^= 1), AuditFault::Challenge);
    assert_eq!(refused(&|it| it.intent.epoch = 8), AuditFault::Apart("record"));
    assert_eq!(refused(&|it| it.intent.commitment[0] ^= 1), AuditFault::Nonce);
    assert_eq!(refused(&|it| it.record.nonce[0] ^= 1), AuditFault::Nonce);
    assert_eq!(refused(&|it| it.record.revision = 3), AuditFault::Apart("record"));
    assert_eq!(refused(&|it| it.record.evidence[0] ^= 1), AuditFault::Evidence);
    assert_eq!(refused(&|it| it.evidence.clear()), AuditFault::Evidence);
    assert_eq!(refused(&|it| it.evidence.push(0)), AuditFault::Evidence);
    // A loss that is hushed up, and one that is made up.
    assert!(matches!(refused(&|it| it.record.lost_chunks = 2), AuditFault::Outcome { .. }));
    let hush = |it: &mut Audit| (it.record.outcome, it.record.lost_chunks) = (AuditOutcome::Passed, 0);
    assert!(matches!(refused(&hush), AuditFault::Outcome { .. }));
    // A proof for another nonce under a record that cites it.
    let other = |it: &mut Audit| {
        let mut challenge_and_proof = commonhold_format::evidence::decode_evidence(&it.evidence).unwrap();
        challenge_and_proof.0.nonce = [1; 32];
        it.evidence = challenge_and_proof.1.bundle(&challenge_and_proof.0);
        it.record.evidence = challenge_and_proof.1.evidence(&challenge_and_proof.0);
    };
    assert_eq!(refused(&other), AuditFault::Nonce);
}

#[test]
fn every_signature_is_needed_and_parties_are_not_taken_from_the_bundle() {
    let audit = audit(0);
    let good = audit.bundle();
    let (owner, provider) = (owner().id(), provider().id());
    assert_eq!(good.verify(&provider, &owner), Err(AuditFault::Parties));
    let stranger = PartyKey::from_seed(&[5; 32]);
    assert_eq!(good.verify(&stranger.id(), &provider), Err(AuditFault::Parties));
    let forged = |note: &SignedNote| SignedNote::sign(note.text().to_owned(), &stranger).unwrap();
    for at in 0..4 {
        let mut bundle = good.clone();
        let place = [&mut bundle.contract, &mut bundle.revision, &mut bundle.intent, &mut bundle.record];
        let [a, b, c, d] = place;
        let note = [a, b, c, d].into_iter().nth(at).unwrap();
        *note = forged(note);
        assert!(matches!(bundle.verify(&owner, &provider), Err(AuditFault::Signature { .. })), "{at}");
        // A note in another's place.
        let mut bundle = good.clone();
        let [a, b, c, d] =
            [&mut bundle.contract, &mut bundle.revision, &mut bundle.intent, &mut bundle.record];
        let other = if at == 0 { b.clone() } else { a.clone() };
        *[a, b, c, d].into_iter().nth(at).unwrap() = other;
        assert!(matches!(bundle.verify(&owner, &provider), Err(AuditFault::Kind(_))), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_flipped_bit_anywhere_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = audit(1).bundle().encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let checked = AuditBundle::decode(&bytes).ok().map(|it| it.verify(&owner().id(), &provider().id()));
        // A line of a signer that nobody asks about may change: then nothing that is said did.
        prop_assert!(!matches!(checked, Some(Ok(_))), "byte {at}");
    }

    #[test]
    fn what_is_cut_or_lengthened_is_no_bundle(cut in any::<prop::sample::Index>(), more in any::<u8>()) {
        let bytes = audit(0).bundle().encode();
        prop_assert!(AuditBundle::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(AuditBundle::decode(&[bytes, vec![more]].concat()).is_err());
    }
}
