//! `ledger prove` and `ledger prove-consistency`: proofs that others check with their own tools
//! (spec/ledger.md, "Proofs for others").
//!
//! Invariant: a proof is checked here before it is printed, by the code that would check somebody
//! else's. Hashes are printed in base64, as in checkpoints.

use anyhow::{Result, bail, ensure};
use commonhold_format::log::verify_consistency;
use commonhold_format::tree::{Hash, leaf_hash, verify_path};
use commonhold_ledger::verify::Log;
use data_encoding::BASE64;
use serde_json::json;

use super::print_json;

/// The first line of a C2SP tlog-proof.
const TLOG_PROOF: &str = "c2sp.org/tlog-proof@v1";

fn base64(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| BASE64.encode(hash)).collect()
}

/// The signed head, when it is of exactly so many entries.
fn head_of(log: &Log, size: u64) -> Option<String> {
    let note = || String::from_utf8_lossy(&log.checkpoint.to_bytes()).into_owned();
    (size == log.head.size).then(note)
}

/// Prints the proof that entry `index` is among the first `size` entries.
///
/// # Errors
/// A sentence, when the ledger is not so long.
pub fn inclusion(log: &Log, index: u64, size: Option<u64>, json: bool) -> Result<()> {
    let size = size.unwrap_or(log.head.size);
    ensure!(size <= log.head.size, "the head of this ledger covers {} notes, not {size}", log.head.size);
    let parts = (log.note(index), log.tree.path_at(index, size), log.tree.root_at(size));
    let (Some(note), Some(path), Some(root)) = parts else {
        bail!("there is no note {index} among the first {size}");
    };
    let entry = note.to_bytes();
    let leaf = leaf_hash(&entry);
    verify_path(&root, size, index, &leaf, &path)?;
    let head = head_of(log, size);
    if json {
        return print_json(&json!({
            "origin": log.head.origin,
            "index": index,
            "size": size,
            "root": BASE64.encode(&root),
            "leaf_hash": BASE64.encode(&leaf),
            "proof": base64(&path),
            "note": String::from_utf8_lossy(&entry),
            "checkpoint": head,
        }));
    }
    let Some(head) = head else {
        bail!("there is no signed head of {size} notes here, which the proof would end with: use --json");
    };
    println!("{TLOG_PROOF}\nextra {}\nindex {index}", BASE64.encode(&entry));
    for hash in base64(&path) {
        println!("{hash}");
    }
    print!("\n{head}");
    Ok(())
}

/// Prints the proof that the ledger of `new` entries begins with that of `old` entries.
///
/// # Errors
/// A sentence, when the ledger is not so long.
pub fn consistency(log: &Log, old: u64, new: Option<u64>, json: bool) -> Result<()> {
    let new = new.unwrap_or(log.head.size);
    ensure!(new <= log.head.size, "the head of this ledger covers {} notes, not {new}", log.head.size);
    let parts = (log.tree.root_at(old), log.tree.root_at(new), log.tree.consistency(old, new));
    let (Some(old_root), Some(new_root), Some(proof), 1..) = (parts.0, parts.1, parts.2, old) else {
        bail!("the older ledger has at least one note and no more than the newer one");
    };
    verify_consistency((old, &old_root), (new, &new_root), &proof)?;
    let roots = [BASE64.encode(&old_root), BASE64.encode(&new_root)];
    if json {
        return print_json(&json!({
            "origin": log.head.origin,
            "old": { "size": old, "root": roots[0] },
            "new": { "size": new, "root": roots[1] },
            "proof": base64(&proof),
            "checkpoint": head_of(log, new),
        }));
    }
    println!("{}\nold {old} {}\nnew {new} {}", log.head.origin, roots[0], roots[1]);
    for hash in base64(&proof) {
        println!("{hash}");
    }
    Ok(())
}
