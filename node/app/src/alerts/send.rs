//! Sends messages to the operator's address, over HTTP/1.1 or HTTPS.
//!
//! Invariant: an attempt ends in time and reads a bounded answer; no redirect is followed, so that the secret
//! goes nowhere but to the address that the operator wrote; neither the secret nor the address, which often is
//! one itself, is ever logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_rustls::TlsConnector;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::compat::{FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use zeroize::Zeroizing;

use super::{Message, Sent};
use crate::config::{AlertsConfig, HookUrl};

/// How long one attempt may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Attempts for one message: about an hour and a quarter.
const ATTEMPTS_MAX: u32 = 20;
/// The longest pause between two.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Longest secret, bytes.
const SECRET_LEN_MAX: u64 = 4096;
/// Most bytes of an answer's head that are kept.
const ANSWER_LEN_MAX: usize = 16 * 1024;

/// Where messages go.
pub struct Hook {
    url: HookUrl,
    /// Of the field that carries the secret, and the file that it is in.
    secret: Option<(HeaderName, PathBuf)>,
    tls: Option<TlsConnector>,
}

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may go well later.
    Later(String),
    /// It will not.
    Never(String),
}

impl Hook {
    /// As the configuration says; `None` when nothing is to be sent. Files are relative to `dir`.
    ///
    /// # Errors
    /// A sentence, when it cannot be used.
    pub fn of(config: &AlertsConfig, dir: &Path) -> Result<Option<Self>, String> {
        let Some(url) = config.url.clone() else { return Ok(None) };
        let secret = match &config.secret_file {
            None => None,
            Some(file) => {
                let name = HeaderName::from_bytes(config.secret_header.as_bytes())
                    .map_err(|_| "secret_header under [alerts] is not the name of a header".to_owned())?;
                Some((name, dir.join(file)))
            }
        };
        let tls = url.is_https().then(connector).transpose()?;
        Ok(Some(Self { url, secret, tls }))
    }

    /// Sends a message once.
    ///
    /// # Errors
    /// Why not, and whether it may be tried again.
    pub async fn send(&self, message: &Message) -> Result<(), Failure> {
        let body = serde_json::to_string(message).map_err(|error| Failure::Never(error.to_string()))?;
        let sent = tokio::time::timeout(ATTEMPT_MAX, self.post(body)).await;
        let status = sent.map_err(|_| Failure::Later("it did not answer in time".to_owned()))??;
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Later(format!("it answered {status}")))
            }
            _ if status.is_server_error() => Err(Failure::Later(format!("it answered {status}"))),
            _ => Err(Failure::Never(format!("it answered {status}"))),
        }
    }

    async fn post(&self, body: String) -> Result<StatusCode, Failure> {
        let later = |error: String| Failure::Later(error);
        let mut request = Request::post(self.url.path())
            .header(HOST, self.url.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("commonhold/", env!("CARGO_PKG_VERSION")));
        if let Some((name, file)) = &self.secret {
            // Read each time, so that it can be changed while the node runs.
            let file = file.clone();
            let read = tokio::task::spawn_blocking(move || secret_of(&file)).await;
            let secret = read.map_err(|error| later(error.to_string()))?.map_err(later)?;
            let mut value = HeaderValue::from_bytes(secret.as_bytes())
                .map_err(|_| later("the secret's file has something that no header can carry".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(name.clone(), value);
        }
        let request = request.body(body).map_err(|error| Failure::Never(error.to_string()))?;
        let (host, port) = self.url.host_and_port();
        let stream =
            TcpStream::connect((host, port)).await.map_err(|error| later(error.kind().to_string()))?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| Failure::Never("its name can be in no certificate".to_owned()))?;
                let stream = tls.connect(name, stream.compat()).await;
                exchange(stream.map_err(|error| later(error.to_string()))?.compat(), request).await
            }
        }
    }
}

/// One request and the head of its answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<String>,
) -> Result<StatusCode, Failure> {
    let later = |error: hyper::Error| Failure::Later(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(ANSWER_LEN_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(later)?;
    let answer = async move {
        // The body is nothing that anybody here would read; without it and the sender, the connection ends.
        sender.send_request(request).await.map(|answer| answer.status())
    };
    // An answer that came counts, however the connection ends behind it.
    let (answer, _) = tokio::join!(answer, connection);
    answer.map_err(later)
}

fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine has no certificates of authorities, which https needs".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The first line of a file.
fn secret_of(file: &Path) -> Result<Zeroizing<String>, String> {
    let named = |error: std::io::Error| format!("the secret's file cannot be read: {error}");
    if std::fs::metadata(file).map_err(named)?.len() > SECRET_LEN_MAX {
        return Err("the secret's file is too long".to_owned());
    }
    let text = Zeroizing::new(std::fs::read_to_string(file).map_err(named)?);
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err("the secret's file has no first line".to_owned());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Sends what waits, one after the other, until nobody adds to it.
pub(super) async fn forever(hook: Hook, mut waiting: mpsc::Receiver<Message>, sent: Arc<Sent>) {
    while let Some(message) = waiting.recv().await {
        let mut attempt = 0;
        let outcome = loop {
            match hook.send(&message).await {
                Ok(()) => break Ok(()),
                Err(Failure::Never(why)) => break Err(why),
                Err(Failure::Later(why)) => {
                    attempt += 1;
                    if attempt >= ATTEMPTS_MAX {
                        break Err(why);
                    }
                    tracing::debug!(why, attempt, "an alert could not be sent yet");
                    tokio::time::sleep(pause(attempt)).await;
                }
            }
        };
        match outcome {
            Ok(()) => sent.sent.fetch_add(1, Ordering::Relaxed),
            Err(why) => {
                tracing::error!(alert = message.alert.as_str(), why, "an alert could not be sent");
                sent.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// How long to wait after so many attempts that failed: 1 s, 2 s, 4 s and so on.
fn pause(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.saturating_sub(1).min(9)).min(PAUSE_MAX)
}
