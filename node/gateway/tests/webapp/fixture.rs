//! A drive that looks like somebody's: folders, pictures, versions, a bin, links, and names meant to hurt.

use std::io::Cursor;
use std::sync::Arc;

use commonhold_client::types::*;
use commonhold_gateway::{DriveApi, NewFile, RemovedTo};
use tokio::net::TcpListener;

use crate::common::memory::{Memory, now};
use crate::common::{Fake, Node, Says};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const GIB: u64 = 1 << 30;

/// Entries of the large folder.
const MANY: usize = 10_000;

async fn put(drive: &Memory, path: &str, content: Vec<u8>, age: i64) -> FileInfo {
    let file = NewFile {
        path: path.into(),
        len: content.len() as u64,
        modified_ms: Some(now() - age),
        ..NewFile::default()
    };
    drive.store(file, Box::pin(Cursor::new(content))).await.unwrap()
}

/// A picture that every browser shows: Windows bitmap, 24 bits.
fn picture(seed: u32) -> Vec<u8> {
    let (width, height) = (480u32, 320u32);
    let len = 54 + width * height * 3;
    let mut bytes = Vec::with_capacity(len as usize);
    bytes.extend(b"BM");
    for word in [len, 0, 54, 40, width, height, 1 | 24 << 16, 0, width * height * 3, 2835, 2835, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    for y in 0..height {
        for x in 0..width {
            // Hills under a sky.
            let hill = 120.0
                + 40.0 * (f64::from(x) / 70.0 + f64::from(seed)).sin()
                + 20.0 * (f64::from(x) / 23.0).cos();
            let sky = y > hill as u32;
            let shade = (y * 120 / height) as u8;
            bytes.extend(if sky {
                [235 - shade / 2, 200 - shade / 2, 150 - shade / 2]
            } else {
                [70, 110 + shade, 60 + shade / 2]
            });
        }
    }
    bytes
}

/// A second of a tone: WAV, 8 kHz, 8 bits.
fn tone() -> Vec<u8> {
    let samples: Vec<u8> = (0..8000u32).map(|i| (128.0 + 60.0 * (f64::from(i) / 3.0).sin()) as u8).collect();
    let len = samples.len() as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + len).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    for word in [16, 1 | 1 << 16, 8000, 8000, 1 | 8 << 16] {
        bytes.extend((word as u32).to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend(len.to_le_bytes());
    bytes.extend(samples);
    bytes
}

/// A document that readers of PDF show: one page with a line of text, and a script that would like to call
/// home when it is opened.
fn document() -> Vec<u8> {
    let text = "BT /F1 24 Tf 72 720 Td (Lease of the flat, second floor) Tj ET";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript \
         /JS (top.pwned = 1; this.submitForm\\('http://127.0.0.1:9/'\\)) >> >>"
            .to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut bytes = b"%PDF-1.7\n".to_vec();
    // As large as documents are.
    (0..1_000).for_each(|_| bytes.extend(format!("%{}\n", "·".repeat(40)).into_bytes()));
    let mut places = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n{object}\nendobj\n", at + 1).into_bytes());
    }
    let table = bytes.len();
    bytes.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    places.iter().for_each(|place| bytes.extend(format!("{place:010} 00000 n \n").into_bytes()));
    let size = objects.len() + 1;
    bytes.extend(format!("trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").into_bytes());
    bytes
}

/// Bytes that look like nothing.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

async fn fill(drive: &Memory) {
    let text = |len: usize| {
        "Minutes of the meeting, with who said what and why.\n".repeat(len / 52 + 1).into_bytes()
    };
    for (path, len, age) in [
        ("/Documents/Minutes 2.md", 4_000, 3 * DAY),
        ("/Documents/Minutes 10.md", 5_200, 2 * DAY),
        ("/Documents/Budget 2026.csv", 18_400, 5 * HOUR),
        ("/Documents/Thesis/Thesis.tex", 96_000, 20 * HOUR),
        ("/Documents/Thesis/Figures/plot-1.txt", 900, 30 * DAY),
        ("/Documents/Thesis/Notes.txt", 1_200, 26 * HOUR),
        ("/Documents/Contracts/Electricity.pdf", 84_000, 410 * DAY),
        ("/Documents/Contracts/Insurance.pdf", 121_000, 95 * DAY),
        ("/Backups/home-2026-11-01.tar.zst", 2_600_000, 23 * DAY),
        ("/Backups/home-2026-11-15.tar.zst", 2_700_000, 9 * DAY),
        ("/Read me first.txt", 700, 40 * DAY),
        ("/Recipes.txt", 3_300, 12 * DAY),
        ("/Inbox/from Ada.zip", 64_000, 6 * DAY),
    ] {
        put(drive, path, text(len), age).await;
    }
    for i in 1..=12u32 {
        put(
            drive,
            &format!("/Photos/Summer 2026/IMG_{:04}.bmp", 1200 + i),
            picture(i),
            120 * DAY + i64::from(i) * HOUR,
        )
        .await;
    }
    put(drive, "/Photos/Portrait.bmp", picture(77), 300 * DAY).await;
    put(drive, "/Documents/Lease.pdf", document(), 200 * DAY).await;
    put(drive, "/Videos/film.webm", include_bytes!("../browser/film.webm").to_vec(), 70 * DAY).await;
    put(drive, "/Videos/Concert.mkv", noise(12 << 20), 64 * DAY).await;
    put(drive, "/Music/Interval.wav", tone(), 50 * DAY).await;
    // What a browser must never show, and names that are no markup.
    let script = b"<script>top.pwned = 1</script>".to_vec();
    put(drive, "/Hostile/page.html", script.clone(), DAY).await;
    put(drive, "/Hostile/page.pdf", script.clone(), DAY).await;
    put(
        drive,
        "/Hostile/drawing.svg",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='top.pwned=1'/>".to_vec(),
        DAY,
    )
    .await;
    put(drive, "/Hostile/<img src=x onerror=top.pwned=1>.txt", script.clone(), DAY).await;
    put(drive, "/Hostile/\"><b>bold<\u{2044}b>{{7*7}}${7*7}.txt", script.clone(), DAY).await;
    put(drive, "/Hostile/invoice\u{200b}.txt", script.clone(), DAY).await;
    put(drive, "/Hostile/a%2Fb%00?#&+ ü 文件 🎉", script.clone(), DAY).await;
    put(drive, &format!("/Hostile/{}", "long ".repeat(50)), script, DAY).await;
    for i in 0..MANY {
        drive.put(&format!("/Large/entry {i:05}.txt"), b"x");
    }
    // Versions, a bin, links, an upload that was left, another device.
    for draft in 1..=3 {
        put(drive, "/Documents/Letter.txt", format!("Draft {draft}\n").into_bytes(), (4 - draft) * DAY).await;
    }
    for (path, len) in [
        ("/Documents/Old draft.txt", 2_000),
        ("/Photos/Blurred.bmp", 460_000),
        ("/Projects/abandoned/plan.md", 5_000),
    ] {
        put(drive, path, text(len), 90 * DAY).await;
    }
    for path in ["/Documents/Old draft.txt", "/Photos/Blurred.bmp", "/Projects"] {
        drive.remove_to(path.into(), RemovedTo::Bin).await.unwrap();
    }
    let share = |path: &str| ShareRequest { path: path.into(), ..ShareRequest::default() };
    drive.share(ShareRequest { drop_box: true, ..share("/Inbox") }).await.unwrap();
    drive
        .share(ShareRequest {
            expires_seconds: Some(30 * 86_400),
            password: Some("swordfish".into()),
            ..share("/Photos/Summer 2026")
        })
        .await
        .unwrap();
    drive.share(share("/Recipes.txt")).await.unwrap();
    let upload = drive
        .begin_upload(UploadRequest { path: "/Videos/Wedding.mp4".into(), attributes: Attributes::new() })
        .await
        .unwrap();
    let part = vec![7; 1 << 20];
    drive.store_part(upload.id, 1, part.len() as u64, Box::pin(Cursor::new(part))).await.unwrap();
}

fn says() -> Says {
    let peer = |n: u8| {
        format!(
            "12D3KooW{}",
            format!("{n:02x}Rm8J3iL796zPFi2EtGGtUJn58AG67gcqzMFHZnnsTzqD")
                .chars()
                .take(44)
                .collect::<String>()
        )
    };
    let party = |n: u8| format!("{n:02x}").repeat(32);
    let status = Status {
        version: "0.1.0".into(),
        role: Role::Owner,
        peer_id: peer(0),
        party: party(0x8f),
        addresses: vec![format!("/ip4/192.0.2.7/udp/4701/quic-v1/p2p/{}", peer(0)), format!("/ip4/192.0.2.7/tcp/4701/p2p/{}", peer(0))],
        uptime_seconds: 93_600,
        api: "http://127.0.0.1:4700".into(),
        quarantine: None,
        storage: Some(Storage { allotted_bytes: 500 * GIB, used_bytes: 96 * GIB, free_bytes: 403 * GIB, reserve_bytes: GIB, chunks: 98_304, ..Storage::default() }),
        scrub: Some(ScrubStatus::default()),
        drive: Some(DriveStatus { sequence: 412, forks: 1, segments: 1_284, degraded_segments: 3 }),
        contracts: 7,
        peers_connected: 5,
        connections_refused: 0,
        traffic: TrafficStatus {
            sent_today_bytes: 734_003_200,
            received_today_bytes: 104_857_600,
            sent_this_month_bytes: 21 * GIB,
            received_this_month_bytes: 9 * GIB,
            upload_limit_bytes_per_second: Some(2 << 20),
            ..TrafficStatus::default()
        },
        ledger: LedgerHead { size: 214, root: party(0xb5), cosigners: 6, url: None },
        standings: vec![ProviderStanding {
            provider: peer(3),
            state: "suspended".into(),
            since: (now() / 1000 - 7_200) as u64,
            reason: "The provider was reached and did not answer (1 of 3 times): it gets no new data, and the same challenge is sent again soon.".into(),
            what_to_do: "The same challenge is sent again by itself, within minutes.".into(),
            contract: party(0xfc),
            epoch: 7,
            outcome: AuditOutcome::NoAnswer,
            evidence: None,
        }],
        audits_here: Some(AuditsHere { days: 30, passed: 29, wrong_bytes: 0, no_answer: 0, offline: 1, quarantined: 0, last_failed: None }),
        problems: vec!["3 of 1,284 segments lack a chunk: they are repaired when its holder has been away for 24 h".into(), "another device wrote to this drive without knowing of the newest state: `commonhold drive heads` shows it".into()],
        stage_milliseconds: Default::default(),
        gateway: Some("http://127.0.0.1:4780".into()),
        s3: Some("http://127.0.0.1:4790".into()),
    };
    let prices = |n: u64| Prices {
        storage_microcredits_per_gib_month: n * 250_000,
        egress_microcredits_per_gib: 100_000,
        audit_microcredits: 100,
    };
    let peers = (1..=6u8).map(|n| Peer {
        peer_id: peer(n),
        party: Some(party(n)),
        addresses: vec![format!("/ip4/198.51.100.{n}/udp/4701/quic-v1")],
        connected: n != 3,
        round_trip_ms: (n != 3).then_some(11 * u32::from(n)),
        transport: (n != 3).then(|| if n == 5 { "tcp".into() } else { "quic".into() }),
        free_bytes: Some(u64::from(n) * 90 * GIB),
        prices: Some(prices(u64::from(n) + 2)),
        region: Some(if n % 2 == 0 { "DE".into() } else { "NL".into() }),
    });
    let balances = (1..=7u8).map(|n| Balance {
        contract: party(n ^ 0xc0),
        counterparty: party(n),
        role: if n == 7 { Role::Provider } else { Role::Owner },
        owed_to_me_microcredits: if n == 7 { 4_812_400 } else { -i64::from(n) * 312_345 },
        receipt_sequence: 40 + u64::from(n),
        byte_seconds: "905969664000".into(),
        egress_bytes: u64::from(n) * 210 * (1 << 20),
        audits_passed: 20 + u64::from(n),
        audits_failed: u64::from(n == 3),
    });
    let entries = (190..214).map(|index| LedgerEntry {
        index,
        kind: if index % 4 == 0 { "checkpoint".into() } else { "receipt".into() },
        summary: format!(
            "receipt {} with {}: {} microcredits in all",
            index / 4,
            &party((index % 7) as u8 + 1)[..8],
            index * 3_120
        ),
        note: format!(
            "commonhold/receipt/v1\nsequence {}\n\n— commonhold/8f40c5adb68f2562 AbCd…\n",
            index / 4
        ),
    });
    let ledger = LedgerView {
        origin: "commonhold/8f40c5adb68f2562".into(),
        size: 214,
        root: party(0xb5),
        checkpoint: String::new(),
        entries: entries.collect(),
        balances: balances.collect(),
    };
    let credit = CreditView {
        epoch_seconds: 86_400,
        gift_microcredits: 1_000_000,
        gift_used_microcredits: "212000".into(),
        parties: vec![PartyCredit {
            party: party(7),
            account_microcredits: "4812400".into(),
            unsigned_microcredits: "12000".into(),
            exposure_microcredits: "5100000".into(),
            own_microcredits: "20000000".into(),
            guaranteed_microcredits: "0".into(),
            policy_microcredits: "0".into(),
            lent_microcredits: "0".into(),
            uncovered_microcredits: "0".into(),
            headroom_microcredits: "14900000".into(),
            stopped: vec![],
        }],
    };
    Says { status: Some(status), peers: peers.collect(), credit, ledger: Some(ledger) }
}

/// The node, served.
pub async fn node() -> Node {
    let fake = Fake::default();
    fill(&fake.drive).await;
    fake.drive.add_fork(HeadView {
        hash: "3d".repeat(32),
        sequence: 409,
        written_ms: now() - 26 * HOUR,
        files: 10_041,
        bytes: 8_400_000,
    });
    fake.drive.add_risk(AtRisk {
        path: "/Documents/Lease.pdf".into(),
        margin: 1,
        advice: "One more provider may be lost before it cannot be read: have the missing pieces made again."
            .into(),
    });
    *fake.says.lock().unwrap() = says();
    Node::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(fake)).await
}
