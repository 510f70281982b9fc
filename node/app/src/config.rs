//! `commonhold.toml`: what an operator may set, with defaults, and errors that name file and line.
//!
//! Invariant: a [`Config`] in memory has been checked whole; a misspelt key, a bad size, duration
//! or address never gets further than [`Config::load`]. Not here: keys and tokens, which have
//! files of their own (see [`crate::datadir`]).

mod alerting;
mod logging;
mod serving;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use commonhold_engine::credit::CreditRules;
use commonhold_format::ids::PartyId;
use commonhold_format::record::Region;
use commonhold_format::statement::{AMOUNT_MAX, Prices};
use serde::{Deserialize, Serialize};

/// Everything that `commonhold.toml` may say. Each table and key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How this node is reached and whom it knows.
    pub network: NetworkConfig,
    /// The local HTTP API.
    pub api: ApiConfig,
    /// Where chunks and contracts are kept, and how they are looked after.
    pub store: StoreSettings,
    /// Lending disk to others.
    pub provider: ProviderConfig,
    /// Keeping one's own files.
    pub owner: OwnerConfig,
    /// The signed ledger, and what others see of it.
    pub ledger: LedgerConfig,
    /// The history of what this node decided.
    pub journal: JournalConfig,
    /// Pages of links, for everybody.
    pub gateway: GatewayConfig,
    /// Files for programs that speak S3.
    pub s3: S3Config,
    /// What those need who watch the node.
    pub metrics: MetricsConfig,
    /// Log lines.
    pub log: LogConfig,
    /// What the operator is told of without looking.
    pub alerts: AlertsConfig,
}

pub use self::alerting::{AlertsConfig, HookUrl};
pub use self::logging::{LogConfig, LogFormat, LogLevel};
pub use self::serving::{GatewayConfig, MetricsConfig, S3Config};

/// Table `[network]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Multiaddrs to listen on.
    pub listen: Vec<Multiaddr>,
    /// Multiaddrs, each ending in `/p2p/PEER_ID`, of nodes to join the network through.
    pub bootstrap: Vec<Multiaddr>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let listen = ["/ip4/0.0.0.0/udp/4701/quic-v1", "/ip4/0.0.0.0/tcp/4701"];
        Self { listen: listen.map(|address| Multiaddr(address.to_owned())).to_vec(), bootstrap: vec![] }
    }
}

/// Table `[api]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Loopback address of the local API; port 0 takes any free port.
    pub listen: LoopbackAddress,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { listen: LoopbackAddress(SocketAddr::from(([127, 0, 0, 1], 4780))) }
    }
}

/// Table `[store]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// The store's folder, on a disk of its own for example; relative to the data directory. By
    /// default `store`.
    pub dir: PathBuf,
    /// How long a chunk that no contract holds any more stays in the trash.
    pub trash_term: Term,
    /// MiB that the scrub reads in a second; 0 for never.
    pub scrub_rate: u32,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { dir: PathBuf::from("store"), trash_term: Term(7 * DAY_SECONDS), scrub_rate: 8 }
    }
}

/// Table `[provider]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Lend disk to others?
    pub enabled: bool,
    /// How much of it.
    pub disk: ByteSize,
    /// Micro-credits per GiB stored for 30 days.
    pub storage_microcredits_per_gib_month: u64,
    /// Micro-credits per GiB sent to an owner.
    pub egress_microcredits_per_gib: u64,
    /// Micro-credits per passed audit.
    pub audit_microcredits: u64,
    /// The longest contract that is accepted.
    pub longest_term: Span,
    /// How long an epoch is: for it the gift budget is, and so long an owner may go without signing.
    pub epoch: Span,
    /// Micro-credits by which uncovered debts of all owners together may grow in an epoch.
    pub gift_microcredits_per_epoch: u64,
    /// How long the data of an owner that is stopped is kept.
    pub arrears_term: Span,
    /// Most micro-credits that an owner may hold back until a contract ends.
    pub hold_microcredits_max: u64,
    /// Most micro-credits for which the pricing policy may answer, all parties together, beyond
    /// `trusted`.
    pub policy_trust_max_microcredits: u64,
    /// The country where the node says that it is.
    pub region: Option<Country>,
    /// Parties for whom the operator itself answers.
    pub trusted: Vec<Trusted>,
}

/// Table `[[provider.trusted]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// Whose debts.
    pub party: Party,
    /// Up to how many micro-credits.
    pub limit_microcredits: u64,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        let prices = Prices::default();
        Self {
            enabled: false,
            disk: ByteSize(100 << 30),
            storage_microcredits_per_gib_month: prices.storage_microcredits_per_gib_month,
            egress_microcredits_per_gib: prices.egress_microcredits_per_gib,
            audit_microcredits: prices.audit_microcredits,
            longest_term: Span(366 * DAY_SECONDS),
            epoch: Span(7 * DAY_SECONDS),
            gift_microcredits_per_epoch: 10_000_000,
            arrears_term: Span(90 * DAY_SECONDS),
            hold_microcredits_max: 0,
            policy_trust_max_microcredits: 0,
            region: None,
            trusted: Vec::new(),
        }
    }
}

impl ProviderConfig {
    /// How much credit is given.
    pub fn credit(&self) -> CreditRules {
        CreditRules {
            gift_microcredits: self.gift_microcredits_per_epoch,
            epoch_seconds: self.epoch.0,
            trusted: self.trusted.iter().map(|it| (it.party.0, it.limit_microcredits)).collect(),
            policy_trust_max: self.policy_trust_max_microcredits,
        }
    }

    /// The prices as contracts carry them.
    pub fn prices(&self) -> Prices {
        Prices {
            storage_microcredits_per_gib_month: self.storage_microcredits_per_gib_month,
            egress_microcredits_per_gib: self.egress_microcredits_per_gib,
            audit_microcredits: self.audit_microcredits,
        }
    }
}

/// Table `[owner]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnerConfig {
    /// Keep files through this node?
    pub enabled: bool,
    /// Mean time between two audits of one provider; the times themselves are drawn.
    pub audit_interval: Span,
    /// How long a provider may be out of reach before its chunks are made again elsewhere.
    pub absent_after: Span,
    /// Time between two looks at the redundancy of all segments.
    pub repair_interval: Span,
    /// Term of a new contract.
    pub term: Span,
    /// Micro-credits to hold back until a contract ends, where the provider allows it.
    pub hold_microcredits: u64,
    /// Most earlier versions of a file that are kept; 0 for none.
    pub keep_versions: u32,
    /// How long what was removed stays in the bin; 0 for until that is emptied.
    pub keep_removed: Span,
    /// What was read last stays in memory, still sealed, up to this size.
    pub cache: ByteSize,
}

impl Default for OwnerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            audit_interval: Span(DAY_SECONDS),
            absent_after: Span(DAY_SECONDS),
            repair_interval: Span(3600),
            term: Span(180 * DAY_SECONDS),
            hold_microcredits: 0,
            keep_versions: 32,
            keep_removed: Span(30 * DAY_SECONDS),
            cache: ByteSize(64 << 20),
        }
    }
}

/// Table `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// Where the ledger is served to everybody as tiles over HTTP; nowhere without it. Port 0 takes any
    /// free port.
    pub listen: Option<SocketAddr>,
    /// Cosign the heads of ledgers of nodes with which there is no contract?
    pub witness_others: bool,
    /// How long the evidence of audits is kept after both have signed a receipt that counts them.
    pub keep_evidence: Term,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { listen: None, witness_others: true, keep_evidence: Term(90 * DAY_SECONDS) }
    }
}

/// Table `[journal]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JournalConfig {
    /// How long a decision is kept; none is with no time.
    pub keep: Term,
    /// Most bytes of all of it; nothing is noted with none.
    pub size: ByteSize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { keep: Term(90 * DAY_SECONDS), size: ByteSize(64 << 20) }
    }
}

impl JournalConfig {
    /// Whether nothing is noted.
    pub fn is_off(&self) -> bool {
        self.keep.0 == 0 || self.size.0 == 0
    }
}

const DAY_SECONDS: u64 = 86_400;

/// Why a configuration is refused: one sentence with the file, the line and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The file is not a valid configuration.
    #[error("{file}, {message}")]
    Invalid {
        /// The file.
        file: String,
        /// `line N: …`, with what is allowed.
        message: String,
    },
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, the line and what is allowed there.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { file: name.clone(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Invalid { file: name, message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = parse_strict(text)?;
        let line_of =
            |key: &str| 1 + text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or(0);
        if config.network.listen.is_empty() {
            return Err(format!("line {}: listen needs at least one address", line_of("listen")));
        }
        if config.provider.enabled && config.provider.disk.0 < DISK_MIN {
            return Err(format!(
                "line {}: disk is {}, at least {} are needed to lend",
                line_of("disk"),
                config.provider.disk,
                ByteSize(DISK_MIN)
            ));
        }
        if !config.journal.is_off() && config.journal.size.0 < JOURNAL_MIN {
            return Err(format!(
                "line {}: size of the journal is {}, at least {} are needed, or \"0 B\" for none",
                line_of("size"),
                config.journal.size,
                ByteSize(JOURNAL_MIN)
            ));
        }
        if let Some(without) = config.network.bootstrap.iter().find(|address| !address.0.contains("/p2p/")) {
            return Err(format!(
                "line {}: the bootstrap address {:?} must end in /p2p/PEER_ID",
                line_of("bootstrap"),
                without.0
            ));
        }
        if !(1..=99).contains(&config.alerts.disk_percent) {
            let line = line_of("disk_percent");
            return Err(format!(
                "line {line}: disk_percent is {}, 1 to 99 make sense",
                config.alerts.disk_percent
            ));
        }
        let url = config.alerts.url.as_ref();
        if url.is_some_and(|url| !url.is_https()) && config.alerts.secret_file.is_some() {
            let (host, _) = url.map_or(("", 0), |url| url.host_and_port());
            let is_here =
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
            if !is_here {
                let line = line_of("secret_file");
                return Err(format!(
                    "line {line}: secret_file needs an url of https://, or of this machine: anybody on the way could read it"
                ));
            }
        }
        Ok(config)
    }

    /// The commented file that `init` writes; loading it gives this configuration back.
    pub fn to_commented_toml(&self) -> String {
        let list = |addresses: &[Multiaddr]| {
            let quoted: Vec<String> = addresses.iter().map(|address| format!("{:?}", address.0)).collect();
            format!("[{}]", quoted.join(", "))
        };
        let Self { network, api, store, provider, owner, ledger, journal, gateway, s3, metrics, log, alerts } =
            self;
        format!(
            r#"# Configuration of a Commonhold node. Every key may be left out; its default then holds.
# Sizes: "500 GiB" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB). Durations: "24 h" (s, min, h, d).

[network]
# Where this node listens: QUIC and TCP, as multiaddrs. Port 0 takes any free port.
listen = {listen}
# Nodes to join the network through, each as "/ip4/…/udp/…/quic-v1/p2p/PEER_ID" or with /dns4/.
bootstrap = {bootstrap}

[api]
# Loopback address of the local API that the command line uses. Its token is in the file api.token.
listen = "{api}"

[store]
# The folder of chunks and contracts, on the disk that is lent; relative to this directory. The node
# notices when another disk, or none, is mounted there.
dir = {store_dir:?}
# How long a chunk that no contract holds any more stays in the trash before its space is freed.
trash_term = "{trash_term}"
# MiB per second at which everything is read again and again to find rot; 0 for never.
scrub_rate = {scrub_rate}

[provider]
# Lend disk to others and earn credits?
enabled = {provider_enabled}
# How much disk to lend, records and unused parts included.
disk = "{disk}"
# Prices, in millionths of a credit: per GiB kept for 30 days, per GiB sent, per passed audit.
storage_microcredits_per_gib_month = {storage}
egress_microcredits_per_gib = {egress}
audit_microcredits = {audit}
# The longest contract that is accepted.
longest_term = "{longest_term}"
# Credit. Whoever has earned here, paid ahead, or has somebody answer for it, owes up to that. All others
# share a gift budget in each epoch: micro-credits by which their debts together may grow.
epoch = "{epoch}"
gift_microcredits_per_epoch = {gift}
# An owner that signs no receipt for an epoch, or owes more than is covered, is not served. Its data is
# kept for this long and then given up.
arrears_term = "{arrears_term}"
# Most micro-credits that an owner may hold back until a contract ends.
hold_microcredits_max = {hold_max}
# Most micro-credits for which a pricing policy may answer, all parties together. At 0 it can give nobody
# more than you do yourself.
policy_trust_max_microcredits = {policy_trust_max}
# The country where this node stands, as two capital letters of ISO 3166-1. Owners may spread their data by
# it, and everybody can read it; without it the node says nothing.
{region}
# For whom you answer yourself; may be repeated.
{trusted}

[owner]
# Keep files through this node?
enabled = {owner_enabled}
# Mean time between two audits of one provider (the times themselves are drawn at random).
audit_interval = "{audit_interval}"
# How long a provider may be out of reach before its chunks are made again elsewhere.
absent_after = "{absent_after}"
# Time between two looks at the redundancy of everything stored.
repair_interval = "{repair_interval}"
# Term of a new contract.
term = "{term}"
# Micro-credits to hold back until a contract ends; providers refuse more than they allow.
hold_microcredits = {hold}
# Most earlier versions of a file that are kept; 0 for none.
keep_versions = {keep_versions}
# How long what was removed stays in the bin; "0 s" for until you empty it.
keep_removed = "{keep_removed}"
# What was read last stays in memory, still sealed, up to this size.
cache = "{cache}"

[gateway]
# Serve the pages of links, yours and others', to everybody's browsers on this address. Browsers decrypt only
# on pages of https, or of the machine itself: put a web server with a certificate in front.
{gateway_listen}
# How others reach that: what your links begin with.
{gateway_base}
# Bytes a second for one client, and for one link.
client_rate = "{client_rate}"
link_rate = "{link_rate}"
# Largest file that a drop box of yours takes.
drop_max = "{drop_max}"
# Does a web server in front of this one say who the client is (X-Forwarded-For)?
trust_proxy = {trust_proxy}

[s3]
# Loopback address at which your files are a bucket for each folder at the top of the drive, for programs
# that speak S3. Make keys with `commonhold s3 key new`.
{s3_listen}

[metrics]
# /healthz, /readyz and /metrics are on the local API's address, without its token. Serve these three on this
# address, too: everybody who reaches it learns how the node is, and nothing of any file.
{metrics_listen}
# Names, beside addresses and localhost, by which that may be asked.
names = {metrics_names:?}

[log]
# Log lines go to standard error: "text" for people, or "json", one document in each line.
format = "{log_format}"
# From which level on: "error", "warn", "info", "debug", "trace".
level = "{log_level}"

[alerts]
# Send a message to this address when something is the matter, and when it is over: http or https.
{alerts_url}
# The first line of this file, relative to this directory, is sent in this header.
{alerts_secret}
secret_header = {secret_header:?}
# How long something has to be the matter before it is told.
settle = "{settle}"
# Percent of the lent disk from which on it is said to be filling.
disk_percent = {disk_percent}
# After how long without a request a provider that has contracts is said to be silent.
silent_after = "{silent_after}"

[ledger]
# Serve this node's ledger to everybody, as tiles over HTTP (c2sp.org/tlog-tiles), on this address. It
# names the parties of contracts, sizes, times and amounts; no file and no name.
{ledger_listen}
# Cosign heads of the ledgers of nodes with which there is no contract.
witness_others = {witness_others}
# How long the evidence of audits is kept after both parties have signed a receipt that counts them.
keep_evidence = "{keep_evidence}"

[journal]
# What this node asked of its policies and what they answered, how transfers went, and contracts, so that
# plugins can be tried on it with `plugin backtest`. It names peers, sizes, prices and times; no file. It is
# for this node alone. How long and how many bytes of it are kept; "0 s" or "0 B" for none.
keep = "{journal_keep}"
size = "{journal_size}"
"#,
            listen = list(&network.listen),
            bootstrap = list(&network.bootstrap),
            api = api.listen.0,
            store_dir = store.dir.display().to_string(),
            trash_term = store.trash_term,
            scrub_rate = store.scrub_rate,
            provider_enabled = provider.enabled,
            disk = provider.disk,
            storage = provider.storage_microcredits_per_gib_month,
            egress = provider.egress_microcredits_per_gib,
            audit = provider.audit_microcredits,
            longest_term = provider.longest_term,
            epoch = provider.epoch,
            gift = provider.gift_microcredits_per_epoch,
            arrears_term = provider.arrears_term,
            hold_max = provider.hold_microcredits_max,
            policy_trust_max = provider.policy_trust_max_microcredits,
            region = match &provider.region {
                Some(region) => format!("region = \"{}\"", region.0),
                None => "# region = \"DE\"".to_owned(),
            },
            trusted = trusted_tables(&provider.trusted),
            hold = owner.hold_microcredits,
            owner_enabled = owner.enabled,
            audit_interval = owner.audit_interval,
            absent_after = owner.absent_after,
            repair_interval = owner.repair_interval,
            term = owner.term,
            keep_versions = owner.keep_versions,
            keep_removed = owner.keep_removed,
            cache = owner.cache,
            gateway_listen = match &gateway.listen {
                Some(address) => format!("listen = \"{address}\""),
                None => "# listen = \"127.0.0.1:4780\"".to_owned(),
            },
            gateway_base = match &gateway.base {
                Some(base) => format!("base = {base:?}"),
                None => "# base = \"https://drive.example.org\"".to_owned(),
            },
            client_rate = gateway.client_rate,
            link_rate = gateway.link_rate,
            drop_max = gateway.drop_max,
            trust_proxy = gateway.trust_proxy,
            s3_listen = match &s3.listen {
                Some(address) => format!("listen = \"{}\"", address.0),
                None => "# listen = \"127.0.0.1:4782\"".to_owned(),
            },
            metrics_listen = match &metrics.listen {
                Some(address) => format!("listen = \"{address}\""),
                None => "# listen = \"0.0.0.0:4783\"".to_owned(),
            },
            metrics_names = metrics.names,
            log_format = log.format,
            log_level = log.level,
            alerts_url = match &alerts.url {
                Some(url) => format!("url = {:?}", url.text()),
                None => "# url = \"https://example.org/hook\"".to_owned(),
            },
            alerts_secret = match &alerts.secret_file {
                Some(file) => format!("secret_file = {:?}", file.display().to_string()),
                None => "# secret_file = \"alerts.secret\"".to_owned(),
            },
            secret_header = alerts.secret_header,
            settle = alerts.settle,
            disk_percent = alerts.disk_percent,
            silent_after = alerts.silent_after,
            ledger_listen = match &ledger.listen {
                Some(address) => format!("listen = \"{address}\""),
                None => "# listen = \"0.0.0.0:4781\"".to_owned(),
            },
            witness_others = ledger.witness_others,
            keep_evidence = ledger.keep_evidence,
            journal_keep = journal.keep,
            journal_size = journal.size,
        )
    }
}

/// Reads TOML that an operator wrote.
///
/// # Errors
/// `line N: …`, with what is allowed there.
pub fn parse_strict<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        format!("line {line}: {}", error.message().trim().replace('\n', " "))
    })
}

/// The tables of those whom the operator trusts, or how one would look.
fn trusted_tables(trusted: &[Trusted]) -> String {
    if trusted.is_empty() {
        return "# [[provider.trusted]]\n# party = \"64 hexadecimal digits\"\n# limit_microcredits = 1000000"
            .to_owned();
    }
    let table = |it: &Trusted| {
        format!(
            "[[provider.trusted]]\nparty = \"{}\"\nlimit_microcredits = {}",
            it.party.0, it.limit_microcredits
        )
    };
    trusted.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// The least disk that can be lent: below it not even a few segments fit.
pub const DISK_MIN: u64 = 16 << 20;
/// The least bytes of a journal: a few long lines fit.
const JOURNAL_MIN: u64 = 1 << 20;

/// Implements `Deserialize` through `FromStr` for values written as strings.
macro_rules! from_text {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A party, written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party(pub PartyId);
from_text!(Party);

impl FromStr for Party {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is not a party; write its 64 hexadecimal digits"))
    }
}

/// A country, written as two capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(pub Region);
from_text!(Country);

impl FromStr for Country {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// A number of bytes, written like `"500 GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ByteSize(pub u64);
from_text!(ByteSize);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is not a size; write a whole number and a unit, like \"500 GiB\" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)"
            )
        };
        let (number, factor) = number_and_unit(text, &SIZE_UNITS).ok_or_else(refused)?;
        Ok(Self(number.checked_mul(factor).ok_or_else(refused)?))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest_unit(f, self.0, &SIZE_UNITS[..4], "B")
    }
}

/// An amount of credits, written like `"25"` or `"0.5"`, kept in microcredits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credits(pub u64);

impl FromStr for Credits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("{text:?} is not an amount; write credits, with at most 6 decimals, like \"0.5\"");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 {
            return Err(refused());
        }
        let whole: u64 = whole.parse().map_err(|_| refused())?;
        let part: u64 = format!("{part:0<6}").parse().map_err(|_| refused())?;
        let micro = whole.checked_mul(1_000_000).and_then(|whole| whole.checked_add(part));
        micro.filter(|micro| *micro <= AMOUNT_MAX).map(Self).ok_or_else(refused)
    }
}

/// A duration in whole seconds, written like `"24 h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);
from_text!(Span);

const SPAN_UNITS: [(&str, u64); 4] = [("min", 60), ("d", DAY_SECONDS), ("h", 3600), ("s", 1)];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is not a duration; write a whole number and a unit, like \"24 h\" (s, min, h, d)"
            )
        };
        let (number, factor) = number_and_unit(text, &SPAN_UNITS).ok_or_else(refused)?;
        match number.checked_mul(factor) {
            Some(seconds) if seconds > 0 => Ok(Self(seconds)),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_largest_unit(f, self.0, &[("d", DAY_SECONDS), ("h", 3600), ("min", 60)], "s")
    }
}

/// A duration in whole seconds that may be none, written like `"7 d"` or `"0 s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);
from_text!(Term);

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "0 s" { Ok(Self(0)) } else { text.parse().map(|Span(seconds)| Self(seconds)) }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Span(self.0).fmt(f)
    }
}

fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    Some((number.parse().ok()?, factor))
}

/// Writes `value` in the largest unit that divides it, so that nothing is rounded.
fn write_largest_unit(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    units: &[(&str, u64)],
    smallest: &str,
) -> fmt::Result {
    match units.iter().find(|(_, factor)| value > 0 && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{} {unit}", value / factor),
        None => write!(f, "{value} {smallest}"),
    }
}

/// A libp2p multiaddr, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiaddr(pub String);
from_text!(Multiaddr);

impl FromStr for Multiaddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        commonhold_net::check_address(text).map_err(|why| {
            format!("{text:?} is not an address ({why}); write it like \"/ip4/0.0.0.0/udp/4701/quic-v1\", \"/ip4/0.0.0.0/tcp/4701\" or \"/dns4/NAME/tcp/4701/p2p/PEER_ID\"")
        })?;
        Ok(Self(text.to_owned()))
    }
}

/// A loopback socket address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackAddress(pub SocketAddr);
from_text!(LoopbackAddress);

impl FromStr for LoopbackAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self(address)),
            _ => Err(format!(
                "{text:?} is not a loopback address with a port; write it like \"127.0.0.1:4780\" or \"[::1]:4780\""
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credits_are_read_exactly() {
        for (text, micro) in [("25", 25_000_000), ("0.5", 500_000), ("1.000001", 1_000_001), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Credits(micro)), "{text}");
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "9223372036855", "1 000", "١"] {
            assert!(text.parse::<Credits>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_written_file_loads_as_the_defaults() {
        let config = Config::default();
        assert_eq!(Config::parse(&config.to_commented_toml()).unwrap(), config);
        assert_eq!(Config::parse("").unwrap(), config);
    }

    #[test]
    fn mistakes_name_the_line_and_what_is_allowed() {
        let cases = [
            ("[provider]\nenabled = true\ndsik = \"1 GiB\"\n", "line 3", "disk"),
            ("[provider]\ndisk = \"5 gigs\"\n", "line 2", "500 GiB"),
            ("\n[network]\nlisten = [\"localhost:4001\"]\n", "line 3", "/ip4/"),
            ("[network]\nbootstrap = [\"/ip4/10.0.0.1/tcp/4001\"]\n", "line 2", "/p2p/"),
            ("[api]\nlisten = \"0.0.0.0:80\"\n", "line 2", "127.0.0.1:4780"),
            ("[owner]\naudit_interval = \"soon\"\n", "line 2", "24 h"),
            ("[ownr]\n", "line 1", "owner"),
            ("[store]\ntrash_term = \"week\"\n", "line 2", "24 h"),
            ("[store]\nscrub_rate = -1\n", "line 2", "u32"),
            ("[store]\n\nfolder = \"x\"\n", "line 3", "trash_term"),
            ("[network]\nlisten = []\n", "line 2", "at least one"),
            ("[provider]\nenabled = true\ndisk = \"1 KiB\"\n", "line 3", "16 MiB"),
            ("[journal]\nsize = \"64 KiB\"\n", "line 2", "1 MiB"),
            ("[journal]\nkeep = \"0 d\"\n", "line 2", "24 h"),
            ("[alerts]\nurl = \"ftp://example.org\"\n", "line 2", "https://"),
            ("[alerts]\ndisk_percent = 100\n", "line 2", "1 to 99"),
            ("[alerts]\nurl = \"http://example.org/\"\nsecret_file = \"x\"\n", "line 3", "https://"),
            ("[log]\nformat = \"xml\"\n", "line 2", "json"),
            ("[log]\nlevel = \"loud\"\n", "line 2", "trace"),
            ("[metrics]\nlisten = 4783\n", "line 2", "socket address"),
            ("[provider]\nregion = \"de\"\n", "line 2", "two capital letters"),
            ("[provider]\npolicy_trust_max_microcredits = -1\n", "line 2", "u64"),
        ];
        for (text, line, allowed) in cases {
            let message = Config::parse(text).unwrap_err();
            assert!(message.starts_with(&format!("{line}:")), "{text:?}: {message}");
            assert!(message.contains(allowed), "{text:?}: {message}");
        }
    }

    #[test]
    fn what_is_set_for_policies_survives_its_text() {
        let text = "[provider]\nregion = \"DE\"\npolicy_trust_max_microcredits = 7\n";
        let config = Config::parse(text).unwrap();
        let region = config.provider.region.map(|it| it.0.to_string());
        assert_eq!((region.as_deref(), config.provider.policy_trust_max_microcredits), (Some("DE"), 7));
        assert_eq!(Config::parse(&config.to_commented_toml()).unwrap(), config);
    }

    #[test]
    fn what_is_set_for_alerts_and_watching_survives_its_text() {
        let text = "[alerts]\nurl = \"https://example.org/a?b=c\"\nsecret_file = \"a \\\"b\"\nsettle = \"5 s\"\n\
                    [metrics]\nlisten = \"[::1]:4783\"\nnames = [\"a.lan\"]\n[log]\nformat = \"json\"\nlevel = \"trace\"\n";
        let config = Config::parse(text).unwrap();
        assert!(config.alerts.url.as_ref().unwrap().is_https());
        assert_eq!(config.metrics.names, ["a.lan"]);
        assert_eq!(Config::parse(&config.to_commented_toml()).unwrap(), config);
    }

    #[test]
    fn a_trash_without_a_term_can_be_asked_for() {
        let config = Config::parse("[store]\ntrash_term = \"0 s\"\ndir = \"/mnt/disk \\\"1\\\"\"\n").unwrap();
        assert_eq!(config.store.trash_term, Term(0));
        assert_eq!(Config::parse(&config.to_commented_toml()).unwrap(), config);
        assert!("0 d".parse::<Term>().is_err());
    }

    #[test]
    fn a_journal_can_be_turned_off() {
        for text in ["[journal]\nsize = \"0 B\"\n", "[journal]\nkeep = \"0 s\"\n"] {
            let config = Config::parse(text).unwrap();
            assert!(config.journal.is_off(), "{text}");
            assert_eq!(Config::parse(&config.to_commented_toml()).unwrap(), config);
        }
        assert!(!Config::default().journal.is_off());
    }

    proptest! {
        #[test]
        fn sizes_and_durations_survive_their_text(value in 1u64..) {
            prop_assert_eq!(ByteSize(value).to_string().parse::<ByteSize>().unwrap(), ByteSize(value));
            prop_assert_eq!(Span(value).to_string().parse::<Span>().unwrap(), Span(value));
        }
    }
}
