//! The vectors of spec/wire.md: bodies of requests and responses.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::audit::{Challenge, Proof, Sample, Shown};
use commonhold_format::ids::{ChunkId, ContractId, NodeId, PartyId};
use commonhold_format::inventory::InventoryEntry;
use commonhold_format::keys::verify;
use commonhold_format::probe::{ProbedLeaf, probed_leaf};
use commonhold_format::statement::Prices;
use commonhold_format::wire::{Addition, Refusal, Request, Response, list_contracts_message};
use vector_case::Case;

#[test]
fn wire_vectors() {
    vector_case::for_each("wire", |expect, case| {
        let parts = case.objects("body", |part| part.bytes("hex").repeat(part.number("times")));
        let body = parts.concat();
        let result = match case.text("direction").as_str() {
            "request" => Request::decode(&body).map(|read| check_request(&read, &body, case)),
            "response" => Response::decode(&body).map(|read| check_response(&read, &body, case)),
            other => panic!("{}: direction {other}", case.name()),
        };
        let found = if result.is_ok() { "ok" } else { "refused" };
        assert_eq!(found, expect, "{}: {result:?}", case.name());
    });
}

fn check_request(read: &Request, body: &[u8], case: &mut Case) {
    assert_eq!(read.encode(), body, "{}", case.name());
    if case.has("message") {
        let built = case.object("message", request);
        assert_eq!(*read, built, "{}", case.name());
    }
}

fn check_response(read: &Response, body: &[u8], case: &mut Case) {
    // A later version's refusal loses what is not known here.
    if !case.name().contains("later") {
        assert_eq!(read.encode(), body, "{}", case.name());
    }
    if case.has("message") {
        let built = case.object("message", response);
        assert_eq!(*read, built, "{}", case.name());
    }
}

fn contract(fields: &mut Case) -> ContractId {
    ContractId(fields.hash("contract"))
}

fn request(fields: &mut Case) -> Request {
    match fields.text("type").as_str() {
        "hello" => Request::Hello,
        "open-contract" => Request::OpenContract { note: fields.bytes("note") },
        "contract-state" => Request::ContractState { contract: contract(fields) },
        "inventory-page" => {
            Request::InventoryPage { contract: contract(fields), from: fields.number("from") }
        }
        "put-chunk" => Request::PutChunk {
            contract: contract(fields),
            chunk: ChunkId(fields.hash("chunk")),
            bytes: fields.bytes("bytes").into(),
        },
        "commit" => Request::Commit {
            note: fields.bytes("note"),
            adds: fields.objects("adds", |add| Addition {
                chunk: ChunkId(add.hash("chunk")),
                len: add.number("len"),
            }),
            removes: fields.texts("removes").iter().map(|index| index.parse().unwrap()).collect(),
        },
        "get-chunk" => Request::GetChunk {
            chunk: ChunkId(fields.hash("chunk")),
            contract: fields.optional_hash("contract").map(ContractId),
        },
        "audit" => Request::Audit {
            challenge: fields.object("challenge", |challenge| Challenge {
                contract: contract(challenge),
                revision: challenge.number("revision"),
                inventory_root: challenge.hash("inventory_root"),
                entries: challenge.number("entries"),
                span: challenge.number("span"),
                epoch: challenge.number("epoch"),
                nonce: challenge.hash("nonce"),
                beacon: challenge.optional_hash("beacon"),
            }),
        },
        "draw-receipt" => Request::DrawReceipt {
            contract: contract(fields),
            egress_bytes: fields.number("egress_bytes"),
            audits_passed: fields.number("audits_passed"),
            audits_failed: fields.number("audits_failed"),
            evidence: fields.hash("evidence"),
            owner_size: fields.number("owner_size"),
            owner_root: fields.hash("owner_root"),
        },
        "settle-receipt" => Request::SettleReceipt { note: fields.bytes("note") },
        "list-contracts" => {
            let owner = PartyId(fields.hash("owner"));
            let signature = fields.bytes("signature").try_into().unwrap();
            let (asking, answering) = (NodeId(fields.hash("asking")), NodeId(fields.hash("answering")));
            let message = list_contracts_message(&asking, &answering);
            assert!(verify(&owner.0, &message, &signature));
            assert!(!verify(&owner.0, &list_contracts_message(&answering, &asking), &signature));
            Request::ListContracts { owner, signature }
        }
        "damaged" => Request::Damaged {
            contract: contract(fields),
            chunks: fields.hashes("chunks").into_iter().map(ChunkId).collect(),
        },
        "cosign" => Request::Cosign {
            checkpoint: fields.bytes("checkpoint"),
            old: fields.number("old"),
            proof: fields.hashes("proof"),
        },
        "consistency" => Request::Consistency { old: fields.number("old"), new: fields.number("new") },
        "countersign" => Request::Countersign { note: fields.bytes("note") },
        "audit-result" => {
            Request::AuditResult { intent: fields.bytes("intent"), record: fields.bytes("record") }
        }
        "quote" => Request::Quote {
            owner: PartyId(fields.hash("owner")),
            bytes: fields.number("bytes"),
            seconds: fields.number("seconds"),
        },
        "probe" => {
            let chunks: Vec<ChunkId> = fields.hashes("chunks").into_iter().map(ChunkId).collect();
            let nonce = fields.hash("nonce");
            // Which leaf is drawn, for the first chunk: of as many lengths as are told.
            fields.objects("leaves", |leaf| {
                let drawn = probed_leaf(&nonce, &chunks[0], leaf.number("len"));
                assert_eq!(drawn, Some(leaf.number("leaf")));
            });
            Request::Probe { nonce, chunks }
        }
        other => panic!("{}: type {other}", fields.name()),
    }
}

fn entry(fields: &mut Case) -> InventoryEntry {
    InventoryEntry {
        offset: fields.number("offset"),
        len: fields.number("len"),
        chunk: fields.optional_hash("chunk").map(ChunkId),
    }
}

fn shown(fields: &mut Case) -> Shown {
    match fields.text("kind").as_str() {
        "hole" => Shown::Hole,
        "leaf" => Shown::Leaf { bytes: fields.bytes("bytes"), path: fields.hashes("path") },
        "lost" => Shown::Lost,
        other => panic!("{}: kind {other}", fields.name()),
    }
}

fn response(fields: &mut Case) -> Response {
    match fields.text("type").as_str() {
        "record" => Response::Record { record: fields.bytes("record") },
        "note" => Response::Note { note: fields.bytes("note") },
        "contract-state" => Response::ContractState {
            contract: fields.bytes("contract"),
            revision: fields.bytes("revision"),
            receipt: fields.bytes("receipt"),
        },
        "inventory-page" => Response::InventoryPage { entries: fields.objects("entries", entry) },
        "done" => Response::Done,
        "chunk" => Response::Chunk { bytes: fields.bytes("bytes").into() },
        "proof" => {
            let samples = fields.objects("samples", |sample| Sample {
                index: sample.number("index"),
                entry: sample.object("entry", entry),
                inventory_path: sample.hashes("inventory_path"),
                shown: sample.object("shown", shown),
            });
            Response::Proof { proof: Proof { samples } }
        }
        "contracts" => Response::Contracts {
            contracts: fields.hashes("contracts").into_iter().map(ContractId).collect(),
        },
        "cosigned" => {
            Response::Cosigned { size: fields.number("size"), checkpoint: fields.bytes("checkpoint") }
        }
        "consistency" => Response::Consistency { proof: fields.hashes("proof") },
        "quote" => Response::Quote {
            prices: Prices {
                storage_microcredits_per_gib_month: fields.number("storage"),
                egress_microcredits_per_gib: fields.number("egress"),
                audit_microcredits: fields.number("audit"),
            },
            valid_until: fields.number("valid_until"),
        },
        "probed" => Response::Probed {
            shown: fields.objects("shown", |shown| match shown.text("kind").as_str() {
                "leaf" => Some(ProbedLeaf { bytes: shown.bytes("bytes"), path: shown.hashes("path") }),
                "none" => None,
                other => panic!("{}: kind {other}", shown.name()),
            }),
        },
        "refused" => {
            Response::Refused { reason: reason(&fields.text("reason")), message: fields.text("message") }
        }
        other => panic!("{}: type {other}", fields.name()),
    }
}

fn reason(word: &str) -> Refusal {
    match word {
        "other" => Refusal::Other,
        "invalid" => Refusal::Invalid,
        "unknown" => Refusal::Unknown,
        "full" => Refusal::Full,
        "over-contract" => Refusal::OverContract,
        "terms" => Refusal::Terms,
        "forbidden" => Refusal::Forbidden,
        "damaged" => Refusal::Damaged,
        "quarantined" => Refusal::Quarantined,
        "busy" => Refusal::Busy,
        "conflict" => Refusal::Conflict,
        "clock" => Refusal::Clock,
        "credit" => Refusal::Credit,
        other => panic!("reason {other}"),
    }
}
