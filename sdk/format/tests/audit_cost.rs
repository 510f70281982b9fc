//! What an audit of a contract of a million chunks puts on the wire and on the disk (spec/audit.md,
//! "Cost"). Time is measured in benches/audit.rs.

#![allow(clippy::unwrap_used)]

use commonhold_format::audit::{Challenge, Places, Proof, ProofError, prove, verify_proof};
use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::Inventory;
use commonhold_format::tree::{CHUNK_LEN_MAX, LeafProof, SUBTREE_LEN, chunk_id_and_subtrees};
use commonhold_format::wire::{Request, Response};

const CHUNKS: u64 = 1_000_000;
/// Most bytes of an audit on the wire, in both directions.
const WIRE_BYTES_MAX: usize = 130_000;

/// A million entries of one chunk: an inventory looks at no bytes.
fn inventory(chunk: ChunkId, count: u64) -> Inventory {
    let mut inventory = Inventory::new();
    for _ in 0..count {
        inventory.push(chunk, CHUNK_LEN_MAX as u32).unwrap();
    }
    inventory
}

fn challenge(inventory: &Inventory) -> Challenge {
    Challenge {
        contract: ContractId([7; 32]),
        // The largest numbers have the longest encodings.
        revision: u64::MAX,
        inventory_root: inventory.root(),
        entries: inventory.len(),
        span: inventory.span(),
        epoch: u64::MAX,
        nonce: [9; 32],
        beacon: Some([5; 32]),
    }
}

fn proof(challenge: &Challenge, inventory: &Inventory, bytes: &[u8]) -> Proof {
    let (_, subtrees) = chunk_id_and_subtrees(bytes);
    prove(challenge, inventory, |id, len, leaf| {
        let block = bytes.chunks(SUBTREE_LEN).nth(leaf as usize / (SUBTREE_LEN / 1024))?;
        LeafProof::from_subtree(id, len, leaf, block, &subtrees)
    })
    .unwrap()
}

#[test]
fn an_audit_of_a_million_chunks_has_at_most_130_kilobytes() {
    let bytes: Vec<u8> = (0..CHUNK_LEN_MAX).map(|at| (at * 7 + at / 1024) as u8).collect();
    let (chunk, _) = chunk_id_and_subtrees(&bytes);
    let inventory = inventory(chunk, CHUNKS);
    let challenge = challenge(&inventory);
    let whole = proof(&challenge, &inventory, &bytes);
    let sent = whole.clone().without_inventory_paths();

    let asked = Request::Audit { challenge: challenge.clone() }.encode();
    let answered = Response::Proof { proof: sent.clone() }.encode();
    let wire = asked.len() + answered.len();
    assert!(wire <= WIRE_BYTES_MAX, "{wire}");
    let evidence = whole.bundle(&challenge).len();
    println!("{wire} bytes on the wire, {evidence} bytes of evidence");
    // What a third party gets: with the paths, and still a file that is sent in a second.
    assert!((120_000..=135_000).contains(&evidence), "{evidence}");

    // What was left out is put back to the last byte, and the whole is verified.
    let places = Places::of(&challenge, &inventory).unwrap().unwrap();
    let completed = sent.clone().with_inventory_paths(&places);
    assert_eq!(completed, whole);
    assert_eq!(verify_proof(&challenge, &completed).unwrap().leaves, 64);
    // Without them it is no answer, for anybody.
    assert_eq!(verify_proof(&challenge, &sent), Err(ProofError::Inventory { sample: 0 }));
}

#[test]
fn attack_27_paths_are_put_back_only_where_they_belong() {
    let bytes = vec![3; CHUNK_LEN_MAX];
    let (chunk, _) = chunk_id_and_subtrees(&bytes);
    let mut inventory = inventory(chunk, 100);
    let challenge = challenge(&inventory);
    let places = Places::of(&challenge, &inventory).unwrap().unwrap();
    let sent = proof(&challenge, &inventory, &bytes).without_inventory_paths();
    let refused = |change: fn(&mut Proof)| {
        let mut sent = sent.clone();
        change(&mut sent);
        verify_proof(&challenge, &sent.with_inventory_paths(&places))
    };
    assert!(refused(|_| {}).unwrap().passed());
    // Another entry, the right one under another number, a path of the provider's own making.
    assert_eq!(refused(|it| it.samples[9].index += 1), Err(ProofError::Inventory { sample: 9 }));
    assert_eq!(refused(|it| it.samples[4].entry.offset += 1), Err(ProofError::Inventory { sample: 4 }));
    assert_eq!(
        refused(|it| it.samples[5].inventory_path = vec![[1; 32]]),
        Err(ProofError::Inventory { sample: 5 })
    );
    assert_eq!(refused(|it| it.samples.swap(0, 63)), Err(ProofError::Inventory { sample: 0 }));
    assert!(matches!(refused(|it| drop(it.samples.pop())), Err(ProofError::Count { .. })));
    // An inventory that has changed since is not the one that was challenged.
    inventory.remove(3).unwrap();
    assert_eq!(Places::of(&challenge, &inventory).unwrap(), None);
}
