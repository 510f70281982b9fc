//! Damage on a provider's disk, and an audit that is certain to look there.
//!
//! 64 leaves find one flipped byte among many gigabytes only by luck, so for large inventories the
//! demo plans the audit: it draws nonces until the challenge touches the damaged subtree. The
//! challenge is an ordinary one otherwise, and the demo says what the odds of a blind one were.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use commonhold_client::types::{AuditRequest, ContractInfo};
use commonhold_format::audit::Challenge;
use commonhold_format::ids::ContractId;
use commonhold_format::tree::SUBTREE_LEN;
use data_encoding::HEXLOWER;

use crate::datadir::random_secret;

/// Nonces that are tried before the plan is given up: far more than even a terabyte needs.
const NONCES_MAX: usize = 10_000_000;

/// Begins the header of a chunk's record; the chunk's length and id follow (spec/store.md, "Packs").
const RECORD_MAGIC: [u8; 4] = *b"CHc\x02";
/// Where the chunk's bytes begin in its record.
const HEADER_LEN: u64 = 88;

/// A chunk at a provider.
pub struct Target {
    /// Its id.
    pub chunk: String,
    /// Its bytes.
    pub len: u64,
    offset: u64,
    contract: ContractInfo,
}

/// The largest chunk that the owner has at `provider`.
///
/// # Errors
/// When it has none there.
pub async fn largest_chunk(owner: &Client, provider: &str) -> Result<Target> {
    let contract = owner
        .contracts()
        .await?
        .into_iter()
        .find(|contract| contract.provider == provider)
        .context("the owner has no contract with that provider")?;
    let mut largest: Option<Target> = None;
    let mut from = 0;
    loop {
        let page = owner.inventory(&contract.contract, from).await?;
        let Some(last) = page.entries.last() else { break };
        from = last.index + 1;
        for entry in page.entries {
            if let Some(chunk) = entry.chunk
                && largest.as_ref().is_none_or(|largest| entry.len > largest.len)
            {
                let contract = contract.clone();
                largest = Some(Target { chunk, len: entry.len, offset: entry.offset, contract });
            }
        }
    }
    largest.context("that provider holds nothing")
}

/// Flips one bit in the middle of the chunk's bytes, in every record of it on the provider's disk.
///
/// # Errors
/// When the chunk is not on the disk.
pub fn flip_byte(provider_dir: &Path, target: &Target) -> Result<()> {
    // The id alone also stands in the book's records.
    let id = HEXLOWER.decode(target.chunk.as_bytes())?;
    let len = u32::try_from(target.len)?.to_be_bytes();
    let header = [RECORD_MAGIC.as_slice(), &len, &id].concat();
    let mut flipped = false;
    for pack in fs::read_dir(provider_dir.join("store").join("packs"))? {
        let path = pack?.path();
        let mut file = File::options().read(true).write(true).open(&path)?;
        for at in positions_of(&mut file, &header)? {
            file.seek(SeekFrom::Start(at + HEADER_LEN + target.len / 2))?;
            let mut byte = [0];
            if file.read(&mut byte)? == 1 {
                file.seek_relative(-1)?;
                file.write_all(&[byte[0] ^ 1])?;
                flipped = true;
            }
        }
        file.sync_all()?;
    }
    if !flipped {
        bail!("the chunk is not on that provider's disk");
    }
    Ok(())
}

fn positions_of(file: &mut File, needle: &[u8]) -> Result<Vec<u64>> {
    const WINDOW: usize = 4 << 20;
    let mut found = Vec::new();
    let mut window = Vec::new();
    let mut start = 0;
    loop {
        let kept = window.len();
        let read = Read::by_ref(file).take(WINDOW as u64).read_to_end(&mut window)?;
        let hits = window.windows(needle.len()).enumerate().filter(|(_, bytes)| *bytes == needle);
        found.extend(hits.map(|(at, _)| start + at as u64));
        if read == 0 {
            break;
        }
        let keep = (needle.len() - 1).min(kept + read);
        let drop = window.len() - keep;
        window.drain(..drop);
        start += drop as u64;
    }
    found.dedup();
    Ok(found)
}

impl Target {
    fn challenge(&self, nonce: [u8; 32]) -> Result<Challenge> {
        let contract: ContractId = self.contract.contract.parse()?;
        let root = HEXLOWER.decode(self.contract.inventory_root.as_bytes())?;
        Ok(Challenge {
            contract,
            revision: self.contract.sequence,
            inventory_root: root.try_into().ok().context("the inventory root is not a hash")?,
            // Neither the number of entries nor the beacon changes which positions are drawn.
            entries: 0,
            span: self.contract.span,
            epoch: self.contract.next_epoch,
            nonce,
            beacon: None,
        })
    }

    /// The subtree with the damaged byte, in the contract's byte space: whoever proves one of its
    /// leaves has to read the byte (spec/audit.md).
    fn damaged(&self) -> Range<u64> {
        let subtree = self.len / 2 / SUBTREE_LEN as u64 * SUBTREE_LEN as u64;
        self.offset + subtree..self.offset + self.len.min(subtree + SUBTREE_LEN as u64)
    }

    fn is_hit_by(&self, challenge: &Challenge) -> bool {
        let bytes = self.damaged();
        challenge.positions().iter().any(|position| bytes.contains(position))
    }

    /// How likely a challenge with a random nonce is to read the damaged byte: one position is drawn in
    /// each of the 64 strata of the span (spec/audit.md).
    fn chance(&self) -> f64 {
        let edge = |stratum: u64| u128::from(stratum) * u128::from(self.contract.span) / 64;
        let (first, end) = (u128::from(self.damaged().start), u128::from(self.damaged().end));
        let missed: f64 = (0..64)
            .map(|stratum| {
                let (low, high) = (edge(stratum), edge(stratum + 1));
                let covered = end.min(high).saturating_sub(first.max(low));
                1.0 - covered as f64 / (high - low).max(1) as f64
            })
            .product();
        1.0 - missed
    }

    /// What kind of challenge the audit was, in words.
    pub fn odds(&self) -> String {
        let chance = self.chance();
        if chance >= 1.0 {
            "a random challenge; each one reads this byte".to_owned()
        } else {
            format!("a planned challenge; a random one reads this byte with {:.2} %", 100.0 * chance)
        }
    }
}

/// An audit of the provider that is certain to read the damaged byte.
///
/// # Errors
/// When no such challenge is found.
pub fn request(provider: &str, target: &Target) -> Result<AuditRequest> {
    let provider = Some(provider.to_owned());
    if target.chance() >= 1.0 {
        return Ok(AuditRequest { provider, nonce: None });
    }
    for _ in 0..NONCES_MAX {
        let nonce = *random_secret();
        if target.is_hit_by(&target.challenge(nonce)?) {
            return Ok(AuditRequest { provider, nonce: Some(HEXLOWER.encode(&nonce)) });
        }
    }
    bail!("no challenge was found that reads the damaged byte")
}
