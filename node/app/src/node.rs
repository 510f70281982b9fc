//! A running node: opens the rooms of one data directory, wires them together and runs until it is
//! told to stop.
//!
//! Invariant: the node is ready (its API URL is written) only when its listeners are bound, its
//! rooms are open and its provider answers. Not here: any decision of the rooms.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use commonhold_drive::{Drive, DriveOptions, HeadBoard};
use commonhold_engine::admission::AdmissionRules;
use commonhold_format::keys::{DeviceSecret, PartyKey, RootSecret};
use commonhold_format::policy::Kind;
use commonhold_format::record::{NodeRecord, Offer, Region, head_key, node_key};
use commonhold_format::statement::ledger_origin;
use commonhold_format::wire::{self, Refusal};
use commonhold_gateway::Token;
use commonhold_ledger::Ledger;
use commonhold_ledger::heads::Heads;
use commonhold_net::{Incoming, Net, NetConfig};
use commonhold_store::StoreConfig;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};

use crate::alerts::Alerts;
use crate::api::{Api, OwnerHalf};
use crate::clock::{moment, unix_milliseconds, unix_seconds};
use crate::config::{Config, OwnerConfig};
use crate::credit::{self, Creditor};
use crate::datadir::{DataDir, Places, write_durably};
use crate::directory::Directory;
use crate::hourly::Hourly;
use crate::journal::Journal;
use crate::link::Link;
use crate::links::Links;
use crate::links::blocked::Blocked;
use crate::links::revoked::Revoked;
use crate::metrics::Interfaces;
use crate::money::Purse;
use crate::owner::{Owner, custody};
use crate::plugins::{self, Plugins};
use crate::policies::Policies;
use crate::provider::{DamageReport, Probing, Provider, Quoter, RECEIPTS_PER_HOUR_MAX};
use crate::serving::Served;
use crate::turns::Turns;
use crate::upkeep::{self, Damage};
use crate::vault::{self, Outside, Vault};
use crate::verdicts::Verdicts;
use crate::witness::{Pages, Witness, known_forks};

/// Requests of other nodes that are worked on at the same time: so many about chunks, and so many others.
const SERVING_MAX: usize = 64;
/// Requests of either kind that wait for it; beyond it they are refused as busy.
const WAITING_MAX: usize = 256;
/// A node record is valid for this long, and written anew at a quarter of it.
const RECORD_SECONDS: u64 = 4 * 3600;
/// Pause between two looks for other nodes, while this node is new or knows too few providers.
const SEARCH_SOON: Duration = Duration::from_millis(300);
/// How often it looks otherwise.
const SEARCH_LATER: Duration = Duration::from_secs(60);
/// How long a node is new.
const SEARCH_YOUNG: Duration = Duration::from_secs(20);
/// With fewer reachable providers than the smallest code needs, nothing can be stored.
const PROVIDERS_ENOUGH: usize = 6;
/// Difference of clocks that a contract or revision may show.
const CLOCK_SKEW_SECONDS: u64 = 600;

/// One in so many bytes that are lent is kept for small chunks, so that files can be removed when the rest
/// is full (spec/store.md, "Put"), and at least [`SMALL_CHUNKS_BYTES_MIN`].
const SMALL_CHUNKS_SHARE: u64 = 256;

/// Reports of damaged chunks that wait for the owner's half.
const REPORTS_MAX: usize = 16;

/// Drive heads, published in and found through the DHT.
struct DhtHeads {
    net: Net,
    key: [u8; 32],
}

impl HeadBoard for DhtHeads {
    fn publish(&self, head: Vec<u8>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move { self.net.publish(self.key, head).await.map_err(|error| error.to_string()) })
    }

    fn find(&self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move { self.net.find(self.key).await.map_err(|error| error.to_string()) })
    }
}

/// Runs the node of `dir` until `stop` resolves. Prints `ready: URL` once it is.
///
/// # Errors
/// A sentence that says what could not be opened and what to do.
pub async fn run(dir: &Path, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let home = DataDir::open(dir)?;
    let config = home.config.clone();
    let party = Arc::new(home.root.party_key());
    let places = home.places.clone();

    let (folder, keeping) = (places.journal(), config.journal.clone());
    let opened = blocking(move || Journal::open(&folder, &keeping)).await?;
    // A node can do without.
    let journal = Arc::new(opened.unwrap_or_else(|error| {
        tracing::warn!(%error, "the journal cannot be written; decisions are not noted");
        Journal::off()
    }));
    let plugins = Arc::new(Plugins::new(&places, party.id(), true));
    for kind in Kind::ALL {
        plugins.seat(kind).observe(journal.clone());
    }
    plugins.start_soon().await;
    let policies = plugins.policies();

    let api_address = config.api.listen.0;
    let listener = tokio::net::TcpListener::bind(api_address).await.with_context(|| {
        format!(
            "the local API cannot listen on {api_address}: set another address under [api] in {}",
            places.config().display()
        )
    })?;
    let (net, incoming) = commonhold_net::start(NetConfig {
        peer_seed: home.device.peer_seed(),
        listen: config.network.listen.iter().map(|address| address.0.clone()).collect(),
        bootstrap: config.network.bootstrap.iter().map(|address| address.0.clone()).collect(),
        dht_server: config.provider.enabled,
        policy: policies.transport.clone(),
        moment,
    })
    .await
    .with_context(|| format!("see [network] in {}", places.config().display()))?;

    let link = Arc::new(Link::open(places.traffic()));
    let (ledger_dir, ledger_key) = (places.ledger(), home.root.party_key());
    let origin = ledger_origin(&ledger_key.id(), &net.node());
    let (store_config, outside) = (store_config(&config, &places), Outside::of(&places));
    let (ledger, vault) = blocking(move || -> Result<_> {
        let ledger = Ledger::open(&ledger_dir, ledger_key, origin)?;
        let vault = Arc::new(Vault::new(store_config, outside, ledger.clone()));
        // Without the reason no one would know why; a node that lends its disk says it to everybody.
        let _ = vault.open();
        Ok((ledger, vault))
    })
    .await??;
    if let Some(why) = vault.quarantine().filter(|_| !config.provider.enabled) {
        bail!(why);
    }

    let heads_dir = places.heads();
    let witness = Arc::new(Witness {
        ledger: ledger.clone(),
        heads: Arc::new(blocking(move || Heads::open(&heads_dir)).await??),
        vault: vault.clone(),
        net: net.clone(),
        party: party.clone(),
        evidence: places.evidence(),
        for_others: config.ledger.witness_others,
        settled: tokio::sync::Notify::new(),
        forks: Mutex::new(known_forks(&places.evidence())),
        unproven: Mutex::default(),
    });

    let egress: Arc<Mutex<HashMap<_, _>>> = Arc::default();
    let creditor = Arc::new(Creditor::new(
        config.provider.credit(),
        policies.pricing.clone(),
        config.provider.arrears_term.0,
        vault.clone(),
        ledger.clone(),
        party.id(),
        egress.clone(),
        places.stopped_since(),
    ));
    let quoter = Arc::new(Quoter::new(
        config.provider.prices(),
        policies.pricing.clone(),
        vault.clone(),
        creditor.clone(),
    ));
    let record = Arc::new(Mutex::new(Vec::new()));
    let announcer = Arc::new(Announcer {
        net: net.clone(),
        vault: vault.clone(),
        device: home.device,
        party: party.clone(),
        offers: config.provider.enabled.then(|| Offers {
            quoter: quoter.clone(),
            term_seconds_max: config.provider.longest_term.0,
            region: config.provider.region.map(|it| it.0),
        }),
        record: record.clone(),
    });
    announcer.clone().write().await?;
    let purse = Arc::new(Purse {
        ledger: ledger.clone(),
        party: party.clone(),
        net: net.clone(),
        vault: vault.clone(),
        trusted: config.provider.trusted.iter().map(|it| it.party.0).collect(),
        creditor: creditor.clone(),
        turns: Default::default(),
    });

    let verdicts = {
        let (ledger, party, node) = (ledger.clone(), party.id(), net.node());
        blocking(move || Verdicts::replay(&ledger, &party, &node)).await?
    };
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let service = Arc::new(Provider {
        vault: vault.clone(),
        ledger: ledger.clone(),
        party: home.root.party_key(),
        net: net.clone(),
        link: link.clone(),
        rules: config.provider.enabled.then(|| AdmissionRules {
            // Those of the quoter are put in their place for each contract.
            prices: config.provider.prices(),
            term_seconds_max: config.provider.longest_term.0,
            clock_skew_seconds_max: CLOCK_SKEW_SECONDS,
            contract_bytes_max: config.provider.disk.0,
            hold_microcredits_max: config.provider.hold_microcredits_max,
        }),
        quoter: quoter.clone(),
        policies: policies.clone(),
        record,
        known: Mutex::new(HashMap::new()),
        egress,
        receipts: Mutex::new(Hourly::new(RECEIPTS_PER_HOUR_MAX)),
        creditor: creditor.clone(),
        purse: purse.clone(),
        journal: journal.clone(),
        progress: Mutex::new(HashMap::new()),
        turns: Turns::default(),
        probing: Probing::default(),
        damage: Damage::default(),
        ended: Arc::default(),
        witness: witness.clone(),
        verdicts,
        served: Default::default(),
        reports: config.owner.enabled.then_some(reports),
    });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(serve(service.clone(), incoming));
    tasks.spawn(link.clone().run(policies.transport.clone()));
    tasks.spawn(async move { announcer.run().await });
    tasks.spawn(look_forever(vault.clone()));
    tasks.spawn(plugins::look_forever(plugins.clone()));
    tasks.spawn({
        let witness = witness.clone();
        async move { witness.run().await }
    });
    let interfaces = Interfaces::default();
    let ledger_url = match config.ledger.listen {
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
                format!(
                    "the ledger cannot be served on {address}: set another address under [ledger] in {}",
                    places.config().display()
                )
            })?;
            let url = format!("http://{}", listener.local_addr()?);
            let pages = Arc::new(Pages(ledger.clone()));
            tasks.spawn(commonhold_gateway::serve_ledger(
                listener,
                pages,
                interfaces.ledger.clone(),
                std::future::pending(),
            ));
            Some(url)
        }
        None => None,
    };
    if config.provider.enabled {
        tasks.spawn(credit::look_forever(creditor.clone(), party.clone()));
        tasks.spawn(upkeep::tidy_forever(service.clone()));
        tasks.spawn(upkeep::scrub_forever(service.clone(), config.store.scrub_rate));
        tasks.spawn(upkeep::tell_forever(service.clone()));
    }

    let directory = Directory::new(net.clone());
    let owner: OwnerHalf = Arc::default();
    plugins.listen({
        let (owner, link, creditor) = (owner.clone(), link.clone(), creditor.clone());
        move |kind| match kind {
            Kind::Placement => {}
            Kind::Transport => link.policy_changed(),
            Kind::Pricing => {
                quoter.changed();
                creditor.ask_anew();
                if let Some((agent, _)) = owner.get() {
                    agent.ask_ceiling_anew();
                }
            }
        }
    });
    let root = Arc::new(home.root);
    let served = Served::bind(&config, &places).await?;
    let links = Arc::new(Links::new(
        net.clone(),
        root.clone(),
        owner.clone(),
        config.gateway.link_base(served.gateway_address()),
        config.gateway.drop_max.0,
        Blocked::new(places.blocked_links()),
        Revoked::open(places.revoked_links())?,
    ));
    {
        let opening = OwnerOpening {
            vault: vault.clone(),
            ledger: ledger.clone(),
            net: net.clone(),
            party: party.clone(),
            directory: directory.clone(),
            policies: policies.clone(),
            journal: journal.clone(),
            link: link.clone(),
            config: config.owner.clone(),
            keep_evidence_seconds: config.ledger.keep_evidence.0,
            places: places.clone(),
            root: root.clone(),
            half: owner.clone(),
            links: links.clone(),
        };
        if vault.store().is_ok() {
            opening.open().await?;
        }
        if config.owner.enabled {
            tasks.spawn(opening.run(reported));
        } else {
            tasks.spawn(async move { opening.opened().await });
        }
    }
    tasks.spawn(search(directory.clone()));

    let url = format!("http://{}", listener.local_addr()?);
    let token = Token::new(std::fs::read_to_string(places.token())?.trim_end().to_owned());
    let alerts = Arc::new(Alerts::open(config.alerts.clone(), places.dir()));
    let api = Arc::new(Api {
        net: net.clone(),
        provider: service,
        ledger: ledger.clone(),
        party: party.id(),
        owner: config.owner.enabled.then_some(owner.clone()),
        lends: config.provider.enabled,
        url: url.clone(),
        ledger_url,
        witness,
        creditor: config.provider.enabled.then_some(creditor),
        purse,
        plugins: plugins.clone(),
        link: link.clone(),
        directory,
        alerts: alerts.clone(),
        interfaces: interfaces.clone(),
        shown: Default::default(),
        started: Instant::now(),
        absent_after_seconds: config.owner.absent_after.0,
        keep_removed_seconds: config.owner.keep_removed.0,
        links: links.clone(),
        gateway_url: served.gateway_url.clone(),
        s3_keys: served.s3_keys.clone(),
        s3_url: served.s3_url.clone(),
    });
    tasks.spawn(alerts.run(api.clone()));
    served.run(&mut tasks, &config, links, api.clone());
    write_durably(&places.api_url(), format!("{url}\n").as_bytes(), 0o644)?;
    let _announced = Announced(places.api_url());
    println!("ready: {url}");
    tracing::info!(node = %net.node(), %url, "ready");
    let served = commonhold_gateway::serve(listener, token, api, interfaces.api, stop).await;
    tasks.shutdown().await;
    if config.owner.enabled
        && let Some((_, drive)) = owner.get()
    {
        announce_last(drive).await;
    }
    net.shutdown().await;
    blocking(move || plugins.save()).await?;
    if let Err(error) = blocking(move || link.save()).await? {
        tracing::warn!(error, "the counts of traffic were not kept");
    }
    served.context("the local API failed")
}

/// What every provider keeps for small chunks at least.
pub const SMALL_CHUNKS_BYTES_MIN: u64 = 2 << 20;

/// How the store of a data directory is opened.
pub fn store_config(config: &Config, places: &Places) -> StoreConfig {
    let allotted = if config.provider.enabled { config.provider.disk.0 } else { 0 };
    let store = StoreConfig::new(places.store(config), allotted);
    let small_chunk_bytes = (allotted / SMALL_CHUNKS_SHARE).max(SMALL_CHUNKS_BYTES_MIN);
    StoreConfig { small_chunk_bytes, trash_term_seconds: config.store.trash_term.0, ..store }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| anyhow!("an internal task failed"))
}

/// The file that says where the API is; gone when the node is.
struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        // Left behind by a kill, it is overwritten at the next start; clients then read
        // "no node is running".
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Answers other nodes. Chunks have places of their own, because they may have to wait for their turn
/// on the line, and nobody else should wait for them.
async fn serve(service: Arc<Provider>, mut incoming: mpsc::Receiver<Incoming>) {
    let (chunks, waiting_chunks) = mpsc::channel(WAITING_MAX);
    let (others, waiting_others) = mpsc::channel(WAITING_MAX);
    let sort = async move {
        while let Some(incoming) = incoming.recv().await {
            let queue = if incoming.request.is_bulk() { &chunks } else { &others };
            if let Err(mpsc::error::TrySendError::Full(incoming)) = queue.try_send(incoming) {
                let why = "this node has too much to do: try again later";
                // The peer may have gone away.
                let _ = incoming.answer.send(wire::refused(Refusal::Busy, why));
            }
        }
    };
    tokio::join!(sort, answer(service.clone(), waiting_chunks), answer(service, waiting_others));
}

/// Answers requests, a bounded number at a time.
async fn answer(service: Arc<Provider>, mut waiting: mpsc::Receiver<Incoming>) {
    let places = Arc::new(Semaphore::new(SERVING_MAX));
    while let Some(Incoming { from, request, answer }) = waiting.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let service = service.clone();
        tokio::spawn(async move {
            let response = service.answer(from, request).await;
            // The peer may have gone away.
            let _ = answer.send(response);
            drop(place);
        });
    }
}

/// Looks for other nodes: often at first and whenever too few providers are known, else now and
/// then.
async fn search(directory: Directory) {
    let begun = Instant::now();
    loop {
        directory.refresh().await;
        let refreshed = Instant::now();
        loop {
            tokio::time::sleep(SEARCH_SOON).await;
            let young = begun.elapsed() < SEARCH_YOUNG;
            let few = directory.offering().await < PROVIDERS_ENOUGH;
            if young || few || refreshed.elapsed() > SEARCH_LATER {
                break;
            }
        }
    }
}

/// Announces a head again that could not be announced when it was written, and frees what puts that
/// were given up have left behind.
async fn republish(drive: Arc<Drive>) {
    const EVERY: Duration = Duration::from_secs(120);
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = drive.republish().await {
            tracing::warn!(%error, "the drive's head could not be announced; trying again later");
        }
    }
}

/// Announces what was changed last, so that other devices see it while this one is off. What cannot be
/// announced in time is announced after the next start.
async fn announce_last(drive: &Drive) {
    const PATIENCE: Duration = Duration::from_secs(5);
    if !matches!(tokio::time::timeout(PATIENCE, drive.announce()).await, Ok(Ok(()))) {
        tracing::warn!("the drive's newest state is announced after the next start");
    }
}

/// Looks for what the owner's other devices have announced.
async fn look_for_heads(drive: Arc<Drive>) {
    const EVERY: Duration = Duration::from_secs(15);
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = drive.refresh().await {
            tracing::debug!(%error, "the drive's newest head could not be looked up");
        }
        drive.forget_contained().await;
    }
}

/// Gives up what has been in the bin for long enough.
async fn empty_bin(drive: Arc<Drive>, keep_seconds: u64) {
    const EVERY: Duration = Duration::from_secs(3600);
    if keep_seconds == 0 {
        return;
    }
    loop {
        let before = unix_milliseconds().saturating_sub(keep_seconds.saturating_mul(1000));
        match drive.empty_bin(None, i64::try_from(before).ok()).await {
            Ok((0, _)) => {}
            Ok((items, _)) => tracing::info!(items, "the bin gave up what was in it for its time"),
            Err(error) => tracing::warn!(%error, "the bin could not be looked through"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Looks now and then whether the store's disk is well, or a store that did not open does now.
async fn look_forever(vault: Arc<Vault>) {
    loop {
        tokio::time::sleep(vault::LOOK_EVERY).await;
        let looked = vault.clone();
        if let Err(error) = blocking(move || looked.look()).await {
            tracing::error!(%error, "the store's disk could not be looked at");
        }
    }
}

/// What the owner's half is opened with, as soon as the store can be used.
struct OwnerOpening {
    vault: Arc<Vault>,
    ledger: Ledger,
    net: Net,
    party: Arc<PartyKey>,
    directory: Directory,
    policies: Policies,
    journal: Arc<Journal>,
    link: Arc<Link>,
    config: OwnerConfig,
    keep_evidence_seconds: u64,
    places: Places,
    root: Arc<RootSecret>,
    half: OwnerHalf,
    links: Arc<Links>,
}

impl OwnerOpening {
    /// Opens it over the open store.
    async fn open(&self) -> Result<()> {
        let store = self.vault.store().map_err(|why| anyhow!(why))?;
        let agent = Arc::new(Owner::new(
            store,
            self.ledger.clone(),
            self.net.clone(),
            self.party.clone(),
            self.directory.clone(),
            self.policies.clone(),
            self.journal.clone(),
            self.link.clone(),
            self.config.clone(),
            self.places.evidence(),
        ));
        let keys = self.root.drive_keys();
        let heads = Arc::new(DhtHeads { net: self.net.clone(), key: head_key(&keys.drive()) });
        let options = DriveOptions {
            versions_max: self.config.keep_versions as usize,
            cache_bytes_max: usize::try_from(self.config.cache.0).unwrap_or(usize::MAX),
        };
        let custody = custody::as_custody(&agent);
        let drive = Drive::open(self.places.drive(), keys, custody, heads, options).await?;
        // Nobody else opens it.
        let _ = self.half.set((agent, Arc::new(drive)));
        Ok(())
    }

    /// Opens it when that was not possible yet. Where no files are kept, it reads what links lead to and
    /// does nothing by itself.
    async fn opened(&self) {
        while self.half.get().is_none() {
            tokio::time::sleep(SEARCH_SOON).await;
            if self.vault.store().is_ok()
                && let Err(error) = self.open().await
            {
                tracing::error!(%error, "files cannot be kept through this node yet");
                tokio::time::sleep(vault::LOOK_EVERY).await;
            }
        }
    }

    /// Runs the owner's half.
    async fn run(self, reports: mpsc::Receiver<DamageReport>) {
        self.opened().await;
        let Some((agent, drive)) = self.half.get() else { return };
        tokio::join!(
            republish(drive.clone()),
            look_for_heads(drive.clone()),
            empty_bin(drive.clone(), self.config.keep_removed.0),
            self.links.clone().follow_forever(drive.clone()),
            agent.audit_forever(),
            agent.prune_forever(self.keep_evidence_seconds),
            agent.repair_forever(),
            agent.look_for_forgotten(),
            agent.take_reports(reports),
        );
    }
}

/// Keeps this node's own record fresh, here and in the DHT.
struct Announcer {
    net: Net,
    vault: Arc<Vault>,
    device: DeviceSecret,
    party: Arc<PartyKey>,
    offers: Option<Offers>,
    record: Arc<Mutex<Vec<u8>>>,
}

/// What a provider's offer is made of, beside its free space.
struct Offers {
    quoter: Arc<Quoter>,
    term_seconds_max: u64,
    region: Option<Region>,
}

impl Announcer {
    /// Writes the record as things stand now; answers its bytes.
    async fn write(self: Arc<Self>) -> Result<Vec<u8>> {
        blocking(move || self.write_here()).await?
    }

    fn write_here(&self) -> Result<Vec<u8>> {
        let offer = self.offers.as_ref().map(|offers| Offer {
            // A disk that is not well takes nothing.
            free_bytes: self.vault.sound().map_or(0, |store| store.room()),
            prices: offers.quoter.announced(),
            term_seconds_max: offers.term_seconds_max,
            region: offers.region,
        });
        let record = NodeRecord {
            node: self.net.node(),
            party: self.party.id(),
            sequence: unix_milliseconds(),
            expires: unix_seconds() + RECORD_SECONDS,
            addresses: self.net.addresses(),
            offer,
        };
        let bytes =
            record.encode(&self.device, &self.party).map_err(|error| anyhow!("node record: {error}"))?;
        bytes.clone_into(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(bytes)
    }

    async fn run(self: Arc<Self>) {
        /// Free space changes with every chunk, so the record shown to peers is kept fresh …
        const SHOWN_EVERY: Duration = Duration::from_secs(1);
        /// … and the copy in the DHT is renewed at every so many of those turns.
        const PUBLISHED_EVERY: u64 = RECORD_SECONDS / 4 / SHOWN_EVERY.as_secs();
        let mut published = false;
        for turn in 0u64.. {
            match self.clone().write().await {
                Ok(bytes) if !published || turn.is_multiple_of(PUBLISHED_EVERY) => {
                    published = self.net.publish(node_key(&self.net.node()), bytes).await.is_ok();
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "this node's record could not be written"),
            }
            tokio::time::sleep(SHOWN_EVERY).await;
        }
    }
}
