//! The last step: ledgers whose checkpoints anyone can check, and what each provider earned.

use anyhow::{Context, Result, ensure};
use commonhold_client::Client;
use commonhold_client::types::{LEDGER_COUNT_MAX, LedgerView, Role};
use commonhold_format::ids::PartyId;
use commonhold_format::note::SignedNote;
use commonhold_format::statement::Checkpoint;
use commonhold_format::tree::{GrowingTree, leaf_hash};
use data_encoding::HEXLOWER;

use crate::devnet::Network;

/// Notes of the owner's ledger that are printed; the rest is counted.
const SHOWN: usize = 12;

/// Shows and verifies the ledgers of the owner and of every provider that still runs.
///
/// # Errors
/// The ledger that does not verify, or the contract on which two ledgers differ.
pub async fn show(network: &Network, killed: usize) -> Result<()> {
    let owner = verified(&network.owner.client).await?;
    for entry in owner.entries.iter().rev().take(SHOWN).rev() {
        println!("   {:>5}  {}", entry.index, entry.summary);
    }
    println!("   {} notes in the owner's ledger, root {}…", owner.size, &owner.root[..12]);
    for member in network.providers.iter().skip(killed) {
        let theirs = verified(&member.client).await?;
        let mut credits = 0;
        for balance in theirs.balances.iter().filter(|balance| balance.role == Role::Provider) {
            let ours = owner
                .balances
                .iter()
                .find(|ours| ours.contract == balance.contract)
                .context("a provider has a contract that the owner does not have")?;
            ensure!(
                balance.receipt_sequence > 0 && balance.audits_passed > 0,
                "{} passed an audit and has no receipt for it",
                member.entry.peer_id
            );
            ensure!(
                ours.owed_to_me_microcredits == -balance.owed_to_me_microcredits
                    && ours.receipt_sequence == balance.receipt_sequence,
                "the ledgers of the owner and of {} differ",
                member.entry.peer_id
            );
            credits += balance.owed_to_me_microcredits;
        }
        ensure!(credits > 0, "{} earned nothing", member.entry.peer_id);
        println!(
            "   {}  {credits} microcredits, {} notes, root {}…",
            member.entry.peer_id,
            theirs.size,
            &theirs.root[..12]
        );
    }
    let owed: i64 = owner.balances.iter().map(|balance| -balance.owed_to_me_microcredits).sum();
    println!("   the owner owes {owed} microcredits in all, the killed providers' receipts included");
    Ok(())
}

/// A whole ledger, after its checkpoint was checked: signed by the node's party, and its root the
/// one that follows from the notes themselves.
async fn verified(client: &Client) -> Result<LedgerView> {
    let party: PartyId = client.status().await?.party.parse()?;
    let mut view = client.ledger(0, LEDGER_COUNT_MAX).await?;
    while (view.entries.len() as u64) < view.size {
        let next = client.ledger(view.entries.len() as u64, LEDGER_COUNT_MAX).await?;
        ensure!(!next.entries.is_empty(), "the ledger shows fewer notes than its checkpoint says");
        view.entries.extend(next.entries);
        view.size = next.size;
        view.root = next.root;
        view.checkpoint = next.checkpoint;
    }
    let mut tree = GrowingTree::new();
    for entry in &view.entries {
        tree.push(leaf_hash(entry.note.as_bytes()));
    }
    ensure!(HEXLOWER.encode(&tree.root()) == view.root, "a ledger's root does not follow from its notes");
    let checkpoint = SignedNote::parse(view.checkpoint.as_bytes())?;
    let (head, signer, _) = Checkpoint::of_ledger(&checkpoint).map_err(anyhow::Error::msg)?;
    ensure!(signer == party, "a ledger's checkpoint is signed by another party than its node's");
    ensure!(
        head.size == view.size && HEXLOWER.encode(&head.root) == view.root,
        "a ledger's checkpoint is about another tree"
    );
    Ok(view)
}
