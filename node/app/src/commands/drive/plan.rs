//! What a transfer has to do: a tree on this machine and one in the drive, compared.
//!
//! Invariant: pure. What is unchanged by kind, size, time and executable bit is neither sent nor fetched;
//! nothing is removed that the other side has; carried out, a plan leaves nothing to do. Not here: how
//! files travel.

use std::collections::{BTreeMap, BTreeSet};

/// A file or folder by its path below the root of the comparison: `a/b`, without a slash at either end.
pub type Tree = BTreeMap<String, Entry>;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file.
    File(Facts),
}

/// What tells one content of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its length.
    pub bytes: u64,
    /// When it was modified, milliseconds since 1970.
    pub modified_ms: i64,
    /// May its owner execute it?
    pub executable: bool,
}

impl Facts {
    /// Whether both are of one content, as far as facts tell. Some file systems and archives keep whole
    /// seconds only.
    pub fn same(&self, other: &Facts) -> bool {
        let (a, b) = (self.modified_ms, other.modified_ms);
        let whole = |ms: i64| ms.rem_euclid(1000) == 0;
        let times = a == b || ((whole(a) || whole(b)) && a.div_euclid(1000) == b.div_euclid(1000));
        times && self.bytes == other.bytes && self.executable == other.executable
    }
}

/// What makes the drive's tree like the local one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// Of another kind there, and removed before anything is sent; only with `delete`.
    pub replace: Vec<String>,
    /// Folders that are made.
    pub folders: Vec<String>,
    /// Files that are sent.
    pub send: Vec<String>,
    /// Only in the drive, and removed when all is sent; only with `delete`.
    pub remove: Vec<String>,
    /// Of another kind there, and left alone with what is below: without `delete`.
    pub in_the_way: Vec<String>,
    /// Files that are as they should be.
    pub unchanged: u64,
}

/// Compares what is here with what is in the drive.
pub fn upload(local: &Tree, drive: &Tree, delete: bool) -> Upload {
    let mut plan = Upload::default();
    let mut replaced = BTreeSet::new();
    let mut left_alone = BTreeSet::new();
    for (path, entry) in local {
        if below(path, &left_alone) {
            continue;
        }
        let there = drive.get(path).filter(|_| !below(path, &replaced));
        match (entry, there) {
            (Entry::Folder, Some(Entry::Folder)) => {}
            (Entry::File(here), Some(Entry::File(there))) if here.same(there) => plan.unchanged += 1,
            (Entry::File(_), Some(Entry::File(_)) | None) => plan.send.push(path.clone()),
            (Entry::Folder, None) => plan.folders.push(path.clone()),
            (Entry::File(_), Some(Entry::Folder)) | (Entry::Folder, Some(Entry::File(_))) if !delete => {
                left_alone.insert(path.as_str());
                plan.in_the_way.push(path.clone());
            }
            (entry, Some(_)) => {
                replaced.insert(path.as_str());
                plan.replace.push(path.clone());
                match entry {
                    Entry::Folder => plan.folders.push(path.clone()),
                    Entry::File(_) => plan.send.push(path.clone()),
                }
            }
        }
    }
    if delete {
        let mut removed = BTreeSet::new();
        for path in drive.keys() {
            if !local.contains_key(path) && !below(path, &removed) && !below(path, &replaced) {
                removed.insert(path.as_str());
                plan.remove.push(path.clone());
            }
        }
    }
    plan
}

/// Whether one of `paths` is above `path`.
fn below(path: &str, paths: &BTreeSet<&str>) -> bool {
    !paths.is_empty() && path.match_indices('/').any(|(at, _)| paths.contains(&path[..at]))
}

/// What is fetched, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// A folder with all that is below it, as one archive.
    Archive(String),
    /// A file by itself.
    File(String),
}

/// What brings the drive's tree here, where a part of it is already: whole folders of which nothing is
/// here as archives, single files otherwise, and those of at least `large` bytes always, so that they can
/// be gone on with. `whole` says whether the root itself may be an archive; its path is empty.
pub fn download(drive: &Tree, here: &Tree, large: u64, whole: bool) -> Vec<Fetch> {
    let is_here =
        |path: &str, facts: &Facts| matches!(here.get(path), Some(Entry::File(found)) if found.same(facts));
    // Folders that do not come whole, since something below them is here or is large.
    let mut in_parts = BTreeSet::new();
    if !whole {
        in_parts.insert("");
    }
    for (path, entry) in drive {
        if let Entry::File(facts) = entry
            && (facts.bytes >= large || is_here(path, facts))
        {
            in_parts.insert("");
            in_parts.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
        }
    }
    if !in_parts.contains("") {
        let files = drive.values().any(|entry| matches!(entry, Entry::File(_)));
        return if files { vec![Fetch::Archive(String::new())] } else { vec![] };
    }
    let mut wanted = Vec::new();
    for (path, entry) in drive {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !in_parts.contains(parent) {
            continue;
        }
        match entry {
            Entry::File(facts) if !is_here(path, facts) => wanted.push(Fetch::File(path.clone())),
            Entry::Folder if !in_parts.contains(path.as_str()) && has_files(drive, path) => {
                wanted.push(Fetch::Archive(path.clone()));
            }
            Entry::File(_) | Entry::Folder => {}
        }
    }
    wanted
}

/// Whether there is a file below a folder.
fn has_files(drive: &Tree, folder: &str) -> bool {
    let first = format!("{folder}/");
    let below = drive.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
    below.into_iter().any(|(_, entry)| matches!(entry, Entry::File(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn facts() -> impl Strategy<Value = Facts> {
        (0_u64..4, 0_i64..4, any::<bool>()).prop_map(|(bytes, time, executable)| Facts {
            bytes,
            modified_ms: time * 700,
            executable,
        })
    }

    /// A tree in which every parent is a folder.
    fn tree() -> impl Strategy<Value = Tree> {
        // "!" sorts before "/", so that neighbours in the order are not neighbours in the tree.
        let name = prop_oneof![Just("a"), Just("a!"), Just("b"), Just("ä")];
        vec((vec(name, 1..4), proptest::option::of(facts())), 0..12).prop_map(|paths| {
            let mut tree = Tree::new();
            for (names, facts) in paths {
                let path = names.join("/");
                let blocked = path
                    .match_indices('/')
                    .any(|(at, _)| matches!(tree.get(&path[..at]), Some(Entry::File(_))));
                if blocked || tree.contains_key(&path) {
                    continue;
                }
                for (at, _) in path.match_indices('/') {
                    tree.insert(path[..at].to_owned(), Entry::Folder);
                }
                tree.insert(path, facts.map_or(Entry::Folder, Entry::File));
            }
            tree
        })
    }

    fn take(tree: &mut Tree, path: &str) {
        let first = format!("{path}/");
        assert!(tree.remove(path).is_some(), "{path} is not there");
        tree.retain(|other, _| !other.starts_with(&first));
    }

    /// Does what a plan says as the drive would: nothing may be in the way, parents are made.
    fn carry_out(plan: &Upload, local: &Tree, drive: &Tree) -> Tree {
        let mut drive = drive.clone();
        for path in &plan.replace {
            take(&mut drive, path);
        }
        for path in plan.folders.iter().chain(&plan.send) {
            for (at, _) in path.match_indices('/') {
                let parent = drive.entry(path[..at].to_owned()).or_insert(Entry::Folder);
                assert_eq!(*parent, Entry::Folder, "{path} is below a file");
            }
            let old = drive.insert(path.clone(), local[path]);
            let same_kind = matches!(
                (old, local[path]),
                (None, _) | (Some(Entry::File(_)), Entry::File(_)) | (Some(Entry::Folder), Entry::Folder)
            );
            assert!(same_kind, "{path} changes its kind");
        }
        for path in &plan.remove {
            take(&mut drive, path);
        }
        drive
    }

    fn equal(one: &Tree, other: &Tree) -> bool {
        one.len() == other.len()
            && one.iter().all(|(path, entry)| match (entry, other.get(path)) {
                (Entry::Folder, Some(Entry::Folder)) => true,
                (Entry::File(a), Some(Entry::File(b))) => a.same(b),
                _ => false,
            })
    }

    proptest! {
        #[test]
        fn with_delete_both_are_equal_and_nothing_is_left_to_do(local in tree(), drive in tree()) {
            let plan = upload(&local, &drive, true);
            prop_assert!(plan.in_the_way.is_empty());
            let after = carry_out(&plan, &local, &drive);
            prop_assert!(equal(&local, &after), "{:?}\n{:?}", local, after);
            let files = local.values().filter(|it| matches!(it, Entry::File(_))).count() as u64;
            let nothing = Upload { unchanged: files, ..Upload::default() };
            prop_assert_eq!(upload(&local, &after, true), nothing);
        }

        #[test]
        fn without_delete_nothing_is_lost(local in tree(), drive in tree()) {
            let plan = upload(&local, &drive, false);
            prop_assert!(plan.remove.is_empty() && plan.replace.is_empty());
            let after = carry_out(&plan, &local, &drive);
            prop_assert!(drive.keys().all(|path| after.contains_key(path)));
            let again = upload(&local, &after, false);
            prop_assert!(again.send.is_empty() && again.folders.is_empty());
            prop_assert_eq!(again.in_the_way, plan.in_the_way);
        }

        #[test]
        fn what_is_unchanged_is_never_sent(local in tree(), drive in tree(), delete in any::<bool>()) {
            for path in upload(&local, &drive, delete).send {
                if let (Some(Entry::File(here)), Some(Entry::File(there))) = (local.get(&path), drive.get(&path)) {
                    prop_assert!(!here.same(there));
                }
            }
        }

        #[test]
        fn every_missing_file_is_fetched_once(drive in tree(), here in tree(), whole in any::<bool>()) {
            let plan = download(&drive, &here, 3, whole);
            let mut fetched: BTreeMap<&str, usize> = BTreeMap::new();
            for fetch in &plan {
                match fetch {
                    Fetch::File(path) => *fetched.entry(path).or_default() += 1,
                    Fetch::Archive(folder) => {
                        prop_assert!(whole || !folder.is_empty());
                        let first = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                        for (path, entry) in &drive {
                            if let (true, Entry::File(facts)) = (path.starts_with(&first), entry) {
                                prop_assert!(facts.bytes < 3, "a large file comes by itself");
                                *fetched.entry(path).or_default() += 1;
                            }
                        }
                    }
                }
            }
            for (path, entry) in &drive {
                let Entry::File(facts) = entry else { continue };
                let there = matches!(here.get(path), Some(Entry::File(found)) if found.same(facts));
                prop_assert_eq!(fetched.get(path.as_str()).copied().unwrap_or(0), usize::from(!there), "{}", path);
            }
        }
    }

    #[test]
    fn whole_seconds_are_enough_where_there_is_nothing_finer() {
        let at = |modified_ms| Facts { bytes: 1, modified_ms, executable: false };
        assert!(at(1_500).same(&at(1_500)) && at(1_000).same(&at(1_999)) && at(1_999).same(&at(1_000)));
        assert!(!at(1_001).same(&at(1_999)) && !at(1_000).same(&at(2_000)) && !at(-1).same(&at(0)));
        assert!(at(-1_000).same(&at(-1)));
    }
}
