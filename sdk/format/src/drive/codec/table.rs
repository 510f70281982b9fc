//! Tables as CBOR: a dictionary of holders, then the segments (spec/manifest.md, section 3).
//!
//! A holder's id stands in a table once, however many chunks it holds; segments name it by two
//! bytes. The dictionary is in the order of first use, so that there is one encoding.

use std::collections::HashMap;

use minicbor::decode::Error as DecodeError;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};

use super::{Encoded, array, list};
use crate::code::Code;
use crate::ids::{ChunkId, NodeId};
use crate::segment::Segment;

/// Most holders in one table: their places are two bytes.
const HOLDERS_MAX: usize = 65_535;
/// Bytes of a holder's place.
const PLACE_LEN: usize = 2;

pub(super) fn write<W: Write>(table: &[Segment], out: &mut Encoder<W>) -> Encoded<W> {
    let mut places: HashMap<NodeId, u16> = HashMap::new();
    let mut holders: Vec<[u8; 32]> = Vec::new();
    for holder in table.iter().flat_map(|segment| &segment.holders) {
        places.entry(*holder).or_insert_with(|| {
            holders.push(holder.0);
            // With more holders than places the dictionary is too long, and will not be decoded.
            u16::try_from(holders.len() - 1).unwrap_or(u16::MAX)
        });
    }
    out.array(2)?.bytes(holders.as_flattened())?.array(table.len() as u64)?;
    for segment in table {
        let chunks: Vec<[u8; 32]> = segment.chunks.iter().map(|id| id.0).collect();
        let placed: Vec<[u8; PLACE_LEN]> =
            segment.holders.iter().map(|holder| places[holder].to_be_bytes()).collect();
        out.array(4)?.encode(segment.code)?.u32(segment.len)?;
        out.bytes(chunks.as_flattened())?.bytes(placed.as_flattened())?;
    }
    Ok(())
}

pub(super) fn read(input: &mut Decoder<'_>) -> Result<Vec<Segment>, DecodeError> {
    array(input, 2)?;
    let (holders, []) = input.bytes()?.as_chunks::<32>() else {
        return Err(DecodeError::message("a table's holders are not whole ids"));
    };
    if holders.len() > HOLDERS_MAX {
        return Err(DecodeError::message("a table has more than 65,535 holders"));
    }
    list(input, |input| {
        array(input, 4)?;
        let code: Code = input.decode()?;
        let len = input.u32()?;
        code.chunk_len(len as usize).map_err(DecodeError::message)?;
        let chunks = per_chunk::<32>(input, code)?.iter().map(|id| ChunkId(*id)).collect();
        let holders = per_chunk::<PLACE_LEN>(input, code)?
            .iter()
            .map(|place| holders.get(usize::from(u16::from_be_bytes(*place))).map(|id| NodeId(*id)))
            .collect::<Option<Vec<NodeId>>>()
            .ok_or_else(|| DecodeError::message("a holder is not in the table"))?;
        Ok(Segment { code, len, chunks, holders })
    })
}

/// A byte string of N bytes for each chunk of a code.
fn per_chunk<'b, const N: usize>(input: &mut Decoder<'b>, code: Code) -> Result<&'b [[u8; N]], DecodeError> {
    match input.bytes()?.as_chunks() {
        (items, []) if items.len() == usize::from(code.n()) => Ok(items),
        _ => Err(DecodeError::message("a segment has as many ids and holders as its code has chunks")),
    }
}
