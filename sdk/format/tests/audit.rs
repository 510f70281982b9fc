//! Challenges and proofs: what is drawn, what is shown, and what is refused.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::HashMap;

use commonhold_format::audit::{
    AUDIT_SAMPLES, Challenge, Proof, ProofError, ProofReport, Sample, Shown, nonce_commitment, prove,
    verify_proof,
};
use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::{Inventory, InventoryEntry};
use commonhold_format::tree::{Hash, LEAF_LEN, LeafProof, chunk_id, leaf_hash, node_hash};
use proptest::prelude::*;

/// A provider's disk and its inventory.
struct Provider {
    inventory: Inventory,
    chunks: HashMap<ChunkId, Vec<u8>>,
}

impl Provider {
    fn with(lens: &[usize]) -> Self {
        let mut provider = Self { inventory: Inventory::new(), chunks: HashMap::new() };
        for (number, len) in lens.iter().enumerate() {
            let seed = leaf_hash(&(number as u64).to_be_bytes());
            let bytes: Vec<u8> = (0..*len).map(|at| seed[at % 32] ^ (at >> 5) as u8).collect();
            let id = chunk_id(&bytes);
            provider.inventory.push(id, *len as u32).unwrap();
            provider.chunks.insert(id, bytes);
        }
        provider
    }

    fn challenge(&self, epoch: u64) -> Challenge {
        Challenge {
            contract: ContractId([7; 32]),
            revision: 3,
            inventory_root: self.inventory.root(),
            entries: self.inventory.len(),
            span: self.inventory.span(),
            epoch,
            nonce: leaf_hash(&epoch.to_be_bytes()),
            beacon: None,
        }
    }

    fn prove(&self, challenge: &Challenge) -> Proof {
        let show = |id: &ChunkId, _, leaf| LeafProof::from_chunk(id, self.chunks.get(id)?, leaf);
        prove(challenge, &self.inventory, show).unwrap()
    }
}

/// Chunks of many lengths, a one-byte one and one of a whole MiB among them.
const MIXED: [usize; 9] = [1, 1024, 1025, 4096, 5000, 1, 1 << 20, 63, 100_000];

fn passed(leaves: u32, holes: u32) -> ProofReport {
    ProofReport { leaves, holes, lost: Vec::new() }
}

#[test]
fn an_honest_provider_passes() {
    let provider = Provider::with(&MIXED);
    for epoch in 0..20 {
        let challenge = provider.challenge(epoch);
        assert!(challenge.fits(&provider.inventory));
        let report = verify_proof(&challenge, &provider.prove(&challenge)).unwrap();
        assert_eq!(report, passed(64, 0));
        assert!(report.passed());
    }
}

#[test]
fn holes_are_shown_as_holes_and_cost_nothing() {
    let mut provider = Provider::with(&[10_000; 8]);
    let gone: Vec<ChunkId> =
        [0, 3, 7].map(|index| provider.inventory.remove(index).unwrap().chunk.unwrap()).to_vec();
    provider.chunks.retain(|id, _| !gone.contains(id));
    let challenge = provider.challenge(1);
    let proof = provider.prove(&challenge);
    assert_eq!(verify_proof(&challenge, &proof), Ok(passed(40, 24)));
}

#[test]
fn nothing_is_asked_of_an_empty_inventory() {
    let provider = Provider::with(&[]);
    let challenge = provider.challenge(1);
    assert!(challenge.positions().is_empty());
    assert_eq!(verify_proof(&challenge, &provider.prove(&challenge)), Ok(passed(0, 0)));
    let surplus = Provider::with(&[5]);
    let proof = surplus.prove(&surplus.challenge(1));
    assert_eq!(verify_proof(&challenge, &proof), Err(ProofError::Count { expected: 0, found: 64 }));
}

#[test]
fn a_span_below_64_bytes_shows_what_there_is() {
    for span in 1..64usize {
        let provider = Provider::with(&vec![1; span]);
        let challenge = provider.challenge(1);
        let positions = challenge.positions();
        assert_eq!(positions.len(), AUDIT_SAMPLES);
        assert!(positions.iter().all(|position| *position < span as u64));
        // Every byte is drawn.
        let mut distinct = positions.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), span);
        assert_eq!(verify_proof(&challenge, &provider.prove(&challenge)), Ok(passed(64, 0)));
    }
}

proptest! {
    #[test]
    fn positions_rise_with_one_in_each_part(
        span in prop_oneof![1u64..5000, any::<u64>().prop_map(|n| n.max(1)), Just(u64::MAX)],
        nonce in any::<[u8; 32]>()
    ) {
        let mut challenge = Provider::with(&[]).challenge(1);
        challenge.span = span;
        challenge.nonce = nonce;
        let positions = challenge.positions();
        prop_assert_eq!(positions.len(), AUDIT_SAMPLES);
        for (part, position) in positions.iter().enumerate() {
            let bound = |part: usize| part as u128 * u128::from(span) / 64;
            let (low, high) = (bound(part), bound(part + 1));
            let position = u128::from(*position);
            prop_assert!(position < u128::from(span));
            prop_assert!(low <= position && (position < high || low == high) || position == u128::from(span) - 1);
        }
        prop_assert!(positions.is_sorted());
    }
}

#[test]
fn every_field_changes_the_seed() {
    let challenge = Provider::with(&MIXED).challenge(1);
    let change: [fn(&mut Challenge); 6] = [
        |c| c.contract = ContractId([8; 32]),
        |c| c.revision += 1,
        |c| c.inventory_root[0] ^= 1,
        |c| c.epoch += 1,
        |c| c.nonce[31] ^= 1,
        |c| c.beacon = Some([0; 32]),
    ];
    for change in change {
        let mut changed = challenge.clone();
        change(&mut changed);
        assert_ne!(changed.seed(), challenge.seed());
        assert_ne!(changed.positions(), challenge.positions());
    }
}

#[test]
fn a_commitment_binds_contract_epoch_and_nonce() {
    let contract = ContractId([1; 32]);
    let commitment = nonce_commitment(&contract, 5, &[2; 32]);
    assert_ne!(commitment, nonce_commitment(&contract, 6, &[2; 32]));
    assert_ne!(commitment, nonce_commitment(&contract, 5, &[3; 32]));
    assert_ne!(commitment, nonce_commitment(&ContractId([2; 32]), 5, &[2; 32]));
}

#[test]
fn the_leaves_of_the_positions_are_asked_for_in_order() {
    let provider = Provider::with(&[3000, 300_000, 3000]);
    let asked = RefCell::new(Vec::new());
    let challenge = provider.challenge(1);
    let proof = prove(&challenge, &provider.inventory, |id, len, leaf| {
        asked.borrow_mut().push((*id, len, leaf));
        LeafProof::from_chunk(id, provider.chunks.get(id)?, leaf)
    });
    let expected: Vec<(ChunkId, u32, u64)> = challenge
        .positions()
        .into_iter()
        .map(|position| {
            let entry = provider.inventory.entry(provider.inventory.locate(position).unwrap()).unwrap();
            (entry.chunk.unwrap(), entry.len, (position - entry.offset) / LEAF_LEN as u64)
        })
        .collect();
    assert_eq!(*asked.borrow(), expected);
    assert_eq!(verify_proof(&challenge, &proof.unwrap()), Ok(passed(64, 0)));
}

#[test]
fn a_leaf_that_does_not_lead_to_its_chunk_is_shown_as_lost() {
    let provider = Provider::with(&[40_000; 2]);
    let challenge = provider.challenge(1);
    let proof = prove(&challenge, &provider.inventory, |id, _, leaf| {
        let mut shown = LeafProof::from_chunk(id, provider.chunks.get(id)?, leaf)?;
        match leaf % 3 {
            0 => shown.bytes[0] ^= 1,
            1 => shown.path[1][5] ^= 1,
            _ => {}
        }
        Some(shown)
    });
    let proof = proof.unwrap();
    let lost = proof.samples.iter().filter(|sample| sample.shown == Shown::Lost).count();
    assert!(lost > 20, "{lost}");
    assert_eq!(verify_proof(&challenge, &proof).unwrap().leaves as usize, 64 - lost);
}

#[test]
fn chunks_that_are_gone_or_damaged_are_owned_up_to() {
    let mut provider = Provider::with(&[5000; 4]);
    let ids: Vec<ChunkId> = provider.inventory.entries().iter().map(|entry| entry.chunk.unwrap()).collect();
    provider.chunks.remove(&ids[1]);
    provider.chunks.get_mut(&ids[2]).unwrap()[4999] ^= 1;
    provider.chunks.get_mut(&ids[3]).unwrap().pop();
    let challenge = provider.challenge(1);
    let proof = provider.prove(&challenge);
    assert!(proof.samples[16..].iter().all(|s| s.shown == Shown::Lost));
    let report = verify_proof(&challenge, &proof).unwrap();
    assert_eq!((report.leaves, report.holes), (16, 0));
    assert_eq!(report.lost, ids[1..]);
    assert!(!report.passed());
}

/// Changes one sample of an honest proof and verifies it.
fn forged(number: usize, change: impl Fn(&mut Sample)) -> Result<ProofReport, ProofError> {
    let provider = Provider::with(&[70_000, 2500, 10_000, 10_000]);
    let challenge = provider.challenge(1);
    let mut proof = provider.prove(&challenge);
    change(&mut proof.samples[number]);
    verify_proof(&challenge, &proof)
}

#[test]
fn attack_27_a_forged_inventory_entry_is_refused() {
    let other = Provider::with(&[1]).inventory.entries()[0];
    let change: [fn(&mut Sample); 14] = [
        |s| s.index += 1,
        |s| s.index = u64::MAX,
        |s| s.entry.offset += 1,
        |s| s.entry.len += 1,
        |s| s.entry.len = 0,
        |s| s.entry.len = u32::MAX,
        |s| s.entry.offset = u64::MAX,
        |s| s.entry.chunk = None,
        |s| s.entry.chunk = Some(ChunkId([0; 32])),
        |s| s.entry.chunk = Some(ChunkId([1; 32])),
        |s| s.inventory_path.push([0; 32]),
        |s| s.inventory_path.insert(0, [0; 32]),
        |s| s.inventory_path.truncate(1),
        |s| s.inventory_path.swap(0, 1),
    ];
    for (case, change) in change.into_iter().enumerate() {
        for sample in [0, 17, 63] {
            assert_eq!(forged(sample, change), Err(ProofError::Inventory { sample }), "case {case}");
        }
    }
    assert_eq!(forged(5, |s| s.entry = other), Err(ProofError::Inventory { sample: 5 }));
}

#[test]
fn attack_27_a_wrong_leaf_or_chunk_path_counts_the_chunk_as_lost() {
    fn leaf(sample: &mut Sample) -> (&mut Vec<u8>, &mut Vec<Hash>) {
        match &mut sample.shown {
            Shown::Leaf { bytes, path } => (bytes, path),
            _ => panic!("an honest proof shows a leaf"),
        }
    }
    let change: [fn(&mut Sample); 10] = [
        |s| leaf(s).0[0] ^= 1,
        |s| leaf(s).0.clear(),
        |s| leaf(s).0.push(0),
        |s| leaf(s).0.truncate(1),
        |s| leaf(s).1.clear(),
        |s| leaf(s).1.push([0; 32]),
        |s| leaf(s).1.truncate(1),
        |s| leaf(s).1[0][0] ^= 1,
        |s| leaf(s).1.swap(0, 1),
        |s| s.shown = Shown::Lost,
    ];
    for (case, change) in change.into_iter().enumerate() {
        for sample in [0, 63] {
            let report = forged(sample, change).unwrap();
            assert_eq!((report.leaves, report.lost.len()), (63, 1), "case {case}");
        }
    }
}

#[test]
fn attack_27_another_leaf_of_the_same_chunk_is_not_an_answer() {
    let provider = Provider::with(&[100 * LEAF_LEN]);
    let challenge = provider.challenge(1);
    let mut proof = provider.prove(&challenge);
    let first = proof.samples[0].shown.clone();
    proof.samples[40].shown = first;
    assert_eq!(verify_proof(&challenge, &proof).unwrap().lost.len(), 1);
}

#[test]
fn attack_27_an_inner_node_of_64_bytes_is_not_a_leaf() {
    // Two leaves of 1 KiB; the 64 bytes below the root are shown as if they were a leaf.
    let provider = Provider::with(&[2 * LEAF_LEN]);
    let challenge = provider.challenge(1);
    let mut proof = provider.prove(&challenge);
    let Shown::Leaf { bytes, path } = &mut proof.samples[0].shown else { panic!() };
    *bytes = [leaf_hash(bytes), path[0]].concat();
    path.clear();
    assert_eq!(verify_proof(&challenge, &proof).unwrap().lost.len(), 1);
}

/// A challenge of an inventory of one entry, and a proof for it that shows the same each time.
fn single(entry: InventoryEntry, shown: Shown) -> Result<ProofReport, ProofError> {
    let mut challenge = Provider::with(&[]).challenge(1);
    challenge.inventory_root = leaf_hash(&entry.to_bytes());
    challenge.entries = 1;
    challenge.span = 1;
    let sample = Sample { index: 0, entry, inventory_path: Vec::new(), shown };
    verify_proof(&challenge, &Proof { samples: vec![sample; 64] })
}

#[test]
fn attack_27_an_entry_out_of_bounds_is_refused_even_when_its_root_was_signed() {
    let entry = |len, id| InventoryEntry { offset: 0, len, chunk: Some(ChunkId(id)) };
    assert_eq!(single(entry(1 << 20, [1; 32]), Shown::Lost).unwrap().lost.len(), 1);
    for entry in [entry((1 << 20) + 1, [1; 32]), entry(1, [0; 32])] {
        assert_eq!(single(entry, Shown::Lost), Err(ProofError::Inventory { sample: 0 }));
    }
}

#[test]
fn attack_27_a_leaf_of_another_length_is_wrong_even_when_the_chunk_id_covers_it() {
    // An id made up over leaves of 1,000 and 1,048 bytes, which no chunk of 2,048 bytes has.
    let (first, second) = (vec![1; 1000], vec![2; 1048]);
    let id = node_hash(&leaf_hash(&first), &leaf_hash(&second));
    let entry = InventoryEntry { offset: 0, len: 2048, chunk: Some(ChunkId(id)) };
    let shown = Shown::Leaf { bytes: first, path: vec![leaf_hash(&second)] };
    assert_eq!(single(entry, shown).unwrap().lost, [ChunkId(id)]);
}

#[test]
fn attack_27_reordered_duplicate_missing_or_surplus_samples_are_refused() {
    let provider = Provider::with(&[5000; 100]);
    let challenge = provider.challenge(1);
    let honest = provider.prove(&challenge);
    let mut reordered = honest.clone();
    reordered.samples.swap(3, 60);
    assert_eq!(verify_proof(&challenge, &reordered), Err(ProofError::Inventory { sample: 3 }));
    let mut duplicate = honest.clone();
    duplicate.samples[60] = duplicate.samples[3].clone();
    assert_eq!(verify_proof(&challenge, &duplicate), Err(ProofError::Inventory { sample: 60 }));
    for (found, change) in [
        (63, (|p| drop(p.samples.pop())) as fn(&mut Proof)),
        (65, |p| p.samples.push(p.samples[63].clone())),
        (0, |p| p.samples.clear()),
    ] {
        let mut proof = honest.clone();
        change(&mut proof);
        assert_eq!(verify_proof(&challenge, &proof), Err(ProofError::Count { expected: 64, found }));
    }
}

#[test]
fn attack_27_a_hole_cannot_hide_a_chunk_nor_a_chunk_a_hole() {
    let mut provider = Provider::with(&[5000; 3]);
    provider.inventory.remove(1).unwrap();
    let challenge = provider.challenge(1);
    let honest = provider.prove(&challenge);
    for (sample, shown) in [(0, Shown::Hole), (32, Shown::Lost), (32, honest.samples[0].shown.clone())] {
        let mut proof = honest.clone();
        proof.samples[sample].shown = shown;
        assert_eq!(verify_proof(&challenge, &proof), Err(ProofError::Shape { sample }));
    }
}

#[test]
fn attack_28_an_old_proof_does_not_answer_a_new_challenge() {
    let mut provider = Provider::with(&[100_000; 200]);
    let old = provider.challenge(1);
    let proof = provider.prove(&old);
    assert_eq!(verify_proof(&old, &proof), Ok(passed(64, 0)));
    let mut later = Vec::new();
    for change in [
        (|c| c.epoch += 1) as fn(&mut Challenge),
        |c| c.nonce[0] ^= 1,
        |c| c.revision += 1,
        |c| c.beacon = Some([1; 32]),
    ] {
        let mut challenge = old.clone();
        change(&mut challenge);
        later.push(challenge);
    }
    // The same nonce again after a chunk was added or removed.
    provider.inventory.push(ChunkId([1; 32]), 100_000).unwrap();
    later.push(provider.challenge(1));
    provider.inventory.pop();
    provider.inventory.remove(9).unwrap();
    later.push(provider.challenge(1));
    for challenge in later {
        let outcome = verify_proof(&challenge, &proof);
        assert!(!outcome.as_ref().is_ok_and(ProofReport::passed), "{challenge:?}: {outcome:?}");
    }
}

#[test]
fn attack_28_answers_collected_from_old_challenges_do_not_add_up_to_the_data() {
    // A provider that keeps every leaf it was ever asked for, and drops the rest: after 20
    // audits over 20,000 leaves it can show about 1 in 16 of what the next audit asks for.
    let provider = Provider::with(&[1 << 20; 20]);
    let mut kept: HashMap<(u64, u64), Shown> = HashMap::new();
    let place =
        |position: u64, sample: &Sample| (sample.index, (position - sample.entry.offset) / LEAF_LEN as u64);
    for epoch in 0..20 {
        let challenge = provider.challenge(epoch);
        let proof = provider.prove(&challenge);
        for (position, sample) in challenge.positions().into_iter().zip(&proof.samples) {
            kept.insert(place(position, sample), sample.shown.clone());
        }
    }
    let challenge = provider.challenge(20);
    let mut proof = provider.prove(&challenge);
    for (position, sample) in challenge.positions().into_iter().zip(&mut proof.samples) {
        let known = kept.get(&place(position, sample)).cloned();
        sample.shown = known.unwrap_or(Shown::Lost);
    }
    let report = verify_proof(&challenge, &proof).unwrap();
    assert!(report.leaves < 16 && report.lost.len() > 10, "{report:?}");
}

#[test]
fn attack_29_a_provider_that_kept_only_hashes_fails() {
    let provider = Provider::with(&[50_000; 10]);
    let challenge = provider.challenge(1);
    let mut proof = provider.prove(&challenge);
    for sample in &mut proof.samples {
        if let Shown::Leaf { bytes, .. } = &mut sample.shown {
            *bytes = leaf_hash(bytes).to_vec();
        }
    }
    let report = verify_proof(&challenge, &proof).unwrap();
    assert_eq!((report.leaves, report.lost.len()), (0, 10));
}

#[test]
fn attack_29_a_provider_that_dropped_bytes_is_caught_with_real_proofs() {
    // 100 chunks; 1, 5 and 50 of them are gone. 60 audits each, with whole proofs.
    let mut provider = Provider::with(&[6000; 100]);
    let ids: Vec<ChunkId> = provider.chunks.keys().copied().collect();
    let mut gone = 0;
    for (drop_up_to, caught_min) in [(1, 18), (5, 52), (50, 60)] {
        while gone < drop_up_to {
            provider.chunks.remove(&ids[gone]);
            gone += 1;
        }
        let caught = (0..60)
            .filter(|epoch| {
                let challenge = provider.challenge(*epoch);
                let report = verify_proof(&challenge, &provider.prove(&challenge)).unwrap();
                let truly_gone = |id| !provider.chunks.contains_key(id);
                assert!(report.lost.iter().all(truly_gone));
                !report.passed()
            })
            .count();
        assert!(caught >= caught_min, "{gone} gone: {caught} of 60");
    }
}

#[test]
fn challenges_and_proofs_survive_their_codec_and_evidence_covers_both() {
    let provider = Provider::with(&MIXED);
    let mut challenge = provider.challenge(1);
    let mut evidence = Vec::new();
    for beacon in [None, Some([3; 32])] {
        challenge.beacon = beacon;
        let proof = provider.prove(&challenge);
        let bytes = minicbor::to_vec(&challenge).unwrap();
        assert_eq!(minicbor::decode::<Challenge>(&bytes).unwrap(), challenge);
        let bytes = minicbor::to_vec(&proof).unwrap();
        assert!(bytes.len() < 140_000, "{} bytes", bytes.len());
        assert_eq!(minicbor::decode::<Proof>(&bytes).unwrap(), proof);
        evidence.push(proof.evidence(&challenge));
        let mut other = proof.clone();
        other.samples[63].shown = Shown::Lost;
        evidence.push(other.evidence(&challenge));
    }
    let count = evidence.len();
    evidence.sort_unstable();
    evidence.dedup();
    assert_eq!(evidence.len(), count);
}

#[test]
fn attack_25_more_samples_or_longer_leaves_than_asked_for_are_not_decoded() {
    let provider = Provider::with(&[2000]);
    let mut proof = provider.prove(&provider.challenge(1));
    let surplus = proof.samples[0].clone();
    proof.samples.push(surplus);
    let bytes = minicbor::to_vec(&proof).unwrap();
    assert!(minicbor::decode::<Proof>(&bytes).is_err());
    proof.samples.truncate(1);
    proof.samples[0].shown = Shown::Leaf { bytes: vec![0; LEAF_LEN + 1], path: Vec::new() };
    let bytes = minicbor::to_vec(&proof).unwrap();
    assert!(minicbor::decode::<Proof>(&bytes).is_err());
}
