//! Any sequence of puts and removals leaves what a plain map of paths would hold, and stores
//! exactly the segments that the head needs.

use std::collections::BTreeMap;

use crate::support::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Put { to: Vec<u8>, files: Vec<(Vec<u8>, usize)> },
    Remove(Vec<u8>),
    Reopen,
}

/// A path of up to three names from a few, so that paths meet often.
fn some_path() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0u8..4, 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![Just(0usize), 1usize..4096, 4097usize..70_000, 1_100_000usize..1_200_000];
    prop_oneof![
        6 => (proptest::collection::vec(0u8..3, 0..2), proptest::collection::vec((some_path(), len), 1..4))
            .prop_map(|(to, files)| Step::Put { to, files }),
        3 => some_path().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

fn text(path: &[u8]) -> String {
    path.iter().map(|part| format!("n{part}")).collect::<Vec<_>>().join("/")
}

/// Whether a file of the model is in the way of `path`, or a folder where it should stand.
fn clashes(model: &BTreeMap<String, Option<Vec<u8>>>, path: &str) -> bool {
    let above = path.match_indices('/').any(|(at, _)| matches!(model.get(&path[..at]), Some(Some(_))));
    above || matches!(model.get(path), Some(None))
}

fn insert(model: &mut BTreeMap<String, Option<Vec<u8>>>, path: &str, bytes: Vec<u8>) {
    for (at, _) in path.match_indices('/') {
        model.insert(path[..at].to_owned(), None);
    }
    model.insert(path.to_owned(), Some(bytes));
}

async fn run(steps: Vec<Step>) {
    // One MiB to the segment, so that some files have several.
    let mut bench = bench_with(1, 2).await;
    let mut model: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    for (round, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put { to, files } => {
                let mut archive = BTreeMap::new();
                for (path, len) in files {
                    let path = text(&path);
                    let below = format!("{path}/");
                    if !clashes(&archive, &path)
                        && !archive.keys().any(|other: &String| other.starts_with(&below))
                    {
                        insert(&mut archive, &path, noise(len, round as u64 + len as u64));
                    }
                }
                archive.retain(|_, bytes| bytes.is_some());
                let tree: Tree = archive
                    .iter()
                    .map(|(path, bytes)| (path.clone(), file(bytes.clone().unwrap())))
                    .collect();
                let whole = |path: &str| {
                    if to.is_empty() { path.to_owned() } else { format!("{}/{path}", text(&to)) }
                };
                let refused = archive.keys().any(|path| clashes(&model, &whole(path)));
                let outcome = bench.try_put(&format!("/{}", text(&to)), pack(&tree)).await;
                match outcome {
                    Ok(report) => {
                        assert!(!refused && report.warnings.is_empty());
                        for (path, bytes) in archive {
                            insert(&mut model, &whole(&path), bytes.unwrap());
                        }
                    }
                    Err(error) => assert!(refused && error.code() == "exists", "{error}"),
                }
            }
            Step::Remove(path) => {
                let path = text(&path);
                let known = model.contains_key(&path);
                match bench.drive.remove(&format!("/{path}").parse().unwrap(), false, true).await {
                    Ok(removed) => {
                        assert!(known && removed.warnings.is_empty());
                        let below = format!("{path}/");
                        let before = model.values().flatten().count();
                        model.retain(|other, _| *other != path && !other.starts_with(&below));
                        assert_eq!(removed.files as usize, before - model.values().flatten().count());
                    }
                    Err(error) => assert!(!known && error.code() == "not_found", "{error}"),
                }
            }
            Step::Reopen => {
                bench.drive = open(bench.dir.path(), &bench.custody, &bench.board).await.unwrap();
            }
        }
    }
    bench.drive.republish().await.unwrap();
    let back: BTreeMap<String, Option<Vec<u8>>> = bench
        .get("/")
        .await
        .into_iter()
        .map(|(path, thing)| match thing {
            Thing::File { bytes, .. } => (path, Some(bytes)),
            Thing::Folder { .. } => (path, None),
        })
        .collect();
    assert!(back == model, "{:?} should be {:?}", back.keys(), model.keys());
    bench.assert_no_litter().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_drive_is_a_map_of_paths(steps in proptest::collection::vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
