//! Serving links over HTTP, by hand: what is answered, what is refused, and what it costs.
#![allow(clippy::unwrap_used)]

mod links;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use commonhold_format::code::Code;
use commonhold_format::drive::Items;
use commonhold_format::link::{DropHead, DropKey, DropSealer, LinkId, LinkRecord, LinkUrl};
use commonhold_format::seal::{ObjectKind, open_small};
use commonhold_format::segment::Segment;
use commonhold_gateway::{Budgets, Rate};
use links::owner::{Owner, Terms};
use links::{Gateway, Vault, now};

/// An answer: its status, its head in lower case, its body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    fn json_code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        json["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// One request on a connection of its own.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    let request = [text.as_bytes(), b"\r\n", body].concat();
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A server that refuses may close before all is sent.
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|at| at == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: answer[end + 4..].to_vec() }
    })
    .await
    .unwrap()
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], b"").await
}

async fn post(address: SocketAddr, path: &str, body: &[u8]) -> Answer {
    ask(address, "POST", path, &[], body).await
}

struct Setup {
    vault: Arc<Vault>,
    owner: Owner,
    gateway: Gateway,
}

impl Setup {
    async fn new(budgets: Budgets) -> Self {
        let vault = Arc::new(Vault::default());
        let gateway = Gateway::start(vault.clone(), budgets).await;
        Self { owner: Owner::new(vault.clone()), vault, gateway }
    }

    fn link(&self, url: &str) -> (String, LinkUrl) {
        let link = LinkUrl::parse(url).unwrap();
        (format!("/s/{}", link.id), link)
    }

    fn file(&self, content: &[u8]) -> (String, LinkUrl) {
        let item = self.owner.file("a.bin", &[content]);
        self.link(&self.owner.share(&item, &Terms::default(), &self.gateway.base()))
    }
}

fn segment_bytes(segment: &Segment) -> Vec<u8> {
    minicbor::to_vec(segment).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_gets_record_and_segments_and_opens_them() {
    let setup = Setup::new(Budgets::default()).await;
    let content: Vec<u8> = (0..5_000_000u32).map(|at| (at * 7) as u8).collect();
    let (path, link) = setup.file(&content);
    let address = setup.gateway.address;
    let answer = get(address, &format!("{path}/record")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let record = LinkRecord::decode(&answer.body).unwrap();
    let open = record.usable(now()).unwrap();
    let root = record.open(&link.secret, None).unwrap().root.unwrap();
    let answer = post(address, &format!("{path}/segment"), &segment_bytes(&open.place.segment)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("private, max-age=31536000, immutable"));
    assert_eq!(answer.body.len(), 2 * open.place.segment.chunk_len());
    let sealed = &answer.body[open.place.cover_len as usize..open.place.segment.len as usize];
    let page =
        open_small(ObjectKind::Folder, &root.id, &root.key, &root.commitment, root.len, sealed).unwrap();
    let page = commonhold_format::drive::Page::decode(&page).unwrap();
    let Items::Entries(entries) = &page.items else { panic!("a leaf") };
    assert_eq!(entries[0].name.as_str(), "a.bin");
    for segment in &page.table {
        let answer = post(address, &format!("{path}/segment"), &segment_bytes(segment)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 2 * segment.chunk_len()));
    }
    setup.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_23_every_answer_is_fenced_in() {
    let setup = Setup::new(Budgets::default()).await;
    let (path, _) = setup.file(b"x");
    let address = setup.gateway.address;
    for (target, status) in [
        (path.clone(), 200),
        (format!("{path}/record"), 200),
        ("/s/short".to_owned(), 404),
        ("/s/sw.js".to_owned(), 200),
        ("/s/~/token/name".to_owned(), 204),
        ("/s/_/00/main.js".to_owned(), 404),
        ("/".to_owned(), 404),
        ("/robots.txt".to_owned(), 200),
        (format!("{path}/segment"), 405),
    ] {
        let answer = get(address, &target).await;
        assert_eq!(answer.status, status, "{target}");
        let csp = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(csp.contains(part), "{target}: {csp}");
        }
        assert!(!csp.contains("unsafe"), "{csp}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{target}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{target}");
        assert_eq!(answer.header("set-cookie"), None, "{target}");
    }
    // What the page loads is there, for ever, under its hash.
    let page = String::from_utf8(get(address, &path).await.body).unwrap();
    let script = page.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    let answer = get(address, &format!("/s/{script}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
    setup.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_42_only_segments_of_a_valid_link_are_given_out() {
    let setup = Setup::new(Budgets::default()).await;
    let (one, _) = setup.file(&[1; 10_000]);
    let (other, _) = setup.file(&[2; 10_000]);
    let address = setup.gateway.address;
    let covered = |path: &str| {
        let id: LinkId = path[3..].parse().unwrap();
        let served = setup.vault.links.lock().unwrap()[&id.0].clone();
        LinkRecord::decode(&served.record).unwrap().open.unwrap().place.segment
    };
    let own = segment_bytes(&covered(&one));
    assert_eq!(post(address, &format!("{one}/segment"), &own).await.status, 200);
    let foreign = post(address, &format!("{other}/segment"), &own).await;
    assert_eq!((foreign.status, foreign.json_code().as_str()), (403, "forbidden"));
    let unknown = format!("/s/{}", LinkId([1; 32]));
    assert_eq!(post(address, &format!("{unknown}/segment"), &own).await.status, 404);
    assert_eq!(get(address, &format!("{unknown}/record")).await.status, 404);
    let given = setup.vault.given.load(Ordering::SeqCst);
    // What is no description costs the node nothing.
    let mut behind = own.clone();
    behind.push(0);
    for bad in [&[][..], b"\x84", &behind, &own[..own.len() - 1], &[0x84; 8193]] {
        let answer = post(address, &format!("{one}/segment"), bad).await;
        assert!(answer.status == 400 || answer.status == 413, "{}", answer.status);
    }
    assert_eq!(setup.vault.given.load(Ordering::SeqCst), given);
    // An expired and a revoked link.
    let item = setup.owner.file("a", &[b"x"]);
    let over = Terms { expires: now() - 1, ..Terms::default() };
    let (path, _) = setup.link(&setup.owner.share(&item, &over, &setup.gateway.base()));
    let answer = get(address, &format!("{path}/record")).await;
    assert_eq!((answer.status, answer.json_code().as_str()), (410, "gone"));
    setup.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_42_budgets_of_clients_and_links_are_told() {
    const MIB: u64 = 1 << 20;
    let plenty = Rate { per_second: 1 << 40, burst: 1 << 40 };
    let scarce = Rate { per_second: 64 * 1024, burst: 3 * MIB };
    for (per_client, per_link) in [(scarce, plenty), (plenty, scarce)] {
        let budgets = Budgets { per_client, per_link, ..Budgets::default() };
        let setup = Setup::new(budgets).await;
        let address = setup.gateway.address;
        let (path, link) = setup.file(&vec![5; 2_000_000]);
        let record = setup.vault.links.lock().unwrap()[&link.id.0].clone();
        let code = Code::new(2, 3).unwrap();
        let mut segment = LinkRecord::decode(&record.record).unwrap().open.unwrap().place.segment;
        let target = format!("{path}/segment");
        // What a request asks for is charged before the node looks for it.
        segment.len = code.segment_len_max() as u32;
        let asked = segment_bytes(&segment);
        let mut statuses = vec![];
        for _ in 0..6 {
            let answer = post(address, &target, &asked).await;
            if answer.status == 429 {
                let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=3600).contains(&wait));
                assert_eq!(answer.json_code(), "over_budget");
            }
            statuses.push(answer.status);
        }
        assert_eq!(statuses[..2], [403, 403], "within the burst");
        assert_eq!(statuses[5], 429, "{statuses:?}");
        if per_link == scarce {
            // Another link is not concerned.
            let (other, _) = setup.file(b"x");
            assert_eq!(post(address, &format!("{other}/segment"), &asked).await.status, 403);
            assert_eq!(get(address, &path).await.status, 200, "and the page still comes");
        }
        setup.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_40_other_sites_pages_cannot_post() {
    let setup = Setup::new(Budgets::default()).await;
    let (path, _) = setup.file(b"x");
    let address = setup.gateway.address;
    let own = format!("http://{address}");
    for (headers, status) in [
        (vec![("Origin", own.as_str())], 400),
        (vec![("Origin", "https://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Sec-Fetch-Site", "cross-site")], 403),
    ] {
        let answer = ask(address, "POST", &format!("{path}/segment"), &headers, b"x").await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    setup.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_box_takes_files_and_nothing_else_does() {
    let setup = Setup::new(Budgets { deposit_len_max: 1_000_000, ..Budgets::default() }).await;
    let address = setup.gateway.address;
    let folder = setup.owner.folder("Inbox", vec![]);
    let keys = setup.owner.keys();
    let terms = Terms { drop_box: true, ..Terms::default() };
    let (id, _) = setup.owner.share_with(&keys, &folder, &terms, &setup.gateway.base());
    let content: Vec<u8> = (0..300_000u32).map(|at| at as u8).collect();
    let head = DropHead {
        name: commonhold_format::drive::Name::new("r.pdf").unwrap(),
        len: 300_000,
        modified_ms: 7,
    };
    let mut sealed = Vec::new();
    let own = DropKey::from_bytes(zeroize::Zeroizing::new([3; 32]));
    let mut sealer =
        DropSealer::new(&keys.drop_key().public(), &LinkId(id), &own, &head, &mut sealed).unwrap();
    sealer.push(&content, &mut sealed).unwrap();
    sealer.finish(&mut sealed).unwrap();
    let target = format!("/s/{}/drop", LinkId(id));
    assert_eq!(post(address, &target, &sealed).await.status, 201);
    {
        let dropped = setup.vault.dropped.lock().unwrap();
        assert_eq!(dropped[..], [(id, head, content)]);
    }
    // Cut, altered, too large, and where no box is.
    assert_eq!(post(address, &target, &sealed[..sealed.len() - 1]).await.status, 400);
    sealed[100] ^= 1;
    assert_eq!(post(address, &target, &sealed).await.status, 400);
    let large = post(address, &target, &vec![0; 1_000_001]).await;
    assert_eq!((large.status, large.json_code().as_str()), (413, "too_large"));
    let (path, _) = setup.file(b"x");
    let answer = post(address, &format!("{path}/drop"), b"x").await;
    assert_eq!((answer.status, answer.json_code().as_str()), (409, "wrong_role"));
    assert_eq!(setup.vault.dropped.lock().unwrap().len(), 1);
    setup.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_37_one_client_has_a_bounded_number_of_connections() {
    let setup = Setup::new(Budgets::default()).await;
    let address = setup.gateway.address;
    let open = tokio::task::spawn_blocking(move || {
        let streams: Vec<TcpStream> = (0..150).map(|_| TcpStream::connect(address).unwrap()).collect();
        for stream in &streams {
            stream.set_nonblocking(true).unwrap();
        }
        // A connection that was refused reads its end; one that is open has nothing to read.
        let ended = |mut stream: &TcpStream| matches!(stream.read(&mut [0; 1]), Ok(0));
        let closed = || streams.iter().filter(|stream| ended(stream)).count();
        for _ in 0..400 {
            if closed() >= 22 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(100));
        closed()
    });
    assert_eq!(open.await.unwrap(), 22, "128 of 150 stay open");
    setup.gateway.stop().await;
}
