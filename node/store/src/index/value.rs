//! Keys and values of the index as bytes (spec/store.md, "Index").
//!
//! Invariant: every value begins with its version, and a value has one byte form: what does not
//! give the same bytes when it is written again is refused.

use commonhold_format::ids::{ChunkId, ContractId};
use commonhold_format::inventory::{ENTRY_LEN, InventoryEntry};
use commonhold_format::note::SignedNote;
use commonhold_format::segment::Segment;
use commonhold_format::statement::Statement;
use commonhold_format::tree::Hash;
use minicbor::{Decode, Encode};

use crate::book::{ContractState, Role};
use crate::figures::{PackFigures, Tally};
use crate::inventory::BLOCK;
use crate::pack::Tail;
use crate::record::{Place, Seal, StoreId};

/// First byte of every value.
const VERSION: u8 = 2;

/// The chunk is marked as lost.
const LOST: u8 = 1;
/// The contract is one under which this node keeps the chunk.
const PROVIDED: u8 = 2;

/// Why bytes are not a value; the caller adds database and key.
pub(crate) type Refused = String;

fn body(bytes: &[u8]) -> Result<&[u8], Refused> {
    match bytes.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((version, _)) => Err(format!("version {version} is not known")),
        None => Err("it is empty".to_owned()),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], Refused> {
    let body = body(bytes)?;
    body.try_into().map_err(|_| format!("it has {} bytes and not {N}", body.len()))
}

fn cbor<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    minicbor::encode(value, &mut bytes).expect("writing into a vector cannot fail");
    bytes
}

fn from_cbor<'b, T: Encode<()> + Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, Refused> {
    let value: T = minicbor::decode(body(bytes)?).map_err(|error| error.to_string())?;
    if cbor(&value) != bytes {
        return Err("it is not in its one form".to_owned());
    }
    Ok(value)
}

/// Key of a holding: chunk ‖ contract.
pub(crate) fn holding_key(chunk: &ChunkId, contract: &ContractId) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&chunk.0);
    key[32..].copy_from_slice(&contract.0);
    key
}

/// Key of a block of an inventory: contract ‖ block.
pub(crate) fn entries_key(contract: &ContractId, block: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(&contract.0);
    key[32..].copy_from_slice(&block.to_be_bytes());
    key
}

/// Key of a block of hashes: contract ‖ level ‖ block.
pub(crate) fn hashes_key(contract: &ContractId, level: u8, block: u64) -> [u8; 41] {
    let mut key = [0; 41];
    key[..32].copy_from_slice(&contract.0);
    key[32] = level;
    key[33..].copy_from_slice(&block.to_be_bytes());
    key
}

/// Key of a chunk in the order in which terms end: time ‖ chunk.
pub(crate) fn expiry_key(ends: u64, chunk: &ChunkId) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&ends.to_be_bytes());
    key[8..].copy_from_slice(&chunk.0);
    key
}

pub(crate) fn to_expiry_key(key: &[u8]) -> Option<(u64, ChunkId)> {
    let key: &[u8; 40] = key.try_into().ok()?;
    Some((u64::from_be_bytes(*key.first_chunk()?), ChunkId(*key.last_chunk()?)))
}

pub(crate) fn place(place: Place) -> [u8; 17] {
    let mut bytes = [VERSION; 17];
    bytes[1..5].copy_from_slice(&place.pack.to_be_bytes());
    bytes[5..13].copy_from_slice(&place.offset.to_be_bytes());
    bytes[13..].copy_from_slice(&place.len.to_be_bytes());
    bytes
}

pub(crate) fn to_place(bytes: &[u8]) -> Result<Place, Refused> {
    let [pack @ .., _, _, _, _, _, _, _, _, _, _, _, _] = fixed::<16>(bytes)?;
    let [_, _, _, _, offset @ .., _, _, _, _] = fixed::<16>(bytes)?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, len @ ..] = fixed::<16>(bytes)?;
    let place = Place {
        pack: u32::from_be_bytes(*pack),
        offset: u64::from_be_bytes(*offset),
        len: u32::from_be_bytes(*len),
    };
    if place.is_valid() { Ok(place) } else { Err("no record can be there".to_owned()) }
}

/// A chunk in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trashed {
    pub(crate) place: Place,
    /// When its term ends, Unix seconds.
    pub(crate) ends: u64,
}

/// Where the scrub goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ScrubPosition {
    pub(crate) pack: u32,
    pub(crate) offset: u64,
    /// How many times it has been through.
    pub(crate) lap: u64,
    /// When this lap began, Unix seconds.
    pub(crate) began: u64,
}

/// A chunk under a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its index in the inventory.
    pub(crate) index: u64,
    pub(crate) lost: bool,
    /// Whether this node keeps it, and not the other party.
    pub(crate) provided: bool,
}

pub(crate) fn held(held: Held) -> [u8; 10] {
    let mut bytes = [VERSION; 10];
    bytes[1..9].copy_from_slice(&held.index.to_be_bytes());
    bytes[9] = (u8::from(held.lost) * LOST) | (u8::from(held.provided) * PROVIDED);
    bytes
}

pub(crate) fn to_held(bytes: &[u8]) -> Result<Held, Refused> {
    let [index @ .., flags] = fixed::<9>(bytes)?;
    if flags & !(LOST | PROVIDED) != 0 {
        return Err(format!("flags {flags} are not known"));
    }
    Ok(Held { index: u64::from_be_bytes(*index), lost: flags & LOST != 0, provided: flags & PROVIDED != 0 })
}

/// Items of a block: at least one, and no more than a block has.
fn block<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], Refused> {
    match body(bytes)?.as_chunks() {
        (items, []) if (1..=BLOCK).contains(&items.len()) => Ok(items),
        _ => Err(format!("it is not a block of 1 to {BLOCK} items of {N} bytes")),
    }
}

fn from_block<const N: usize>(items: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + BLOCK * N);
    bytes.push(VERSION);
    items.for_each(|item| bytes.extend(item));
    bytes
}

pub(crate) fn entries(entries: &[InventoryEntry]) -> Vec<u8> {
    from_block(entries.iter().map(InventoryEntry::to_bytes))
}

pub(crate) fn to_entries(bytes: &[u8]) -> Result<Vec<InventoryEntry>, Refused> {
    let entries = block::<ENTRY_LEN>(bytes)?.iter().map(InventoryEntry::from_bytes);
    entries.collect::<Option<_>>().ok_or_else(|| "one is not an inventory entry".to_owned())
}

pub(crate) fn hashes(hashes: &[Hash]) -> Vec<u8> {
    from_block(hashes.iter().copied())
}

pub(crate) fn to_hashes(bytes: &[u8]) -> Result<Vec<Hash>, Refused> {
    block::<32>(bytes).map(<[Hash]>::to_vec)
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes
}

fn to_numbers<const N: usize>(bytes: &[u8]) -> Result<[u64; N], Refused> {
    match body(bytes)?.as_chunks::<8>() {
        (items, []) if items.len() == N => Ok(std::array::from_fn(|at| u64::from_be_bytes(items[at]))),
        _ => Err(format!("it is not {N} numbers")),
    }
}

pub(crate) fn figures(figures: &PackFigures) -> Vec<u8> {
    let PackFigures { live, trash, book_bytes } = figures;
    numbers([live.bytes, live.records, trash.bytes, trash.records, *book_bytes])
}

pub(crate) fn to_figures(bytes: &[u8]) -> Result<PackFigures, Refused> {
    let [live_bytes, live_records, trash_bytes, trash_records, book_bytes] = to_numbers(bytes)?;
    Ok(PackFigures {
        live: Tally { bytes: live_bytes, records: live_records },
        trash: Tally { bytes: trash_bytes, records: trash_records },
        book_bytes,
    })
}

/// A time alone: when a chunk's term in the trash ends, as it stands in the book.
pub(crate) fn term(ends: u64) -> Vec<u8> {
    numbers([ends])
}

pub(crate) fn to_term(bytes: &[u8]) -> Result<u64, Refused> {
    to_numbers(bytes).map(|[ends]| ends)
}

pub(crate) fn trashed(at: &Trashed) -> Vec<u8> {
    let mut bytes = place(at.place).to_vec();
    bytes.extend(at.ends.to_be_bytes());
    bytes
}

pub(crate) fn to_trashed(bytes: &[u8]) -> Result<Trashed, Refused> {
    let (head, ends) = bytes.split_last_chunk().ok_or("it is too short")?;
    Ok(Trashed { place: to_place(head)?, ends: u64::from_be_bytes(*ends) })
}

fn packed(pack: u32, offset: u64, more: &[u64]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(pack.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    more.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes
}

fn to_packed<const N: usize>(bytes: &[u8]) -> Result<(u32, u64, [u64; N]), Refused> {
    let short = || "it is too short".to_owned();
    let (pack, rest) = body(bytes)?.split_first_chunk().ok_or_else(short)?;
    let (offset, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let more = to_numbers(&[&[VERSION], rest].concat())?;
    Ok((u32::from_be_bytes(*pack), u64::from_be_bytes(*offset), more))
}

pub(crate) fn tail(tail: &Tail) -> Vec<u8> {
    packed(tail.pack, tail.offset, &[tail.record])
}

pub(crate) fn to_tail(bytes: &[u8]) -> Result<Tail, Refused> {
    to_packed(bytes).map(|(pack, offset, [record])| Tail { pack, offset, record })
}

pub(crate) fn scrub(at: &ScrubPosition) -> Vec<u8> {
    packed(at.pack, at.offset, &[at.lap, at.began])
}

pub(crate) fn to_scrub(bytes: &[u8]) -> Result<ScrubPosition, Refused> {
    to_packed(bytes).map(|(pack, offset, [lap, began])| ScrubPosition { pack, offset, lap, began })
}

pub(crate) fn seal(seal: &Seal) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(seal.store.0);
    bytes.extend(seal.salt);
    bytes
}

pub(crate) fn to_seal(bytes: &[u8]) -> Result<Seal, Refused> {
    let halves = fixed::<32>(bytes)?;
    let (Some(store), Some(salt)) = (halves.first_chunk(), halves.last_chunk()) else {
        return Err("it is too short".to_owned());
    };
    Ok(Seal { store: StoreId(*store), salt: *salt })
}

pub(crate) fn segment(segment: &Segment) -> Vec<u8> {
    cbor(segment)
}

pub(crate) fn to_segment(bytes: &[u8]) -> Result<Segment, Refused> {
    from_cbor(bytes)
}

/// What is on record of a contract. Contract, revision and receipt are in their notes.
#[derive(Encode, Decode)]
struct StoredContract {
    #[n(0)]
    provider: bool,
    #[cbor(n(1), with = "minicbor::bytes")]
    note: Vec<u8>,
    /// Empty when there is none; so is `receipt`.
    #[cbor(n(2), with = "minicbor::bytes")]
    revision: Vec<u8>,
    #[cbor(n(3), with = "minicbor::bytes")]
    receipt: Vec<u8>,
    #[cbor(n(4), with = "minicbor::bytes")]
    byte_seconds: [u8; 16],
    #[n(5)]
    next_epoch: u64,
    #[n(6)]
    audits_passed: u64,
    #[n(7)]
    audits_failed: u64,
    #[cbor(n(8), with = "minicbor::bytes")]
    evidence: [u8; 32],
    #[n(9)]
    given_up: bool,
}

pub(crate) fn contract(state: &ContractState) -> Vec<u8> {
    let note = |note: Option<&SignedNote>| note.map(SignedNote::to_bytes).unwrap_or_default();
    cbor(&StoredContract {
        provider: state.role == Role::Provider,
        note: state.note.to_bytes(),
        revision: note(state.revision.as_ref().map(|(_, note)| note)),
        receipt: note(state.receipt.as_ref().map(|(_, note)| note)),
        byte_seconds: state.byte_seconds.to_be_bytes(),
        next_epoch: state.next_epoch,
        audits_passed: state.audits_passed,
        audits_failed: state.audits_failed,
        evidence: state.evidence,
        given_up: state.given_up,
    })
}

/// Reads a contract's record back; its statements must be about contract `id`.
pub(crate) fn to_contract(id: &ContractId, bytes: &[u8]) -> Result<ContractState, Refused> {
    let stored: StoredContract = from_cbor(bytes)?;
    let statement = |bytes: &[u8]| -> Result<Option<(Statement, SignedNote)>, Refused> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let note = SignedNote::parse(bytes).map_err(|error| error.to_string())?;
        let statement = Statement::of(&note).map_err(|error| error.to_string())?;
        Ok(Some((statement, note)))
    };
    let (contract, note) = match statement(&stored.note)? {
        Some((Statement::Contract(contract), note)) if contract.id() == *id => (contract, note),
        _ => return Err("its note is not the contract".to_owned()),
    };
    let revision = match statement(&stored.revision)? {
        None => None,
        Some((Statement::Revision(it), note)) if it.contract == *id => Some((it, note)),
        Some(_) => return Err("its revision is not one of this contract".to_owned()),
    };
    let receipt = match statement(&stored.receipt)? {
        None => None,
        Some((Statement::Receipt(it), note)) if it.contract == *id => Some((it, note)),
        Some(_) => return Err("its receipt is not one of this contract".to_owned()),
    };
    Ok(ContractState {
        role: if stored.provider { Role::Provider } else { Role::Owner },
        contract,
        note,
        revision,
        receipt,
        byte_seconds: u128::from_be_bytes(stored.byte_seconds),
        next_epoch: stored.next_epoch,
        audits_passed: stored.audits_passed,
        audits_failed: stored.audits_failed,
        evidence: stored.evidence,
        given_up: stored.given_up,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use commonhold_format::code::Code;
    use commonhold_format::ids::NodeId;
    use proptest::prelude::*;

    use super::*;

    fn sample_segment(len: u32) -> Segment {
        Segment {
            code: Code::new(2, 6).unwrap(),
            len,
            chunks: (0..6).map(|at| ChunkId([at; 32])).collect(),
            holders: (0..6).map(|at| NodeId([at + 9; 32])).collect(),
        }
    }

    #[test]
    fn values_are_laid_out_as_the_specification_draws_them() {
        let at = Place { pack: 0x0102_0304, offset: 0x0506, len: 0x0708 };
        assert_eq!(place(at), [2, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 5, 6, 0, 0, 7, 8]);
        let chunk = Held { index: 0x0203, lost: true, provided: false };
        assert_eq!(held(chunk), [2, 0, 0, 0, 0, 0, 0, 2, 3, 1]);
        assert_eq!(held(Held { lost: false, provided: true, ..chunk })[9], 2);
    }

    #[test]
    fn values_of_other_versions_and_lengths_are_refused() {
        let good = place(Place { pack: 1, offset: 2, len: 3 });
        assert!(to_place(&good).is_ok());
        let mut other = good;
        other[0] = 1;
        assert_eq!(to_place(&other), Err("version 1 is not known".to_owned()));
        assert!(to_place(&good[..16]).is_err());
        assert!(to_place(&[&good[..], &[0]].concat()).is_err());
        assert!(to_place(&[]).is_err());
        assert!(to_place(&place(Place { pack: 1, offset: 2, len: 0 })).is_err());
        assert!(to_held(&[VERSION, 0, 0, 0, 0, 0, 0, 0, 0, 4]).is_err());
        assert!(to_entries(&[VERSION; 45]).is_err());
        assert!(to_entries(&[VERSION]).is_err());
        assert!(to_hashes(&[VERSION; 1 + 32 * 17]).is_err());
        assert!(to_hashes(&[VERSION; 1 + 32 * 16]).is_ok());
        assert!(to_hashes(&[VERSION; 33 + 1]).is_err());
    }

    #[test]
    fn a_value_with_something_behind_it_or_in_another_form_is_refused() {
        let segment = sample_segment(1000);
        let good = super::segment(&segment);
        assert_eq!(to_segment(&good), Ok(segment));
        assert!(to_segment(&[good.as_slice(), &[0xf6]].concat()).is_err());
        // The length 1000 as 32 bits, which CBOR allows.
        let at = good.windows(3).position(|it| it == [0x19, 0x03, 0xe8]).unwrap();
        let long = [&good[..at], &[0x1a, 0, 0], &good[at + 1..]].concat();
        assert_eq!(to_segment(&long), Err("it is not in its one form".to_owned()));
    }

    proptest! {
        #[test]
        fn values_come_back(
            pack: u32, offset in 0..u64::MAX / 2, len in 1..=1u32 << 20, index: u64, lost: bool, provided: bool,
        ) {
            let at = Place { pack, offset, len };
            prop_assert_eq!(to_place(&place(at)), Ok(at));
            let chunk = Held { index, lost, provided };
            prop_assert_eq!(to_held(&held(chunk)), Ok(chunk));
            let of_inventory = InventoryEntry { offset, len, chunk: lost.then_some(ChunkId([7; 32])) };
            prop_assert_eq!(to_entries(&entries(&[of_inventory; 3])), Ok(vec![of_inventory; 3]));
            let in_trash = Trashed { place: at, ends: index };
            prop_assert_eq!(to_trashed(&trashed(&in_trash)), Ok(in_trash));
            prop_assert_eq!(to_term(&term(index)), Ok(index));
            let end = Tail { pack, offset, record: index };
            prop_assert_eq!(to_tail(&tail(&end)), Ok(end));
            let position = ScrubPosition { pack, offset, lap: index, began: offset };
            prop_assert_eq!(to_scrub(&scrub(&position)), Ok(position));
            let tally = Tally { bytes: offset, records: index };
            let all = PackFigures { live: tally, trash: tally, book_bytes: index };
            prop_assert_eq!(to_figures(&figures(&all)), Ok(all));
            let segment = sample_segment(len);
            prop_assert_eq!(to_segment(&super::segment(&segment)), Ok(segment));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = to_place(&bytes);
            let _ = to_held(&bytes);
            let _ = to_entries(&bytes);
            let _ = to_trashed(&bytes);
            let _ = to_figures(&bytes);
            let _ = to_tail(&bytes);
            let _ = to_scrub(&bytes);
            let _ = to_seal(&bytes);
            let _ = to_segment(&bytes);
            let _ = to_contract(&ContractId([0; 32]), &bytes);
            let versioned = [&[VERSION], bytes.as_slice()].concat();
            let _ = to_segment(&versioned);
            let _ = to_contract(&ContractId([0; 32]), &versioned);
        }
    }
}
