//! Buckets: top-level folders of the drive whose names are those of buckets.
//!
//! Invariant: a bucket is removed only when it has no keys. Folders in it that are empty are no keys, and go
//! with it.

use commonhold_client::types::{FileInfo, FileKind};
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::attributes::VERSIONING;
use super::conditions::modified;
use super::faults::{error, invalid, not_implemented};
use super::names::{bucket_path, is_bucket};
use super::walk::Walk;
use super::{Bridge, TRIES, owner};
use crate::drive::OnlyIf;

/// Most buckets of one listing.
const BUCKETS_MAX: usize = 10_000;
/// Entries of the drive's root that one call asks for.
const PAGE: usize = 500;

impl Bridge {
    pub(super) async fn make_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let input = request.input;
        if input.object_lock_enabled_for_bucket == Some(true) {
            return Err(not_implemented("objects cannot be locked"));
        }
        if !is_bucket(&input.bucket) {
            return Err(S3Error::new(S3ErrorCode::InvalidBucketName));
        }
        let path = bucket_path(&input.bucket);
        match self.look(&path).await? {
            Some(info) if info.entry.kind == FileKind::Folder => {
                return Err(S3Error::new(S3ErrorCode::BucketAlreadyOwnedByYou));
            }
            Some(_) => return Err(super::faults::conflict("a file of the drive has the bucket's name")),
            None => {}
        }
        let made = self.drive.make_folder(path).await;
        made.map_err(|fault| error(fault, S3ErrorCode::NoSuchBucket))?;
        let location = Some(format!("/{}", input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket).await?;
        let bucket_region = Some(self.options.region.clone());
        Ok(S3Response::new(HeadBucketOutput { bucket_region, ..Default::default() }))
    }

    pub(super) async fn location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.bucket(&request.input.bucket).await?;
        // S3 says nothing for its first region.
        let region = Some(self.options.region.clone()).filter(|region| region != "us-east-1");
        let location_constraint = region.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(super) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let input = request.input;
        if input.bucket_region.as_deref().is_some_and(|region| region != self.options.region) {
            let buckets = Some(Vec::new());
            let output = ListBucketsOutput { buckets, owner: Some(owner()), ..Default::default() };
            return Ok(S3Response::new(output));
        }
        let most = match input.max_buckets {
            None => BUCKETS_MAX,
            Some(most @ 1..=10_000) => usize::try_from(most).unwrap_or(BUCKETS_MAX),
            Some(_) => return Err(invalid("max-buckets is 1 to 10,000")),
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let mut after = input.continuation_token;
        if after.as_deref().is_some_and(|after| !is_bucket(after)) {
            return Err(invalid("this continuation token is not one of this listing"));
        }
        let mut buckets = Vec::new();
        let mut next = None;
        'pages: loop {
            let page = self.drive.infos("/".to_owned(), after, PAGE).await;
            let (infos, more) = page.map_err(|fault| error(fault, S3ErrorCode::InternalError))?;
            after = infos.last().map(|info| info.entry.name.clone());
            for info in infos {
                let name = &info.entry.name;
                if info.entry.kind != FileKind::Folder || !is_bucket(name) || !name.starts_with(&prefix) {
                    continue;
                }
                if buckets.len() == most {
                    next = buckets.last().and_then(|last: &Bucket| last.name.clone());
                    break 'pages;
                }
                buckets.push(Bucket {
                    bucket_region: None,
                    creation_date: Some(modified(&info)),
                    name: Some(name.clone()),
                });
            }
            if !more || after.is_none() {
                break;
            }
        }
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token: next,
            owner: Some(owner()),
            prefix: input.prefix,
        }))
    }

    pub(super) async fn remove_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let name = request.input.bucket;
        for _ in 0..TRIES {
            let bucket = self.bucket(&name).await?;
            if bucket.info.children > 0 {
                let walk = Walk::start(&*self.drive, &name, "", None, false, 1).await;
                let first = async { walk?.next().await }.await;
                if first.map_err(|fault| error(fault, S3ErrorCode::NoSuchBucket))?.is_some() {
                    return Err(S3Error::new(S3ErrorCode::BucketNotEmpty));
                }
                self.remove_empty_below(&bucket.path).await?;
            }
            match self.drive.remove_empty_folder(bucket.path).await {
                Ok(_) => return Ok(S3Response::new(DeleteBucketOutput::default())),
                // Something was put into it meanwhile: look again.
                Err(fault) if fault.code == "exists" => {}
                Err(fault) => return Err(error(fault, S3ErrorCode::NoSuchBucket)),
            }
        }
        Err(S3Error::new(S3ErrorCode::BucketNotEmpty))
    }

    /// Removes folders without keys below a folder, those deepest down first.
    async fn remove_empty_below(&self, path: &str) -> S3Result<()> {
        let mut open = vec![(path.to_owned(), false)];
        while let Some((path, seen)) = open.pop() {
            if !seen {
                open.push((path.clone(), true));
                let mut after = None;
                loop {
                    let page = self.drive.infos(path.clone(), after, PAGE).await;
                    let Ok((infos, more)) = page else { break };
                    after = infos.last().map(|info: &FileInfo| info.entry.name.clone());
                    let below = infos.into_iter().filter(|info| info.entry.kind == FileKind::Folder);
                    open.extend(below.map(|info| (format!("{path}/{}", info.entry.name), false)));
                    if !more || after.is_none() {
                        break;
                    }
                }
            } else if path.matches('/').count() > 1 {
                // What is not empty any more stays, and so does the bucket.
                self.prune(&path).await;
            }
        }
        Ok(())
    }

    pub(super) async fn versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let on = self.bucket(&request.input.bucket).await?.versioning;
        let status = on.then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED));
        Ok(S3Response::new(GetBucketVersioningOutput { mfa_delete: None, status }))
    }

    pub(super) async fn set_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let asked = request.input.versioning_configuration;
        if asked.mfa_delete.is_some_and(|it| it.as_str() != "Disabled") {
            return Err(not_implemented("there is no MFA delete"));
        }
        let status = asked.status.ok_or_else(|| S3Error::new(S3ErrorCode::MalformedXML))?;
        let bucket = self.bucket(&request.input.bucket).await?;
        if status.as_str() != BucketVersioningStatus::ENABLED {
            let why = "versioning cannot be switched off again: what is replaced would take its earlier versions along";
            return Err(not_implemented(why));
        }
        self.change_folder(&bucket.path, |attributes| {
            attributes.insert(VERSIONING.to_owned(), BucketVersioningStatus::ENABLED.to_owned());
        })
        .await?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    /// Changes attributes of a folder. Folders have no content id, so the changes of this interface wait
    /// for each other.
    pub(super) async fn change_folder(
        &self,
        path: &str,
        change: impl FnOnce(&mut commonhold_client::types::Attributes),
    ) -> S3Result<FileInfo> {
        let _lock = self.folder_lock(path).await;
        let info = self.look(path).await?.filter(|info| info.entry.kind == FileKind::Folder);
        let mut attributes = info.ok_or_else(|| S3Error::new(S3ErrorCode::NoSuchKey))?.attributes;
        change(&mut attributes);
        let changed = self.drive.set_attributes_if(path.to_owned(), attributes, OnlyIf::Always).await;
        changed.map_err(|fault| error(fault, S3ErrorCode::NoSuchKey))
    }
}
