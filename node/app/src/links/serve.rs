//! Serving links: records, segments that they cover, and files for drop boxes; and reading what others
//! share.

use std::sync::Arc;

use bytes::Bytes;
use commonhold_client::types::{LinkRequest, Listing};
use commonhold_drive::{Drive, DrivePath, Linked, NewFile, OnlyIf, Replaced};
use commonhold_format::drive::Name;
use commonhold_format::link::{CoverList, DropOpener, LinkError, LinkId, LinkUrl};
use commonhold_format::segment::Segment;
use commonhold_gateway::{Answer, ApiFault, ArchiveReader, LinkApi};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::StreamReader;
use zeroize::Zeroizing;

use super::{Known, Links};
use crate::api::{drive_fault, entry_view};

/// Longest description of a segment, bytes.
const SEGMENT_LEN_MAX: usize = 8 << 10;
/// Bytes of a deposit that are read at a time.
const READ_LEN: usize = 64 << 10;
/// Names that are tried for a file whose own is taken.
const NAMES_MAX: u32 = 1000;

fn refused(error: &LinkError) -> ApiFault {
    match error {
        LinkError::Sealed => ApiFault::new("forbidden", "the link or its password is wrong"),
        error => ApiFault::new("gone", error.to_string()),
    }
}

impl Links {
    fn drive(&self) -> Result<&Arc<Drive>, ApiFault> {
        let half = self.owner.get();
        half.map(|(_, drive)| drive)
            .ok_or_else(|| ApiFault::new("busy", "this node is still starting: try again"))
    }

    /// The list of segments that a link covers.
    async fn cover(&self, link: LinkId, known: &Known) -> Result<Arc<CoverList>, ApiFault> {
        if let Some(cover) = &known.cover {
            return Ok(cover.clone());
        }
        let damaged = || ApiFault::new("damaged", "the link's list of segments is damaged");
        let open = known.record.open.as_ref().ok_or_else(damaged)?;
        let bytes = self.drive()?.segment(&open.place.segment).await.map_err(drive_fault)?;
        let list = bytes.get(..open.place.cover_len as usize).ok_or_else(damaged)?;
        let cover = Arc::new(CoverList::decode(list).map_err(|_| damaged())?);
        self.keep_cover(link, known.record.sequence, &cover);
        Ok(cover)
    }

    /// What a link leads to, read by this node itself.
    async fn linked(&self, request: &LinkRequest) -> Result<(Linked, DrivePath), ApiFault> {
        let url = LinkUrl::parse(&request.link).map_err(|error| ApiFault::invalid(error.to_string()))?;
        // Whoever opens a link wants what it shows now.
        let known = self.look_up(url.id).await?;
        let (record, password) = (known.record.clone(), request.password.clone().map(Zeroizing::new));
        let open = record.usable(crate::clock::unix_seconds()).map_err(|error| refused(&error))?;
        if open.password.is_some() && password.is_none() {
            return Err(ApiFault::new("password", "this link needs a password"));
        }
        let segment = open.place.segment.clone();
        let opening = move || record.open(&url.secret, password.as_deref().map(String::as_str));
        let content = tokio::task::spawn_blocking(opening).await;
        let content = content.map_err(|error| ApiFault::internal(error.to_string()))?;
        let content = content.map_err(|error| refused(&error))?;
        if content.drop_box.is_some() {
            let why = "this link takes files and shows none: open it in a browser to send some";
            return Err(ApiFault::new("wrong_role", why));
        }
        let root = content.root.ok_or_else(|| ApiFault::new("damaged", "the link shows nothing"))?;
        let path = request.path.as_deref().unwrap_or("/").parse().map_err(drive_fault)?;
        Ok((self.drive()?.linked(segment, root), path))
    }

    /// Lists what a link shows, at a path below it.
    pub async fn list(&self, request: LinkRequest) -> Result<Listing, ApiFault> {
        let (linked, path) = self.linked(&request).await?;
        let after = match &request.after {
            None => None,
            Some(after) => {
                Some(Name::new(after).map_err(|error| ApiFault::new("bad_path", error.to_string()))?)
            }
        };
        let limit = request.limit.unwrap_or(commonhold_client::types::LIST_DEFAULT);
        let (listed, more) = linked
            .list(&path, after, limit.min(commonhold_client::types::LIST_MAX))
            .await
            .map_err(drive_fault)?;
        let next = if more { listed.last().map(|info| info.name().to_owned()) } else { None };
        Ok(Listing { path: path.to_string(), entries: listed.iter().map(entry_view).collect(), next })
    }

    /// Streams what a link shows as a tar archive.
    pub async fn archive(&self, request: LinkRequest) -> Result<ArchiveReader, ApiFault> {
        let (linked, path) = self.linked(&request).await?;
        linked.get_archive(&path).await.map_err(drive_fault)
    }

    async fn take(&self, link: LinkId, len: u64, mut sealed: ArchiveReader) -> Result<(), ApiFault> {
        self.serves(&link)?;
        let drive = self.drive()?.clone();
        let (keys, folder) = self
            .drop_box(&drive, link)
            .await?
            .ok_or_else(|| ApiFault::new("wrong_role", "this node takes no files for this link"))?;
        self.usable(link).await?;
        if len > self.deposit_max.saturating_add(self.deposit_max / 64) {
            return Err(ApiFault::new("too_large", "the file is larger than this drop box takes"));
        }
        let mut opener = DropOpener::new(keys.drop_key(), link);
        let (named, head) = oneshot::channel();
        let (pieces, opened) = mpsc::channel::<std::io::Result<Bytes>>(4);
        let reading = tokio::spawn(async move {
            let mut named = Some(named);
            let mut buffer = vec![0; READ_LEN];
            let broken = |why: String| std::io::Error::other(why);
            loop {
                let mut plain = Vec::new();
                let got = match sealed.read(&mut buffer).await {
                    Ok(got) => got,
                    Err(error) => {
                        let _ = pieces.send(Err(error)).await;
                        return;
                    }
                };
                if got == 0 {
                    break;
                }
                if let Err(error) = opener.push(&buffer[..got], &mut plain) {
                    let _ = pieces.send(Err(broken(error.to_string()))).await;
                    return;
                }
                if let Some(head) = opener.head()
                    && let Some(named) = named.take()
                {
                    let _ = named.send(head.clone());
                }
                if !plain.is_empty() && pieces.send(Ok(plain.into())).await.is_err() {
                    return;
                }
            }
            // The last record is known as the last one only here: a file that was cut never ends well.
            if let Err(error) = opener.finish() {
                let _ = pieces.send(Err(broken(error.to_string()))).await;
            }
        });
        let reading = tokio_util::task::AbortOnDropHandle::new(reading);
        let unreadable = || ApiFault::invalid("the file was not sealed for this drop box, or was cut");
        let head = head.await.map_err(|_| unreadable())?;
        if head.len > self.deposit_max {
            return Err(ApiFault::new("too_large", "the file is larger than this drop box takes"));
        }
        let stream = futures::stream::unfold(opened, |mut opened| async move {
            opened.recv().await.map(|piece| (piece, opened))
        });
        let content = StreamReader::new(Box::pin(stream));
        let path = free_path(&drive, &folder, &head.name).await?;
        let file = NewFile {
            path,
            len: head.len,
            modified_ms: Some(head.modified_ms),
            executable: false,
            attributes: Default::default(),
            only_if: OnlyIf::Absent,
            replaced: Replaced::Kept,
        };
        let stored = drive.store(file, content).await;
        drop(reading);
        match stored {
            Ok(_) => Ok(()),
            Err(
                commonhold_drive::DriveError::Interrupted(_) | commonhold_drive::DriveError::Changed { .. },
            ) => Err(unreadable()),
            Err(error) => Err(drive_fault(error)),
        }
    }
}

/// A path in the folder that nothing has: the name, or the name with " (2)" and so on.
async fn free_path(drive: &Drive, folder: &DrivePath, name: &Name) -> Result<DrivePath, ApiFault> {
    for count in 1..NAMES_MAX {
        let candidate = if count == 1 {
            name.clone()
        } else {
            name.with_suffix(&format!(" ({count})"))
                .map_err(|error| ApiFault::new("bad_path", error.to_string()))?
        };
        let path = folder.join(candidate).map_err(drive_fault)?;
        match drive.info(&path).await {
            Err(commonhold_drive::DriveError::NotFound(_)) => return Ok(path),
            Err(error) => return Err(drive_fault(error)),
            Ok(_) => {}
        }
    }
    Err(ApiFault::new("exists", "there are too many files of this name"))
}

impl LinkApi for Links {
    fn record(&self, link: commonhold_gateway::LinkId) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            self.serves(&LinkId(link))?;
            Ok(self.usable(LinkId(link)).await?.record.encode())
        })
    }

    fn segment(&self, link: commonhold_gateway::LinkId, segment: Vec<u8>) -> Answer<'_, Bytes> {
        Box::pin(async move {
            let link = LinkId(link);
            self.serves(&link)?;
            if segment.len() > SEGMENT_LEN_MAX {
                return Err(ApiFault::invalid("the segment's description is too long"));
            }
            let described = Segment::from_canonical(&segment)
                .ok_or_else(|| ApiFault::invalid("the body is no description of a segment"))?;
            let known = self.usable(link).await?;
            let own =
                known.record.open.as_ref().is_some_and(|open| open.place.segment.id() == described.id());
            if !own && !self.cover(link, &known).await?.contains(&described.id()) {
                return Err(ApiFault::new("forbidden", "this link does not cover this segment"));
            }
            let bytes = self.drive()?.segment(&described).await.map_err(drive_fault)?;
            // Chunks are all of one length; the last one is filled up.
            let mut chunks = bytes.to_vec();
            chunks.resize(described.chunk_len() * usize::from(described.code.k()), 0);
            Ok(chunks.into())
        })
    }

    fn deposit(&self, link: commonhold_gateway::LinkId, len: u64, sealed: ArchiveReader) -> Answer<'_, ()> {
        Box::pin(self.take(LinkId(link), len, sealed))
    }
}
