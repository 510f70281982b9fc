//! `devnet`: a local network of real node processes, for people and programs that want to try the
//! software. Its output and `devnet.json` are a public interface.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use commonhold_client::Client;
use serde::Serialize;

use crate::children::{Child, stop_all};
use crate::cli::Devnet;
use crate::config::{ByteSize, Config, LoopbackAddress, Multiaddr};
use crate::datadir::{Places, write_durably};

/// One node as `devnet.json` describes it.
#[derive(Debug, Clone, Serialize)]
pub struct NodeEntry {
    /// `"provider"` or `"owner"`.
    pub role: &'static str,
    /// libp2p peer id.
    pub peer_id: String,
    /// Process id.
    pub pid: u32,
    /// Data directory.
    pub data_dir: PathBuf,
    /// URL of the local API.
    pub api: String,
    /// File with the API's bearer token.
    pub token_file: PathBuf,
    /// Where the node's ledger is served as tiles; only with `--ledgers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// Where the pages of links are served; of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Where S3 is served; of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<String>,
}

/// `devnet.json`.
#[derive(Debug, Serialize)]
struct Description {
    nodes: Vec<NodeEntry>,
    owner: NodeEntry,
}

/// A running local network.
pub struct Network {
    /// Folder of the data directories.
    pub dir: PathBuf,
    /// Providers, in the order of their start.
    pub providers: Vec<Member>,
    /// The owner.
    pub owner: Member,
    ledgers: bool,
}

/// A running node with a client for it.
pub struct Member {
    /// Its process.
    pub child: Child,
    /// Calls to it.
    pub client: Client,
    /// What `devnet.json` says of it.
    pub entry: NodeEntry,
}

impl Member {
    async fn of(mut child: Child, role: &'static str) -> Result<Self> {
        let client = child.ready().await?;
        let status = client.status().await?;
        let places = Places::new(&child.dir);
        let entry = NodeEntry {
            role,
            peer_id: status.peer_id,
            pid: child.pid(),
            data_dir: child.dir.clone(),
            api: status.api,
            token_file: places.token(),
            ledger: status.ledger.url,
            gateway: status.gateway,
            s3: status.s3,
        };
        Ok(Self { child, client, entry })
    }
}

fn config(bootstrap: &[String], disk: Option<ByteSize>, ledgers: bool) -> Config {
    let mut config = Config::default();
    config.network.listen = ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]
        .map(|address| Multiaddr(address.to_owned()))
        .to_vec();
    config.network.bootstrap = bootstrap.iter().cloned().map(Multiaddr).collect();
    config.api.listen = LoopbackAddress(([127, 0, 0, 1], 0).into());
    config.ledger.listen = ledgers.then_some(([127, 0, 0, 1], 0).into());
    config.provider.enabled = disk.is_some();
    config.owner.enabled = disk.is_none();
    config.gateway.listen = disk.is_none().then_some(([127, 0, 0, 1], 0).into());
    config.s3.listen = disk.is_none().then_some(LoopbackAddress(([127, 0, 0, 1], 0).into()));
    if let Some(disk) = disk {
        config.provider.disk = disk;
    }
    config
}

impl Network {
    /// Starts `providers` providers and one owner under `dir`; all know the first provider as
    /// their bootstrap address and find the others through the DHT. With `ledgers`, each serves its
    /// ledger as tiles on a free port.
    ///
    /// # Errors
    /// When a node does not start; those that did are ended.
    pub async fn start(dir: &Path, providers: usize, disk: ByteSize, ledgers: bool) -> Result<Self> {
        let first =
            Member::of(start_node(&dir.join("provider-1"), &[], Some(disk), ledgers)?, "provider").await?;
        let bootstrap = first.client.status().await?.addresses;
        let mut starting = Vec::new();
        for number in 2..=providers {
            starting.push(start_node(
                &dir.join(format!("provider-{number}")),
                &bootstrap,
                Some(disk),
                ledgers,
            )?);
        }
        let owner = start_node(&dir.join("owner"), &bootstrap, None, ledgers)?;
        let mut members = vec![first];
        for child in starting {
            members.push(Member::of(child, "provider").await?);
        }
        let owner = Member::of(owner, "owner").await?;
        Ok(Self { dir: dir.to_owned(), providers: members, owner, ledgers })
    }

    /// Adds a fresh provider that joins through any provider that still runs.
    ///
    /// # Errors
    /// When none runs or the new one does not start.
    pub async fn add_provider(&mut self, number: usize, disk: ByteSize) -> Result<()> {
        let mut bootstrap = None;
        for member in &mut self.providers {
            if member.child.is_running() {
                bootstrap = Some(member.client.status().await?.addresses);
                break;
            }
        }
        let bootstrap = bootstrap.context("no provider is left to join through")?;
        let child =
            start_node(&self.dir.join(format!("provider-{number}")), &bootstrap, Some(disk), self.ledgers)?;
        self.providers.push(Member::of(child, "provider").await?);
        Ok(())
    }

    /// Waits until the owner knows `providers` providers.
    ///
    /// # Errors
    /// After a minute without them.
    pub async fn wait_for_providers(&self, providers: usize) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let known = self
                .owner
                .client
                .peers()
                .await?
                .iter()
                .filter(|peer| peer.connected && peer.free_bytes.is_some())
                .count();
            if known >= providers {
                return Ok(());
            }
            if begun.elapsed().as_secs() > 60 {
                bail!("the owner found {known} of {providers} providers within a minute");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Ends every node in order.
    pub fn stop(&mut self) {
        let owner = std::iter::once(&mut self.owner.child);
        stop_all(owner.chain(self.providers.iter_mut().map(|member| &mut member.child)));
    }
}

/// Starts the node of `dir`: an existing one again, with new addresses to join through, or a new
/// one.
fn start_node(dir: &Path, bootstrap: &[String], disk: Option<ByteSize>, ledgers: bool) -> Result<Child> {
    let config = config(bootstrap, disk, ledgers);
    if Places::new(dir).config().exists() {
        // Ports are new at every start, so the old bootstrap addresses no longer hold.
        write_durably(&Places::new(dir).config(), config.to_commented_toml().as_bytes(), 0o644)?;
        Child::start(dir)
    } else {
        Child::create(dir, &config)
    }
}

/// Runs `devnet` until Ctrl-C or SIGTERM.
///
/// # Errors
/// When the network does not start, or a node ends by itself.
pub async fn run(flags: Devnet) -> Result<()> {
    let stop = crate::commands::stop_signal();
    tokio::pin!(stop);
    std::fs::create_dir_all(&flags.dir).with_context(|| flags.dir.display().to_string())?;
    let dir = std::fs::canonicalize(&flags.dir)?;
    let file = dir.join("devnet.json");
    // A description left by an earlier network must not be taken for this one's.
    let _ = std::fs::remove_file(&file);
    let count = usize::from(flags.nodes);
    let start = async {
        let network = Network::start(&dir, count, flags.disk, flags.ledgers).await?;
        network.wait_for_providers(count).await?;
        anyhow::Ok(network)
    };
    let mut network = tokio::select! {
        network = start => network?,
        () = &mut stop => return Ok(()),
    };
    let description = Description {
        nodes: network.providers.iter().map(|member| member.entry.clone()).collect(),
        owner: network.owner.entry.clone(),
    };
    let mut text = serde_json::to_string_pretty(&description)?;
    text.push('\n');
    write_durably(&file, text.as_bytes(), 0o644)?;
    println!("devnet: ready");
    stop.await;
    let _ = std::fs::remove_file(&file);
    tokio::task::spawn_blocking(move || network.stop()).await?;
    println!("devnet: stopped");
    Ok(())
}
