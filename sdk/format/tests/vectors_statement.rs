//! The vectors of spec/notes.md that are about what notes say: statements, checkpoints, amounts.

#![allow(clippy::unwrap_used)]

mod vector_case;

use commonhold_format::statement::{
    AuditIntent, AuditRecord, Checkpoint, Claim, Contract, Payment, Prices, Receipt, Revision, Statement,
    StatementError, Trust,
};
use vector_case::Case;

#[test]
fn statement_vectors() {
    vector_case::for_each("statement", |expect, case| {
        let found = match case.text("form").as_str() {
            "statement" => statement(expect, case),
            "checkpoint" => checkpoint(expect, case),
            "amount" => amount(expect, case),
            other => panic!("{}: form {other}", case.name()),
        };
        assert_eq!(found, expect, "{}", case.name());
    });
}

fn refused(error: &StatementError, case: &mut Case) -> &'static str {
    assert_eq!(error.line, case.number::<usize>("line"), "{}: {error}", case.name());
    "refused"
}

fn statement(expect: &str, case: &mut Case) -> &'static str {
    let text = case.text("text");
    let statement = match Statement::from_text(&text) {
        Ok(statement) => statement,
        Err(error) if expect == "ok" => panic!("{}: {error}", case.name()),
        Err(error) => return refused(&error, case),
    };
    assert_eq!(statement.to_text(), text, "{}", case.name());
    let kind = case.text("kind");
    let built = case.object("fields", |fields| build(&kind, fields));
    assert_eq!(statement, built, "{}", case.name());
    if let Statement::Contract(contract) = statement {
        assert_eq!(contract.id().0, case.hash("contract_id"));
    }
    "ok"
}

/// The statement from the vector's fields, without its text.
fn build(kind: &str, fields: &mut Case) -> Statement {
    match kind {
        "contract" => Statement::Contract(Contract {
            owner: fields.number("owner"),
            provider: fields.number("provider"),
            node: fields.number("node"),
            salt: fields.bytes("salt").try_into().unwrap(),
            prices: prices(fields),
            bytes_max: fields.number("bytes_max"),
            starts: fields.number("starts"),
            ends: fields.number("ends"),
            audit_interval_seconds: fields.number("audit_interval_seconds"),
            grace_seconds: fields.number("grace_seconds"),
            hold_microcredits: fields.number("hold_microcredits"),
        }),
        "revision" => Statement::Revision(Revision {
            contract: fields.number("contract"),
            sequence: fields.number("sequence"),
            inventory_root: fields.hash("inventory_root"),
            entries: fields.number("entries"),
            span: fields.number("span"),
            held_bytes: fields.number("held_bytes"),
            held_chunks: fields.number("held_chunks"),
            time: fields.number("time"),
        }),
        "receipt" => Statement::Receipt(Receipt {
            contract: fields.number("contract"),
            sequence: fields.number("sequence"),
            until: fields.number("until"),
            byte_seconds: fields.number("byte_seconds"),
            egress_bytes: fields.number("egress_bytes"),
            audits_passed: fields.number("audits_passed"),
            audits_failed: fields.number("audits_failed"),
            owed_microcredits: fields.number("owed_microcredits"),
            evidence: fields.hash("evidence"),
            owner_node: fields.number("owner_node"),
            owner_head: (fields.number("owner_ledger_size"), fields.hash("owner_ledger_root")),
            provider_head: (fields.number("provider_ledger_size"), fields.hash("provider_ledger_root")),
        }),
        "audit-intent" => Statement::AuditIntent(AuditIntent {
            contract: fields.number("contract"),
            epoch: fields.number("epoch"),
            revision: fields.number("revision"),
            commitment: fields.hash("commitment"),
            time: fields.number("time"),
        }),
        "audit-record" => Statement::AuditRecord(AuditRecord {
            contract: fields.number("contract"),
            epoch: fields.number("epoch"),
            revision: fields.number("revision"),
            nonce: fields.hash("nonce"),
            outcome: fields.number("outcome"),
            leaves: fields.number("leaves"),
            lost_chunks: fields.number("lost_chunks"),
            evidence: fields.hash("evidence"),
            time: fields.number("time"),
        }),
        "payment" => Statement::Payment(Payment {
            payer: fields.number("payer"),
            payee: fields.number("payee"),
            sequence: fields.number("sequence"),
            paid_microcredits: fields.number("paid_microcredits"),
            reference: fields.hash("reference"),
            time: fields.number("time"),
        }),
        "trust" => Statement::Trust(Trust {
            guarantor: fields.number("guarantor"),
            creditor: fields.number("creditor"),
            debtor: fields.number("debtor"),
            sequence: fields.number("sequence"),
            limit_microcredits: fields.number("limit_microcredits"),
            ends: fields.number("ends"),
        }),
        "claim" => Statement::Claim(Claim {
            contract: fields.number("contract"),
            sequence: fields.number("sequence"),
            revision: fields.number("revision"),
            until: fields.number("until"),
            byte_seconds: fields.number("byte_seconds"),
            egress_bytes: fields.number("egress_bytes"),
            audits_passed: fields.number("audits_passed"),
            owed_microcredits: fields.number("owed_microcredits"),
            time: fields.number("time"),
        }),
        other => panic!("{}: kind {other}", fields.name()),
    }
}

fn prices(fields: &mut Case) -> Prices {
    Prices {
        storage_microcredits_per_gib_month: fields.number("storage_microcredits_per_gib_month"),
        egress_microcredits_per_gib: fields.number("egress_microcredits_per_gib"),
        audit_microcredits: fields.number("audit_microcredits"),
    }
}

fn checkpoint(expect: &str, case: &mut Case) -> &'static str {
    let text = case.text("text");
    match Checkpoint::from_text(&text) {
        Ok(read) => {
            let (origin, size, root) = (case.text("origin"), case.number("size"), case.hash("root"));
            assert_eq!(read, Checkpoint { origin, size, root });
            assert_eq!(read.to_text(), text);
            "ok"
        }
        Err(error) if expect == "ok" => panic!("{}: {error}", case.name()),
        Err(error) => refused(&error, case),
    }
}

fn amount(expect: &str, case: &mut Case) -> &'static str {
    let prices = prices(case);
    let due = prices.amount_due(
        case.number("byte_seconds"),
        case.number("egress_bytes"),
        case.number("audits_passed"),
    );
    if expect == "ok" {
        assert_eq!(due, Some(case.number("amount")), "{}", case.name());
    }
    if due.is_some() { "ok" } else { "refused" }
}
