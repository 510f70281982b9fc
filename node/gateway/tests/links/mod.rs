//! Links in memory: files and folders sealed as an owner would seal them, served by the real gateway from a
//! map of segments, honestly or not.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

pub mod owner;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use commonhold_format::ids::SegmentId;
use commonhold_format::link::{DropHead, DropKey, DropOpener, LinkRecord};
use commonhold_format::segment::Segment;
use commonhold_gateway::{Answer, ApiFault, ArchiveReader, Budgets, LinkApi, LinkId, serve_links};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Where a segment's ciphertext comes from.
#[derive(Clone)]
pub enum Ciphertext {
    Here(Bytes),
    /// Sealed again whenever it is asked for: a file that is too large to be kept.
    Made(Arc<dyn Fn() -> Vec<u8> + Send + Sync>),
}

/// What a dishonest node does.
#[derive(Debug, Clone)]
pub enum Malice {
    /// Flips a bit of every segment but the link segment, at this place.
    Flip(usize),
    /// Flips a bit of the link segment.
    FlipLinkSegment(usize),
    /// Sends another segment of the same length for each.
    Swap,
    /// Leaves bytes away at the end.
    Cut,
    /// Sends another record, one after the other; the last one again and again.
    Records(Vec<Vec<u8>>),
    /// Providers are away.
    Away,
}

/// A link as the node knows it.
pub struct Served {
    pub record: Vec<u8>,
    pub link_segment: SegmentId,
    pub cover: Vec<SegmentId>,
    pub malice: Option<Malice>,
    pub drop_key: Option<DropKey>,
    pub asked: AtomicU64,
}

/// A file that came into a drop box.
pub type Dropped = (LinkId, DropHead, Vec<u8>);

/// All links and segments of a node.
#[derive(Default)]
pub struct Vault {
    pub segments: Mutex<HashMap<SegmentId, Ciphertext>>,
    pub links: Mutex<HashMap<LinkId, Arc<Served>>>,
    pub dropped: Mutex<Vec<Dropped>>,
    /// Segments that were given out.
    pub given: AtomicU64,
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Vault {
    fn link(&self, link: LinkId) -> Result<Arc<Served>, ApiFault> {
        let links = self.links.lock().unwrap();
        links.get(&link).cloned().ok_or_else(|| ApiFault::not_found("no record of this link was found"))
    }

    fn data(&self, segment: &Segment) -> Result<Vec<u8>, ApiFault> {
        let held = self.segments.lock().unwrap().get(&segment.id()).cloned();
        let mut bytes = match held {
            Some(Ciphertext::Here(bytes)) => bytes.to_vec(),
            Some(Ciphertext::Made(make)) => make(),
            None => return Err(ApiFault::new("unavailable", "two of three providers are away")),
        };
        bytes.resize(segment.chunk_len() * usize::from(segment.code.k()), 0);
        Ok(bytes)
    }
}

impl LinkApi for Vault {
    fn record(&self, link: LinkId) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            let served = self.link(link)?;
            let asked = served.asked.fetch_add(1, Ordering::SeqCst) as usize;
            if let Some(Malice::Records(records)) = &served.malice {
                return Ok(records[asked.min(records.len() - 1)].clone());
            }
            let record = LinkRecord::decode(&served.record).unwrap();
            record.usable(now()).map_err(|error| ApiFault::new("gone", error.to_string()))?;
            Ok(served.record.clone())
        })
    }

    fn segment(&self, link: LinkId, segment: Vec<u8>) -> Answer<'_, Bytes> {
        Box::pin(async move {
            let served = self.link(link)?;
            let segment: Segment = minicbor::decode(&segment).unwrap();
            let is_link_segment = segment.id() == served.link_segment;
            // Whoever forges a record gives out what it names, too.
            let forges = matches!(served.malice, Some(Malice::Records(_)));
            if !forges && !is_link_segment && !served.cover.contains(&segment.id()) {
                return Err(ApiFault::new("forbidden", "this link does not cover this segment"));
            }
            self.given.fetch_add(1, Ordering::SeqCst);
            let mut bytes = self.data(&segment)?;
            match &served.malice {
                Some(Malice::Flip(at)) if !is_link_segment => bytes[*at % segment.len as usize] ^= 0x10,
                Some(Malice::FlipLinkSegment(at)) if is_link_segment => {
                    bytes[*at % segment.len as usize] ^= 1
                }
                Some(Malice::Swap) if !is_link_segment => bytes.reverse(),
                // The gateway itself sees to the length, so a cut piece is filled up.
                Some(Malice::Cut) if !is_link_segment => {
                    let len = bytes.len();
                    bytes.drain(..64);
                    bytes.resize(len, 0);
                }
                Some(Malice::Away) if !is_link_segment => {
                    return Err(ApiFault::new("unavailable", "two of three providers are away"));
                }
                _ => {}
            }
            Ok(bytes.into())
        })
    }

    fn deposit(&self, link: LinkId, len: u64, mut sealed: ArchiveReader) -> Answer<'_, ()> {
        Box::pin(async move {
            let served = self.link(link)?;
            let key = served.drop_key.as_ref();
            let key =
                key.ok_or_else(|| ApiFault::new("wrong_role", "this link is no drop box of this node"))?;
            let mut opener = DropOpener::new(key, commonhold_format::link::LinkId(link));
            let (mut content, mut buffer, mut sum) = (Vec::new(), vec![0; 65_536], 0);
            loop {
                let read = sealed.read(&mut buffer).await;
                let read = read.map_err(|error| ApiFault::new("interrupted", error.to_string()))?;
                if read == 0 {
                    break;
                }
                sum += read as u64;
                let opened = opener.push(&buffer[..read], &mut content);
                opened.map_err(|error| ApiFault::invalid(error.to_string()))?;
            }
            assert_eq!(sum, len, "as much as was said");
            let head = opener.finish().map_err(|error| ApiFault::invalid(error.to_string()))?;
            self.dropped.lock().unwrap().push((link, head, content));
            Ok(())
        })
    }
}

/// A gateway that runs.
pub struct Gateway {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Gateway {
    pub async fn start(vault: Arc<Vault>, budgets: Budgets) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve_links(listener, vault, budgets, Arc::default(), async {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), task }
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
    }
}
