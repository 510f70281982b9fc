//! Archives through real sockets: early failures, broken streams, slow sides.
#![allow(clippy::unwrap_used)]

mod common;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Answer, MIB, Node, PATIENCE, Source, until};
use commonhold_client::ClientError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

fn source(left: u64, fails: bool) -> Source {
    Source { left, fails, produced: Arc::default() }
}

#[tokio::test]
async fn archives_pass_whole_in_both_directions() {
    let node = Node::start().await;
    let report =
        node.client.put_archive("/a b/ü&to=x", Some("n+m"), source(50 * MIB + 7, false)).await.unwrap();
    assert_eq!(report.bytes, 50 * MIB + 7);
    let mut archive = node.client.get_archive("/some", None).await.unwrap();
    let mut read = Vec::new();
    archive.read_to_end(&mut read).await.unwrap();
    assert!(read.len() as u64 == 20 * MIB && read.iter().all(|byte| *byte == 0x5a));
    let mut archive = node.client.get_archive("/empty", None).await.unwrap();
    assert_eq!(archive.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(node.calls()[0], r#"put /a b/ü&to=x Some("n+m")"#);
}

#[tokio::test]
async fn an_early_failure_is_read_by_a_client_that_is_still_uploading() {
    let node = Node::start().await;
    for _ in 0..3 {
        let failed = node.client.put_archive("/fails", None, source(200 * MIB, false)).await.unwrap_err();
        let ClientError::Api { status, code, message } = failed else { panic!("{failed:?}") };
        assert_eq!((status, code.as_str()), (503, "too_few_providers"));
        assert_eq!(message, "6 providers are needed and 2 are there");
    }
}

#[tokio::test]
async fn a_refused_upload_reads_its_source_no_further() {
    let node = Node::start().await;
    let endless = source(u64::MAX, false);
    let produced = endless.produced.clone();
    let failed = node.client.put_archive("/fails", None, endless).await.unwrap_err();
    assert_eq!(failed.code(), Some("too_few_providers"));
    let dropped = || Arc::strong_count(&produced) == 1;
    until("the source is dropped", dropped).await;
    // Far less than the node would have drained.
    assert!(produced.load(Ordering::SeqCst) < 512 * MIB);
}

#[tokio::test]
async fn an_upload_that_its_caller_gives_up_is_an_error_for_the_node() {
    let node = Node::start().await;
    let client = node.client.clone();
    let endless = source(u64::MAX, false);
    let call = tokio::spawn(async move { client.put_archive("/record", None, endless).await });
    until("the upload begins", || !node.calls().is_empty()).await;
    sleep(Duration::from_millis(50)).await;
    call.abort();
    until("the upload ends", || !node.uploads().is_empty()).await;
    assert_eq!(node.uploads(), [Err(io::ErrorKind::ConnectionAborted)]);
}

/// Sends everything before it reads anything, as simple HTTP clients do.
#[tokio::test]
async fn an_early_failure_is_read_by_a_client_that_sends_before_it_reads() {
    let node = Node::start().await;
    for line in [
        "PUT /v1/archive?to=/fails",
        "PUT /v1/archive?to=/panic",
        "PUT /v1/archive?too=x",
        "POST /v1/nowhere",
    ] {
        let mut stream = node.connect().await;
        let good = node.good_headers();
        let head =
            format!("{line} HTTP/1.1\r\n{good}Connection: close\r\nContent-Length: {}\r\n\r\n", 200 * MIB);
        stream.write_all(head.as_bytes()).await.unwrap();
        let part = vec![1; MIB as usize];
        for _ in 0..200 {
            stream.write_all(&part).await.unwrap();
        }
        let answer = Answer::read(stream).await;
        assert!(answer.status >= 400 && !answer.code().is_empty(), "{line}: {answer:?}");
    }
}

#[tokio::test]
async fn an_early_failure_is_answered_at_once() {
    let node = Node::start().await;
    let mut stream = node.connect().await;
    let good = node.good_headers();
    let head = format!("PUT /v1/archive?to=/fails HTTP/1.1\r\n{good}Content-Length: {}\r\n\r\n", 200 * MIB);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; 2 * MIB as usize]).await.unwrap();
    // The rest never comes.
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[tokio::test]
async fn a_download_that_fails_midway_never_looks_complete() {
    let node = Node::start().await;
    let mut archive = node.client.get_archive("/breaks", None).await.unwrap();
    let mut read = Vec::new();
    let error = archive.read_to_end(&mut read).await.unwrap_err();
    assert!(error.to_string().contains("not the whole"), "{error}");
    // The same on the wire: the last chunk, "0", must not be there.
    let mut stream = node.connect().await;
    let good = node.good_headers();
    stream
        .write_all(format!("GET /v1/archive?path=/breaks HTTP/1.1\r\n{good}\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!bytes.ends_with(b"0\r\n\r\n"), "the body was ended cleanly");
}

#[tokio::test]
async fn a_download_that_fails_at_its_first_byte_is_a_proper_error() {
    let node = Node::start().await;
    for (path, status, word, sentence) in [
        ("/breaks-at-first", 503, "unavailable", "a provider is gone"),
        ("/faults-at-first", 500, "damaged", "the folder is damaged"),
        ("/none", 404, "not_found", "/none is not in the drive"),
    ] {
        let Err(failed) = node.client.get_archive(path, None).await else { panic!("{path}") };
        let ClientError::Api { status: s, code, message } = failed else { panic!("{failed:?}") };
        assert_eq!((s, code.as_str(), message.as_str()), (status, word, sentence));
    }
}

#[tokio::test]
async fn an_upload_whose_client_dies_is_an_error_for_the_node() {
    let node = Node::start().await;
    let good = node.good_headers();
    let chunked = format!("PUT /v1/archive?to=/record HTTP/1.1\r\n{good}Transfer-Encoding: chunked\r\n\r\n");
    let counted = format!("PUT /v1/archive?to=/record HTTP/1.1\r\n{good}Content-Length: 1000\r\n\r\n");
    let beginnings = [
        // Within a chunk, between chunks, before the last one, within the last one, in the length.
        format!("{chunked}64\r\nabc"),
        format!("{chunked}3\r\nabc\r\n"),
        format!("{chunked}3\r\nabc"),
        format!("{chunked}3\r\nabc\r\n0\r\n"),
        format!("{chunked}6"),
        format!("{counted}abc"),
        counted.clone(),
    ];
    for (done, beginning) in beginnings.iter().enumerate() {
        let mut stream = node.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        until("the upload begins", || node.calls().len() > done).await;
        drop(stream);
        until("the upload ends", || node.uploads().len() > done).await;
        assert!(node.uploads()[done].is_err(), "{beginning:?} looked complete: {:?}", node.uploads()[done]);
    }
    // The same with the end in place is complete.
    let mut stream = node.connect().await;
    stream.write_all(format!("{chunked}3\r\nabc\r\n0\r\n\r\n").as_bytes()).await.unwrap();
    until("the upload ends", || node.uploads().len() > beginnings.len()).await;
    assert_eq!(node.uploads().last(), Some(&Ok(3)));
}

#[tokio::test]
async fn an_archive_that_fails_at_its_source_is_the_callers_error_and_never_stored() {
    let node = Node::start().await;
    let failed = node.client.put_archive("/record", None, source(5 * MIB, true)).await.unwrap_err();
    assert!(
        matches!(&failed, ClientError::Io(error) if error.to_string() == "a provider is gone"),
        "{failed:?}"
    );
    until("the upload ends", || !node.uploads().is_empty()).await;
    assert_eq!(node.uploads(), [Err(io::ErrorKind::ConnectionAborted)]);
}

#[tokio::test]
async fn attack_37_a_slow_reader_makes_the_node_hold_a_bounded_amount() {
    let node = Node::start().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(node.address).await.unwrap();
    let good = node.good_headers();
    stream
        .write_all(format!("GET /v1/archive?path=/endless HTTP/1.1\r\n{good}\r\n").as_bytes())
        .await
        .unwrap();
    let mut head = [0; 100];
    stream.read_exact(&mut head).await.unwrap();
    let produced = || node.fake.produced.load(Ordering::SeqCst);
    sleep(Duration::from_millis(500)).await;
    let before = produced();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(produced(), before, "still producing although nobody reads");
    // The system's own socket buffers take up to 6 MiB.
    assert!(before < 8 * MIB, "{before} bytes were produced for a client that read 100");
    // It goes on when the client does.
    let mut part = vec![0; 16 * MIB as usize];
    stream.read_exact(&mut part).await.unwrap();
    assert!(produced() > before);
    drop(stream);
    // And ends with it.
    sleep(Duration::from_millis(300)).await;
    let after = produced();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(produced(), after);
}

#[tokio::test]
async fn attack_37_a_busy_node_makes_the_uploader_wait() {
    let node = Node::start().await;
    let sent = Arc::new(Mutex::new(0));
    let (client, counted) =
        (node.client.clone(), Source { left: 300 * MIB, fails: false, produced: Arc::default() });
    let produced = counted.produced.clone();
    let upload = tokio::spawn(async move { client.put_archive("/hold", None, counted).await });
    until("the upload begins", || !node.calls().is_empty()).await;
    sleep(Duration::from_millis(700)).await;
    *sent.lock().unwrap() = produced.load(Ordering::SeqCst);
    let before = *sent.lock().unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(produced.load(Ordering::SeqCst), before, "still sending although the node does not read");
    assert!(before < 16 * MIB, "{before} bytes were sent to a node that read none");
    node.fake.release.notify_one();
    assert_eq!(upload.await.unwrap().unwrap().bytes, 300 * MIB);
}

#[tokio::test]
async fn an_upload_in_progress_when_the_node_stops_is_an_error_and_stopping_takes_bounded_time() {
    let mut node = Node::start().await;
    let good = node.good_headers();
    let mut stream = node.connect().await;
    let head = format!(
        "PUT /v1/archive?to=/detached HTTP/1.1\r\n{good}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the upload begins", || !node.calls().is_empty()).await;
    let uploads = node.fake.uploads.clone();
    node.tell_to_stop();
    let begun = Instant::now();
    timeout(PATIENCE, node.ended()).await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(4), "calls get a grace");
    until("the upload ends", || !uploads.lock().unwrap().is_empty()).await;
    assert!(uploads.lock().unwrap()[0].is_err(), "a cut upload looked complete");
    drop(stream);
}
