//! Messages between nodes: what is decoded is within its bounds and has one encoding.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use commonhold_format::audit::{AUDIT_SAMPLES, Challenge, Proof, Sample, Shown};
use commonhold_format::ids::{ChunkId, ContractId, NodeId, PartyId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::keys::{PartyKey, verify};
use commonhold_format::note::NOTE_LEN_MAX;
use commonhold_format::probe::{PROBE_CHUNKS_MAX, PROBE_PATH_MAX, PROBE_SHOWN_MAX, ProbedLeaf};
use commonhold_format::record::RECORD_LEN_MAX;
use commonhold_format::statement::Prices;
use commonhold_format::tree::{CHUNK_LEN_MAX, LEAF_LEN};
use commonhold_format::wire::{
    Addition, CHUNK_FRAME_MAX, COMMIT_CHANGES_MAX, CONTRACTS_MAX, CONTROL_FRAME_MAX, INVENTORY_PAGE_MAX,
    MESSAGE_LEN_MAX, Refusal, Request, Response, WireError, list_contracts_message, refused,
};
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn contract() -> impl Strategy<Value = ContractId> {
    hash().prop_map(ContractId)
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn challenge() -> impl Strategy<Value = Challenge> {
    let numbers = any::<(u64, u64, u64, u64)>();
    (contract(), hash(), hash(), prop::option::of(hash()), numbers).prop_map(
        |(contract, inventory_root, nonce, beacon, (revision, entries, span, epoch))| Challenge {
            contract,
            revision,
            inventory_root,
            entries,
            span,
            epoch,
            nonce,
            beacon,
        },
    )
}

fn addition() -> impl Strategy<Value = Addition> {
    (hash(), 1..=CHUNK_LEN_MAX as u32).prop_map(|(chunk, len)| Addition { chunk: ChunkId(chunk), len })
}

fn request() -> impl Strategy<Value = Request> {
    let note = || bytes(100);
    let signature = any::<([u8; 32], [u8; 32])>().prop_map(|(a, b)| [a, b].concat().try_into().unwrap());
    prop_oneof![
        Just(Request::Hello),
        note().prop_map(|note| Request::OpenContract { note }),
        contract().prop_map(|contract| Request::ContractState { contract }),
        (contract(), any::<u64>()).prop_map(|(contract, from)| Request::InventoryPage { contract, from }),
        (contract(), hash(), bytes(3000).prop_filter("not empty", |bytes| !bytes.is_empty())).prop_map(
            |(contract, chunk, bytes)| Request::PutChunk {
                contract,
                chunk: ChunkId(chunk),
                bytes: bytes.into()
            }
        ),
        (note(), prop::collection::vec(addition(), 0..20), prop::collection::vec(any::<u64>(), 0..20))
            .prop_map(|(note, adds, removes)| Request::Commit { note, adds, removes }),
        (hash(), prop::option::of(contract()))
            .prop_map(|(chunk, contract)| Request::GetChunk { chunk: ChunkId(chunk), contract }),
        challenge().prop_map(|challenge| Request::Audit { challenge }),
        (contract(), any::<(u64, u64, u64, u64)>(), hash(), hash()).prop_map(
            |(contract, (egress_bytes, audits_passed, audits_failed, owner_size), evidence, owner_root)| {
                Request::DrawReceipt {
                    contract,
                    egress_bytes,
                    audits_passed,
                    audits_failed,
                    evidence,
                    owner_size,
                    owner_root,
                }
            }
        ),
        note().prop_map(|note| Request::SettleReceipt { note }),
        (hash(), signature)
            .prop_map(|(owner, signature)| Request::ListContracts { owner: PartyId(owner), signature }),
        (contract(), prop::collection::vec(hash().prop_map(ChunkId), 1..5))
            .prop_map(|(contract, chunks)| Request::Damaged { contract, chunks }),
        (note(), note()).prop_map(|(intent, record)| Request::AuditResult { intent, record }),
        (hash(), any::<u64>(), any::<u64>()).prop_map(|(owner, bytes, seconds)| Request::Quote {
            owner: PartyId(owner),
            bytes,
            seconds,
        }),
        (hash(), prop::collection::vec(hash().prop_map(ChunkId), 1..5))
            .prop_map(|(nonce, chunks)| Request::Probe { nonce, chunks }),
    ]
}

fn entry() -> impl Strategy<Value = InventoryEntry> {
    let held = hash().prop_filter("not a hole", |id| *id != [0; 32]).prop_map(ChunkId);
    (0..=u64::MAX - CHUNK_LEN_MAX as u64, 1..=CHUNK_LEN_MAX as u32, prop::option::of(held))
        .prop_map(|(offset, len, chunk)| InventoryEntry { offset, len, chunk })
}

fn probed() -> impl Strategy<Value = Option<ProbedLeaf>> {
    let leaf = prop::collection::vec(any::<u8>(), 1..=LEAF_LEN);
    let path = prop::collection::vec(hash(), 0..=PROBE_PATH_MAX);
    prop::option::of((leaf, path).prop_map(|(bytes, path)| ProbedLeaf { bytes, path }))
}

fn sample() -> impl Strategy<Value = Sample> {
    let path = || prop::collection::vec(hash(), 0..5);
    let leaf = (bytes(LEAF_LEN + 1), path()).prop_filter("a leaf", |(bytes, _)| bytes.len() <= LEAF_LEN);
    let shown = prop_oneof![
        Just(Shown::Hole),
        Just(Shown::Lost),
        leaf.prop_map(|(bytes, path)| Shown::Leaf { bytes, path })
    ];
    (any::<u64>(), entry(), path(), shown).prop_map(|(index, entry, inventory_path, shown)| Sample {
        index,
        entry,
        inventory_path,
        shown,
    })
}

const REFUSALS: [Refusal; 12] = [
    Refusal::Other,
    Refusal::Invalid,
    Refusal::Unknown,
    Refusal::Full,
    Refusal::OverContract,
    Refusal::Terms,
    Refusal::Forbidden,
    Refusal::Damaged,
    Refusal::Quarantined,
    Refusal::Busy,
    Refusal::Conflict,
    Refusal::Clock,
];

fn response() -> impl Strategy<Value = Response> {
    let note = || bytes(100);
    prop_oneof![
        bytes(200).prop_map(|record| Response::Record { record }),
        note().prop_map(|note| Response::Note { note }),
        (note(), note(), note()).prop_map(|(contract, revision, receipt)| Response::ContractState {
            contract,
            revision,
            receipt
        }),
        prop::collection::vec(entry(), 0..20).prop_map(|entries| Response::InventoryPage { entries }),
        Just(Response::Done),
        bytes(3000)
            .prop_filter("not empty", |bytes| !bytes.is_empty())
            .prop_map(|bytes| Response::Chunk { bytes: bytes.into() }),
        prop::collection::vec(sample(), 0..10)
            .prop_map(|samples| Response::Proof { proof: Proof { samples } }),
        prop::collection::vec(contract(), 0..20).prop_map(|contracts| Response::Contracts { contracts }),
        (any::<[u64; 3]>(), any::<u64>()).prop_map(|([storage, egress, audit], valid_until)| {
            let prices = Prices {
                storage_microcredits_per_gib_month: storage,
                egress_microcredits_per_gib: egress,
                audit_microcredits: audit,
            };
            Response::Quote { prices, valid_until }
        }),
        prop::collection::vec(probed(), 1..5).prop_map(|shown| Response::Probed { shown }),
        (prop::sample::select(&REFUSALS[..]), "\\PC{0,40}")
            .prop_map(|(reason, message)| refused(reason, message)),
    ]
}

/// Both ways of reading agree, and a chunk that stays in its frame is the chunk.
fn read_request(body: &[u8]) -> Result<Request, WireError> {
    let read = Request::decode(body);
    assert_eq!(Request::decode_body(&Bytes::copy_from_slice(body)), read);
    read
}

fn read_response(body: &[u8]) -> Result<Response, WireError> {
    let read = Response::decode(body);
    assert_eq!(Response::decode_body(&Bytes::copy_from_slice(body)), read);
    read
}

fn largest_leaf() -> ProbedLeaf {
    ProbedLeaf { bytes: vec![1; LEAF_LEN], path: vec![[1; 32]; PROBE_PATH_MAX] }
}

#[test]
fn the_largest_message_of_each_kind_fits_its_frame() {
    let note = vec![1; NOTE_LEN_MAX];
    let add = Addition { chunk: ChunkId([255; 32]), len: CHUNK_LEN_MAX as u32 };
    let commit = Request::Commit {
        note: note.clone(),
        adds: vec![add; COMMIT_CHANGES_MAX],
        removes: vec![u64::MAX; COMMIT_CHANGES_MAX],
    };
    let body = commit.encode();
    assert!(body.len() <= CONTROL_FRAME_MAX, "{}", body.len());
    assert_eq!(read_request(&body), Ok(commit));

    let entry = InventoryEntry {
        offset: u64::MAX - CHUNK_LEN_MAX as u64,
        len: CHUNK_LEN_MAX as u32,
        chunk: Some(ChunkId([1; 32])),
    };
    let shown = Shown::Leaf { bytes: vec![1; LEAF_LEN], path: vec![[1; 32]; 64] };
    let sample = Sample { index: u64::MAX, entry, inventory_path: vec![[1; 32]; 64], shown };
    let control = [
        Response::Record { record: vec![1; RECORD_LEN_MAX] },
        Response::ContractState { contract: note.clone(), revision: note.clone(), receipt: note },
        Response::InventoryPage { entries: vec![entry; INVENTORY_PAGE_MAX] },
        Response::Proof { proof: Proof { samples: vec![sample; AUDIT_SAMPLES] } },
        Response::Contracts { contracts: vec![ContractId([1; 32]); CONTRACTS_MAX] },
        Response::Probed { shown: vec![Some(largest_leaf()); PROBE_CHUNKS_MAX] },
        refused(Refusal::Other, "x".repeat(1000)),
    ];
    for response in control {
        let body = response.encode();
        assert!(body.len() <= CONTROL_FRAME_MAX, "{}", body.len());
        assert!(read_response(&body).as_ref() == Ok(&response));
    }
    // What budgets count for a leaf is what it takes.
    let probed = |count| Response::Probed { shown: vec![Some(largest_leaf()); count] }.encode().len();
    assert_eq!(probed(200) - probed(199), PROBE_SHOWN_MAX);

    let bytes = Bytes::from(vec![1; CHUNK_LEN_MAX]);
    let put =
        Request::PutChunk { contract: ContractId([1; 32]), chunk: ChunkId([2; 32]), bytes: bytes.clone() };
    assert!(put.is_bulk() && put.encode().len() <= CHUNK_FRAME_MAX);
    assert!(read_request(&put.encode()) == Ok(put));
    let chunk = Response::Chunk { bytes };
    assert!(chunk.encode().len() <= CHUNK_FRAME_MAX);
    assert!(read_response(&chunk.encode()) == Ok(chunk));
}

#[test]
fn attack_37_what_is_beyond_a_bound_is_refused() {
    let note = || vec![0; NOTE_LEN_MAX + 1];
    let (contract, chunk) = (ContractId([1; 32]), ChunkId([2; 32]));
    let commit = |adds, removes| Request::Commit { note: vec![0], adds, removes };
    let add = |len| Addition { chunk, len };
    let requests = [
        Request::OpenContract { note: note() },
        Request::SettleReceipt { note: note() },
        Request::Commit { note: note(), adds: Vec::new(), removes: Vec::new() },
        commit(vec![add(1); COMMIT_CHANGES_MAX + 1], Vec::new()),
        commit(Vec::new(), vec![0; COMMIT_CHANGES_MAX + 1]),
        commit(vec![add(0)], Vec::new()),
        commit(vec![add(CHUNK_LEN_MAX as u32 + 1)], Vec::new()),
        Request::PutChunk { contract, chunk, bytes: Bytes::new() },
        Request::PutChunk { contract, chunk, bytes: vec![0; CHUNK_LEN_MAX + 1].into() },
        Request::Probe { nonce: [0; 32], chunks: Vec::new() },
        Request::Probe { nonce: [0; 32], chunks: vec![chunk; PROBE_CHUNKS_MAX + 1] },
    ];
    for request in requests {
        assert!(read_request(&request.encode()).is_err());
    }
    let entry = InventoryEntry { offset: 0, len: 1, chunk: None };
    let sample = |bytes, path| Sample {
        index: 0,
        entry,
        inventory_path: Vec::new(),
        shown: Shown::Leaf { bytes, path },
    };
    let proof = |samples| Response::Proof { proof: Proof { samples } };
    let responses = [
        Response::Record { record: vec![0; RECORD_LEN_MAX + 1] },
        Response::Note { note: note() },
        Response::ContractState { contract: note(), revision: Vec::new(), receipt: Vec::new() },
        Response::ContractState { contract: Vec::new(), revision: note(), receipt: Vec::new() },
        Response::ContractState { contract: Vec::new(), revision: Vec::new(), receipt: note() },
        Response::InventoryPage { entries: vec![entry; INVENTORY_PAGE_MAX + 1] },
        Response::InventoryPage { entries: vec![InventoryEntry { len: 0, ..entry }] },
        Response::Chunk { bytes: Bytes::new() },
        Response::Chunk { bytes: vec![0; CHUNK_LEN_MAX + 1].into() },
        Response::Contracts { contracts: vec![contract; CONTRACTS_MAX + 1] },
        proof(vec![sample(Vec::new(), Vec::new()); AUDIT_SAMPLES + 1]),
        proof(vec![sample(vec![0; LEAF_LEN + 1], Vec::new())]),
        proof(vec![sample(Vec::new(), vec![[0; 32]; 65])]),
        Response::Probed { shown: Vec::new() },
        Response::Probed { shown: vec![None; PROBE_CHUNKS_MAX + 1] },
        Response::Probed { shown: vec![Some(ProbedLeaf { bytes: Vec::new(), path: Vec::new() })] },
        Response::Probed { shown: vec![Some(ProbedLeaf { bytes: vec![0; LEAF_LEN + 1], path: Vec::new() })] },
        Response::Probed {
            shown: vec![Some(ProbedLeaf { bytes: vec![0], path: vec![[0; 32]; PROBE_PATH_MAX + 1] })],
        },
        Response::Refused { reason: Refusal::Full, message: "x".repeat(MESSAGE_LEN_MAX + 1) },
        Response::Refused { reason: Refusal::Full, message: "a\u{1b}[2Jb".to_owned() },
    ];
    for response in responses {
        assert!(read_response(&response.encode()).is_err());
    }
    assert!(read_request(&vec![0; CHUNK_FRAME_MAX + 1]).is_err());
    assert!(read_response(&vec![0; CHUNK_FRAME_MAX + 1]).is_err());
}

#[test]
fn attack_37_no_control_message_hides_in_a_chunk_frame() {
    // A refusal may have fields of later versions, but not more than its frame has room for.
    let with_field = |len: usize| {
        let mut body = vec![0x82, 0x08, 0x83, 0x00, 0x61, b'x', 0x5A];
        body.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        body.resize(body.len() + len, 0);
        body
    };
    assert_eq!(read_response(&with_field(10)), Ok(refused(Refusal::Other, "x")));
    assert!(read_response(&with_field(CONTROL_FRAME_MAX - 11)).is_ok());
    assert!(read_response(&with_field(CONTROL_FRAME_MAX - 10)).is_err());
}

#[test]
fn attack_27_a_path_that_is_not_whole_hashes_is_refused_outside_of_messages_too() {
    // Evidence is read from files, without a message around it.
    let proof = |len: u8| {
        let mut body = vec![0x81, 0x81, 0x84, 0x00, 0x83, 0x00, 0x01, 0xF6, 0x58, len];
        body.resize(body.len() + usize::from(len), 0);
        body.extend([0x82, 0x00, 0x80]);
        minicbor::decode::<Proof>(&body)
    };
    assert_eq!(proof(32).unwrap().samples[0].inventory_path, [[0; 32]]);
    assert!(proof(31).is_err());
    assert!(proof(33).is_err());
}

#[test]
fn a_refusal_is_cut_between_characters_and_steers_no_terminal() {
    let message = |text: &str| match refused(Refusal::Busy, text) {
        Response::Refused { reason: Refusal::Busy, message } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message("why"), "why");
    assert_eq!(message(&"é".repeat(200)).len(), MESSAGE_LEN_MAX);
    assert_eq!(message(&format!("x{}", "é".repeat(200))).len(), MESSAGE_LEN_MAX - 1);
    assert_eq!(message("two\nlines\u{1b}[2J\u{9b}"), "two lines [2J ");
}

#[test]
fn a_refusal_of_a_later_version_is_understood_as_another_one() {
    let body = [0x82, 0x08, 0x82, 0x18, 0xFF, 0x63, b'w', b'h', b'y'];
    assert_eq!(read_response(&body), Ok(refused(Refusal::Other, "why")));
}

#[test]
fn a_chunk_is_neither_copied_into_its_frame_nor_out_of_it() {
    let bytes = Bytes::from(vec![7; 5000]);
    let put =
        Request::PutChunk { contract: ContractId([1; 32]), chunk: ChunkId([2; 32]), bytes: bytes.clone() };
    let body = put.body();
    assert_eq!((body.chunk.as_ptr(), body.chunk.len()), (bytes.as_ptr(), 5000));
    assert_eq!([&body.head[..], &body.chunk].concat(), put.encode());
    assert_eq!(body.len(), put.encode().len());
    let answer = Response::Chunk { bytes };
    let frame = Bytes::from(answer.encode());
    let Ok(Response::Chunk { bytes }) = Response::decode_body(&frame) else { panic!("another answer") };
    assert_eq!(bytes.as_ptr_range().end, frame.as_ptr_range().end);
    // Without a chunk, the head is all.
    assert_eq!(Request::Hello.body().head, Request::Hello.encode());
}

#[test]
fn only_requests_for_chunks_are_bulk() {
    let (contract, chunk) = (ContractId([1; 32]), ChunkId([2; 32]));
    assert!(Request::GetChunk { chunk, contract: None }.is_bulk());
    assert!(Request::PutChunk { contract, chunk, bytes: vec![1].into() }.is_bulk());
    assert!(!Request::Hello.is_bulk());
    assert!(!Request::ContractState { contract }.is_bulk());
}

#[test]
fn attack_28_a_listing_signed_for_one_node_is_no_use_elsewhere() {
    let owner = PartyKey::from_seed(&[1; 32]);
    let (asking, answering, other) = (NodeId([2; 32]), NodeId([3; 32]), NodeId([4; 32]));
    let signature = owner.sign(&list_contracts_message(&asking, &answering));
    let valid =
        |asking, answering| verify(&owner.id().0, &list_contracts_message(asking, answering), &signature);
    assert!(valid(&asking, &answering));
    assert!(!valid(&other, &answering));
    assert!(!valid(&asking, &other));
    assert!(!valid(&answering, &asking));
}

proptest! {
    #[test]
    fn requests_survive_their_encoding(request in request()) {
        prop_assert_eq!(read_request(&request.encode()), Ok(request));
    }

    #[test]
    fn responses_survive_their_encoding(response in response()) {
        prop_assert_eq!(read_response(&response.encode()), Ok(response));
    }

    #[test]
    fn attack_37_junk_after_a_message_is_refused(request in request(), response in response(), junk in prop::collection::vec(any::<u8>(), 1..20)) {
        prop_assert!(read_request(&[request.encode(), junk.clone()].concat()).is_err());
        prop_assert!(read_response(&[response.encode(), junk].concat()).is_err());
    }

    #[test]
    fn a_message_that_was_cut_is_refused(request in request(), response in response(), at in any::<prop::sample::Index>()) {
        let body = request.encode();
        prop_assert!(read_request(&body[..at.index(body.len())]).is_err());
        let body = response.encode();
        prop_assert!(read_response(&body[..at.index(body.len())]).is_err());
    }

    #[test]
    fn a_changed_request_is_refused_or_is_another_one(request in request(), at in any::<prop::sample::Index>(), value: u8) {
        let mut body = request.encode();
        let at = at.index(body.len());
        body[at] = value;
        if let Ok(read) = read_request(&body) {
            prop_assert_eq!(read.encode(), body);
        }
    }

    #[test]
    fn a_changed_response_is_refused_or_is_another_one(response in response(), at in any::<prop::sample::Index>(), value: u8) {
        let mut body = response.encode();
        let at = at.index(body.len());
        body[at] = value;
        match read_response(&body) {
            Ok(Response::Refused { .. }) | Err(_) => {}
            Ok(read) => prop_assert_eq!(read.encode(), body),
        }
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300), number in 0u8..20) {
        for body in [body.clone(), [&[0x82, number][..], &body].concat()] {
            if let Ok(read) = read_request(&body) {
                prop_assert_eq!(read.encode(), body.clone());
            }
            match read_response(&body) {
                Ok(Response::Refused { .. }) | Err(_) => {}
                Ok(read) => prop_assert_eq!(read.encode(), body),
            }
        }
    }
}
