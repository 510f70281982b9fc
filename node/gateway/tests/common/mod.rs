//! A node in memory whose behaviour is chosen by the path that a call names, served by the real
//! gateway on a real socket.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

pub mod memory;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use self::memory::{Memory, rest_of_drive};
use commonhold_client::Client;
use commonhold_client::types::*;
use commonhold_format::ids::{ContractId, NodeId, PartyId};
use commonhold_gateway::{
    ApiFault, ArchiveReader, DriveApi, HealthApi, Install, Named, NodeApi, PluginApi, ReadLinkApi, RemovedTo,
    S3KeyApi, Settings, Token, serve,
};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub const MIB: u64 = 1 << 20;

/// A repair with this time never ends.
pub const ENDLESS: u64 = 1;

/// What the fake saw and did.
#[derive(Default)]
pub struct Fake {
    /// The drive behind it.
    pub drive: Arc<Memory>,
    /// Names of the methods that were called.
    pub calls: Mutex<Vec<String>>,
    /// How each upload to `/record` or `/detached` ended.
    pub uploads: Arc<Mutex<Vec<Result<u64, io::ErrorKind>>>>,
    /// Bytes that downloads took from their source.
    pub produced: Arc<AtomicU64>,
    /// Repairs that ran to their end.
    pub repaired: AtomicU64,
    /// Lets an upload to `/hold` go on.
    pub release: Notify,
    /// What it says of itself instead of next to nothing.
    pub says: Mutex<Says>,
    /// Why it is not ready.
    pub obstacles: Mutex<Vec<String>>,
}

/// What a node that is shown to people says of itself.
#[derive(Default, Clone)]
pub struct Says {
    pub status: Option<Status>,
    pub peers: Vec<Peer>,
    pub credit: CreditView,
    pub ledger: Option<LedgerView>,
}

/// Bytes without end, or with an error at the end.
pub struct Source {
    pub left: u64,
    pub fails: bool,
    pub produced: Arc<AtomicU64>,
}

impl AsyncRead for Source {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.left.min(buf.remaining() as u64);
        if len == 0 && self.fails {
            return Poll::Ready(Err(io::Error::other("a provider is gone")));
        }
        buf.put_slice(&vec![0x5a; len as usize]);
        self.left -= len;
        self.produced.fetch_add(len, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

impl Fake {
    fn called(&self, what: impl Into<String>) {
        self.calls.lock().unwrap().push(what.into());
    }

    fn source(&self, left: u64, fails: bool) -> Source {
        Source { left, fails, produced: self.produced.clone() }
    }
}

/// Reads to the end and says how that ended.
async fn read_all(mut archive: ArchiveReader) -> Result<u64, io::ErrorKind> {
    let mut read = 0;
    let mut part = vec![0; 65_536];
    loop {
        match archive.read(&mut part).await {
            Ok(0) => return Ok(read),
            Ok(len) => read += len as u64,
            Err(error) => return Err(error.kind()),
        }
    }
}

impl NodeApi for Fake {
    fn status(&self) -> BoxFuture<'_, Result<Status, ApiFault>> {
        self.called("status");
        if let Some(status) = self.says.lock().unwrap().status.clone() {
            return Box::pin(async { Ok(status) });
        }
        Box::pin(async {
            Ok(Status {
                version: "0.1.0".into(),
                role: Role::Owner,
                peer_id: "12D3KooW".into(),
                party: "ab".repeat(32),
                addresses: vec!["/ip4/127.0.0.1/tcp/4701".into()],
                uptime_seconds: 1,
                api: "http://127.0.0.1:4700".into(),
                quarantine: None,
                storage: None,
                scrub: None,
                drive: None,
                contracts: 0,
                peers_connected: 0,
                connections_refused: 0,
                traffic: Default::default(),
                ledger: LedgerHead { size: 0, root: "00".repeat(32), cosigners: 0, url: None },
                standings: Vec::new(),
                audits_here: None,
                problems: vec![],
                stage_milliseconds: Default::default(),
                gateway: None,
                s3: None,
            })
        })
    }

    fn peers(&self) -> BoxFuture<'_, Result<Vec<Peer>, ApiFault>> {
        self.called("peers");
        let peers = self.says.lock().unwrap().peers.clone();
        Box::pin(async { Ok(peers) })
    }

    fn put(
        &self,
        to: String,
        name: Option<String>,
        mut archive: ArchiveReader,
    ) -> BoxFuture<'_, Result<PutReport, ApiFault>> {
        self.called(format!("put {to} {name:?}"));
        Box::pin(async move {
            match to.as_str() {
                "/fails" => {
                    let mut head = vec![0; MIB as usize];
                    archive.read_exact(&mut head).await.unwrap();
                    return Err(ApiFault::new("too_few_providers", "6 providers are needed and 2 are there"));
                }
                "/hold" => self.release.notified().await,
                "/panic" => panic!("for the test"),
                "/detached" => {
                    let uploads = self.uploads.clone();
                    tokio::spawn(async move {
                        let ended = read_all(archive).await;
                        uploads.lock().unwrap().push(ended);
                    });
                    return futures::future::pending().await;
                }
                _ => {}
            }
            let ended = read_all(archive).await;
            self.uploads.lock().unwrap().push(ended);
            match ended {
                Ok(bytes) => Ok(PutReport { stored: vec![to], bytes, ..PutReport::default() }),
                Err(kind) => Err(ApiFault::new("interrupted", format!("the archive broke off: {kind}"))),
            }
        })
    }

    fn get(&self, path: String, prefer: Option<NodeId>) -> BoxFuture<'_, Result<ArchiveReader, ApiFault>> {
        self.called(format!("get {path} {prefer:?}"));
        Box::pin(async move {
            let content = match path.as_str() {
                "/endless" => Box::pin(self.source(u64::MAX, false)) as ArchiveReader,
                "/empty" => Box::pin(tokio::io::empty()),
                "/breaks" => Box::pin(self.source(3 * MIB, true)),
                "/breaks-at-first" => Box::pin(self.source(0, true)),
                "/faults-at-first" => {
                    let fault = io::Error::other(ApiFault::new("damaged", "the folder is damaged"));
                    Box::pin(tokio_util::io::StreamReader::new(futures::stream::iter([Err::<&[u8], _>(
                        fault,
                    )])))
                }
                "/none" => return Err(ApiFault::not_found("/none is not in the drive")),
                _ => Box::pin(self.source(20 * MIB, false)),
            };
            Ok(self.drive.held(&path, content))
        })
    }

    fn audit(
        &self,
        provider: Option<NodeId>,
        nonce: Option<[u8; 32]>,
    ) -> BoxFuture<'_, Result<AuditReport, ApiFault>> {
        self.called(format!("audit {provider:?} {nonce:?}"));
        Box::pin(async { Ok(AuditReport::default()) })
    }

    fn repair(&self, absent_after_seconds: Option<u64>) -> BoxFuture<'_, Result<RepairReport, ApiFault>> {
        self.called(format!("repair {absent_after_seconds:?}"));
        Box::pin(async move {
            if absent_after_seconds == Some(ENDLESS) {
                std::future::pending::<()>().await;
            }
            sleep(Duration::from_millis(500)).await;
            self.repaired.fetch_add(1, Ordering::SeqCst);
            Ok(RepairReport::default())
        })
    }

    fn credit(&self) -> BoxFuture<'_, Result<CreditView, ApiFault>> {
        self.called("credit");
        let credit = self.says.lock().unwrap().credit.clone();
        Box::pin(async { Ok(credit) })
    }

    fn acknowledge(
        &self,
        payer: PartyId,
        microcredits: u64,
        reference: Option<[u8; 32]>,
        node: Option<NodeId>,
    ) -> BoxFuture<'_, Result<SignedView, ApiFault>> {
        self.called(format!("payment {payer} {microcredits} {reference:?} {node:?}"));
        Box::pin(async { Err(ApiFault::new("not_countersigned", "nobody is there")) })
    }

    fn trust(
        &self,
        creditor: PartyId,
        debtor: PartyId,
        limit_microcredits: u64,
        seconds: u64,
        node: Option<NodeId>,
    ) -> BoxFuture<'_, Result<SignedView, ApiFault>> {
        self.called(format!("trust {creditor} {debtor} {limit_microcredits} {seconds} {node:?}"));
        Box::pin(async { Ok(SignedView { note: "a note".into(), node: "12D3KooW".into() }) })
    }

    fn check_store(&self) -> BoxFuture<'_, Result<StoreCheck, ApiFault>> {
        self.called("check store");
        Box::pin(async {
            let finding = Finding { what: "pack 3".into(), why: "it is missing".into() };
            Ok(StoreCheck { findings: vec![finding], findings_total: 1, ..StoreCheck::default() })
        })
    }

    fn compact_store(&self) -> BoxFuture<'_, Result<StoreCompaction, ApiFault>> {
        self.called("compact store");
        Box::pin(async { Ok(StoreCompaction { deleted_bytes: 7, ..StoreCompaction::default() }) })
    }

    fn scrub_store(&self) -> BoxFuture<'_, Result<StoreScrub, ApiFault>> {
        self.called("scrub store");
        Box::pin(async { Err(ApiFault::new("quarantined", "the disk is not mounted")) })
    }

    fn contracts(&self) -> BoxFuture<'_, Result<Vec<ContractInfo>, ApiFault>> {
        self.called("contracts");
        Box::pin(async { Ok(vec![]) })
    }

    fn inventory(&self, contract: ContractId, from: u64) -> BoxFuture<'_, Result<InventoryPage, ApiFault>> {
        self.called(format!("inventory {contract} {from}"));
        Box::pin(async { Ok(InventoryPage::default()) })
    }

    fn ledger(&self, from: u64, count: usize) -> BoxFuture<'_, Result<LedgerView, ApiFault>> {
        self.called(format!("ledger {from} {count}"));
        if let Some(mut ledger) = self.says.lock().unwrap().ledger.clone() {
            ledger.entries.retain(|entry| entry.index >= from);
            ledger.entries.truncate(count);
            return Box::pin(async { Ok(ledger) });
        }
        Box::pin(async {
            Ok(LedgerView {
                origin: "o".into(),
                size: 0,
                root: "00".repeat(32),
                checkpoint: String::new(),
                entries: vec![],
                balances: vec![],
            })
        })
    }
}

/// The drive in memory, but for paths whose names say what they do.
impl DriveApi for Fake {
    rest_of_drive!(drive);

    fn list_page(
        &self,
        path: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Listing, ApiFault>> {
        self.called(format!("files {path}"));
        Box::pin(async move {
            match path.as_str() {
                "/panic" => panic!("for the test"),
                "/slow" => sleep(Duration::from_millis(1500)).await,
                _ => {}
            }
            self.drive.list_page(path, after, limit).await
        })
    }

    fn remove_to(&self, path: String, to: RemovedTo) -> BoxFuture<'_, Result<Removed, ApiFault>> {
        self.called(format!("remove {path} {to:?}"));
        self.drive.remove_to(path, to)
    }
}

impl S3KeyApi for Fake {
    fn s3_keys(&self) -> BoxFuture<'_, Result<S3KeysView, ApiFault>> {
        self.drive.s3_keys()
    }

    fn new_s3_key(&self, name: String) -> BoxFuture<'_, Result<S3KeyNew, ApiFault>> {
        self.drive.new_s3_key(name)
    }

    fn remove_s3_key(&self, access_key: String) -> BoxFuture<'_, Result<S3KeyView, ApiFault>> {
        self.drive.remove_s3_key(access_key)
    }
}

/// Links whose secret says what they do.
impl ReadLinkApi for Fake {
    fn list_link(&self, request: LinkRequest) -> BoxFuture<'_, Result<Listing, ApiFault>> {
        self.called("list_link");
        Box::pin(async move {
            match (request.link.as_str(), request.password.as_deref()) {
                ("gone#", _) => Err(ApiFault::new("gone", "it was revoked")),
                ("locked#", None) => Err(ApiFault::new("password", "this link needs a password")),
                ("locked#", Some(word)) if word != "open" => {
                    Err(ApiFault::new("forbidden", "the link or its password is wrong"))
                }
                _ => self.drive.list_page(request.path.unwrap_or("/".into()), None, 10).await,
            }
        })
    }

    fn link_archive(&self, request: LinkRequest) -> BoxFuture<'_, Result<ArchiveReader, ApiFault>> {
        self.called("link_archive");
        Box::pin(async move {
            let fails = request.link == "breaks#";
            Ok(Box::pin(self.source(1 << 20, fails)) as ArchiveReader)
        })
    }
}

impl HealthApi for Fake {
    fn obstacles(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { self.obstacles.lock().unwrap().clone() })
    }

    fn metrics(&self) -> BoxFuture<'_, Result<String, ApiFault>> {
        Box::pin(async { Ok("# EOF\n".to_owned()) })
    }
}

impl PluginApi for Fake {
    fn plugins(&self) -> BoxFuture<'_, Result<PluginsView, ApiFault>> {
        self.called("plugins");
        Box::pin(async { Ok(PluginsView::default()) })
    }

    fn install_plugin(
        &self,
        file: Vec<u8>,
        install: Install,
    ) -> BoxFuture<'_, Result<PluginInstalled, ApiFault>> {
        self.called(format!("install {} {install:?}", file.len()));
        Box::pin(async { Err(ApiFault::new("plugin_refused", "nobody signed it")) })
    }

    fn enable_plugin(
        &self,
        name: String,
        settings: Settings,
    ) -> BoxFuture<'_, Result<PluginChanged, ApiFault>> {
        self.called(format!("enable {name} {settings:?}"));
        Box::pin(async { Ok(PluginChanged { done: vec!["done".into()], failed: vec![] }) })
    }

    fn disable_plugin(&self, named: Named) -> BoxFuture<'_, Result<PluginChanged, ApiFault>> {
        self.called(format!("disable {named:?}"));
        Box::pin(async { Ok(PluginChanged::default()) })
    }

    fn set_plugin(&self, name: String, settings: Settings) -> BoxFuture<'_, Result<PluginChanged, ApiFault>> {
        self.called(format!("set {name} {settings:?}"));
        Box::pin(async { Ok(PluginChanged::default()) })
    }

    fn remove_plugin(&self, name: String) -> BoxFuture<'_, Result<PluginChanged, ApiFault>> {
        self.called(format!("remove plugin {name}"));
        Box::pin(async { Ok(PluginChanged::default()) })
    }

    fn reload_plugins(&self, name: Option<String>) -> BoxFuture<'_, Result<PluginChanged, ApiFault>> {
        self.called(format!("reload {name:?}"));
        Box::pin(async { Ok(PluginChanged::default()) })
    }
}

/// A served fake.
pub struct Node {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<io::Result<()>>,
}

impl Node {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, Arc::new(Fake::default())).await
    }

    pub async fn start_on(listener: TcpListener, fake: Arc<Fake>) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served =
            tokio::spawn(serve(listener, Token::new(TOKEN.into()), fake.clone(), Arc::default(), async {
                let _ = stopped.await;
            }));
        let client = Client::new(&format!("http://{address}"), TOKEN).unwrap();
        Self { fake, address, client, stop: Some(stop), served }
    }

    pub fn calls(&self) -> Vec<String> {
        self.fake.calls.lock().unwrap().clone()
    }

    pub fn uploads(&self) -> Vec<Result<u64, io::ErrorKind>> {
        self.fake.uploads.lock().unwrap().clone()
    }

    /// Tells `serve` to end, without waiting.
    pub fn tell_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits for `serve`.
    pub async fn ended(self) {
        self.served.await.unwrap().unwrap();
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Headers that the guard lets pass.
    pub fn good_headers(&self) -> String {
        format!("Host: {}\r\nAuthorization: Bearer {TOKEN}\r\n", self.address)
    }

    /// Sends one request as it is and reads the answer until the connection ends.
    pub async fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(stream).await
    }

    /// A request with good headers, then `more` headers, closed after the answer.
    pub async fn request(&self, line: &str, more: &str, body: &str) -> Answer {
        let good = self.good_headers();
        self.raw(&format!("{line} HTTP/1.1\r\n{good}{more}Connection: close\r\n\r\n{body}")).await
    }

    /// A POST of JSON.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        let more = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.request(&format!("POST {path}"), &more, body).await
    }
}

/// An answer as bytes came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// The code of the error in the body.
    pub fn code(&self) -> String {
        match serde_json::from_str::<ErrorBody>(&self.body) {
            Ok(body) => body.error.code,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }
}

/// What a test waits for comes within moments; only one that fails waits so long, on however busy a
/// machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
