//! Calls about the drive: its tree, versions, the bin, other histories, links, keys of S3.

use reqwest::Method;

use super::{BOOK_TIMEOUT, Client, ClientError, FOLDER_TIMEOUT, json};
use crate::types::{
    BinEmptied, BinEmptyRequest, BinRestoreRequest, BinView, CheckReport, CheckRequest, Done, DownloadView,
    DownloadsView, FileInfo, FolderRequest, ForkRequest, Found, HeadsView, LIST_MAX, Listing, Merged,
    MoveRequest, Removed, RestoreVersionRequest, S3KeyNew, S3KeyRequest, S3KeyView, S3KeysView, ShareRequest,
    ShareView, SharesView, Ticket, TicketRequest, UsageView, VersionsView,
};

impl Client {
    /// `GET /v1/files`: children of a folder in the order of their names, those after the name `after`; a
    /// file alone. Without a `limit`, as many as the node gives by itself.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when nothing has this path.
    pub async fn list_page(
        &self,
        path: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Listing, ClientError> {
        let call = self.call(Method::GET, &["files"]).query(&[("path", path)]);
        let call = call.query(&[("after", after)]).query(&[("limit", limit)]);
        json(call.timeout(FOLDER_TIMEOUT)).await
    }

    /// All pages of [`Client::list_page`]: of a folder that changes meanwhile, what each page saw.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when nothing has this path.
    pub async fn list(&self, path: &str) -> Result<Listing, ClientError> {
        let mut whole = self.list_page(path, None, Some(LIST_MAX)).await?;
        while let Some(after) = whole.next.take() {
            let page = self.list_page(path, Some(&after), Some(LIST_MAX)).await?;
            // A node that gives the same page again would keep this going for ever.
            let forward = page.entries.first().is_none_or(|first| first.name > after)
                && page.next.as_ref().is_none_or(|next| *next > after);
            if !forward {
                return Err(ClientError::BadAnswer("the pages of a listing do not go on".into()));
            }
            whole.entries.extend(page.entries);
            whole.next = page.next;
        }
        Ok(whole)
    }

    /// `GET /v1/files/info`: one file or folder.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when nothing has this path.
    pub async fn info(&self, path: &str) -> Result<FileInfo, ClientError> {
        json(self.call(Method::GET, &["files", "info"]).query(&[("path", path)]).timeout(FOLDER_TIMEOUT))
            .await
    }

    /// [`Client::info`], with nothing for what is not there.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn info_if_there(&self, path: &str) -> Result<Option<FileInfo>, ClientError> {
        match self.info(path).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.code() == Some("not_found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `GET /v1/files/find`: entries below a folder, depth first, whose names contain `name`; those after
    /// the path `after`. A page may be empty and still have a `next`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn find(
        &self,
        path: &str,
        name: Option<&str>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Found, ClientError> {
        let call = self.call(Method::GET, &["files", "find"]).query(&[("path", path)]);
        let call = call.query(&[("name", name), ("after", after)]).query(&[("limit", limit)]);
        json(call.timeout(FOLDER_TIMEOUT)).await
    }

    /// `GET /v1/files/usage`: sums over what lies below a path, and over each child.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn usage(&self, path: &str, children: bool) -> Result<UsageView, ClientError> {
        let call = self.call(Method::GET, &["files", "usage"]).query(&[("path", path)]);
        json(call.query(&[("children", children)]).timeout(FOLDER_TIMEOUT)).await
    }

    /// `DELETE /v1/files`: moves a file or folder to the bin, or with `forever` removes it for good.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, path: &str, forever: bool) -> Result<Removed, ClientError> {
        let call = self.call(Method::DELETE, &["files"]).query(&[("path", path)]);
        json(call.query(&[("forever", forever)])).await
    }

    /// `POST /v1/folders`: makes a folder and those above it.
    ///
    /// # Errors
    /// See [`ClientError`]; code `exists` when a file is in the way.
    pub async fn make_folder(&self, path: &str) -> Result<FileInfo, ClientError> {
        json(self.call(Method::POST, &["folders"]).json(&FolderRequest { path: path.to_owned() })).await
    }

    /// `POST /v1/files/move`.
    ///
    /// # Errors
    /// See [`ClientError`]; code `exists` when something stands at the new path.
    pub async fn move_to(&self, request: &MoveRequest) -> Result<FileInfo, ClientError> {
        json(self.call(Method::POST, &["files", "move"]).json(request)).await
    }

    /// `POST /v1/files/copy`: nothing is downloaded or sent again.
    ///
    /// # Errors
    /// See [`ClientError`]; code `exists` when something stands at the new path.
    pub async fn copy_to(&self, request: &MoveRequest) -> Result<FileInfo, ClientError> {
        json(self.call(Method::POST, &["files", "copy"]).json(request)).await
    }

    /// `GET /v1/versions`: the versions of a file, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn versions(&self, path: &str) -> Result<VersionsView, ClientError> {
        json(self.call(Method::GET, &["versions"]).query(&[("path", path)]).timeout(FOLDER_TIMEOUT)).await
    }

    /// `POST /v1/versions/restore`: an earlier version becomes the current one.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when the file has no such version.
    pub async fn restore_version(&self, path: &str, version: u64) -> Result<FileInfo, ClientError> {
        let request = RestoreVersionRequest { path: path.to_owned(), version };
        json(self.call(Method::POST, &["versions", "restore"]).json(&request)).await
    }

    /// `DELETE /v1/versions`: gives an earlier version up for good.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_version(&self, path: &str, version: u64) -> Result<Done, ClientError> {
        let call = self.call(Method::DELETE, &["versions"]).query(&[("path", path)]);
        json(call.query(&[("version", version)])).await
    }

    /// `GET /v1/bin`: what was removed and can be restored.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn bin(&self) -> Result<BinView, ClientError> {
        json(self.call(Method::GET, &["bin"]).timeout(FOLDER_TIMEOUT)).await
    }

    /// `POST /v1/bin/restore`: puts something back.
    ///
    /// # Errors
    /// See [`ClientError`]; code `exists` when something stands there.
    pub async fn restore_from_bin(&self, request: &BinRestoreRequest) -> Result<FileInfo, ClientError> {
        json(self.call(Method::POST, &["bin", "restore"]).json(request)).await
    }

    /// `POST /v1/bin/empty`: gives up what is in the bin.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn empty_bin(&self, request: &BinEmptyRequest) -> Result<BinEmptied, ClientError> {
        json(self.call(Method::POST, &["bin", "empty"]).json(request)).await
    }

    /// `GET /v1/drive/heads`: the current state and other histories.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn heads(&self) -> Result<HeadsView, ClientError> {
        json(self.call(Method::GET, &["drive", "heads"]).timeout(FOLDER_TIMEOUT)).await
    }

    /// `POST /v1/drive/merge`: takes another history into the current one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn merge(&self, hash: &str) -> Result<Merged, ClientError> {
        json(self.call(Method::POST, &["drive", "merge"]).json(&ForkRequest { hash: hash.to_owned() })).await
    }

    /// `POST /v1/drive/forget`: gives another history up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget(&self, hash: &str) -> Result<Done, ClientError> {
        json(self.call(Method::POST, &["drive", "forget"]).json(&ForkRequest { hash: hash.to_owned() })).await
    }

    /// `POST /v1/drive/begin`: begins a new drive where one that was made elsewhere is waited for.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn begin(&self) -> Result<Done, ClientError> {
        json(self.call(Method::POST, &["drive", "begin"])).await
    }

    /// `POST /v1/drive/check`: verifies redundancy, and waits for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn check_drive(&self, request: &CheckRequest) -> Result<CheckReport, ClientError> {
        json(self.call(Method::POST, &["drive", "check"]).json(request)).await
    }

    /// `GET /v1/shares`: the links that were given out.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn shares(&self) -> Result<SharesView, ClientError> {
        json(self.call(Method::GET, &["shares"]).timeout(FOLDER_TIMEOUT)).await
    }

    /// `POST /v1/shares`: gives out a link.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn share(&self, request: &ShareRequest) -> Result<ShareView, ClientError> {
        json(self.call(Method::POST, &["shares"]).json(request)).await
    }

    /// `DELETE /v1/shares/{id}`: revokes a link, by the first digits of its id.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn unshare(&self, id: &str) -> Result<ShareView, ClientError> {
        json(self.call(Method::DELETE, &["shares", id])).await
    }

    /// `POST /v1/tickets`: an address for a browser.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ticket(&self, request: &TicketRequest) -> Result<Ticket, ClientError> {
        json(self.call(Method::POST, &["tickets"]).json(request)).await
    }

    /// `GET /v1/downloads`: how far browsers are with what they fetch under tickets.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn downloads(&self) -> Result<DownloadsView, ClientError> {
        json(self.call(Method::GET, &["downloads"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `DELETE /v1/downloads/{id}`: ends one; one that has ended stays as it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel_download(&self, id: &str) -> Result<DownloadView, ClientError> {
        json(self.call(Method::DELETE, &["downloads", id])).await
    }

    /// `GET /v1/s3/keys`: access keys of the S3 interface, without their secrets.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn s3_keys(&self) -> Result<S3KeysView, ClientError> {
        json(self.call(Method::GET, &["s3", "keys"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `POST /v1/s3/keys`: makes one. The answer has its secret, which is never told again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn new_s3_key(&self, name: &str) -> Result<S3KeyNew, ClientError> {
        json(self.call(Method::POST, &["s3", "keys"]).json(&S3KeyRequest { name: name.to_owned() })).await
    }

    /// `DELETE /v1/s3/keys/{access key}`: it lets nobody in any more.
    ///
    /// # Errors
    /// See [`ClientError`]; code `not_found` when there is none.
    pub async fn remove_s3_key(&self, access_key: &str) -> Result<S3KeyView, ClientError> {
        json(self.call(Method::DELETE, &["s3", "keys", access_key])).await
    }
}
