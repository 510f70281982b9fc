//! Calls over HTTP.
//!
//! Invariant: the token goes to a loopback address only, and is neither printed nor kept after the
//! client is dropped. A connection carries one call, so that no call is lost on a connection that
//! the node has just closed.

mod body;
mod drive;
mod file;
mod links;
mod node;
mod plugins;

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use zeroize::Zeroizing;

pub use self::file::{FileRead, FileWrite, RemoteFile};
use crate::types::{ErrorBody, JSON_LEN_MAX};

/// How long a connection to this machine may take; a node that is there accepts at once unless all
/// its connections are in use.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take for an answer from its own books.
const BOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take for an answer that needs folders from its providers.
const FOLDER_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest JSON answer, bytes: a listing of a million files.
const ANSWER_LEN_MAX: usize = 256 * 1024 * 1024;

/// A tar stream from the node. It ends cleanly only when it is complete; a stream that the node
/// cut ends in an error.
pub type Archive = Pin<Box<dyn AsyncRead + Send>>;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens at the address.
    #[error("no node is running for this data directory: start it with `commonhold --data-dir DIR up`")]
    NotRunning,
    /// The address or token cannot be those of a local API.
    #[error("{0}")]
    BadAddress(String),
    /// The node answered that it could not or would not.
    #[error("{message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// The stable word, spec/api.md; empty when the answer carried none.
        code: String,
        /// The sentence.
        message: String,
    },
    /// The connection broke before the answer was complete. For a call that changes something it
    /// is open whether it was done.
    #[error("the node did not finish its answer ({0}): see whether it is still running, then try again")]
    Interrupted(String),
    /// What answered does not speak this API, or another version of it.
    #[error("the answer is not that of a Commonhold node's API: {0}")]
    BadAnswer(String),
    /// This side's own data could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ClientError {
    /// The stable word of an answered error, like `not_found`.
    pub fn code(&self) -> Option<&str> {
        match self {
            ClientError::Api { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// A running node's API. Cheap to clone; the token is wiped when the last clone is dropped (not
/// its copies in the buffers of calls that were made).
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Arc<Zeroizing<String>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("api", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// For the API at `api`, like `http://127.0.0.1:4700`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::BadAddress`] when `api` is not `http` on a loopback address, or the token
    /// cannot stand in a header.
    pub fn new(api: &str, token: &str) -> Result<Self, ClientError> {
        let refused =
            |why: &str| ClientError::BadAddress(format!("{api:?} is not the address of a local API: {why}"));
        let base = Url::parse(api.trim_end()).map_err(|error| refused(&error.to_string()))?;
        if base.scheme() != "http" {
            return Err(refused("it does not begin with http://"));
        }
        if base.path() != "/"
            || base.query().is_some()
            || !base.username().is_empty()
            || base.password().is_some()
        {
            return Err(refused("only host and port are expected"));
        }
        let host = base.host_str().unwrap_or_default();
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback()) {
            return Err(refused("the token is only sent to this machine"));
        }
        let token = Zeroizing::new(token.trim_end().to_owned());
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadAddress(
                "the API token is empty or has characters that no token has".into(),
            ));
        }
        let http = reqwest::Client::builder()
            // The environment's proxy would see the token and every archive.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .http1_only()
            .build()
            .map_err(|error| ClientError::BadAddress(error.to_string()))?;
        Ok(Self { http, base, token: Arc::new(token) })
    }

    /// A request to `/v1/…`; each step of the path is percent-encoded, so that none can add steps.
    fn call(&self, method: Method, steps: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().push("v1").extend(steps);
        }
        let bearer = Zeroizing::new(format!("Bearer {}", self.token.as_str()));
        let mut value = HeaderValue::from_str(&bearer).expect("new() accepted graphic ASCII only");
        value.set_sensitive(true);
        self.http.request(method, url).header(AUTHORIZATION, value)
    }
}

/// Sends a call and turns every answer but success into an error.
async fn answered(call: RequestBuilder) -> Result<Response, ClientError> {
    let answer = call.send().await.map_err(transport)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = collect(answer, JSON_LEN_MAX).await.unwrap_or_default();
    Err(match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { error }) => {
            ClientError::Api { status: status.as_u16(), code: error.code, message: error.message }
        }
        Err(_) => ClientError::BadAnswer(format!("status {status} without an explanation")),
    })
}

/// Sends a call and reads its JSON answer.
async fn json<T: DeserializeOwned>(call: RequestBuilder) -> Result<T, ClientError> {
    let body = collect(answered(call).await?, ANSWER_LEN_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| ClientError::BadAnswer(error.to_string()))
}

/// Reads a body of at most `len_max` bytes.
async fn collect(answer: Response, len_max: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    let mut bytes = answer.bytes_stream();
    while let Some(part) = bytes.next().await {
        let part = part.map_err(transport)?;
        if body.len() + part.len() > len_max {
            return Err(ClientError::BadAnswer(format!("it is longer than {len_max} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// What a failed exchange means for the caller.
fn transport(error: reqwest::Error) -> ClientError {
    if error.is_connect() {
        ClientError::NotRunning
    } else if error.is_timeout() {
        ClientError::Interrupted("it took too long".into())
    } else {
        ClientError::Interrupted(innermost(&error))
    }
}

/// The last of an error's causes, which says most.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_token_goes_to_loopback_addresses_only() {
        for good in
            ["http://127.0.0.1:4700", "http://localhost:4700/", "http://[::1]:1\n", "http://127.8.8.8:80"]
        {
            assert!(Client::new(good, TOKEN).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "127.0.0.1:4700",
            "https://127.0.0.1:4700",
            "http://192.0.2.1:4700",
            "http://0.0.0.0:4700",
            "http://example.org",
            "http://localhost.example.org",
            "http://user@127.0.0.1:4700",
            "http://:pass@127.0.0.1:4700",
            "http://127.0.0.1:4700/v1",
            "http://127.0.0.1:4700/?x",
            "file:///etc/passwd",
        ] {
            assert!(matches!(Client::new(bad, TOKEN), Err(ClientError::BadAddress(_))), "{bad:?}");
        }
        for bad in ["", "\n", "a b", "a\nb", "é"] {
            assert!(
                matches!(Client::new("http://127.0.0.1:1", bad), Err(ClientError::BadAddress(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_token_is_never_printed() {
        let client = Client::new("http://127.0.0.1:4700", TOKEN).unwrap();
        let request = client.call(Method::GET, &["status"]).build().unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], format!("Bearer {TOKEN}"));
        for text in [format!("{client:?}"), format!("{request:?}")] {
            assert!(!text.contains(TOKEN), "{text}");
        }
    }

    #[test]
    fn no_text_adds_steps_to_a_path() {
        let client = Client::new("http://127.0.0.1:4700", TOKEN).unwrap();
        for (text, path) in [
            ("a/../b", "/v1/contracts/a%2F..%2Fb/inventory"),
            ("a?b#c%", "/v1/contracts/a%3Fb%23c%25/inventory"),
        ] {
            let request = client.call(Method::GET, &["contracts", text, "inventory"]).build().unwrap();
            assert_eq!(request.url().path(), path);
            assert_eq!(request.url().query(), None);
        }
    }

    #[tokio::test]
    async fn without_a_node_the_sentence_says_how_to_start_it() {
        let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&format!("http://{}", unused.local_addr().unwrap()), TOKEN).unwrap();
        drop(unused);
        let failed = client.status().await.unwrap_err();
        assert!(matches!(failed, ClientError::NotRunning), "{failed:?}");
        assert!(failed.to_string().contains("commonhold --data-dir DIR up"));
    }

    /// Answers one connection with these bytes and closes it.
    async fn answering(bytes: &'static [u8]) -> Client {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), TOKEN).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The whole head: a socket closed with unread bytes would be reset.
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                read.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(bytes).await.unwrap();
        });
        client
    }

    #[tokio::test]
    async fn strange_answers_are_errors_of_their_kind() {
        let redirect = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
        let failed = answering(redirect).await.status().await.unwrap_err();
        assert!(matches!(&failed, ClientError::BadAnswer(why) if why.contains("302")), "{failed:?}");

        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let failed = answering(other).await.status().await.unwrap_err();
        assert!(matches!(failed, ClientError::BadAnswer(_)), "{failed:?}");

        let short = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[";
        let failed = answering(short).await.peers().await.unwrap_err();
        assert!(matches!(failed, ClientError::Interrupted(_)), "{failed:?}");

        let failed = answering(b"").await.peers().await.unwrap_err();
        assert!(matches!(failed, ClientError::Interrupted(_)), "{failed:?}");

        let page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\n<hm>";
        let failed = answering(page).await.peers().await.unwrap_err();
        assert!(matches!(failed, ClientError::BadAnswer(_)), "{failed:?}");
    }
}
