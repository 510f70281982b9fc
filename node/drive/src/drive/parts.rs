//! Files that come in parts.
//!
//! Invariant: a part is stored and noted before its call returns; completing sends no byte again.

use std::ops::Range;

use commonhold_format::drive::{Attributes, DIRECT_EXTENTS_MAX};
use commonhold_format::seal::ObjectId;
use tokio::io::AsyncRead;

use super::state::{now_ms, stopped};
use super::storing::NewFile;
use super::{Drive, OnlyIf, Replaced};
use crate::error::DriveError;
use crate::hashed::Hashed;
use crate::located::Content;
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::report::Info;
use crate::uploads::{PARTS_MAX, PartInfo, UploadId, UploadInfo};

/// How an upload becomes a file.
#[derive(Debug, Clone)]
pub struct Complete {
    /// Numbers of its parts, ascending.
    pub parts: Vec<u32>,
    /// When the file was last modified, milliseconds since 1970; now without it.
    pub modified_ms: Option<i64>,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// What is kept beside its bytes, instead of what the upload was begun with.
    pub attributes: Attributes,
    /// What must hold when it takes its place.
    pub only_if: OnlyIf,
    /// What becomes of the file that stood there.
    pub replaced: Replaced,
}

impl Drive {
    /// Begins a file that comes in parts.
    pub async fn begin_upload(
        &self,
        path: DrivePath,
        attributes: Attributes,
    ) -> Result<UploadInfo, DriveError> {
        self.inner.uploads.begin(path, attributes, now_ms()).await
    }

    /// Files that come in parts, in the order of their ids.
    pub fn uploads(&self) -> Vec<UploadInfo> {
        self.inner.uploads.all()
    }

    /// One of them.
    pub fn upload(&self, id: UploadId) -> Result<UploadInfo, DriveError> {
        self.inner.uploads.get(id)
    }

    /// Stores a part of exactly `len` bytes. One of the same number is replaced.
    pub async fn store_part(
        &self,
        id: UploadId,
        number: u32,
        len: u64,
        content: impl AsyncRead + Send + Unpin,
    ) -> Result<PartInfo, DriveError> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(DriveError::TooLarge(format!("parts have numbers from 1 to {PARTS_MAX}")));
        }
        let inner = &self.inner;
        let upload = inner.uploads.get(id)?;
        let code = inner.keeper.custody().code().await?;
        let pending = inner.keeper.pending();
        let packer = Packer::new(pending.clone(), code);
        let mut content = Hashed::new(content);
        let name = format!("part {number} of {}", upload.path);
        let sealed = self.seal(&name, len, &mut content, packer).await;
        let md5 = content.md5();
        let inner = inner.clone();
        // Goes on to its end even if the caller stops waiting: what is being noted must not be given up.
        let noting = tokio::spawn(async move {
            // From pending to noted without a sweep in between, which would see neither.
            let change = inner.change.lock().await;
            let stored = match sealed {
                Ok(located) => inner.uploads.store(id, number, located, md5, now_ms()).await,
                Err(error) => Err(error),
            };
            if stored.is_ok() {
                pending.settle();
            }
            drop((pending, change));
            match &stored {
                Ok(_) if upload.parts.contains_key(&number) => inner.keeper.mark_litter(),
                Ok(_) => {}
                Err(_) => inner.sweep_later(),
            }
            stored
        });
        noting.await.map_err(stopped)?
    }

    /// Stores bytes of a file of the drive as a part.
    pub async fn copy_part(
        &self,
        id: UploadId,
        number: u32,
        from: &DrivePath,
        version: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Result<PartInfo, DriveError> {
        let file = self.open_file(from, version, range).await?;
        let len = file.range.end - file.range.start;
        self.store_part(id, number, len, file.content).await
    }

    /// Makes the file of its parts. The upload is gone then.
    pub async fn complete_upload(&self, id: UploadId, complete: Complete) -> Result<Info, DriveError> {
        let inner = &self.inner;
        let upload = inner.uploads.get(id)?;
        if complete.parts.is_empty() || complete.parts.windows(2).any(|pair| pair[0] >= pair[1]) {
            let why = "an upload is completed with at least one part, in the order of their numbers";
            return Err(DriveError::BadArchive(why.to_owned()));
        }
        let mut parts = inner.uploads.parts(id, &complete.parts)?;
        let named: Vec<ObjectId> = parts.iter().map(|part| part.object.id).collect();
        let len = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.object.len));
        let len =
            len.ok_or_else(|| DriveError::TooLarge("the parts are too long for one file".to_owned()))?;
        let content = match parts.as_slice() {
            [only] if only.object.extents.len() <= DIRECT_EXTENTS_MAX => Content::Direct(parts.remove(0)),
            _ => Content::Parts(parts),
        };
        let file = NewFile {
            path: upload.path,
            len,
            modified_ms: complete.modified_ms,
            executable: complete.executable,
            attributes: complete.attributes,
            only_if: complete.only_if,
            replaced: complete.replaced,
        };
        // Under the change lock, as sweeps are: what was given up or replaced since may be gone already.
        let (uploads, numbers) = (inner.uploads.clone(), complete.parts);
        let still = move || match uploads.parts(id, &numbers) {
            Ok(now) if now.iter().map(|part| part.object.id).eq(named.iter().copied()) => Ok(()),
            Ok(_) => Err(DriveError::Precondition(format!("the parts of the upload {id}"))),
            Err(error) => Err(error),
        };
        let info = self.take_place_if(file, content, None, still).await?;
        match inner.uploads.remove(id).await {
            // Somebody else has completed it with the same parts, or given it up, since.
            Ok(()) | Err(DriveError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        // Parts that were not named are nobody's now.
        inner.keeper.mark_litter();
        Ok(info)
    }

    /// Gives an upload up. Its space is freed in the background.
    pub async fn abort_upload(&self, id: UploadId) -> Result<(), DriveError> {
        self.inner.uploads.remove(id).await?;
        self.inner.keeper.mark_litter();
        self.inner.sweep_later();
        Ok(())
    }
}
