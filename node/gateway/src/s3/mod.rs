//! The S3 interface of an owner's drive (spec/s3.md): buckets are top-level folders, keys are paths.
//!
//! Invariant: nothing is answered without a signature of a key that the owner made, nothing that is not
//! supported is passed over in silence, and no request makes the gateway hold more than a bounded amount.
//! What S3 calls stored is stored durably. Not here: the drive, and the keys, which the app keeps.
//!
//! `door` lets requests in, `service` is the list of operations, the files beside it do them: `buckets`,
//! `objects`, `reads`, `removal`, `copies`, `multipart`, `lists`, `upload_lists`, `versions`, `tags`.

mod attributes;
mod buckets;
mod checked;
mod checksums;
mod conditions;
mod copies;
mod door;
mod faults;
mod lists;
mod multipart;
mod names;
mod objects;
mod reads;
mod removal;
mod service;
mod tags;
mod text;
mod upload_lists;
mod versions;
mod walk;
mod words;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use commonhold_client::types::{FileInfo, FileKind};
use futures::future::BoxFuture;
use s3s::dto::Owner;
use s3s::{S3Error, S3ErrorCode, S3Result};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard};
use zeroize::Zeroizing;

use crate::counts::RequestCounts;
use crate::drive::{DriveApi, RemovedTo, Replaced};
use crate::server::Doors;

/// Access keys of the S3 interface. Implemented by the app.
pub trait S3Keys: Send + Sync + 'static {
    /// The secret of an access key; `None` for one that does not exist.
    fn secret_of(&self, access_key: &str) -> BoxFuture<'_, Option<Zeroizing<String>>>;
}

/// How the S3 interface presents itself.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The region that buckets are said to be in. Requests that are signed for another one are taken, too.
    pub region: String,
    /// Learns of every answer.
    pub counts: Arc<RequestCounts>,
}

impl Default for S3Options {
    /// `us-east-1`, which clients assume.
    fn default() -> Self {
        Self { region: "us-east-1".to_owned(), counts: Arc::default() }
    }
}

/// Serves S3 on `listener` until `shutdown` completes; then idle connections end at once, calls get five
/// seconds, and what still runs is dropped.
pub async fn serve_s3(
    listener: TcpListener,
    drive: Arc<dyn DriveApi>,
    keys: Arc<dyn S3Keys>,
    options: S3Options,
    shutdown: impl Future<Output = ()>,
) {
    let counts = options.counts.clone();
    let bridge = Bridge {
        drive,
        options,
        folders: std::array::from_fn(|_| Mutex::new(())),
        hasher: RandomState::new(),
        sums: multipart::PartSums::default(),
    };
    Doors::default().counting(counts).open(listener, door::router(bridge, keys), shutdown).await;
}

/// Tasks of one request that run at the same time: the drive commits many changes together.
const CONCURRENT: usize = 32;
/// How often a change is tried again when another one came between looking and acting.
const TRIES: usize = 5;
/// Who owns everything.
const OWNER: &str = "commonhold";

/// S3 over a drive.
struct Bridge {
    drive: Arc<dyn DriveApi>,
    options: S3Options,
    /// Keep a folder from being removed as empty while it is made a marker. One for all folders whose
    /// paths have one hash.
    folders: [Mutex<()>; 64],
    hasher: RandomState,
    sums: multipart::PartSums,
}

impl Bridge {
    /// The lock of a folder.
    async fn folder_lock(&self, path: &str) -> MutexGuard<'_, ()> {
        let places = self.folders.len() as u64;
        let place = usize::try_from(self.hasher.hash_one(path) % places).unwrap_or(0);
        self.folders[place].lock().await
    }

    /// What stands at a path, if anything does.
    async fn look(&self, path: &str) -> S3Result<Option<FileInfo>> {
        match self.drive.info(path.to_owned()).await {
            Ok(info) => Ok(Some(info)),
            // Below a file there is nothing.
            Err(fault) if matches!(fault.code, "not_found" | "gone" | "exists" | "bad_path") => Ok(None),
            Err(fault) => Err(faults::error(fault, S3ErrorCode::NoSuchKey)),
        }
    }

    /// A bucket.
    async fn bucket(&self, bucket: &str) -> S3Result<Bucket> {
        if !names::is_bucket(bucket) {
            return Err(S3Error::new(S3ErrorCode::InvalidBucketName));
        }
        let path = names::bucket_path(bucket);
        match self.look(&path).await? {
            Some(info) if info.entry.kind == FileKind::Folder => {
                let versioning =
                    info.attributes.get(attributes::VERSIONING).is_some_and(|it| it == "Enabled");
                Ok(Bucket { path, info, versioning })
            }
            _ => Err(S3Error::new(S3ErrorCode::NoSuchBucket)),
        }
    }
}

/// A bucket.
struct Bucket {
    path: String,
    info: FileInfo,
    /// Whether what is replaced or removed is kept.
    versioning: bool,
}

impl Bucket {
    fn replaced(&self) -> Replaced {
        if self.versioning { Replaced::Kept } else { Replaced::Gone }
    }

    fn removed_to(&self) -> RemovedTo {
        if self.versioning { RemovedTo::Bin } else { RemovedTo::Nowhere }
    }

    /// The version id that an answer names.
    fn version_id(&self, info: &FileInfo) -> Option<String> {
        (self.versioning && info.entry.kind == FileKind::File).then(|| info.version.to_string())
    }
}

/// The owner as listings name it.
fn owner() -> Owner {
    Owner { display_name: Some(OWNER.to_owned()), id: Some(OWNER.to_owned()) }
}
