//! Access keys of S3 for the gateway, and links that others gave out.

use commonhold_client::types::{LinkRequest, Listing, S3KeyNew, S3KeyView, S3KeysView};
use commonhold_gateway::{Answer, ApiFault, ArchiveReader, ReadLinkApi, S3KeyApi, S3Keys as Lookup};
use futures::future::BoxFuture;
use zeroize::Zeroizing;

use super::{Api, blocking, fault};
use crate::clock::unix_milliseconds;
use crate::s3_keys::{S3Keys, S3KeysError};

fn key_fault(error: S3KeysError) -> ApiFault {
    let code = match &error {
        S3KeysError::Missing(_) => "not_found",
        S3KeysError::TooMany => "conflict",
        S3KeysError::File { .. } => "io",
    };
    fault(code, error.to_string())
}

impl S3KeyApi for Api {
    fn s3_keys(&self) -> Answer<'_, S3KeysView> {
        Box::pin(async move { Ok(S3KeysView { endpoint: self.s3_url.clone(), keys: self.s3_keys.list() }) })
    }

    fn new_s3_key(&self, name: String) -> Answer<'_, S3KeyNew> {
        Box::pin(async move {
            let keys = self.s3_keys.clone();
            let now = i64::try_from(unix_milliseconds()).unwrap_or(i64::MAX);
            let (key, secret) = blocking(move || keys.add(&name, now)).await?.map_err(key_fault)?;
            Ok(S3KeyNew { key, secret_key: secret.as_str().to_owned(), endpoint: self.s3_url.clone() })
        })
    }

    fn remove_s3_key(&self, access_key: String) -> Answer<'_, S3KeyView> {
        Box::pin(async move {
            let keys = self.s3_keys.clone();
            blocking(move || keys.remove(&access_key)).await?.map_err(key_fault)
        })
    }
}

impl Lookup for S3Keys {
    fn secret_of(&self, access_key: &str) -> BoxFuture<'_, Option<Zeroizing<String>>> {
        let secret = self.find(access_key);
        Box::pin(async move { secret })
    }
}

impl ReadLinkApi for Api {
    fn list_link(&self, request: LinkRequest) -> Answer<'_, Listing> {
        Box::pin(self.links.list(request))
    }

    fn link_archive(&self, request: LinkRequest) -> Answer<'_, ArchiveReader> {
        Box::pin(self.links.archive(request))
    }
}
