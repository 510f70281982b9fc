//! What opening a store does with what it finds.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use commonhold_store::{OpenError, ReadError, Role, Store, StoreConfig};
use tempfile::TempDir;

use crate::people::{Chunk, chunk, deal, open};

fn try_open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(StoreConfig::new(dir, 1 << 30))
}

fn refusal(dir: &Path) -> OpenError {
    match try_open(dir) {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

fn pack(dir: &Path) -> PathBuf {
    dir.join("packs").join("00000000.pack")
}

/// A closed store with two committed chunks.
fn sample(dir: &Path) -> [Chunk; 2] {
    let chunks = [chunk(1, 400), chunk(2, 130)];
    let store = open(dir);
    deal(1).enter(&store, Role::Provider).keep(&store, &chunks);
    chunks
}

#[test]
fn a_folder_is_made_with_everything_above_it() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("a/b/c");
    let id = open(&deep).id();
    let format = fs::read_to_string(deep.join("format")).unwrap();
    assert_eq!(format, format!("commonhold-store 2\n{id}\n"));
}

#[test]
fn a_store_of_another_version_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let chunks = sample(dir.path());
    let file = dir.path().join("format");
    let right = fs::read_to_string(&file).unwrap();
    let cases = ["commonhold-store 1\n", "commonhold-store 3\n", "commonhold-store 2\n", "", "x"];
    for found in cases.into_iter().chain([right.trim_end(), &format!("{right}\n"), &right.to_uppercase()]) {
        fs::write(&file, found).unwrap();
        match refusal(dir.path()) {
            OpenError::Version { file: named, found: said, expected } => {
                assert_eq!((named, said.as_str()), (file.clone(), found.lines().next().unwrap_or_default()));
                assert_eq!(expected, "commonhold-store 2");
            }
            other => panic!("{other}"),
        }
    }
    fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Version { .. }));
    fs::write(&file, right).unwrap();
    let store = open(dir.path());
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn a_store_is_open_once() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    assert!(matches!(refusal(dir.path()), OpenError::InUse { dir: named } if named == dir.path()));
    let clone = store.clone();
    drop(store);
    assert!(matches!(refusal(dir.path()), OpenError::InUse { .. }));
    drop(clone);
    open(dir.path());
}

#[test]
fn attack_41_a_torn_tail_is_cut_at_every_byte_of_the_last_record() {
    let dir = TempDir::new().unwrap();
    let chunks = sample(dir.path());
    let whole = fs::read(pack(dir.path())).unwrap();
    let torn = chunk(3, 60);
    let record = {
        let store = open(dir.path());
        torn.put(&store, &deal(1)).unwrap();
        fs::read(pack(dir.path())).unwrap()[whole.len()..].to_vec()
    };
    let dead = open(dir.path()).usage().dead_bytes;
    assert_eq!(record.len() as u64, torn.record_len());
    for len in 0..=record.len() {
        // As far as it was written; and in its full length, with zeros for what was not.
        let cut = record[..len].to_vec();
        let mut zeros = cut.clone();
        zeros.resize(record.len(), 0);
        for tail in [cut, zeros] {
            fs::write(pack(dir.path()), [whole.as_slice(), &tail].concat()).unwrap();
            let store = open(dir.path());
            assert_eq!(fs::metadata(pack(dir.path())).unwrap().len(), whole.len() as u64, "at byte {len}");
            assert_eq!(store.usage().dead_bytes, dead);
            chunks.iter().for_each(|chunk| chunk.assert_held(&store));
            assert!(matches!(store.read(&torn.id), Err(ReadError::NotHeld)));
            // The next record begins where the torn one did.
            torn.put(&store, &deal(1)).unwrap();
            torn.assert_held(&store);
        }
    }
    let store = open(dir.path());
    deal(1).keep(&store, from_ref(&torn));
    drop(store);
    open(dir.path()).read(&torn.id).unwrap();
}

#[test]
fn a_pack_that_is_shorter_than_the_index_knows_is_named_and_nothing_is_cut() {
    let dir = TempDir::new().unwrap();
    sample(dir.path());
    let whole = fs::read(pack(dir.path())).unwrap();
    fs::write(pack(dir.path()), &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Pack { file, .. } if file == pack(dir.path())));
    fs::remove_file(pack(dir.path())).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Pack { file, .. } if file == pack(dir.path())));
    fs::write(pack(dir.path()), &whole).unwrap();
    open(dir.path());
    assert_eq!(fs::read(pack(dir.path())).unwrap(), whole);
}

#[test]
fn packs_are_not_deleted_because_the_rest_of_the_store_is_gone() {
    let dir = TempDir::new().unwrap();
    sample(dir.path());
    let whole = fs::read(pack(dir.path())).unwrap();
    let data = dir.path().join("index/data.mdb");
    let kept = fs::read(&data).unwrap();
    let right = fs::read(dir.path().join("format")).unwrap();

    fs::remove_dir_all(dir.path().join("index")).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NoIndex { file } if file == data));
    // Neither when the format file is gone with it: this is not a new folder.
    fs::remove_file(dir.path().join("format")).unwrap();
    let format = dir.path().join("format");
    assert!(matches!(refusal(dir.path()), OpenError::Missing { file } if file == format));
    assert_eq!(fs::read(pack(dir.path())).unwrap(), whole);

    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::write(&data, kept).unwrap();
    fs::write(&format, right).unwrap();
    fs::rename(dir.path().join("packs"), dir.path().join("elsewhere")).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Missing { file } if file == dir.path().join("packs")));
    fs::rename(dir.path().join("elsewhere"), dir.path().join("packs")).unwrap();
    open(dir.path());
}

#[test]
fn an_interrupted_first_opening_is_begun_again() {
    let dir = TempDir::new().unwrap();
    // All that it can have left, and an index that was not finished.
    for folder in ["index", "packs"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("index/data.mdb"), [0; 5000]).unwrap();
    fs::write(dir.path().join("format.partial"), "commonh").unwrap();
    let chunks = sample(dir.path());
    let store = open(dir.path());
    chunks.iter().for_each(|chunk| chunk.assert_held(&store));
}

#[test]
fn a_folder_with_somebodys_files_becomes_no_store_and_keeps_them() {
    let strange =
        ["a.jpg", "index/important.txt", "index/data.mdb/x", "packs/letter", "keys/root.key", "lock/x"];
    for name in strange {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, name).unwrap();
        let before: Vec<PathBuf> = walk(dir.path());
        let refused = refusal(dir.path());
        let first = |found: &Path| file.starts_with(found);
        assert!(matches!(&refused, OpenError::NotEmpty { found, .. } if first(found)), "{refused}");
        assert!(refused.to_string().contains("choose an empty folder"), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), name.as_bytes());
        assert_eq!(walk(dir.path()), before, "nothing is added either");
    }
    // The folder of a file system is empty but for this.
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    open(dir.path());
}

/// Everything in a folder.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all.push(path.clone());
        if path.is_dir() {
            all.extend(walk(&path));
        }
    }
    all.sort();
    all
}

#[test]
fn nobody_else_can_look_into_the_folders_of_a_store() {
    let dir = TempDir::new().unwrap();
    let (made, there) = (dir.path().join("a/made"), dir.path().join("there"));
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    for (store, lost) in [(&made, false), (&there, false), (&made, true)] {
        if lost {
            fs::remove_dir_all(store.join("index")).unwrap();
            commonhold_store::rebuild_index(&StoreConfig::new(store, 1 << 30)).unwrap();
        } else {
            open(store);
        }
        for folder in ["packs", "index"] {
            let mode = fs::metadata(store.join(folder)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{folder}");
        }
    }
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn files_that_are_not_packs_are_left_alone() {
    let dir = TempDir::new().unwrap();
    sample(dir.path());
    let strange = ["1.pack", "000000001.pack", "+0000001.pack", "00000001.pack.old", "notes.txt"];
    for name in strange {
        File::create(dir.path().join("packs").join(name)).unwrap();
    }
    // This one is a pack, of which the index knows nothing.
    fs::write(dir.path().join("packs/00000007.pack"), [1; 10]).unwrap();
    let store = open(dir.path());
    for name in strange {
        assert!(dir.path().join("packs").join(name).exists(), "{name}");
    }
    assert!(!dir.path().join("packs/00000007.pack").exists());
    assert_eq!(store.usage().chunks, 2);
}

#[test]
fn an_index_that_is_no_index_is_an_error() {
    let dir = TempDir::new().unwrap();
    sample(dir.path());
    fs::write(dir.path().join("index/data.mdb"), vec![7; 100_000]).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Index(_)));
}

#[test]
fn a_node_that_knows_its_store_opens_no_other_and_makes_none() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    dirs.iter().for_each(|dir| drop(sample(dir.path())));
    let known = open(dirs[0].path()).id();
    let open_known =
        |dir: &Path| Store::open(StoreConfig { known: Some(known), ..StoreConfig::new(dir, 1 << 30) });
    assert!(open_known(dirs[0].path()).is_ok());
    let other = open_known(dirs[1].path()).err().unwrap();
    assert!(matches!(other, OpenError::OtherStore { expected, .. } if expected == known), "{other}");
    // Where nothing is mounted there is an empty folder, or none.
    let empty = TempDir::new().unwrap();
    for dir in [empty.path().to_owned(), empty.path().join("none")] {
        assert!(matches!(open_known(&dir).err().unwrap(), OpenError::Missing { .. }));
        assert!(!dir.join("lock").exists() && !dir.join("format").exists());
    }
    // Nor does the index of one go with the packs of the other.
    fs::remove_dir_all(dirs[0].path().join("index")).unwrap();
    fs::rename(dirs[1].path().join("index"), dirs[0].path().join("index")).unwrap();
    assert!(matches!(refusal(dirs[0].path()), OpenError::OtherStore { .. }));
}

#[test]
fn a_pack_of_another_store_is_refused() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    dirs.iter().for_each(|dir| drop(sample(dir.path())));
    fs::copy(pack(dirs[1].path()), pack(dirs[0].path())).unwrap();
    assert!(matches!(refusal(dirs[0].path()), OpenError::Pack { .. }));
}
