//! The S3 interface over a drive in memory, and a small client that signs by hand, so that tests can say
//! what no SDK would.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use commonhold_gateway::{DriveApi, S3Keys, S3Options, serve_s3};
use data_encoding::HEXLOWER;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub const ACCESS: &str = "TESTKEY0000000000000";
pub const SECRET: &str = "a-secret-of-forty-characters-0123456789+";

pub struct OneKey;

impl S3Keys for OneKey {
    fn secret_of(&self, access_key: &str) -> BoxFuture<'_, Option<Zeroizing<String>>> {
        let secret = (access_key == ACCESS).then(|| Zeroizing::new(SECRET.to_owned()));
        Box::pin(async move { secret })
    }
}

/// A running interface.
pub struct Server {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(drive: Arc<dyn DriveApi>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let until = async move { drop(stopped.await) };
        let task = tokio::spawn(serve_s3(listener, drive, Arc::new(OneKey), S3Options::default(), until));
        Self { address, stop: Some(stop), task }
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap();
    }

    /// Sends a signed request.
    pub async fn send(&self, request: &Ask) -> Answer {
        self.send_raw(&request.bytes(self.address)).await
    }

    /// Sends the beginning of a request, and the rest of it and another request once the first is answered.
    pub async fn send_in_two(&self, first: &[u8], rest: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut answer = vec![0; 65_536];
        let len = stream.read(&mut answer).await.unwrap();
        answer.truncate(len);
        let mut after = Vec::new();
        let _ = stream.write_all(rest).await;
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut after)).await.unwrap();
        (answer, after)
    }

    /// Sends bytes and reads the answer to its end.
    pub async fn send_raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        // The server may answer before it has read all.
        let sending = async { drop(write.write_all(bytes).await) };
        let reading = tokio::time::timeout(Duration::from_secs(60), read.read_to_end(&mut answer));
        let ((), read) = tokio::join!(sending, reading);
        let _ = read.expect("an answer within a minute");
        Answer::parse(&answer)
    }
}

/// A request.
#[derive(Clone)]
pub struct Ask {
    pub method: &'static str,
    /// Decoded.
    pub path: String,
    /// Decoded names and values.
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub secret: &'static str,
    pub access: &'static str,
    /// Seconds that the client's clock is ahead.
    pub ahead: i64,
    /// What x-amz-content-sha256 says; the hash of the body without it.
    pub payload: Option<&'static str>,
}

impl Ask {
    pub fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: vec![],
            headers: vec![],
            body: vec![],
            secret: SECRET,
            access: ACCESS,
            ahead: 0,
            payload: None,
        }
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn query_text(&self) -> String {
        let mut pairs: Vec<_> =
            self.query.iter().map(|(name, value)| (encode(name, false), encode(value, false))).collect();
        pairs.sort();
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("&")
    }

    /// The whole request.
    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let (date, time) = stamp(self.ahead);
        let hash = self.payload.map_or_else(|| sha256(&self.body), str::to_owned);
        let mut headers: BTreeMap<String, String> = self.headers.iter().cloned().collect();
        headers.insert("host".into(), address.to_string());
        headers.insert("x-amz-date".into(), time.clone());
        headers.insert("x-amz-content-sha256".into(), hash.clone());
        let signed: Vec<_> = headers.keys().cloned().collect();
        let signed = signed.join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let path = encode(&self.path, true);
        let canonical = format!("{}\n{path}\n{}\n{lines}\n{signed}\n{hash}", self.method, self.query_text());
        let scope = format!("{date}/us-east-1/s3/aws4_request");
        let signature = sign(self.secret, &date, &time, &scope, &canonical);
        let query = self.query_text();
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        for (name, value) in &headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!(
            "authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}\r\n",
            self.access
        );
        head += &format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len());
        [head.into_bytes(), self.body.clone()].concat()
    }

    /// The path and query of a URL that needs no header, good for `expires` seconds.
    pub fn presigned(&self, address: SocketAddr, expires: i64) -> String {
        let (date, time) = stamp(self.ahead);
        let scope = format!("{date}/us-east-1/s3/aws4_request");
        let asked = self
            .clone()
            .query("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
            .query("X-Amz-Credential", &format!("{}/{scope}", self.access))
            .query("X-Amz-Date", &time)
            .query("X-Amz-Expires", &expires.to_string())
            .query("X-Amz-SignedHeaders", "host");
        let path = encode(&self.path, true);
        let query = asked.query_text();
        let canonical = format!("{}\n{path}\n{query}\nhost:{address}\n\nhost\nUNSIGNED-PAYLOAD", self.method);
        let signature = sign(self.secret, &date, &time, &scope, &canonical);
        format!("{path}?{query}&X-Amz-Signature={signature}")
    }
}

fn sign(secret: &str, date: &str, time: &str, scope: &str, canonical: &str) -> String {
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, "us-east-1", "s3", "aws4_request", &text] {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    HEXLOWER.encode(&key)
}

pub fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn encode(text: &str, path: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (path && byte == b'/');
    let bytes = text.bytes();
    bytes.map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// `20260101` and `20260101T000000Z`.
fn stamp(ahead: i64) -> (String, String) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64 + ahead;
    let (days, second) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    // Days of the civil calendar, counted from March of year 0.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{date}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    (date, time)
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers.get("transfer-encoding").is_some_and(|it| it == "chunked") {
            let (mut rest, mut whole) = (&body[..], Vec::new());
            while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
                let len = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
                whole.extend_from_slice(&rest[line + 2..line + 2 + len]);
                rest = &rest[line + 2 + len + 2..];
            }
            body = whole;
        }
        Self { status, headers, body }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The texts of all elements with this name.
    pub fn all(&self, element: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let parts = text.split(&open).skip(1);
        parts
            .map(|part| part.split(&close).next().unwrap())
            .map(|part| {
                let mut text = part.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
                text = text.replace("&apos;", "'").replace("&#39;", "'");
                text.replace("&amp;", "&")
            })
            .collect()
    }

    /// The text of the one element with this name.
    pub fn one(&self, element: &str) -> String {
        let all = self.all(element);
        assert_eq!(all.len(), 1, "{element} in {}", self.text());
        all[0].clone()
    }

    /// Status and code of an error.
    pub fn error(&self) -> (u16, String) {
        (self.status, self.one("Code"))
    }
}
