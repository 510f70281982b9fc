//! Erasure coding and segments: every pattern of loss that a code promises to survive.

#![allow(clippy::unwrap_used)]

use commonhold_format::code::{CHUNK_ALIGN, CODE_N_MAX, Code, CodeError};
use commonhold_format::ids::{ChunkId, NodeId};
use commonhold_format::segment::Segment;
use commonhold_format::tree::{CHUNK_LEN_MAX, chunk_id};
use proptest::prelude::*;

/// Bytes that differ from place to place.
fn segment(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn given<'a>(chunks: &'a [Vec<u8>], alive: &[u8]) -> Vec<(u8, &'a [u8])> {
    alive.iter().map(|index| (*index, chunks[usize::from(*index)].as_slice())).collect()
}

/// Decodes from the chunks that are alive and rebuilds the others.
fn survives(code: Code, segment: &[u8], chunks: &[Vec<u8>], alive: &[u8]) {
    let given = given(chunks, alive);
    assert_eq!(code.decode(segment.len(), &given).unwrap(), segment);
    let lost: Vec<u8> = (0..code.n()).filter(|at| !alive.contains(at)).collect();
    let rebuilt = code.rebuild(segment.len(), &given, &lost).unwrap();
    for (index, bytes) in lost.iter().zip(&rebuilt) {
        assert_eq!(*bytes, chunks[usize::from(*index)], "{code:?}, chunk {index}");
    }
}

#[test]
fn every_pattern_of_loss_of_small_codes_is_survived() {
    for (k, n) in [(2, 6), (3, 5), (1, 4), (4, 4), (5, 8), (1, 1), (6, 7)] {
        let code = Code::new(k, n).unwrap();
        for len in [1, 64, 65, 1000, 4097] {
            let segment = segment(len);
            let chunks = code.encode(&segment).unwrap();
            assert_eq!(chunks.len(), usize::from(n));
            for alive in 0u32..1 << n {
                let alive: Vec<u8> = (0..n).filter(|at| alive >> at & 1 == 1).collect();
                if alive.len() >= usize::from(k) {
                    survives(code, &segment, &chunks, &alive);
                } else {
                    assert_eq!(
                        code.decode(len, &given(&chunks, &alive)),
                        Err(CodeError::TooFew { have: alive.len(), need: usize::from(k) })
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_losses_of_large_codes_are_survived(
        (k, n) in prop::sample::select(vec![(10u8, 30u8), (20, 60), (30, 40), (33, 64), (1, 64), (64, 64)]),
        len in 1usize..40_000, order in Just((0u8..64).collect::<Vec<u8>>()).prop_shuffle()
    ) {
        let code = Code::new(k, n).unwrap();
        let segment = segment(len);
        let chunks = code.encode(&segment).unwrap();
        // Exactly k, in any order.
        let alive: Vec<u8> = order.into_iter().filter(|at| *at < n).take(k.into()).collect();
        survives(code, &segment, &chunks, &alive);
    }

    #[test]
    fn any_code_cuts_and_pads(k in 1u8..=64, parity in 0u8..64, len in 1usize..5000) {
        let code = Code::new(k, k.saturating_add(parity).min(CODE_N_MAX)).unwrap();
        let bytes = segment(len);
        let chunks = code.encode(&bytes).unwrap();
        let chunk_len = code.chunk_len(len).unwrap();
        prop_assert_eq!(chunk_len % CHUNK_ALIGN, 0);
        prop_assert!(chunk_len * usize::from(k) >= len);
        prop_assert!((chunk_len - CHUNK_ALIGN) * usize::from(k) < len);
        prop_assert!(chunks.iter().all(|chunk| chunk.len() == chunk_len));
        let data = chunks[..usize::from(k)].concat();
        prop_assert_eq!(&data[..len], &bytes[..]);
        prop_assert!(data[len..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn one_data_chunk_means_copies() {
    let code = Code::new(1, 3).unwrap();
    let chunks = code.encode(&segment(100)).unwrap();
    assert_eq!(chunks[0].len(), 128);
    assert!(chunks.iter().all(|chunk| *chunk == chunks[0]));
}

#[test]
fn codes_and_segments_out_of_bounds_are_refused() {
    for (k, n) in [(0, 0), (0, 5), (6, 5), (1, 65), (65, 65), (255, 255)] {
        assert_eq!(Code::new(k, n), Err(CodeError::Bounds { k, n }));
    }
    let code = Code::new(2, 6).unwrap();
    assert_eq!(code.segment_len_max(), 2 << 20);
    assert_eq!(code.chunk_len(2 << 20), Ok(CHUNK_LEN_MAX));
    for len in [0, (2 << 20) + 1, usize::MAX] {
        assert_eq!(code.chunk_len(len), Err(CodeError::SegmentLength(len)));
        assert_eq!(code.decode(len, &[]), Err(CodeError::SegmentLength(len)));
    }
    assert_eq!(code.encode(&[]), Err(CodeError::SegmentLength(0)));
}

#[test]
fn foreign_chunks_are_refused() {
    let code = Code::new(2, 4).unwrap();
    let chunks = code.encode(&segment(100)).unwrap();
    let [a, b, ..] = &chunks[..] else { panic!() };
    type Given<'a> = &'a [(u8, &'a [u8])];
    let refused: &[(Given, u8)] = &[
        (&[(0, a), (0, a)], 0),           // given twice
        (&[(0, a), (4, b)], 4),           // no such chunk
        (&[(0, a), (1, &b[..63])], 1),    // short
        (&[(0, a), (1, b), (2, &[])], 2), // a surplus one, but not a chunk
    ];
    for (given, foreign) in refused {
        assert_eq!(code.decode(100, given), Err(CodeError::Foreign(*foreign)));
    }
    assert_eq!(code.rebuild(100, &[(0, a), (1, b)], &[4]), Err(CodeError::Foreign(4)));
    let same = code.rebuild(100, &[(1, b), (0, a)], &[3, 0, 3]).unwrap();
    assert_eq!(same, [chunks[3].clone(), a.clone(), chunks[3].clone()]);
}

#[test]
fn a_corrupt_chunk_decodes_silently_wrong_and_only_its_id_tells() {
    let code = Code::new(2, 4).unwrap();
    let bytes = segment(100);
    let chunks = code.encode(&bytes).unwrap();
    let mut corrupt = chunks[2].clone();
    corrupt[5] ^= 1;
    let decoded = code.decode(100, &[(0, &chunks[0]), (2, &corrupt)]).unwrap();
    assert_ne!(decoded, bytes);
    assert_ne!(chunk_id(&corrupt), chunk_id(&chunks[2]));
}

#[test]
fn the_cbor_of_a_code_is_strict() {
    let code = Code::new(2, 6).unwrap();
    assert_eq!(minicbor::to_vec(code).unwrap(), [0x82, 2, 6]);
    assert_eq!(minicbor::decode::<Code>(&[0x82, 2, 6]).unwrap(), code);
    let refused: &[&[u8]] = &[
        &[0x82, 6, 2],
        &[0x82, 0, 2],
        &[0x82, 2, 0x18, 65],
        &[0x83, 2, 6, 0],
        &[0x9F, 2, 6, 0xFF],
        &[0x81, 2],
        &[0x82, 2],
    ];
    for bytes in refused {
        assert!(minicbor::decode::<Code>(bytes).is_err(), "{bytes:?}");
    }
}

fn example() -> Segment {
    Segment {
        code: Code::new(2, 3).unwrap(),
        len: 100,
        chunks: (1..4).map(|n| ChunkId([n; 32])).collect(),
        holders: (5..8).map(|n| NodeId([n; 32])).collect(),
    }
}

#[test]
fn a_segments_id_covers_everything_but_its_holders() {
    let segment = example();
    assert_eq!(segment.chunk_len(), 64);
    let id = segment.id();
    let mut moved = segment.clone();
    moved.holders[1] = NodeId([9; 32]);
    assert_eq!(moved.id(), id);
    let mut others = vec![segment.clone(); 3];
    others[0].len = 101;
    others[1].code = Code::new(1, 3).unwrap();
    others[2].chunks.swap(0, 1);
    assert!(others.iter().all(|other| other.id() != id));
}

#[test]
fn the_cbor_of_a_segment_is_strict() {
    let segment = example();
    let bytes = minicbor::to_vec(&segment).unwrap();
    assert_eq!(minicbor::decode::<Segment>(&bytes).unwrap(), segment);
    for cut in 0..bytes.len() {
        assert!(minicbor::decode::<Segment>(&bytes[..cut]).is_err());
    }
    let mut wrong = vec![segment.clone(); 5];
    wrong[0].len = 0;
    wrong[1].len = (2 << 20) + 1;
    wrong[2].chunks.pop();
    wrong[3].holders.push(NodeId([1; 32]));
    wrong[4].code = Code::new(2, 4).unwrap();
    for segment in wrong {
        let bytes = minicbor::to_vec(&segment).unwrap();
        assert!(minicbor::decode::<Segment>(&bytes).is_err());
    }
}
