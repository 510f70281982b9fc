//! Heads of ledgers: this node's own are shown, published and cosigned by others; those of others are
//! checked, kept and cosigned (spec/ledger.md, "Witnesses").
//!
//! Invariant: this node cosigns a head only when it continues every head of that ledger that it saw,
//! and only after that head is on its disk. A fork leaves a file of evidence that anybody can check.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use commonhold_format::ids::{NodeId, PartyId};
use commonhold_format::log::TileId;
use commonhold_format::note::{SignedNote, party_of};
use commonhold_format::record::{decode_ledger_head, encode_ledger_head, ledger_key};
use commonhold_format::statement::Checkpoint;
use commonhold_format::wire::{Refusal, Request, Response};
use commonhold_gateway::LedgerPages;
use commonhold_ledger::Ledger;
use commonhold_ledger::compare::Evidence;
use commonhold_ledger::heads::{HEADS_MAX, HEADS_OF_STRANGERS_MAX, Heads, Seen};
use commonhold_net::Net;
use data_encoding::HEXLOWER;
use futures::StreamExt;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::clock::unix_seconds;
use crate::datadir::write_durably;
use crate::vault::Vault;

/// How often the head is shown again, when nothing calls for it sooner.
const ROUND: Duration = Duration::from_secs(30);
/// Pause after a receipt was settled, so that the heads of several go together.
const GATHER: Duration = Duration::from_millis(500);
/// Rounds between two looks at the heads that others publish.
const LOOK_ROUNDS: u64 = 20;
/// Most peers that are asked for a cosignature in a round; a head has room for 15.
const WITNESSES_MAX: usize = 15;
/// Peers that are asked at the same time.
const PARALLEL: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub struct Witness {
    /// This node's ledger.
    pub ledger: Ledger,
    /// Heads of others.
    pub heads: Arc<Heads>,
    /// Contracts, which say who a counterparty is.
    pub vault: Arc<Vault>,
    /// The network.
    pub net: Net,
    /// Signs cosignatures.
    pub party: Arc<commonhold_format::keys::PartyKey>,
    /// Where evidence of forks is written.
    pub evidence: PathBuf,
    /// Cosign for strangers?
    pub for_others: bool,
    /// Told when a receipt was settled, or when somebody looked at the ledger.
    pub settled: Notify,
    /// Files of evidence of forks ([`known_forks`], and those that came since).
    pub forks: Mutex<Vec<PathBuf>>,
    /// Ledgers that showed a head with a wrong proof, and no right one since.
    pub unproven: Mutex<BTreeSet<String>>,
}

type Refused = (Refusal, String);

/// How the name of a file with evidence of a fork begins.
const FORK_PREFIX: &str = "fork-";

/// The evidence of forks that was found before this node was started.
pub fn known_forks(evidence: &Path) -> Vec<PathBuf> {
    let Ok(files) = std::fs::read_dir(evidence) else { return Vec::new() };
    let is_one = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(FORK_PREFIX) && name.ends_with(".tar")
    };
    files.filter_map(|file| Some(file.ok()?.path())).filter(is_one).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "an internal task failed".to_owned())
}

/// Parties with which this node has a contract. Blocks on the disk.
fn counterparties(vault: &Vault) -> HashSet<PartyId> {
    let Ok(store) = vault.store() else { return HashSet::new() };
    let contracts = store.contracts().into_iter().filter_map(|id| store.contract(&id));
    contracts.flat_map(|state| [state.contract.owner, state.contract.provider]).collect()
}

impl Witness {
    /// Answers a request to cosign.
    pub async fn cosign(
        &self,
        from: NodeId,
        checkpoint: &[u8],
        old: u64,
        proof: Vec<[u8; 32]>,
    ) -> Result<Response, Refused> {
        let mut note =
            SignedNote::parse(checkpoint).map_err(|error| (Refusal::Invalid, error.to_string()))?;
        let (head, party, node) = Checkpoint::of_ledger(&note).map_err(|why| (Refusal::Forbidden, why))?;
        if node != from {
            return Err((Refusal::Forbidden, "the head is of another node's ledger".to_owned()));
        }
        let vault = self.vault.clone();
        let parties = blocking(move || counterparties(&vault)).await.map_err(|why| (Refusal::Other, why))?;
        let is_counterparty = parties.contains(&party);
        if !self.for_others && !is_counterparty {
            return Err((Refusal::Terms, "this node cosigns for those it has contracts with".to_owned()));
        }
        let origin = head.origin.clone();
        let room = if is_counterparty { HEADS_MAX } else { HEADS_OF_STRANGERS_MAX };
        match self.take(&note, old, proof, room).await.map_err(|why| (Refusal::Other, why))? {
            Seen::Continues => {}
            Seen::Elsewhere { size } => return Ok(Response::Cosigned { size, checkpoint: Vec::new() }),
            Seen::Older { size } => {
                return Err((Refusal::Conflict, format!("a head of {size} entries was seen before")));
            }
            Seen::Unproven(why) => return Err((Refusal::Conflict, why)),
            Seen::Forked(_) => {
                return Err((Refusal::Conflict, format!("{origin} has two histories; this is kept")));
            }
            Seen::Full => return Err((Refusal::Full, "too many ledgers are watched here".to_owned())),
        }
        if !note.cosign(&self.party, unix_seconds()) {
            return Err((Refusal::Invalid, "the head has no room for another signature".to_owned()));
        }
        Ok(Response::Cosigned { size: head.size, checkpoint: note.to_bytes() })
    }

    /// The proof that this node's own ledger only grew.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Response, Refused> {
        let published = self.published().map_or(0, |head| head.size);
        if old == 0 || old > new {
            return Err((Refusal::Invalid, "the older head comes first and has an entry".to_owned()));
        }
        let proof = (new <= published).then(|| self.ledger.consistency(old, new)).flatten();
        let unknown = || (Refusal::Unknown, format!("{published} entries are published"));
        proof.map(|proof| Response::Consistency { proof }).ok_or_else(unknown)
    }

    fn published(&self) -> Option<Checkpoint> {
        Checkpoint::from_text(self.ledger.published()?.text()).ok()
    }

    /// The nodes of those parties, as far as contracts and receipts name them.
    fn counterparty_nodes(&self) -> HashSet<NodeId> {
        let Ok(store) = self.vault.store() else { return HashSet::new() };
        let me = self.net.node();
        let contracts = store.contracts().into_iter().filter_map(|id| store.contract(&id));
        let nodes = contracts.flat_map(|state| {
            [Some(state.contract.node), state.receipt.map(|(receipt, _)| receipt.owner_node)]
        });
        nodes.flatten().filter(|node| *node != me).collect()
    }

    async fn take(
        &self,
        note: &SignedNote,
        old: u64,
        proof: Vec<[u8; 32]>,
        room: usize,
    ) -> Result<Seen, String> {
        let (heads, taken) = (self.heads.clone(), note.clone());
        let seen = blocking(move || heads.take(&taken, old, &proof, room))
            .await?
            .map_err(|error| error.to_string())?;
        let origin = || Checkpoint::from_text(note.text()).map(|head| head.origin).unwrap_or_default();
        let unproven = || self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        match &seen {
            Seen::Forked(evidence) => self.keep_fork(&origin(), evidence),
            Seen::Unproven(why) => {
                tracing::error!(origin = origin(), why, "a ledger does not continue the head that was seen");
                unproven().insert(origin());
            }
            Seen::Continues => {
                unproven().remove(&origin());
            }
            Seen::Elsewhere { .. } | Seen::Older { .. } | Seen::Full => {}
        }
        Ok(seen)
    }

    fn keep_fork(&self, origin: &str, evidence: &Evidence) {
        let mut bytes = Vec::new();
        if let Err(why) = evidence.write(&mut bytes) {
            tracing::error!(why, "evidence of a fork could not be written");
            return;
        }
        // One file for each ledger: whoever has forked it once may do so again and again.
        let file =
            self.evidence.join(format!("{FORK_PREFIX}{}.tar", HEXLOWER.encode(&Sha256::digest(origin)[..8])));
        let mut forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
        if forks.contains(&file) {
            return;
        }
        let kept = std::fs::create_dir_all(&self.evidence)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(write_durably(&file, &bytes, 0o644)?));
        match kept {
            Ok(()) => tracing::error!(file = %file.display(), %evidence, "a ledger was forked"),
            Err(error) => {
                tracing::error!(%error, %evidence, "a ledger was forked, and the evidence could not be kept")
            }
        }
        forks.push(file);
    }

    /// Shows the head again and again: to the DHT, and to peers for their cosignatures.
    pub async fn run(&self) {
        let mut sizes: HashMap<NodeId, u64> = HashMap::new();
        let mut announced = String::new();
        for round in 0u64.. {
            if let Err(why) = self.show(&mut sizes, &mut announced).await {
                tracing::warn!(why, "the ledger's head could not be shown");
            }
            if round % LOOK_ROUNDS == LOOK_ROUNDS - 1 {
                self.look().await;
            }
            tokio::select! {
                () = tokio::time::sleep(ROUND) => {}
                () = self.settled.notified() => tokio::time::sleep(GATHER).await,
            }
        }
    }

    async fn show(&self, sizes: &mut HashMap<NodeId, u64>, announced: &mut String) -> Result<(), String> {
        let ledger = self.ledger.clone();
        let note = blocking(move || ledger.publish()).await?.map_err(|error| error.to_string())?;
        let head = Checkpoint::from_text(note.text()).map_err(|error| error.to_string())?;
        if head.size == 0 {
            return Ok(());
        }
        let cosigned: HashSet<PartyId> =
            note.signatures().iter().filter_map(|line| party_of(&line.name)).collect();
        let peers = self.net.peers().await.into_iter().filter(|peer| peer.connected).map(|peer| peer.node);
        // Those that gave it already need not be asked: their cosignature is on the head.
        let room = WITNESSES_MAX.saturating_sub(cosigned.len());
        let mut peers: Vec<NodeId> = peers.filter(|node| sizes.get(node) != Some(&head.size)).collect();
        // Counterparties first: a head has room for a few, and strangers may be many.
        let counterparties = self.counterparty_nodes();
        peers.sort_by_key(|node| !counterparties.contains(node));
        let asked: Vec<(NodeId, u64)> =
            peers.into_iter().take(room).map(|node| (node, sizes.get(&node).copied().unwrap_or(0))).collect();
        let mut answers = futures::stream::iter(asked)
            .map(|(node, old)| {
                let (note, size) = (&note, head.size);
                async move { (node, self.ask(node, note, size, old).await) }
            })
            .buffer_unordered(PARALLEL);
        while let Some((node, answer)) = answers.next().await {
            match answer {
                Ok(size) => {
                    sizes.insert(node, size);
                }
                Err(why) => tracing::debug!(%node, why, "no cosignature"),
            }
        }
        let shown = self.ledger.published().unwrap_or_else(|| note.clone());
        let text = String::from_utf8_lossy(&shown.to_bytes()).into_owned();
        if *announced != text {
            let published = self.net.publish(ledger_key(&self.net.node()), encode_ledger_head(&shown)).await;
            if published.is_ok() {
                *announced = text;
            }
        }
        Ok(())
    }

    /// Asks one peer for its cosignature; answers the size of the head that it has seen now.
    async fn ask(&self, node: NodeId, note: &SignedNote, size: u64, mut old: u64) -> Result<u64, String> {
        // The second time with the proof from the head that the peer has seen.
        for _ in 0..2 {
            let proof = self.ledger.consistency(old, size).ok_or("the peer has seen a longer ledger")?;
            let request = Request::Cosign { checkpoint: note.to_bytes(), old, proof };
            match self.net.call(node, request, TIMEOUT).await.map_err(|error| error.to_string())? {
                Response::Cosigned { size, checkpoint } if checkpoint.is_empty() => old = size,
                Response::Cosigned { checkpoint, .. } => {
                    let cosigned = SignedNote::parse(&checkpoint).map_err(|error| error.to_string())?;
                    let ledger = self.ledger.clone();
                    let asked = note.clone();
                    blocking(move || {
                        // The peer's own, which is one: it was asked for no others.
                        let new =
                            cosigned.signatures().iter().filter(|line| !asked.signatures().contains(line));
                        match new.filter_map(|line| party_of(&line.name)).next() {
                            Some(party) => ledger.add_cosignature(&cosigned, &party).map(|_| ()),
                            None => Ok(()),
                        }
                    })
                    .await?
                    .map_err(|error| error.to_string())?;
                    return Ok(size);
                }
                Response::Refused { message, .. } => return Err(message),
                _ => return Err("its answer does not fit the request".to_owned()),
            }
        }
        Err("the peer has seen two ends of this ledger".to_owned())
    }

    /// Looks at the heads that counterparties publish, whether they continue those seen here.
    pub async fn look(&self) {
        let nodes = self.counterparty_nodes();
        for node in nodes {
            if let Err(why) = self.look_at(node).await {
                tracing::warn!(%node, why, "its published ledger does not continue the one seen here");
            }
        }
    }

    async fn look_at(&self, node: NodeId) -> Result<(), String> {
        let Ok(Some(record)) = self.net.find(ledger_key(&node)).await else { return Ok(()) };
        let (head, found, note) = decode_ledger_head(&record).map_err(|error| error.to_string())?;
        if found != node {
            return Err("the record is of another node".to_owned());
        }
        let old = self.heads.last(&head.origin).map_or(0, |(last, _)| last.size);
        let proof = if old == 0 || old >= head.size {
            Vec::new()
        } else {
            let request = Request::Consistency { old, new: head.size };
            match self.net.call(node, request, TIMEOUT).await {
                Ok(Response::Consistency { proof }) => proof,
                Ok(Response::Refused { message, .. }) => return Err(message),
                Ok(_) => return Err("it gave no proof".to_owned()),
                // Nobody is there to prove anything.
                Err(_) => return Ok(()),
            }
        };
        match self.take(&note, old, proof, HEADS_MAX).await? {
            Seen::Continues | Seen::Older { .. } | Seen::Elsewhere { .. } | Seen::Full => Ok(()),
            Seen::Unproven(why) => Err(why),
            Seen::Forked(evidence) => Err(evidence.to_string()),
        }
    }

    /// What the operator has to know.
    pub fn problems(&self) -> Vec<String> {
        let forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
        let say = |file: &PathBuf| {
            format!(
                "somebody forked its ledger: `commonhold ledger verify {}` shows who; deal with it no more",
                file.display()
            )
        };
        let unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        let doubt = |origin: &String| {
            format!(
                "{origin} shows a ledger that does not continue the one it showed before, and proves nothing: it is \
                 cosigned no more; get a copy of both with `commonhold ledger bundle` and compare them"
            )
        };
        forks.iter().map(say).chain(unproven.iter().map(doubt)).collect()
    }

    /// How many parties cosigned the head that is shown.
    pub fn cosigners(&self) -> u64 {
        let Some(note) = self.ledger.published() else { return 0 };
        note.signatures().iter().filter(|line| party_of(&line.name).is_some()).count() as u64
    }
}

/// The ledger as everybody may see it.
pub struct Pages(pub Ledger);

impl LedgerPages for Pages {
    fn checkpoint(&self) -> BoxFuture<'_, Result<Vec<u8>, String>> {
        Box::pin(async move { Ok(self.0.published().ok_or("nothing is published yet")?.to_bytes()) })
    }

    fn tile(&self, tile: TileId) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        let ledger = self.0.clone();
        Box::pin(async move {
            blocking(move || ledger.published_tile(&tile)).await?.map_err(|error| error.to_string())
        })
    }
}
