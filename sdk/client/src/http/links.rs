//! Calls about links that others gave out.

use reqwest::Method;

use super::body::received;
use super::{Archive, Client, ClientError, FOLDER_TIMEOUT, answered, json};
use crate::types::{LinkRequest, Listing};

impl Client {
    /// `POST /v1/links/list`: what a link shows.
    ///
    /// # Errors
    /// See [`ClientError`]; codes `not_found`, `gone`, `password` when one is needed, `forbidden` when link or
    /// password is wrong, `wrong_role` for a drop box.
    pub async fn list_link(&self, request: &LinkRequest) -> Result<Listing, ClientError> {
        json(self.call(Method::POST, &["links", "list"]).json(request).timeout(FOLDER_TIMEOUT)).await
    }

    /// `POST /v1/links/archive`: what is at a path below a link, as a tar archive.
    ///
    /// # Errors
    /// As [`Client::list_link`].
    pub async fn link_archive(&self, request: &LinkRequest) -> Result<Archive, ClientError> {
        let answer = answered(self.call(Method::POST, &["links", "archive"]).json(request)).await?;
        Ok(received(answer))
    }
}
