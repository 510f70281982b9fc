//! The command line as clap sees it: names, flags, help. What the commands do is in `commands`.

pub mod drive;
pub mod plugin;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Encrypted files on disks that other people lend, proven and paid for, without a company.
#[derive(Debug, Parser)]
#[command(name = "commonhold", version, about, max_term_width = 100)]
pub struct Cli {
    /// The node's data directory.
    #[arg(long, global = true, env = "COMMONHOLD_DATA_DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,
    /// Print one JSON document instead of lines for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines are written to standard error: text or json. Without it, what the configuration says.
    #[arg(long, global = true, env = "COMMONHOLD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<crate::config::LogFormat>,
    /// Which log lines: a level (error, warn, info, debug, trace), or directives like
    /// "warn,commonhold_net=debug". Without it, what the configuration says.
    #[arg(long, global = true, env = "COMMONHOLD_LOG", value_name = "FILTER", value_parser = crate::logs::filter)]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

fn default_data_dir() -> PathBuf {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("share")));
    base.unwrap_or_default().join("commonhold")
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a data directory: keys, recovery phrase, API token, commented configuration.
    Init(Init),
    /// Run the node of the data directory in the foreground.
    Up(Up),
    /// Say how the running node is.
    Status,
    /// Print the link to the web app of the running node, or open it.
    Web {
        /// Open it in the browser.
        #[arg(long)]
        open: bool,
    },
    /// Store files and folders.
    Put(drive::Put),
    /// Fetch a file or folder.
    Get(drive::Get),
    /// Make a folder of the drive like one of this machine; what is unchanged is not sent.
    Sync(drive::Sync),
    /// List a folder.
    Ls(drive::Ls),
    /// Search names below a folder.
    Find(drive::Find),
    /// Say how much is below a path.
    Du {
        /// A path in the drive.
        #[arg(default_value = "/", value_parser = drive::drive_path)]
        path: String,
    },
    /// Write a file, or some of its bytes, to standard output.
    Cat(drive::Cat),
    /// Make folders.
    Mkdir {
        /// Paths in the drive.
        #[arg(required = true, value_parser = drive::drive_path)]
        paths: Vec<String>,
        /// Accepted because people type it: folders above are made anyway.
        #[arg(short, long)]
        parents: bool,
    },
    /// Move or rename a file or folder; nothing is sent again.
    Mv(drive::Move),
    /// Copy a file or folder; nothing is sent again.
    Cp(drive::Copy),
    /// Move files and folders to the bin, or remove them for good.
    Rm(drive::Rm),
    /// Look into the bin, restore from it, empty it.
    #[command(subcommand)]
    Bin(drive::Bin),
    /// List the versions of a file.
    Versions {
        /// A file of the drive.
        #[arg(value_parser = drive::drive_path)]
        path: String,
    },
    /// Make an earlier version of a file the current one.
    Restore(drive::Restore),
    /// Give out a link to a file or folder that opens in a browser.
    Share(drive::Share),
    /// List the links that were given out.
    Shares,
    /// Revoke a link.
    Unshare {
        /// The link, its id, or the first digits of that.
        id: String,
    },
    /// Fetch what somebody else's link shows. Your own node reads and verifies it; no gateway is trusted.
    Open(drive::Open),
    /// Look after the drive: its redundancy, and what other devices wrote.
    #[command(subcommand)]
    Drive(drive::Drive),
    /// Say where the S3 interface is, and manage its keys.
    S3 {
        /// Without more, where it is.
        #[command(subcommand)]
        command: Option<drive::S3>,
    },
    /// Say which links this node's gateway does not serve.
    #[command(subcommand)]
    Gateway(Gateway),
    /// List the nodes that the running node knows.
    Peers,
    /// Challenge providers to prove that they hold what they signed for.
    #[command(subcommand)]
    Audit(Audit),
    /// Give segments that lack chunks their chunks back.
    #[command(subcommand)]
    Repair(Repair),
    /// Look after the lent disk.
    #[command(subcommand)]
    Store(Store),
    /// Read the node's signed ledger, or check anybody's.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Try whether alerts arrive.
    #[command(subcommand)]
    Alerts(Alerts),
    /// Write policies of your own, check and sign plugins, and let them decide where data goes, how it
    /// travels and what it costs.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Start a local network of provider nodes and one owner, until Ctrl-C or SIGTERM.
    Devnet(Devnet),
    /// Show the whole life of some files on a local network, every step verified.
    Demo(Demo),
}

/// What to do about alerts.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Alerts {
    /// Send a message to the address of the table `alerts`, and say how that went.
    Test,
}

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Lend this much disk, like "500 GiB".
    #[arg(long, value_name = "SIZE")]
    pub provide: Option<crate::config::ByteSize>,
    /// Keep chunks in this folder, on another disk say; without it, in the data directory.
    #[arg(long, value_name = "FOLDER")]
    pub store_dir: Option<PathBuf>,
    /// Join the network through this node: a multiaddr that ends in /p2p/PEER_ID. May be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub bootstrap: Vec<crate::config::Multiaddr>,
    /// Listen here instead of on port 4701 of all interfaces. May be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<crate::config::Multiaddr>,
    /// Loopback address of the local API.
    #[arg(long, value_name = "ADDRESS")]
    pub api: Option<crate::config::LoopbackAddress>,
    /// Ask nothing: what no flag says is the default. Without a terminal nothing is asked anyway.
    #[arg(long)]
    pub defaults: bool,
    /// Take the identity from a recovery phrase, read from the terminal or from standard input.
    #[arg(long)]
    pub restore: bool,
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Stop when standard input ends: for programs that start nodes and must not leave any behind.
    #[arg(long)]
    pub stop_with_stdin: bool,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Audit every provider now.
    Now {
        /// Only this one.
        #[arg(long, value_name = "PEER_ID")]
        provider: Option<String>,
        /// Use this nonce (64 hexadecimal digits) instead of a random one, which makes the drawn
        /// leaves known beforehand: to repeat or to plan an audit.
        #[arg(long, value_name = "HEX")]
        nonce: Option<String>,
    },
    /// Show what audits found, of others' disks and of this one, from the node's ledger; whether the
    /// node runs or not.
    History {
        /// Only of this provider.
        #[arg(long, value_name = "PEER_ID")]
        provider: Option<commonhold_format::ids::NodeId>,
        /// Only under this contract; the first digits are enough.
        #[arg(long, value_name = "CONTRACT")]
        contract: Option<String>,
        /// Show at most this many, the newest.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Write one audit with its evidence into a file that anybody can check with `audit verify`.
    Bundle {
        /// The contract; the first digits are enough.
        contract: String,
        /// The audit's number under the contract.
        epoch: u64,
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Check an audit again from its file and the two parties' keys alone: which leaves had to be shown,
    /// and whether they were. Needs no node and no data directory.
    Verify {
        /// A file that `audit bundle` wrote.
        file: PathBuf,
        /// The owner's party, as you know it from elsewhere (64 hexadecimal digits).
        #[arg(long, value_name = "PARTY")]
        owner: Option<commonhold_format::ids::PartyId>,
        /// The provider's party.
        #[arg(long, value_name = "PARTY")]
        provider: Option<commonhold_format::ids::PartyId>,
    },
}

/// `repair …`
#[derive(Debug, Subcommand)]
pub enum Repair {
    /// Look at every segment now.
    Now {
        /// Count a holder as gone after this long out of reach, like "24 h"; without it, holders
        /// that are out of reach now count as gone.
        #[arg(long, value_name = "DURATION")]
        absent_after: Option<crate::config::Span>,
    },
}

/// `gateway …`
#[derive(Debug, Subcommand)]
pub enum Gateway {
    /// Serve a link to nobody any more.
    Block {
        /// The link or its id. What stands behind a # sign is neither needed nor kept.
        link: String,
        /// Why, for yourself.
        #[arg(long, default_value = "")]
        remark: String,
    },
    /// Serve a link again.
    Unblock {
        /// The link or its id.
        link: String,
    },
    /// List the links that are not served.
    Blocked,
}

/// `store …`
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Read everything and check packs, index, inventories and accounts against each other; whether
    /// the node runs or not. Changes nothing.
    Check,
    /// Make the index anew from the packs alone, when it is lost or damaged. Stop the node first.
    RebuildIndex,
    /// Give up for good what this node's disk has lost. Goes on with the store that is in its folder now,
    /// an older copy say, or with a new one where the folder is empty. The node signs nothing any more
    /// under the contracts that it lost chunks of, and says so to their owners. Stop the node first.
    AcceptLoss,
    /// Empty the trash of what has been there for its term, and free what nothing needs any more.
    /// The running node does it by itself now and then.
    Compact,
    /// Read everything now, find rot, and tell the owners. The running node does it by itself, at
    /// the rate in its configuration.
    Scrub,
}

/// `ledger …`
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Show notes and balances.
    Show {
        /// Begin at this note.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Show at most this many notes.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1000))]
        count: u64,
    },
    /// Show what you and others owe each other, as it follows from the notes.
    Balance,
    /// Show who may come to owe this provider how much, and who is not served.
    Credit,
    /// Say that somebody has paid you, outside of this program; their node countersigns it.
    Paid {
        /// Who paid (64 hexadecimal digits).
        payer: commonhold_format::ids::PartyId,
        /// How much, in credits: "25" or "0.5".
        credits: crate::config::Credits,
        /// Hash of an outside document (64 hexadecimal digits), an invoice's say.
        #[arg(long, value_name = "HEX")]
        reference: Option<String>,
        /// The payer's node, when it is not connected.
        #[arg(long, value_name = "PEER_ID")]
        node: Option<commonhold_format::ids::NodeId>,
    },
    /// Answer to somebody for what a third party owes it; its node countersigns it.
    Trust {
        /// To whom (64 hexadecimal digits).
        creditor: commonhold_format::ids::PartyId,
        /// For whose debt (64 hexadecimal digits).
        debtor: commonhold_format::ids::PartyId,
        /// Up to how much, in credits; 0 takes an earlier line back.
        credits: crate::config::Credits,
        /// For how long, like "30 d".
        #[arg(long = "for", value_name = "DURATION", default_value = "365 d")]
        term: crate::config::Span,
        /// The creditor's node, when it is not connected.
        #[arg(long, value_name = "PEER_ID")]
        node: Option<commonhold_format::ids::NodeId>,
    },
    /// Check a ledger from its first note: signatures, amounts, audits, and say what could not be
    /// checked. Needs no node.
    Verify {
        /// A bundle or a piece of evidence, a folder of tiles, a node's data directory, or the address
        /// of a log that is served as tiles; without it, this node's own ledger.
        what: Option<String>,
        /// It must be the ledger of this party (64 hexadecimal digits).
        #[arg(long, value_name = "PARTY")]
        party: Option<commonhold_format::ids::PartyId>,
    },
    /// Write everything that a stranger needs to check this ledger into one file.
    Bundle {
        /// The file; it must not exist.
        file: PathBuf,
    },
    /// Write the ledger for programs of others: the books of this node's party, or every note.
    Export {
        /// hledger, beancount or csv for double-entry books; jsonl for the notes.
        #[arg(long)]
        format: commonhold_ledger::export::Format,
        /// Write to this file, which must not exist, instead of to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Prove that a note is in a ledger, as a C2SP tlog-proof that carries the note; with --json, as
    /// hashes.
    Prove {
        /// The note, from 0.
        index: u64,
        /// In the ledger's first so many notes instead of all that its head covers; only with --json.
        #[arg(long, value_name = "NOTES")]
        size: Option<u64>,
        /// The ledger, as `ledger verify` takes it; without it, this node's own.
        #[arg(long, value_name = "LEDGER")]
        of: Option<String>,
    },
    /// Prove that a ledger only grew between two sizes.
    ProveConsistency {
        /// The smaller number of notes, at least 1.
        old: u64,
        /// The larger one; without it, all that the ledger's head covers.
        new: Option<u64>,
        /// The ledger, as `ledger verify` takes it; without it, this node's own.
        #[arg(long, value_name = "LEDGER")]
        of: Option<String>,
    },
    /// Hold two ledgers beside each other: forks, contradictions and missing receipts, each written as
    /// a piece of evidence that `ledger verify` confirms. Needs no node.
    Compare {
        /// One ledger, as `ledger verify` takes it.
        a: String,
        /// The other.
        b: String,
        /// Folder for pieces of evidence; by default the working directory.
        #[arg(long, value_name = "FOLDER")]
        evidence: Option<PathBuf>,
    },
}

/// Flags of `devnet`.
#[derive(Debug, Args)]
pub struct Devnet {
    /// Number of provider nodes.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// Folder for the data directories and devnet.json; made if missing. A network that was there
    /// before is started again with its data.
    #[arg(long)]
    pub dir: PathBuf,
    /// Disk that each provider lends.
    #[arg(long, default_value = "10 GiB", value_name = "SIZE")]
    pub disk: crate::config::ByteSize,
    /// Let every node serve its ledger as tiles, on a free port of loopback that devnet.json tells.
    #[arg(long)]
    pub ledgers: bool,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Files and folders to store; without any, the project's own source tree.
    pub files: Vec<PathBuf>,
    /// Keep the network's folder instead of removing it at the end, and print where it is.
    #[arg(long)]
    pub keep: bool,
}
