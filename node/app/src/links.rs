//! Links that this owner gave out, and what this node does for those who open anybody's.
//!
//! Invariant: a link's record always leads to what stands under the shared path now, or is revoked; records
//! are written anew when that changes and renewed while they are open. Nobody is served a segment that the
//! link's own record does not cover. Secrets stand in the answer to their owner and nowhere else.

pub mod blocked;
mod give;
pub mod revoked;
mod serve;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use commonhold_format::keys::RootSecret;
use commonhold_format::link::{CoverList, LinkId, LinkRecord};
use commonhold_format::record::link_key;
use commonhold_gateway::ApiFault;
use commonhold_net::Net;

use crate::api::OwnerHalf;
use crate::clock::unix_seconds;
use blocked::Blocked;
use revoked::Revoked;

/// How long the gateway uses a record that was found before it looks for a newer one: so long a link that
/// was revoked may live on there.
const FRESH: Duration = Duration::from_secs(5);
/// Links whose records and cover lists are kept at hand.
const KNOWN_MAX: usize = 256;

/// See the module.
pub struct Links {
    net: Net,
    root: Arc<RootSecret>,
    owner: OwnerHalf,
    /// Where links point when nobody says otherwise.
    base: String,
    /// Largest file that a drop box takes, bytes.
    deposit_max: u64,
    known: Mutex<HashMap<LinkId, Known>>,
    /// Held while shares are written.
    writing: tokio::sync::Mutex<()>,
    /// A record could not be announced: all are announced again soon.
    behind: tokio::sync::Notify,
    /// What this node's gateway does not serve.
    blocked: Blocked,
    /// Links that were taken back, and whose drive does not say so yet.
    revoked: Revoked,
}

#[derive(Clone)]
struct Known {
    record: Arc<LinkRecord>,
    cover: Option<Arc<CoverList>>,
    found: Instant,
}

impl Links {
    /// Links of the owner of `root`, through `owner`'s half once that is open.
    pub fn new(
        net: Net,
        root: Arc<RootSecret>,
        owner: OwnerHalf,
        base: String,
        deposit_max: u64,
        blocked: Blocked,
        revoked: Revoked,
    ) -> Self {
        Self {
            net,
            root,
            owner,
            base,
            deposit_max,
            known: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            behind: tokio::sync::Notify::new(),
            blocked,
            revoked,
        }
    }

    /// What the operator should know.
    pub fn problem(&self) -> Option<String> {
        self.blocked.problem()
    }

    /// Refuses what the gateway's operator does not want served.
    fn serves(&self, link: &LinkId) -> Result<(), ApiFault> {
        if self.blocked.contains(link) {
            return Err(ApiFault::new("blocked", "the operator of this node does not serve this link"));
        }
        Ok(())
    }

    /// The newest record of a link that can be found and used now.
    async fn usable(&self, link: LinkId) -> Result<Known, ApiFault> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&link).cloned();
        let known = match known.filter(|known| known.found.elapsed() < FRESH) {
            Some(known) => known,
            None => self.look_up(link).await?,
        };
        match known.record.usable(unix_seconds()) {
            Ok(_) => Ok(known),
            Err(error) => Err(ApiFault::new("gone", error.to_string())),
        }
    }

    async fn look_up(&self, link: LinkId) -> Result<Known, ApiFault> {
        let found = self.net.find(link_key(&link)).await;
        let found = found.map_err(|error| ApiFault::new("unavailable", error.to_string()))?;
        let Some(bytes) = found else {
            if !self.net.peers().await.iter().any(|peer| peer.connected) {
                return Err(ApiFault::new(
                    "unavailable",
                    "this node reaches no other one yet: try again soon",
                ));
            }
            return Err(ApiFault::not_found("no node knows this link"));
        };
        let record = LinkRecord::decode(&bytes)
            .ok()
            .filter(|record| record.id == link)
            .ok_or_else(|| ApiFault::not_found("no node knows this link"))?;
        Ok(self.remember(record))
    }

    /// Keeps a record at hand, unless a newer one is.
    fn remember(&self, record: LinkRecord) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = known.get_mut(&record.id)
            && held.record.sequence >= record.sequence
        {
            held.found = Instant::now();
            return held.clone();
        }
        if known.len() >= KNOWN_MAX
            && let Some(oldest) = known.iter().min_by_key(|(_, held)| held.found).map(|(id, _)| *id)
        {
            known.remove(&oldest);
        }
        let fresh = Known { record: Arc::new(record), cover: None, found: Instant::now() };
        known.insert(fresh.record.id, fresh.clone());
        fresh
    }

    fn keep_cover(&self, link: LinkId, sequence: u64, cover: &Arc<CoverList>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = known.get_mut(&link).filter(|held| held.record.sequence == sequence) {
            held.cover = Some(cover.clone());
        }
    }
}
