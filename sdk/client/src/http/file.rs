//! Calls that carry the bytes of files: archives, single files and ranges of them, uploads in parts.

use std::ops::Range;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use tokio::io::AsyncRead;

use super::body::{received, sent};
use super::{Archive, BOOK_TIMEOUT, Client, ClientError, answered, json};
use crate::types::{
    CompleteRequest, Done, FileInfo, PartView, PutReport, UploadRequest, UploadView, UploadsView,
};

/// What is read of a file.
#[derive(Debug, Clone, Default)]
pub struct FileRead {
    /// An earlier version; the current one without it.
    pub version: Option<u64>,
    /// First byte, and the one after the last, which may lie beyond the end.
    pub range: Option<Range<u64>>,
    /// The range counts only if the file has this content; if it has another, all of that comes.
    pub if_content: Option<String>,
}

/// A file that is being read.
pub struct RemoteFile {
    /// Its length as a whole.
    pub total: u64,
    /// Where `content` begins in it.
    pub start: u64,
    /// Number of the version.
    pub version: u64,
    /// See [`FileInfo::content_id`].
    pub content_id: String,
    /// The bytes; reading fails when the node cuts them short.
    pub content: Archive,
}

/// How a file is stored.
#[derive(Debug, Clone, Default)]
pub struct FileWrite {
    /// When it was last modified, milliseconds since 1970; now without it.
    pub modified_ms: Option<i64>,
    /// May its owner execute it?
    pub executable: bool,
    /// Fail with `precondition` when something stands there.
    pub if_absent: bool,
    /// Fail with `precondition` when the file there has another content.
    pub if_content: Option<String>,
    /// Its content type.
    pub content_type: Option<String>,
}

impl Client {
    /// `PUT /v1/archive`: stores a tar stream under `to`; with `as_name`, its only root entry gets
    /// that name. The stream is read as fast as the node takes it in, and memory stays bounded.
    /// When this is answered, the providers have signed for bytes on disk.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Io`] when `archive` itself fails, and then nothing is
    /// stored.
    pub async fn put_archive(
        &self,
        to: &str,
        as_name: Option<&str>,
        archive: impl AsyncRead + Send + 'static,
    ) -> Result<PutReport, ClientError> {
        let mut call = self.call(Method::PUT, &["archive"]).query(&[("to", to)]);
        if let Some(name) = as_name {
            call = call.query(&[("as", name)]);
        }
        sent(call, archive).await
    }

    /// `GET /v1/archive`: a file or folder as a tar stream; its root entry has the last name of
    /// `path`. `prefer` is the peer id of a provider to ask first.
    ///
    /// # Errors
    /// See [`ClientError`]. Once the stream has begun, reading it fails when the node cuts it.
    pub async fn get_archive(&self, path: &str, prefer: Option<&str>) -> Result<Archive, ClientError> {
        let mut call = self.call(Method::GET, &["archive"]).query(&[("path", path)]);
        if let Some(prefer) = prefer {
            call = call.query(&[("prefer", prefer)]);
        }
        let answer = answered(call).await?;
        Ok(received(answer))
    }

    /// `GET /v1/file`: bytes of a file.
    ///
    /// # Errors
    /// See [`ClientError`]; code `range` when the range begins at or beyond the file's end.
    pub async fn read_file(&self, path: &str, read: &FileRead) -> Result<RemoteFile, ClientError> {
        let mut call = self.call(Method::GET, &["file"]).query(&[("path", path)]);
        call = call.query(&[("version", read.version)]);
        if let Some(Range { start, end }) = &read.range {
            let last = end.saturating_sub(1);
            call = call.header(RANGE, format!("bytes={start}-{last}"));
        }
        if let Some(id) = &read.if_content {
            call = call.header(IF_RANGE, format!("\"{id}\""));
        }
        let answer = answered(call).await?;
        let headers = answer.headers();
        let version = text(headers, "commonhold-version").and_then(|it| it.parse().ok());
        let content_id = text(headers, ETAG.as_str()).and_then(|it| it.strip_prefix('"')?.strip_suffix('"'));
        let (Some(version), Some(content_id)) = (version, content_id) else {
            return Err(ClientError::BadAnswer("it does not say which file it is".into()));
        };
        let content_id = content_id.to_owned();
        let place = if answer.status() == StatusCode::PARTIAL_CONTENT {
            text(headers, CONTENT_RANGE.as_str()).and_then(place)
        } else {
            answer.content_length().map(|len| (0, len))
        };
        let Some((start, total)) = place else {
            return Err(ClientError::BadAnswer("it does not say which bytes these are".into()));
        };
        let wanted = read.range.as_ref().map_or(0, |range| range.start);
        if start != wanted && start != 0 {
            return Err(ClientError::BadAnswer("these are other bytes than those asked for".into()));
        }
        Ok(RemoteFile { total, start, version, content_id, content: received(answer) })
    }

    /// `PUT /v1/file`: stores one file of `len` bytes.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Io`] when `content` itself fails, and then nothing is stored.
    pub async fn store_file(
        &self,
        path: &str,
        write: &FileWrite,
        len: u64,
        content: impl AsyncRead + Send + 'static,
    ) -> Result<FileInfo, ClientError> {
        let mut call = self.call(Method::PUT, &["file"]).query(&[("path", path)]);
        call = call.query(&[("modified_ms", write.modified_ms)]).query(&[("executable", write.executable)]);
        call = call.query(&[("if_absent", write.if_absent)]).query(&[("if_content", &write.if_content)]);
        if let Some(kind) = &write.content_type {
            call = call.header(CONTENT_TYPE, kind);
        }
        sent(call.header(CONTENT_LENGTH, len), content).await
    }

    /// `GET /v1/uploads`: files that are being put in parts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn uploads(&self) -> Result<UploadsView, ClientError> {
        json(self.call(Method::GET, &["uploads"]).timeout(BOOK_TIMEOUT)).await
    }

    /// `POST /v1/uploads`: begins one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn begin_upload(&self, request: &UploadRequest) -> Result<UploadView, ClientError> {
        json(self.call(Method::POST, &["uploads"]).json(request)).await
    }

    /// `GET /v1/uploads/{id}`: one of them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn upload(&self, id: &str) -> Result<UploadView, ClientError> {
        json(self.call(Method::GET, &["uploads", id]).timeout(BOOK_TIMEOUT)).await
    }

    /// `DELETE /v1/uploads/{id}`: gives it up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn abort_upload(&self, id: &str) -> Result<Done, ClientError> {
        json(self.call(Method::DELETE, &["uploads", id])).await
    }

    /// `PUT /v1/uploads/{id}/parts/{number}`: stores a part of `len` bytes.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Io`] when `content` itself fails, and then nothing is stored.
    pub async fn store_part(
        &self,
        id: &str,
        number: u32,
        len: u64,
        content: impl AsyncRead + Send + 'static,
    ) -> Result<PartView, ClientError> {
        let call = self.call(Method::PUT, &["uploads", id, "parts", &number.to_string()]);
        sent(call.header(CONTENT_LENGTH, len), content).await
    }

    /// `POST /v1/uploads/{id}/complete`: makes the file of its parts.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn complete_upload(
        &self,
        id: &str,
        request: &CompleteRequest,
    ) -> Result<FileInfo, ClientError> {
        json(self.call(Method::POST, &["uploads", id, "complete"]).json(request)).await
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The first byte and the whole length that a Content-Range tells.
fn place(range: &str) -> Option<(u64, u64)> {
    let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.parse().ok()?, last.parse::<u64>().ok()?, total.parse().ok()?);
    (first <= last && last < total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_range_that_cannot_be_is_none() {
        assert_eq!(place("bytes 5-9/20"), Some((5, 20)));
        for bad in ["bytes 5-4/20", "bytes 0-20/20", "bytes 0-1/*", "bytes */20", "0-1/2", "bytes a-b/c", ""]
        {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
