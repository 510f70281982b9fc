//! The vectors of spec/erasure.md: segments, their chunks, and what is refused.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::code::{Code, CodeError};
use vector_case::Case;

#[test]
fn erasure_vectors() {
    vector_case::for_each("erasure", |expect, case| {
        let code = Code::new(case.number("k"), case.number("n"));
        if expect == "ok" {
            encodes_and_decodes(code.unwrap(), case);
            return;
        }
        let segment_len = case.number("segment_len");
        let given = case.objects("given", |chunk| (chunk.number::<u8>("index"), chunk.bytes("bytes")));
        let given: Vec<(u8, &[u8])> = given.iter().map(|(i, c)| (*i, c.as_slice())).collect();
        let found = match code.and_then(|code| code.decode(segment_len, &given)) {
            Ok(_) => "ok",
            Err(CodeError::Bounds { .. }) => "bounds",
            Err(CodeError::SegmentLength(_)) => "segment-length",
            Err(CodeError::Foreign(_)) => "foreign",
            Err(CodeError::TooFew { .. }) => "too-few",
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}

fn encodes_and_decodes(code: Code, case: &mut Case) {
    let segment = case.bytes("segment");
    let chunks = case.byte_strings("chunks");
    assert_eq!(code.chunk_len(segment.len()), Ok(case.number("chunk_len")));
    assert_eq!(code.encode(&segment).unwrap(), chunks, "{}", case.name());
    // From the last k chunks, which are all parity where there is enough of it.
    let alive: Vec<(u8, &[u8])> =
        (0..code.n()).zip(chunks.iter().map(Vec::as_slice)).skip(usize::from(code.n() - code.k())).collect();
    assert_eq!(code.decode(segment.len(), &alive).unwrap(), segment);
    let all: Vec<u8> = (0..code.n()).collect();
    assert_eq!(code.rebuild(segment.len(), &alive, &all).unwrap(), chunks);
}
