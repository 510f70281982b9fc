//! A log's tree at every size: earlier roots, paths and consistency proofs against the definition
//! of RFC 6962, and cosignatures.

#![allow(clippy::unwrap_used)]

use commonhold_format::keys::PartyKey;
use commonhold_format::log::{TileId, decode_entries, encode_entries, older_root, verify_consistency};
use commonhold_format::note::{
    PartyVerifier, SignedNote, named_verifier_key, party_name, party_of, verifier_key,
};
use commonhold_format::tree::{Frontier, GrowingTree, Hash, leaf_hash, root_over, verify_path};
use proptest::prelude::*;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn grown(leaves: &[Hash]) -> GrowingTree {
    let mut tree = GrowingTree::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree
}

#[test]
fn every_pair_of_sizes_up_to_70() {
    let leaves = leaves(70);
    let tree = grown(&leaves);
    for new in 0..=70u64 {
        let new_root = root_over(&leaves[..new as usize]);
        assert_eq!(tree.root_at(new), Some(new_root));
        for index in 0..new {
            let path = tree.path_at(index, new).unwrap();
            verify_path(&new_root, new, index, &leaves[index as usize], &path).unwrap();
        }
        assert_eq!(tree.path_at(new, new), None);
        for old in 0..=new {
            let old_root = root_over(&leaves[..old as usize]);
            let proof = tree.consistency(old, new).unwrap();
            verify_consistency((old, &old_root), (new, &new_root), &proof).unwrap();
            if 0 < old && old < new {
                // Any other root, size or hash is refused.
                let other = leaf_hash(b"other");
                assert!(verify_consistency((old, &other), (new, &new_root), &proof).is_err());
                assert!(verify_consistency((old, &old_root), (new, &other), &proof).is_err());
                for at in 0..proof.len() {
                    let mut proof = proof.clone();
                    proof[at] = other;
                    assert!(verify_consistency((old, &old_root), (new, &new_root), &proof).is_err());
                }
            }
        }
        assert_eq!(tree.consistency(new, 71), None);
    }
    assert_eq!(tree.root_at(71), None);
}

proptest! {
    #[test]
    fn leaves_that_come_in_groups_make_the_same_tree(groups in prop::collection::vec(0u64..40, 0..12)) {
        let all = leaves(groups.iter().sum());
        let (mut tree, mut at) = (GrowingTree::new(), 0);
        for group in groups {
            let end = at + group as usize;
            tree.extend(all[at..end].iter().copied());
            at = end;
            let expected = grown(&all[..at]);
            prop_assert_eq!((tree.len(), tree.root()), (expected.len(), expected.root()));
            for index in 0..at as u64 {
                prop_assert_eq!(tree.path(index), expected.path(index));
            }
        }
    }

    /// The edge of any earlier size grows to the root of any later one.
    #[test]
    fn a_frontier_grows_without_the_leaves(size in 0u64..300, more in 0u64..60) {
        let all = leaves(size + more);
        let tree = grown(&all);
        let roots = tree.frontier(size).unwrap();
        let mut edge = Frontier::new(size, &roots).unwrap();
        prop_assert_eq!((edge.len(), edge.root()), (size, root_over(&all[..size as usize])));
        prop_assert!(Frontier::new(size, &[&roots[..], &[[0; 32]]].concat()).is_none());
        prop_assert!(roots.is_empty() || Frontier::new(size, &roots[1..]).is_none());
        all[size as usize..].iter().for_each(|leaf| edge.push(*leaf));
        prop_assert_eq!(edge.root(), tree.root());
        prop_assert_eq!(tree.frontier(size + more + 1), None);
    }

    /// From the proof of a forked log alone follows the root that its beginning has; from an honest one
    /// nobody draws another root than the honest one.
    #[test]
    fn a_proof_shows_the_root_that_a_fork_has(
        old in 1u64..200, more in 1u64..100, swap in any::<prop::sample::Index>(), other in any::<[u8; 32]>(),
    ) {
        let new = old + more;
        let tree = grown(&leaves(new));
        let proof = tree.consistency(old, new).unwrap();
        let root = older_root(old, (new, &tree.root()), &proof);
        prop_assert_eq!(root, (!old.is_power_of_two()).then(|| tree.root_at(old).unwrap()));
        prop_assert_eq!(older_root(old, (new, &other), &proof), None);
        let mut wrong = proof.clone();
        wrong[swap.index(proof.len())] = other;
        prop_assert_eq!(older_root(old, (new, &tree.root()), &wrong), None);
        prop_assert_eq!(older_root(old, (new, &tree.root()), &proof[1..]), None);
        prop_assert_eq!(older_root(new, (new, &tree.root()), &[]), None);
        prop_assert_eq!(older_root(0, (new, &tree.root()), &[]), None);
    }

    #[test]
    fn a_fork_is_never_consistent(size in 2u64..600, fork in any::<prop::sample::Index>(), old in any::<prop::sample::Index>()) {
        let honest = leaves(size);
        let fork = fork.index(size as usize);
        let mut forked = honest.clone();
        forked[fork] = leaf_hash(b"forked");
        // An older head behind the fork, and any proof that either tree can give.
        let old = fork as u64 + 1 + old.index(size as usize - fork) as u64;
        prop_assume!(old < size);
        let old_root = root_over(&honest[..old as usize]);
        let new_root = root_over(&forked);
        for tree in [grown(&honest), grown(&forked)] {
            let proof = tree.consistency(old, size).unwrap();
            prop_assert!(verify_consistency((old, &old_root), (size, &new_root), &proof).is_err());
        }
    }

    #[test]
    fn tiles_hold_the_hashes_of_their_level(size in 1u64..140_000) {
        // A tree of zeros is quick to build by doubling, and its hashes are known at every height.
        let size = size.min(2_000) + (size % 3) * 256;
        let tree = grown(&vec![[0; 32]; size as usize]);
        let mut full: Vec<Hash> = vec![[0; 32]];
        for _ in 0..17 {
            let below = full[full.len() - 1];
            full.push(root_over(&[below, below]));
        }
        for tile in TileId::all(size).filter(|tile| tile.level.is_some()) {
            let hashes = tree.tile(&tile).unwrap();
            prop_assert_eq!(hashes.len(), usize::from(tile.width));
            let expected = full[usize::from(tile.level.unwrap()) * 8];
            prop_assert!(hashes.iter().all(|hash| *hash == expected));
        }
        let beyond = TileId { level: Some(0), index: size / 256, width: (size % 256) as u16 + 1 };
        prop_assert_eq!(tree.tile(&beyond), None);
        let entries = TileId { level: None, index: 0, width: 1 };
        prop_assert_eq!(tree.tile(&entries), None);
    }

    #[test]
    fn a_tile_says_how_many_entries_it_stands_on(size in 1u64..70_000) {
        for tile in TileId::all(size) {
            let entries = tile.entries().unwrap();
            prop_assert!(entries <= size, "{} of {}", tile, size);
            // Neither a smaller log has it, nor one that is a hash wider.
            prop_assert!(TileId::all(entries - 1).all(|smaller| smaller != tile));
            prop_assert!(TileId::all(entries).any(|same| same == tile));
        }
        for level in 0..8 {
            let widest = TileId { level: Some(level), index: u64::MAX / 256, width: 256 };
            prop_assert_eq!(widest.entries(), None);
        }
    }

    #[test]
    fn bundles_of_entries_are_read_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20), cut in any::<prop::sample::Index>()) {
        let bundle = encode_entries(entries.iter().map(Vec::as_slice)).unwrap();
        let read = decode_entries(&bundle, entries.len()).unwrap();
        prop_assert_eq!(&read, &entries);
        prop_assert_eq!(decode_entries(&bundle, entries.len() + 1), None);
        if !entries.is_empty() {
            prop_assert_eq!(decode_entries(&bundle, entries.len() - 1), None);
            prop_assert_eq!(decode_entries(&bundle[..cut.index(bundle.len())], entries.len()), None);
        }
    }
}

#[test]
fn a_cosignature_is_of_one_party_text_and_time() {
    let (log, witness, stranger) = (key(1), key(2), key(3));
    let text = "commonhold/ledger/x\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let origin = "commonhold/ledger/x";
    let mut note = SignedNote::sign_as(text.to_owned(), origin, &log).unwrap();
    assert!(note.is_signed_as(origin, &log.id()) && !note.is_signed_by(&log.id()));
    assert!(!note.is_signed_as("commonhold/ledger/y", &log.id()));
    assert!(note.cosign(&witness, 1_750_000_000));
    assert_eq!(note.cosigned_by(&witness.id()), Some(1_750_000_000));
    assert_eq!(note.cosigned_by(&stranger.id()), None);
    // A cosignature is no signature, and the other way round.
    assert!(!note.is_signed_by(&witness.id()));
    assert_eq!(note.cosigned_by(&log.id()), None);
    let read = SignedNote::parse(&note.to_bytes()).unwrap();
    assert_eq!(read, note);
    // Another time or text is not what was signed.
    for (from, to) in [("7\n", "8\n"), ("\nAA", "\nAB")] {
        let other = String::from_utf8(note.to_bytes()).unwrap().replacen(from, to, 1);
        assert_eq!(SignedNote::parse(other.as_bytes()).unwrap().cosigned_by(&witness.id()), None);
    }
    let mut later = note.clone();
    assert!(later.cosign(&witness, 1_750_000_001));
    assert_eq!(later.signatures().len(), 2);
    assert_eq!(later.cosigned_by(&witness.id()), Some(1_750_000_001));
    // Lines are merged for the same text only.
    let mut plain = SignedNote::sign_as(text.to_owned(), origin, &log).unwrap();
    assert!(!plain.merge(&note, |_| false));
    assert!(plain.merge(&note, |line| party_of(&line.name) == Some(witness.id())));
    assert_eq!(plain, note);
    assert!(!plain.merge(&note, |_| true));
    let mut other = SignedNote::sign_as(text.replace('7', "8"), origin, &log).unwrap();
    assert!(!other.merge(&note, |_| true));
    assert!(SignedNote::sign_as(text.to_owned(), "a name", &log).is_err());
    assert_eq!(named_verifier_key(&party_name(&log.id()), &log.id()), verifier_key(&log.id()));
}

#[test]
fn a_prepared_key_judges_as_the_note_does() {
    let (signer, other) = (key(1), key(2));
    let mut note = SignedNote::sign("a text\n".to_owned(), &signer).unwrap();
    assert!(note.cosign(&other, 7));
    let of = |party: &PartyKey| PartyVerifier::named(&party_name(&party.id())).unwrap();
    let line = |note: &SignedNote, party: &PartyKey| {
        let name = party_name(&party.id());
        note.signatures().iter().find(|line| line.name == name).unwrap().clone()
    };
    assert_eq!(of(&signer).party(), signer.id());
    let good = line(&note, &signer);
    assert_eq!(of(&signer).judge(&note, &good), Some(true));
    // A cosignature is no signature, whether it is valid or not.
    assert_eq!(of(&other).judge(&note, &line(&note, &other)), None);
    assert_eq!(
        note.cosignature(&other.id()).map(|(line, time)| (line.name.clone(), time)),
        Some((party_name(&other.id()), 7))
    );
    for at in 0..64 {
        let mut flipped = good.clone();
        flipped.signature[at] ^= 1;
        assert_eq!(of(&signer).judge(&note, &flipped), Some(false));
    }
    let mut short = good.clone();
    short.signature.pop();
    assert_eq!(of(&signer).judge(&note, &short), Some(false));
    let text = SignedNote::sign("another text\n".to_owned(), &signer).unwrap();
    assert_eq!(of(&signer).judge(&text, &good), Some(false));
    assert!(PartyVerifier::named("commonhold/party/x").is_none());
    // Bytes that are no point.
    let nobody = PartyVerifier::named(&format!("commonhold/party/02{}", "0".repeat(62)));
    let line = commonhold_format::note::NoteSignature { signature: vec![1; 64], ..good };
    assert_eq!(nobody.unwrap().judge(&note, &line), None);
}

fn key(seed: u8) -> PartyKey {
    PartyKey::from_seed(&[seed; 32])
}
