//! Share pages in a real headless Chromium: what honest and dishonest nodes' pages show and release.
//!
//! This side seals and serves; tests/browser/share.test.mjs looks and clicks. Needs Chromium and Node.js;
//! without them it is skipped, but for CI=true.
#![allow(clippy::unwrap_used)]

mod links;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use commonhold_format::link::{LinkKeys, LinkRecord};
use commonhold_gateway::{Budgets, Rate};
use data_encoding::{BASE64, HEXLOWER};
use links::owner::{Item, Owner, Terms};
use links::{Gateway, Malice, Vault, now};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

fn missing() -> Option<&'static str> {
    let works = |program: &str, args: &[&str]| {
        Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
    };
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    if !works("node", &["--version"]) {
        Some("Node.js")
    } else if std::env::var_os("CHROMIUM").is_none()
        && !browsers.iter().any(|name| works(name, &["--version"]))
    {
        Some("Chromium")
    } else {
        None
    }
}

/// True when a test cannot run here; fails where everything has to be there.
fn skipped() -> bool {
    let Some(what) = missing() else { return false };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what} is missing");
    println!("skipped: {what} is missing");
    true
}

fn browser_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(name)
}

/// Runs a script with a plan and shows what it says if it fails.
async fn run_script(args: &[&str], plan: Value, folder: &Path) -> String {
    let path = folder.join("plan.json");
    std::fs::write(&path, plan.to_string()).unwrap();
    let mut command = tokio::process::Command::new("node");
    command.args(args).env("PLAN", &path).env("SCRATCH", folder);
    let output = command.output().await.unwrap();
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readers_keep_to_the_vectors() {
    if Command::new("node").arg("--version").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "Node.js is missing");
        println!("skipped: Node.js is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = browser_file("vectors.test.mjs");
    let text =
        run_script(&["--test", "--test-reporter=tap", script.to_str().unwrap()], json!({}), folder.path())
            .await;
    assert!(text.contains("# fail 0") && !text.contains("# pass 0"), "{text}");
}

/// Bytes that look like nothing.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 32);
    let mut count = u64::from(seed) << 32;
    while out.len() < len {
        out.extend_from_slice(digest(&SHA256, &count.to_le_bytes()).as_ref());
        count += 1;
    }
    out.truncate(len);
    out
}

/// A picture: a gradient, as a PNG whose data are stored and not compressed.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut raw = Vec::new();
    for y in 0..height {
        raw.push(0);
        for x in 0..width {
            let (u, v) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let hill = 0.62 + 0.09 * (u * 9.0).sin() + 0.05 * (u * 23.0 + 1.0).sin();
            let pixel = if v > hill + 0.14 {
                [22, 102, 74]
            } else if v > hill {
                [60, 140, 112]
            } else {
                [(150.0 + 90.0 * v) as u8, (190.0 + 30.0 * v) as u8, (225.0 - 20.0 * v) as u8]
            };
            raw.extend_from_slice(&pixel);
        }
    }
    let mut data = vec![0x78, 0x01];
    let parts: Vec<&[u8]> = raw.chunks(65_535).collect();
    for (i, part) in parts.iter().enumerate() {
        let len = part.len() as u16;
        data.push(u8::from(i + 1 == parts.len()));
        data.extend_from_slice(&len.to_le_bytes());
        data.extend_from_slice(&(!len).to_le_bytes());
        data.extend_from_slice(part);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for byte in &raw {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    data.extend_from_slice(&((b << 16) | a).to_be_bytes());
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        out.extend_from_slice(&(data.len() as u32).to_be_bytes());
        let all = [kind, data].concat();
        let crc = all.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
            })
        });
        out.extend_from_slice(&all);
        out.extend_from_slice(&(!crc).to_be_bytes());
    };
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    chunk(b"IHDR", &head);
    chunk(b"IDAT", &data);
    chunk(b"IEND", b"");
    out
}

/// Sound: so many seconds of 16 bits in stereo at 48 kHz.
fn wav(seconds: u32) -> Vec<u8> {
    let (rate, frame) = (48_000u32, 4u32);
    let len = seconds * rate * frame;
    let mut out = b"RIFF".to_vec();
    out.extend_from_slice(&(36 + len).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    out.extend_from_slice(&[1, 0, 2, 0]);
    out.extend_from_slice(&rate.to_le_bytes());
    out.extend_from_slice(&(rate * frame).to_le_bytes());
    out.extend_from_slice(&[4, 0, 16, 0]);
    out.extend_from_slice(b"data");
    out.extend_from_slice(&len.to_le_bytes());
    for at in 0..seconds * rate {
        let sample = (((at * 440 / rate * 65_536 / 440) & 0x3fff) as i16).to_le_bytes();
        out.extend_from_slice(&[sample, sample].concat());
    }
    out
}

/// The folder that is shared, as large as a person's.
fn documents(owner: &Owner) -> Item {
    let many = (0..5000).map(|i| owner.file(&format!("note {i}.txt"), &[format!("note {i}\n").as_bytes()]));
    let some = (1..=230).map(|i| owner.file(&format!("scan {i:04}.bin"), &[&noise(i as u8, 500)]));
    owner.folder(
        "Holiday in Norway",
        vec![
            owner.folder("Letters, 2024", some.collect()),
            owner.folder("Notes", many.collect()),
            owner.folder("Empty folder", vec![]),
            owner.folder(
                "Deep",
                vec![
                    owner
                        .folder("er", vec![owner.folder("still", vec![owner.file("here.txt", &[b"found"])])]),
                ],
            ),
            owner.file("fjord.png", &[&png(960, 640)]),
            owner.file("waves.wav", &[&wav(40)]),
            owner.file("film.webm", &[include_bytes!("browser/film.webm")]),
            owner.file(
                "itinerary.md",
                &["# Itinerary\n\n1. Bergen, two nights\n2. The Flåm railway\n3. Ålesund — ☀\n".as_bytes()],
            ),
            owner.file("page.html", &[b"<script>document.title='owned'</script>"]),
            owner.file("drawing.svg", &[b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"]),
            owner.file("empty.txt", &[b""]),
            owner.file("a\\b:c.bin", &[&noise(3, 5000)]),
            owner.file("Grüße 日本語 (1).bin", &[&noise(4, 3 * MIB)]),
            owner.file(
                "a very long name that goes on and on so that it has to be cut somewhere before its end.pdf",
                &[&noise(5, 70_000)],
            ),
            owner.file("in two parts.bin", &[&noise(6, 2 * MIB + 77), &noise(7, 1_500_001)]),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn share_pages_in_a_browser() {
    if skipped() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let vault = Arc::new(Vault::default());
    let plenty = Rate { per_second: 1 << 40, burst: 1 << 40 };
    let budgets = Budgets { per_client: plenty, per_link: plenty, ..Budgets::default() };
    let gateway = Gateway::start(vault.clone(), budgets).await;
    let (owner, base) = (Owner::new(vault.clone()), gateway.base());
    let open = Terms::default;
    // Another one, whose visitors may draw less at once than a file has.
    let scarce = Rate { per_second: 1 << 20, burst: 3 << 20 };
    let budgets = Budgets { per_client: plenty, per_link: scarce, ..Budgets::default() };
    let slow = Gateway::start(vault.clone(), budgets).await;

    let content = noise(1, 5 * MIB + 12_345);
    let file = owner.file("Report, final (2).bin", &[&content]);
    let small = owner.file("hello.txt", &["Hello, Grüße!\n".as_bytes()]);
    let folder = documents(&owner);
    let bad = |malice| owner.share(&file, &Terms { malice: Some(malice), ..open() }, &base);
    let bad_folder = |malice| owner.share(&folder, &Terms { malice: Some(malice), ..open() }, &base);

    // Records: another link's, an older one, and one with every bit of interest flipped.
    let keys = owner.keys();
    let record = |keys: &LinkKeys, sequence| owner.record(keys, &file, &Terms { sequence, ..open() });
    let records = |keys: &LinkKeys, list: Vec<Vec<u8>>| {
        let terms = Terms { malice: Some(Malice::Records(list)), ..open() };
        owner.share_with(keys, &file, &terms, &base).1
    };
    let older = records(&keys, vec![record(&keys, 2).encode(), record(&keys, 1).encode()]);
    let others = records(&owner.keys(), vec![record(&owner.keys(), 1).encode()]);
    let keys = owner.keys();
    let revoked = records(&keys, vec![LinkRecord::revoke(&keys, 3).unwrap().encode()]);
    let keys = owner.keys();
    let over = owner.record(&keys, &file, &Terms { expires: now() - 60, ..open() }).encode();
    let expired = records(&keys, vec![over]);
    let whole = record(&owner.keys(), 1).encode();
    let flips: Vec<String> = [0, 5, 34, 45, 49, 55, 100, whole.len() - 90, whole.len() - 30]
        .iter()
        .map(|at| {
            let keys = owner.keys();
            let mut record = record(&keys, 1).encode();
            record[*at] ^= 1;
            records(&keys, vec![record])
        })
        .collect();
    let box_keys = owner.keys();
    let terms = Terms { drop_box: true, ..open() };
    let (box_id, drop_box) =
        owner.share_with(&box_keys, &owner.folder("Applications", vec![]), &terms, &base);
    // A box for whose record a node gives that of a box with a key of its own, as it is and under the id of the
    // one that was asked for.
    let [foreign_box, renamed_box] = [false, true].map(|renamed| {
        let inbox = owner.folder("Applications", vec![]);
        let keys = owner.keys();
        let mut record = owner.record(&owner.keys(), &inbox, &terms).encode();
        if renamed {
            record[1..33].copy_from_slice(&keys.id().0);
        }
        let terms = Terms { malice: Some(Malice::Records(vec![record])), drop_box: true, ..open() };
        owner.share_with(&keys, &inbox, &terms, &base).1
    });
    let wrong_secret = {
        let url = owner.share(&file, &open(), &base);
        let other = owner.share(&file, &open(), &base);
        format!("{}#{}", url.split('#').next().unwrap(), other.split('#').nth(1).unwrap())
    };

    let parts = [noise(6, 2 * MIB + 77), noise(7, 1_500_001)].map(|part| BASE64.encode(&part));
    let plan = json!({
        "base": base,
        "screenshots": std::env::var("COMMONHOLD_SCREENSHOTS").ok(),
        "file": { "url": owner.share(&file, &open(), &base), "name": "Report, final (2).bin", "sha256": HEXLOWER.encode(digest(&SHA256, &content).as_ref()) },
        "slow": owner.share(&file, &open(), &slow.base()),
        "small": owner.share(&small, &Terms { expires: now() + 86_400, ..open() }, &base),
        "folder": owner.share(&folder, &open(), &base),
        "password": owner.share(&file, &Terms { password: Some("correct horse"), ..open() }, &base),
        "parts": parts,
        "unicode": BASE64.encode(&noise(4, 3 * MIB)),
        "dropBox": drop_box,
        "unknown": format!("{base}/s/{}#{}", "A".repeat(43), "A".repeat(43)),
        "wrongSecret": wrong_secret,
        "over": owner.share(&file, &Terms { expires: now() - 5, ..open() }, &base),
        "older": older,
        "refused": {
            "attack 6, the record of a box with another key": [foreign_box, "The node answered with another link"],
            "attack 6, the same under the box's own id": [renamed_box, "The record of this link is forged"],
            "attack 20, another link's record": [others, "The node answered with another link"],
            "attack 22, a revoked record": [revoked, "This link was taken back"],
            "attack 22, an expired record": [expired, "This link has expired"],
            "the link segment, altered in the cover list": [bad(Malice::FlipLinkSegment(1)), "not what was shared"],
            "the link segment, altered in the root": [bad(Malice::FlipLinkSegment(300)), "not what was shared"],
            "a page of a folder, altered": [bad_folder(Malice::Flip(30)), "not what was shared"],
            "a page of a folder, exchanged": [bad_folder(Malice::Swap), "not what was shared"],
            "a page of a folder, cut": [bad_folder(Malice::Cut), "not what was shared"],
            "providers that are away": [bad_folder(Malice::Away), "Not enough providers"],
        },
        "flips": flips,
        "badDownloads": {
            "altered at its beginning": bad(Malice::Flip(17)),
            "altered in the middle": bad(Malice::Flip(1_000_000)),
            "exchanged": bad(Malice::Swap),
            "cut": bad(Malice::Cut),
        },
    });
    let script = browser_file("share.test.mjs");
    let text = run_script(&[script.to_str().unwrap()], plan, scratch.path()).await;
    println!("{text}");

    // What came into the drop box is what was chosen there, and nothing else.
    let dropped = std::mem::take(&mut *vault.dropped.lock().unwrap());
    let mut found: Vec<_> = dropped
        .iter()
        .map(|(link, head, content)| {
            assert_eq!(*link, box_id);
            assert_eq!(head.len, content.len() as u64);
            (head.name.as_str().to_owned(), HEXLOWER.encode(digest(&SHA256, content).as_ref()))
        })
        .collect();
    found.sort();
    let sent: Vec<(String, String)> =
        serde_json::from_slice(&std::fs::read(scratch.path().join("sent.json")).unwrap()).unwrap();
    assert_eq!(found, sent);
    gateway.stop().await;
    slow.stop().await;
}

/// How large a file a tab streams to disk here, MiB: `COMMONHOLD_SHARE_MIB`, or 192.
fn large_mib() -> u64 {
    std::env::var("COMMONHOLD_SHARE_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(192)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_streams_to_disk_in_bounded_memory() {
    if skipped() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let vault = Arc::new(Vault::default());
    let plenty = Rate { per_second: 1 << 40, burst: 1 << 40 };
    let gateway =
        Gateway::start(vault.clone(), Budgets { per_client: plenty, per_link: plenty, ..Budgets::default() })
            .await;
    let owner = Owner::new(vault.clone());
    let mib = large_mib();
    let (item, sha256) = owner.large_file("large.bin", mib);
    let terms = Terms { drop_box: true, ..Terms::default() };
    let plan = json!({
        "dropBox": owner.share(&owner.folder("Inbox", vec![]), &terms, &gateway.base()),
        "large": owner.share(&item, &Terms::default(), &gateway.base()),
        "mib": mib,
        "sha256": HEXLOWER.encode(&sha256),
    });
    let script = browser_file("large.test.mjs");
    println!("{}", run_script(&[script.to_str().unwrap()], plan, scratch.path()).await);
    let dropped = std::mem::take(&mut *vault.dropped.lock().unwrap());
    let [(_, head, content)] = &dropped[..] else { panic!("one file was sent") };
    assert_eq!(head.name.as_str(), "to send.bin");
    assert_eq!(HEXLOWER.encode(digest(&SHA256, content).as_ref()), HEXLOWER.encode(&sha256));
    gateway.stop().await;
}
