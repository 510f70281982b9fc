//! The ledger as the local API shows it: notes in lines for people, and balances.
//!
//! Invariant: what a line says stands in the note beside it. Not here: whether it holds
//! (`ledger verify`).

use commonhold_client::types;
use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::note::SignedNote;
use commonhold_format::statement::Statement;
use commonhold_ledger::Ledger;
use data_encoding::HEXLOWER;

/// What the ledger says, from entry `from` on.
///
/// # Errors
/// A sentence, when it cannot be read.
pub(super) fn view_ledger(
    ledger: &Ledger,
    me: &PartyId,
    from: u64,
    count: usize,
) -> Result<types::LedgerView, String> {
    let checkpoint = ledger.publish().map_err(|error| error.to_string())?;
    let Ok(head) = commonhold_format::statement::Checkpoint::from_text(checkpoint.text()) else {
        return Err("the ledger's own checkpoint cannot be read".to_owned());
    };
    let entries = ledger
        .entries(from, count)
        .into_iter()
        .map(|(index, note)| {
            let (kind, summary) = summarize(&note);
            let note = String::from_utf8_lossy(&note.to_bytes()).into_owned();
            types::LedgerEntry { index, kind: kind.to_owned(), summary, note }
        })
        .collect();
    let balances =
        ledger
            .balances(me)
            .map_err(|error| error.to_string())?
            .into_iter()
            .map(|balance| types::Balance {
                contract: balance.contract.to_string(),
                counterparty: balance.counterparty.to_string(),
                role: if balance.owed_to_me < 0 || matches!(balance.role, commonhold_ledger::Role::Owner) {
                    types::Role::Owner
                } else {
                    types::Role::Provider
                },
                owed_to_me_microcredits: i64::try_from(balance.owed_to_me)
                    .unwrap_or(if balance.owed_to_me < 0 { i64::MIN } else { i64::MAX }),
                receipt_sequence: balance.receipt_sequence,
                byte_seconds: balance.byte_seconds.to_string(),
                egress_bytes: balance.egress_bytes,
                audits_passed: balance.audits_passed,
                audits_failed: balance.audits_failed,
            })
            .collect();
    Ok(types::LedgerView {
        origin: head.origin,
        size: head.size,
        root: HEXLOWER.encode(&head.root),
        checkpoint: String::from_utf8_lossy(&checkpoint.to_bytes()).into_owned(),
        entries,
        balances,
    })
}

/// The kind of a note, and one line for a person.
fn summarize(note: &SignedNote) -> (&'static str, String) {
    let signatures = note.signatures().len();
    match Statement::of(note) {
        Ok(Statement::Contract(contract)) => (
            "contract",
            format!(
                "contract {} with node {}, {} signatures",
                short(&contract.id().to_string()),
                short_peer(&contract.node),
                signatures
            ),
        ),
        Ok(Statement::Revision(revision)) => (
            "revision",
            format!(
                "revision {} of {}: {} chunks, {} bytes held, {signatures} signatures",
                revision.sequence,
                short(&revision.contract.to_string()),
                revision.held_chunks,
                revision.held_bytes
            ),
        ),
        Ok(Statement::Receipt(receipt)) => (
            "receipt",
            format!(
                "receipt {} of {}: {} microcredits owed, {} audits passed, {} failed, {signatures} signatures",
                receipt.sequence,
                short(&receipt.contract.to_string()),
                receipt.owed_microcredits,
                receipt.audits_passed,
                receipt.audits_failed
            ),
        ),
        Ok(Statement::AuditIntent(intent)) => (
            "audit-intent",
            format!("audit {} of {} announced", intent.epoch, short(&intent.contract.to_string())),
        ),
        Ok(Statement::AuditRecord(record)) => (
            "audit-record",
            format!(
                "audit {} of {}: {}, {} leaves right, {} chunks lost",
                record.epoch,
                short(&record.contract.to_string()),
                record.outcome.as_str(),
                record.leaves,
                record.lost_chunks
            ),
        ),
        Ok(Statement::Payment(payment)) => (
            "payment",
            format!(
                "payment {}: {} paid {} {} microcredits in all, {signatures} signatures",
                payment.sequence,
                short(&payment.payer.to_string()),
                short(&payment.payee.to_string()),
                payment.paid_microcredits
            ),
        ),
        Ok(Statement::Trust(trust)) => (
            "trust",
            format!(
                "{} answers to {} for {} microcredits of {}, {signatures} signatures",
                short(&trust.guarantor.to_string()),
                short(&trust.creditor.to_string()),
                trust.limit_microcredits,
                short(&trust.debtor.to_string())
            ),
        ),
        Ok(Statement::Claim(claim)) => (
            "claim",
            format!(
                "claim of receipt {} of {}: {} microcredits that its owner has not signed for",
                claim.sequence,
                short(&claim.contract.to_string()),
                claim.owed_microcredits
            ),
        ),
        Err(_) => ("unknown", "a note of a kind that this version does not know".to_owned()),
    }
}

fn short(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}

fn short_peer(node: &NodeId) -> String {
    let text = node.to_string();
    format!("…{}", &text[text.len().saturating_sub(8)..])
}
