//! Listings of any bucket against a model that sorts all keys: order, prefixes, delimiters, markers, pages.
#![allow(clippy::unwrap_used)]

#[path = "common/memory.rs"]
mod memory;
#[path = "common/s3.rs"]
mod s3;

use std::collections::BTreeSet;
use std::sync::Arc;

use commonhold_client::types::Attributes;
use commonhold_gateway::DriveApi;
use memory::Memory;
use proptest::prelude::*;
use s3::{Answer, Ask, Server};

/// What a listing tells: objects, common prefixes, and where the next page goes on.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    keys: Vec<String>,
    common: Vec<String>,
    next: Option<String>,
}

/// The model.
fn page(all: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str, most: usize) -> Page {
    let mut page = Page { keys: vec![], common: vec![], next: None };
    let mut last = String::new();
    for key in all.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after) {
        let cut = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
        let common = cut.map(|cut| key[..prefix.len() + cut + delimiter.len()].to_owned());
        if let Some(common) = &common
            && (page.common.last() == Some(common) || common == after)
        {
            continue;
        }
        if page.keys.len() + page.common.len() == most {
            page.next = Some(last);
            break;
        }
        last = common.clone().unwrap_or_else(|| key.clone());
        match common {
            Some(common) => page.common.push(common),
            None => page.keys.push(key.clone()),
        }
    }
    page
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn read(answer: &Answer, token: &str) -> Page {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    // The prefix of the query has the same name as those that are listed.
    let parts: Vec<_> = text.split("<CommonPrefixes>").skip(1).collect();
    let prefixes = parts.iter().map(|part| part.split("<Prefix>").nth(1).unwrap().split('<').next().unwrap());
    let truncated = answer.one("IsTruncated") == "true";
    let next = truncated.then(|| answer.one(token));
    Page {
        keys: answer.all("Key").iter().map(|key| decode(key)).collect(),
        common: prefixes.map(decode).collect(),
        next: if token == "NextMarker" { next.map(|next| decode(&next)) } else { next },
    }
}

fn ask(prefix: &str, delimiter: &str, most: usize) -> Ask {
    let mut ask =
        Ask::new("GET", "/bucket").query("encoding-type", "url").query("max-keys", &most.to_string());
    for (name, value) in [("prefix", prefix), ("delimiter", delimiter)] {
        if !value.is_empty() {
            ask = ask.query(name, value);
        }
    }
    ask
}

/// Puts the keys into a drive as far as they can stand beside each other. Those that end with a slash are
/// markers, those that end with two are folders that nobody marked.
async fn fill(drive: &Arc<Memory>, wanted: &[String]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    drive.make_folder("/bucket".into()).await.unwrap();
    for key in wanted {
        let path = format!("/bucket/{}", key.trim_end_matches('/'));
        if key.ends_with('/') {
            let Ok(folder) = drive.make_folder(path.clone()).await else { continue };
            if !key.ends_with("//") {
                let mut attributes: Attributes = folder.attributes;
                attributes.insert("s3-folder".into(), "1".into());
                drive.set_attributes(path, attributes).await.unwrap();
                keys.insert(key.clone());
            }
        } else if drive.info(path.clone()).await.is_err() {
            let above: Vec<_> = key.match_indices('/').map(|(at, _)| &key[..at]).collect();
            if above.iter().all(|above| !keys.contains(*above)) {
                drive.put(&path, key.as_bytes());
                keys.insert(key.clone());
            }
        }
    }
    keys
}

fn component() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "a-", "a-b", "a.b", "a!", "a a", "a0", "b", "ä", "aä", "-", "&<", "+%"])
        .prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = String> {
    let ends = prop::sample::select(vec!["", "", "", "", "/", "//"]);
    (prop::collection::vec(component(), 1..4), ends).prop_map(|(parts, end)| parts.join("/") + end)
}

/// Prefixes and markers: keys, beginnings of keys, keys with more behind, and what is no key.
fn around() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        3 => key(),
        3 => (key(), 0_usize..12).prop_map(|(key, cut)| {
            let end = key.char_indices().map(|(at, _)| at).chain([key.len()]).nth(cut).unwrap_or(key.len());
            key[..end].to_owned()
        }),
        2 => (key(), "[ -0~/]{1,2}").prop_map(|(key, more)| key + &more),
        1 => "[/.\u{1}a-]{1,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn listings_are_those_of_the_model(
        wanted in prop::collection::vec(key(), 0..40),
        queries in prop::collection::vec(
            (around(), prop::sample::select(vec!["", "/", "/", "-", "a", "/a", "b/"]), around(), 1_usize..7),
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let drive = Memory::new();
            let all = fill(&drive, &wanted).await;
            let server = Server::start(drive.clone()).await;
            for (prefix, delimiter, after, most) in &queries {
                let what = format!("prefix {prefix:?} delimiter {delimiter:?} after {after:?} most {most} of {all:?}");
                let model = page(&all, prefix, delimiter, after, *most);
                let first = server.send(&ask(prefix, delimiter, *most).query("marker", after)).await;
                assert_eq!(read(&first, "NextMarker"), model, "v1, {what}");
                let first = ask(prefix, delimiter, *most).query("list-type", "2").query("start-after", after);
                let found = read(&server.send(&first).await, "NextContinuationToken");
                assert_eq!((&found.keys, &found.common), (&model.keys, &model.common), "v2, {what}");
                assert_eq!(found.next.is_some(), model.next.is_some(), "v2, {what}");
                // All pages together, by markers and by tokens, are the whole.
                let whole = page(&all, prefix, delimiter, "", usize::MAX);
                for token in [None, Some("NextContinuationToken")] {
                    let (mut keys, mut common, mut next) = (vec![], vec![], None::<String>);
                    for round in 0.. {
                        assert!(round <= all.len(), "pages without end, {what}");
                        let mut one = ask(prefix, delimiter, *most);
                        if token.is_some() {
                            one = one.query("list-type", "2");
                        }
                        if let Some(next) = &next {
                            one = one.query(token.map_or("marker", |_| "continuation-token"), next);
                        }
                        let found = read(&server.send(&one).await, token.unwrap_or("NextMarker"));
                        keys.extend(found.keys);
                        common.extend(found.common);
                        next = found.next;
                        if next.is_none() {
                            break;
                        }
                    }
                    assert_eq!((&keys, &common), (&whole.keys, &whole.common), "pages, {what}");
                }
            }
            server.stop().await;
        });
    }
}

#[tokio::test]
async fn a_folder_with_many_entries_is_listed_page_by_page() {
    let drive = Memory::new();
    let keys: BTreeSet<String> = (0..2500).map(|number| format!("many/{number:05}")).collect();
    for key in &keys {
        drive.put(&format!("/bucket/{key}"), b"");
    }
    let server = Server::start(drive).await;
    let (mut found, mut after) = (BTreeSet::new(), String::new());
    for expected in [1000, 1000, 500] {
        let answer = server.send(&ask("many/", "", 5000).query("marker", &after)).await;
        let page = read(&answer, "NextMarker");
        assert_eq!(page.keys.len(), expected);
        found.extend(page.keys);
        after = page.next.unwrap_or_default();
    }
    assert_eq!(found, keys);
    server.stop().await;
}

#[tokio::test]
async fn a_bucket_of_empty_folders_is_empty_and_can_be_removed() {
    let drive = Memory::new();
    for folder in ["/bucket/a/b/c", "/bucket/d"] {
        drive.make_folder(folder.into()).await.unwrap();
    }
    let server = Server::start(drive.clone()).await;
    let listed = read(&server.send(&ask("", "/", 10)).await, "NextMarker");
    assert_eq!(listed, Page { keys: vec![], common: vec![], next: None });
    assert_eq!(server.send(&Ask::new("DELETE", "/bucket")).await.status, 204);
    assert_eq!(drive.info("/bucket".into()).await.unwrap_err().code, "not_found");
    server.stop().await;
}
