//! The local API over this node's rooms: translates between what the gateway speaks and what the
//! rooms do. No decision is made here.

mod drive;
mod notes;
mod plugins;
mod s3;
mod watch;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use commonhold_client::types;
use commonhold_drive::{Drive, DriveError, DrivePath};
use commonhold_engine::audit::State;
use commonhold_format::drive::Name;
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_format::statement::{AuditOutcome as Found, Prices, SECONDS_MAX};
use commonhold_gateway::{ApiFault, NodeApi};
use commonhold_ledger::Ledger;
use commonhold_net::Net;
use commonhold_store::{CheckReport, Role, ScrubSlice, Stop, Store, Usage};
use data_encoding::HEXLOWER;
use futures::future::BoxFuture;
use tokio::io::AsyncRead;

pub use self::drive::entry_view;
use self::notes::view_ledger;
use crate::advice::{self, Side};
use crate::alerts::Alerts;
use crate::clock::unix_seconds;
use crate::credit::Creditor;
use crate::directory::Directory;
use crate::link::Link;
use crate::links::Links;
use crate::metrics::Interfaces;
use crate::money::{Purse, Signed};
use crate::owner::{Owner, Stood};
use crate::plugins::Plugins;
use crate::progress::human;
use crate::provider::Provider;
use crate::s3_keys::S3Keys;
use crate::upkeep::{self, Damage};
use crate::vault::Vault;
use crate::verdicts::outcome;
use crate::witness::Witness;

/// Bytes of packs that a scrub goes through before it notes what it has found.
const SCRUB_PART: u64 = 16 << 20;

/// The owner's half of a node; empty until the store can be used.
pub type OwnerHalf = Arc<OnceLock<(Arc<Owner>, Arc<Drive>)>>;

/// What the API reaches.
pub struct Api {
    /// The network.
    pub net: Net,
    /// The provider's half, with chunks and contracts.
    pub provider: Arc<Provider>,
    /// The ledger.
    pub ledger: Ledger,
    /// Who signs here.
    pub party: PartyId,
    /// The owner's half, if files are kept through this node.
    pub owner: Option<OwnerHalf>,
    /// Does this node lend disk?
    pub lends: bool,
    /// Where the API listens.
    pub url: String,
    /// Where the ledger is served to everybody, if it is.
    pub ledger_url: Option<String>,
    /// Heads of ledgers, this node's own and others'.
    pub witness: Arc<Witness>,
    /// Who may come to owe how much, if disk is lent.
    pub creditor: Option<Arc<Creditor>>,
    /// Payments and trust lines.
    pub purse: Arc<Purse>,
    /// Policy plugins.
    pub plugins: Arc<Plugins>,
    /// How fast chunks go.
    pub link: Arc<Link>,
    /// Other nodes, found by walking the DHT.
    pub directory: Directory,
    /// What the operator is told.
    pub alerts: Arc<Alerts>,
    /// What each interface has answered.
    pub interfaces: Interfaces,
    /// The metrics that were shown last, and when.
    pub shown: tokio::sync::Mutex<Option<(Instant, String)>>,
    /// Since when.
    pub started: Instant,
    /// When a silent holder counts as gone.
    pub absent_after_seconds: u64,
    /// How long what was removed stays in the bin; 0 for until it is emptied.
    pub keep_removed_seconds: u64,
    /// Links that were given out, and reading those of others.
    pub links: Arc<Links>,
    /// Where pages of links are served, if they are.
    pub gateway_url: Option<String>,
    /// Access keys of S3.
    pub s3_keys: Arc<S3Keys>,
    /// Where S3 is served, if it is.
    pub s3_url: Option<String>,
}

type Answer<'a, T> = BoxFuture<'a, Result<T, ApiFault>>;
type Archive = Pin<Box<dyn AsyncRead + Send>>;

fn fault(code: &'static str, message: impl Into<String>) -> ApiFault {
    ApiFault::new(code, message)
}

fn quarantined(why: String) -> ApiFault {
    fault("quarantined", format!("this node is in quarantine: {why}"))
}

fn store_fault(error: String) -> ApiFault {
    fault("store", error)
}

/// What the drive says, as the API says it.
pub fn drive_fault(error: DriveError) -> ApiFault {
    fault(error.code(), error.to_string())
}

fn lends_nothing() -> ApiFault {
    fault("wrong_role", "this node lends no disk: set enabled = true under [provider] in commonhold.toml")
}

fn prices_view(prices: &Prices) -> types::Prices {
    types::Prices {
        storage_microcredits_per_gib_month: prices.storage_microcredits_per_gib_month,
        egress_microcredits_per_gib: prices.egress_microcredits_per_gib,
        audit_microcredits: prices.audit_microcredits,
    }
}

fn credit_view(creditor: &Creditor) -> Result<types::CreditView, String> {
    let (used, gift_microcredits) = creditor.gifts()?;
    let parties = creditor.parties()?.into_iter().map(|it| types::PartyCredit {
        party: it.party.to_string(),
        account_microcredits: it.account.to_string(),
        unsigned_microcredits: it.unsigned.to_string(),
        exposure_microcredits: it.credit.exposure.to_string(),
        own_microcredits: it.credit.own.to_string(),
        guaranteed_microcredits: it.credit.guaranteed.to_string(),
        policy_microcredits: it.credit.policy.to_string(),
        lent_microcredits: it.credit.lent.to_string(),
        uncovered_microcredits: it.credit.uncovered.to_string(),
        headroom_microcredits: it.headroom.to_string(),
        stopped: it
            .stopped
            .into_iter()
            .map(|(contract, stop)| types::Stopped { contract: contract.to_string(), why: stop.to_string() })
            .collect(),
    });
    Ok(types::CreditView {
        epoch_seconds: creditor.epoch_seconds(),
        gift_microcredits,
        gift_used_microcredits: used.to_string(),
        parties: parties.collect(),
    })
}

/// Runs blocking work of the store or ledger off the API's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiFault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| fault("internal", "an internal task failed"))
}

/// The accounts of a store.
pub fn storage(usage: &Usage) -> types::Storage {
    types::Storage {
        allotted_bytes: usage.allotted_bytes,
        used_bytes: usage.used_bytes,
        trash_bytes: usage.trash_bytes,
        dead_bytes: usage.dead_bytes,
        reserve_bytes: usage.reserve_bytes,
        free_bytes: usage.free_bytes,
        excess_bytes: usage.excess_bytes,
        pending_bytes: usage.pending_bytes,
        book_bytes: usage.book_bytes,
        chunks: usage.chunks,
        trash_chunks: usage.trash_chunks,
    }
}

/// What a check of a store has found.
pub fn store_check(report: CheckReport) -> types::StoreCheck {
    types::StoreCheck {
        packs: report.packs,
        chunks: report.chunks,
        bytes: report.bytes,
        contracts: report.contracts,
        dead_records: report.dead_records,
        junk_bytes: report.junk_bytes,
        findings: report
            .findings
            .into_iter()
            .map(|finding| types::Finding { what: finding.what, why: finding.why })
            .collect(),
        findings_total: report.findings_total,
        storage: storage(&report.usage),
    }
}

/// What to do when the disk has less than is lent.
fn short_of_space(store: &Store) -> Option<String> {
    let (room, free) = (store.room(), store.usage().free_bytes);
    (room < free).then(|| {
        format!(
            "the store's disk has room for {} of the {} that are lent and free: free space on it, or lend less",
            human(room),
            human(free)
        )
    })
}

/// How a provider stands, unless that is well and its last audit was passed.
fn standing(node: &NodeId, stood: &Stood) -> Option<types::ProviderStanding> {
    let state = stood.standing.state();
    let well = state == State::Good && stood.last.outcome == Found::Passed;
    (!well).then(|| types::ProviderStanding {
        provider: node.to_string(),
        state: state.as_str().to_owned(),
        since: stood.standing.since(),
        reason: stood.reason.to_string(),
        what_to_do: advice::to_do(stood.last.outcome, Side::Owner).to_owned(),
        contract: stood.last.contract.to_string(),
        epoch: stood.last.epoch,
        outcome: outcome(stood.last.outcome),
        evidence: stood.failed.as_ref().map(|it| HEXLOWER.encode(&it.evidence)),
    })
}

fn traffic(link: &Link) -> types::TrafficStatus {
    let (traffic, limits) = (link.traffic(), link.limits());
    types::TrafficStatus {
        sent_today_bytes: traffic.sent_today,
        received_today_bytes: traffic.received_today,
        sent_this_month_bytes: traffic.sent_this_month,
        received_this_month_bytes: traffic.received_this_month,
        hedged_chunks: link.hedges(),
        upload_limit_bytes_per_second: (limits.upload > 0).then_some(limits.upload),
        download_limit_bytes_per_second: (limits.download > 0).then_some(limits.download),
    }
}

fn scrub_status(store: &Store, damage: &Damage) -> types::ScrubStatus {
    let found = damage.scrubbed();
    // A store whose index cannot be read says so elsewhere.
    let at = store.scrub_progress().unwrap_or_default();
    types::ScrubStatus {
        began: at.began,
        done_bytes: at.done_bytes,
        laps: at.laps,
        lap_ended: found.lap_ended,
        rot: found.rot,
    }
}

/// Rot is listed up to this many chunks; all of it is told to the owners.
const ROT_MAX: usize = 1000;

fn add_slice(sum: &mut types::StoreScrub, slice: ScrubSlice) {
    sum.bytes += slice.bytes;
    sum.chunks += slice.chunks;
    sum.mended += slice.mended;
    let free = ROT_MAX.saturating_sub(sum.rot.len());
    let rot = slice.rot.into_iter().take(free);
    sum.rot.extend(rot.map(|rot| types::Finding { what: rot.chunk.to_string(), why: rot.why.to_string() }));
}

impl Api {
    fn vault(&self) -> &Vault {
        &self.provider.vault
    }

    fn store(&self) -> Result<Store, ApiFault> {
        self.vault().store().map_err(quarantined)
    }

    /// The store of a node that lends disk.
    fn lent_store(&self) -> Result<Store, ApiFault> {
        if !self.lends {
            return Err(lends_nothing());
        }
        self.store()
    }

    /// Nodes of a party: the one that is named, or those that are known.
    async fn nodes_of(&self, party: &PartyId, named: Option<NodeId>) -> Vec<NodeId> {
        if let Some(node) = named {
            return vec![node];
        }
        let mut nodes = self.provider.nodes_of(party).await;
        if let Some((owner, _)) = self.owner_half() {
            let known = owner.directory.all().into_iter().filter(|known| known.record.party == *party);
            nodes.extend(known.map(|known| known.record.node));
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    fn countersigned(&self, signed: Result<Signed, String>) -> Result<types::SignedView, ApiFault> {
        if let Some(creditor) = &self.creditor {
            creditor.changed();
        }
        let signed = signed.map_err(|why| fault("not_countersigned", why))?;
        let note = String::from_utf8_lossy(&signed.note.to_bytes()).into_owned();
        Ok(types::SignedView { note, node: signed.node.to_string() })
    }

    /// The owner's half, if there is one and it is open.
    fn owner_half(&self) -> Option<&(Arc<Owner>, Arc<Drive>)> {
        self.owner.as_ref().and_then(|half| half.get())
    }

    fn owner(&self) -> Result<&(Arc<Owner>, Arc<Drive>), ApiFault> {
        if self.owner.is_none() {
            return Err(fault(
                "wrong_role",
                "this node keeps no files: set enabled = true under [owner] in commonhold.toml",
            ));
        }
        self.store()?;
        self.owner_half().ok_or_else(|| fault("busy", "this node is still starting: try again"))
    }

    async fn describe(&self) -> Result<types::Status, ApiFault> {
        let peers = self.net.peers().await;
        let connected = peers.iter().filter(|peer| peer.connected).count() as u64;
        let mut problems = Vec::new();
        if connected == 0 {
            problems.push(
                "no other node is connected: check [network] bootstrap and this machine's network".to_owned(),
            );
        }
        let quarantine = self.vault().quarantine();
        problems.extend(quarantine.as_ref().map(|why| format!("this node is in quarantine: {why}")));
        let store = self.vault().store().ok();
        let lent = store.as_ref().filter(|_| self.lends);
        problems.extend(lent.and_then(short_of_space));
        problems.extend(self.provider.damage.problem());
        problems.extend(self.witness.problems());
        problems.extend(self.plugins.problems());
        problems.extend(self.links.problem());
        if let Some(creditor) = self.creditor.clone() {
            problems.extend(blocking(move || creditor.problems()).await?);
        }
        let audits_here = self.provider.verdicts.summary(unix_seconds()).filter(|_| self.lends);
        let mut standings = Vec::new();
        let mut drive_status = None;
        if let Some((owner, drive)) = self.owner_half() {
            let (agent, absent) = (owner.clone(), self.absent_after_seconds);
            let redundancy = blocking(move || agent.redundancy(absent)).await?;
            let (degraded_segments, segments) = (redundancy.degraded(), redundancy.segments());
            standings = owner.audited().iter().filter_map(|(node, stood)| standing(node, stood)).collect();
            let bad =
                standings.iter().filter(|it: &&types::ProviderStanding| it.state != State::Good.as_str());
            match bad.count() {
                0 => {}
                count => problems.push(format!(
                    "{count} providers are not in good standing: `commonhold audit history` says what was found"
                )),
            }
            let status = drive.status().await;
            problems.extend(status.warnings);
            problems.extend(owner.forgotten_problem());
            problems.extend(owner.shortage());
            if degraded_segments > 0 {
                problems.push(format!(
                    "{degraded_segments} of {segments} segments lack a chunk: `commonhold repair now` makes them whole"
                ));
            }
            drive_status = Some(types::DriveStatus {
                sequence: status.sequence,
                forks: status.forks.len() as u64,
                segments,
                degraded_segments,
            });
        }
        Ok(types::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: if self.lends { types::Role::Provider } else { types::Role::Owner },
            peer_id: self.net.node().to_string(),
            party: self.party.to_string(),
            addresses: self.net.addresses(),
            uptime_seconds: self.started.elapsed().as_secs(),
            api: self.url.clone(),
            quarantine,
            storage: lent.map(|store| storage(&store.usage())),
            scrub: lent.map(|store| scrub_status(store, &self.provider.damage)),
            drive: drive_status,
            contracts: store.map_or(0, |store| store.contracts().len() as u64),
            peers_connected: connected,
            connections_refused: self.net.refused_connections(),
            traffic: traffic(&self.link),
            ledger: types::LedgerHead {
                size: self.ledger.len(),
                root: HEXLOWER.encode(&self.ledger.root()),
                cosigners: self.witness.cosigners(),
                url: self.ledger_url.clone(),
            },
            standings,
            audits_here,
            problems,
            gateway: self.gateway_url.clone(),
            s3: self.s3_url.clone(),
            stage_milliseconds: self.owner_half().map_or_else(BTreeMap::new, |(owner, _)| {
                let entry = |(name, time): (&str, Duration)| {
                    (name.to_owned(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
                };
                owner.meter.totals().map(entry).collect()
            }),
        })
    }

    async fn known_peers(&self) -> Vec<types::Peer> {
        let mut peers: Vec<types::Peer> = self
            .net
            .peers()
            .await
            .into_iter()
            .map(|peer| {
                let known = self.owner_half().and_then(|(owner, _)| owner.directory.get(&peer.node));
                let offer = known.as_ref().and_then(|known| known.record.offer.as_ref());
                types::Peer {
                    peer_id: peer.node.to_string(),
                    party: known.as_ref().map(|known| known.record.party.to_string()),
                    addresses: peer.addresses,
                    connected: peer.connected,
                    round_trip_ms: peer.round_trip_ms,
                    transport: peer.transport.map(|transport| transport.to_string()),
                    free_bytes: offer.map(|offer| offer.free_bytes),
                    prices: offer.map(|offer| prices_view(&offer.prices)),
                    region: offer.and_then(|offer| offer.region).map(|region| region.to_string()),
                }
            })
            .collect();
        peers.sort_by(|a, b| a.peer_id.cmp(&b.peer_id));
        peers
    }

    fn contract_infos(store: &Store) -> Vec<types::ContractInfo> {
        store
            .contracts()
            .iter()
            .filter_map(|id| Some((id, store.contract(id)?)))
            .map(|(id, state)| {
                let revision = state.revision.as_ref().map(|(revision, _)| revision);
                let (role, counterparty) = match state.role {
                    Role::Owner => (types::Role::Owner, state.contract.provider),
                    Role::Provider => (types::Role::Provider, state.contract.owner),
                };
                types::ContractInfo {
                    contract: id.to_string(),
                    role,
                    counterparty: counterparty.to_string(),
                    provider: state.contract.node.to_string(),
                    sequence: revision.map_or(0, |revision| revision.sequence),
                    held_bytes: revision.map_or(0, |revision| revision.held_bytes),
                    held_chunks: revision.map_or(0, |revision| revision.held_chunks),
                    span: revision.map_or(0, |revision| revision.span),
                    inventory_root: revision.map_or_else(
                        || HEXLOWER.encode(&[0; 32]),
                        |revision| HEXLOWER.encode(&revision.inventory_root),
                    ),
                    next_epoch: state.next_epoch,
                    prices: prices_view(&state.contract.prices),
                }
            })
            .collect()
    }
}

impl NodeApi for Api {
    fn status(&self) -> Answer<'_, types::Status> {
        Box::pin(self.describe())
    }

    fn peers(&self) -> Answer<'_, Vec<types::Peer>> {
        Box::pin(async move { Ok(self.known_peers().await) })
    }

    fn put(&self, to: String, name: Option<String>, archive: Archive) -> Answer<'_, types::PutReport> {
        Box::pin(async move {
            let begun = Instant::now();
            let (_, drive) = self.owner()?;
            let to: DrivePath = to.parse().map_err(drive_fault)?;
            let name = match name {
                Some(name) => Some(Name::new(&name).map_err(|error| fault("bad_path", error.to_string()))?),
                None => None,
            };
            let report = drive.put_archive(&to, name, archive).await.map_err(drive_fault)?;
            Ok(types::PutReport {
                stored: report.stored,
                files: report.files,
                folders: report.folders,
                bytes: report.bytes,
                segments: report.segments,
                seconds: begun.elapsed().as_secs_f64(),
                skipped: report
                    .skipped
                    .into_iter()
                    .map(|skipped| types::Skipped { path: skipped.path, why: skipped.why })
                    .collect(),
                warnings: report.warnings,
            })
        })
    }

    fn get(&self, path: String, prefer: Option<NodeId>) -> Answer<'_, Archive> {
        Box::pin(async move {
            let (_, drive) = self.owner()?;
            let path: DrivePath = path.parse().map_err(drive_fault)?;
            drive.get_archive(&path, prefer).await.map_err(drive_fault)
        })
    }

    fn audit(&self, provider: Option<NodeId>, nonce: Option<[u8; 32]>) -> Answer<'_, types::AuditReport> {
        Box::pin(async move {
            let (owner, _) = self.owner()?;
            let audited = owner.audit_now(provider, nonce).await.map_err(|error| fault("internal", error))?;
            let audits = audited
                .into_iter()
                .map(|audited| types::Audit {
                    provider: audited.node.to_string(),
                    contract: audited.contract.to_string(),
                    epoch: audited.epoch,
                    outcome: outcome(audited.outcome),
                    leaves: u64::from(audited.report.leaves),
                    lost_chunks: audited.report.lost.iter().map(ToString::to_string).collect(),
                    held_bytes: audited.held_bytes,
                    reason: audited.reason,
                    what_to_do: audited.what_to_do.to_owned(),
                    evidence: HEXLOWER.encode(&audited.evidence),
                    took_ms: u64::try_from(audited.took.as_millis()).unwrap_or(u64::MAX),
                    repeated: audited.repeated,
                })
                .collect();
            Ok(types::AuditReport { audits })
        })
    }

    fn repair(&self, absent_after_seconds: Option<u64>) -> Answer<'_, types::RepairReport> {
        Box::pin(async move {
            let (owner, _) = self.owner()?;
            let absent = absent_after_seconds.unwrap_or(self.absent_after_seconds);
            let report = owner.repair_now(absent).await.map_err(|error| fault("internal", error))?;
            Ok(types::RepairReport {
                segments: report.segments,
                full: report.full,
                repaired_segments: report.repaired_segments,
                rebuilt_chunks: report.rebuilt_chunks,
                rebuilt_bytes: report.rebuilt_bytes,
                at_risk: report.at_risk,
                lost: report.lost,
            })
        })
    }

    fn credit(&self) -> Answer<'_, types::CreditView> {
        Box::pin(async move {
            let creditor = self.creditor.clone().ok_or_else(lends_nothing)?;
            blocking(move || credit_view(&creditor)).await?.map_err(quarantined)
        })
    }

    fn acknowledge(
        &self,
        payer: PartyId,
        microcredits: u64,
        reference: Option<[u8; 32]>,
        node: Option<NodeId>,
    ) -> Answer<'_, types::SignedView> {
        Box::pin(async move {
            let nodes = self.nodes_of(&payer, node).await;
            let signed = self.purse.acknowledge(payer, microcredits, reference.unwrap_or_default(), &nodes);
            self.countersigned(signed.await)
        })
    }

    fn trust(
        &self,
        creditor: PartyId,
        debtor: PartyId,
        limit_microcredits: u64,
        seconds: u64,
        node: Option<NodeId>,
    ) -> Answer<'_, types::SignedView> {
        Box::pin(async move {
            let nodes = self.nodes_of(&creditor, node).await;
            let ends = unix_seconds().saturating_add(seconds).min(SECONDS_MAX);
            let signed = self.purse.trust(creditor, debtor, limit_microcredits, ends, &nodes);
            self.countersigned(signed.await)
        })
    }

    fn check_store(&self) -> Answer<'_, types::StoreCheck> {
        Box::pin(async move {
            let checked = upkeep::long(self.lent_store()?, |store, stop| store.check(stop)).await;
            Ok(store_check(checked.map_err(store_fault)?))
        })
    }

    fn compact_store(&self) -> Answer<'_, types::StoreCompaction> {
        Box::pin(async move {
            let store = self.lent_store()?;
            let ended = self.provider.ended.clone();
            let tidy = move |store: &Store, stop: &Stop| upkeep::tidy(store, &ended, stop);
            let done = upkeep::long(store.clone(), tidy).await.map_err(store_fault)?;
            self.provider.damage.note_rot(&done.rot);
            Ok(types::StoreCompaction {
                deleted_bytes: done.deleted_bytes,
                copied_bytes: done.copied_bytes,
                storage: storage(&store.usage()),
            })
        })
    }

    fn scrub_store(&self) -> Answer<'_, types::StoreScrub> {
        Box::pin(async move {
            let store = self.lent_store()?;
            let mut sum = types::StoreScrub::default();
            // A lap that is under way has passed over what lies behind it.
            let begun = store.scrub_progress().map_err(|error| store_fault(error.to_string()))?;
            let mut laps = 1 + u32::from(begun.began.is_some());
            while laps > 0 {
                let slice = upkeep::long(store.clone(), |store, stop| store.scrub(SCRUB_PART, stop));
                let slice = slice.await.map_err(|why| {
                    self.provider.damage.scrub_failed(why.clone());
                    store_fault(why)
                })?;
                self.provider.damage.note(&slice);
                laps -= u32::from(slice.lap_ended);
                add_slice(&mut sum, slice);
            }
            Ok(sum)
        })
    }

    fn contracts(&self) -> Answer<'_, Vec<types::ContractInfo>> {
        Box::pin(async move { Ok(Self::contract_infos(&self.store()?)) })
    }

    fn inventory(&self, contract: ContractId, from: u64) -> Answer<'_, types::InventoryPage> {
        Box::pin(async move {
            let store = self.store()?;
            let page = blocking(move || {
                store.with_inventory(&contract, |it| it.entries_from(from, types::INVENTORY_PAGE_MAX))
            });
            let internal = |error: commonhold_store::StoreError| fault("internal", error.to_string());
            let entries = page.await?.map_err(internal)?.transpose().map_err(internal)?;
            let entries = entries.ok_or_else(|| fault("not_found", "this node has no such contract"))?;
            let entries = (from..).zip(entries).map(|(index, entry)| types::InventoryEntry {
                index,
                offset: entry.offset,
                len: u64::from(entry.len),
                chunk: entry.chunk.map(|chunk| chunk.to_string()),
            });
            Ok(types::InventoryPage { entries: entries.collect() })
        })
    }

    fn ledger(&self, from: u64, count: usize) -> Answer<'_, types::LedgerView> {
        Box::pin(async move {
            let (ledger, me) = (self.ledger.clone(), self.party);
            let view = blocking(move || view_ledger(&ledger, &me, from, count)).await?;
            // The head that is shown now has no cosignatures yet, if it is a new one.
            self.witness.settled.notify_one();
            view.map_err(|error| fault("internal", error))
        })
    }
}
