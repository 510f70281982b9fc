//! What a disk may have after a power cut: all of it when that is little, and a sample otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// Bytes that a disk writes at once.
const SECTOR: usize = 512;

/// SplitMix64: any sequence does, as long as it is the same every time.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn is_one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// Bytes that were written and not synced.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// When.
    pub(super) at: u64,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

impl Written {
    pub(super) fn apply(&self, file: &mut Vec<u8>) {
        put(file, self.offset, &self.bytes);
    }

    /// The parts that go to the disk at once, as offsets in the file and bytes.
    fn sectors(&self) -> Vec<(usize, &[u8])> {
        let (mut parts, mut rest, mut at) = (Vec::new(), self.bytes.as_slice(), self.offset);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
            parts.push((at, part));
            (rest, at) = (after, at + part.len());
        }
        parts
    }
}

/// A name that was made or removed.
#[derive(Debug, Clone)]
pub(super) struct NameChange {
    /// When.
    #[expect(dead_code, reason = "shown when a test fails")]
    pub(super) at: u64,
    pub(super) path: PathBuf,
    pub(super) after: Option<u64>,
}

pub(super) struct CutFile {
    pub(super) durable: Vec<u8>,
    pub(super) writes: Vec<Written>,
}

/// A disk at the moment of a power cut.
pub(super) struct Cut {
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) changes: Vec<NameChange>,
    pub(super) files: HashMap<u64, CutFile>,
}

/// Files by their names.
pub(super) type Image = BTreeMap<String, Vec<u8>>;

/// What was to go to the disk and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Name,
    /// The length of the file up to here, with zeros where nothing was written.
    Length,
    /// A sector of the write that came so many-th.
    Sector(usize),
}

impl Cut {
    /// All that may have gone to the disk, in the order of [`Cut::image`].
    fn things(&self) -> Vec<Thing> {
        let mut things = vec![Thing::Name; self.changes.len()];
        let mut number = 0;
        for file in self.sorted() {
            for write in &file.writes {
                things.push(Thing::Length);
                things.extend(write.sectors().iter().map(|_| Thing::Sector(number)));
                number += 1;
            }
        }
        things
    }

    fn sorted(&self) -> impl Iterator<Item = &CutFile> {
        let mut ids: Vec<&u64> = self.files.keys().collect();
        ids.sort();
        ids.into_iter().map(|id| &self.files[id])
    }

    /// The disk when these things have gone there; the later of two that overlap may have been first.
    fn image(&self, went: &[bool], order: &mut Rng) -> Image {
        let mut went = went.iter().copied();
        let mut names = self.names.clone();
        for change in &self.changes {
            if went.next() == Some(true) {
                match change.after {
                    Some(inode) => names.insert(change.path.clone(), inode),
                    None => names.remove(&change.path),
                };
            }
        }
        let mut contents = Vec::new();
        for file in self.sorted() {
            let mut bytes = file.durable.clone();
            let mut parts = Vec::new();
            for write in &file.writes {
                let end = write.offset + write.bytes.len();
                if went.next() == Some(true) && bytes.len() < end {
                    bytes.resize(end, 0);
                }
                parts.extend(write.sectors().into_iter().filter(|_| went.next() == Some(true)));
            }
            if order.is_one_in(2) {
                parts.reverse();
            }
            parts.iter().for_each(|(offset, part)| put(&mut bytes, *offset, part));
            contents.push(bytes);
        }
        let mut ids: Vec<u64> = self.files.keys().copied().collect();
        ids.sort_unstable();
        let contents: HashMap<u64, Vec<u8>> = ids.into_iter().zip(contents).collect();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        names.iter().map(|(path, inode)| (name(path), contents[inode].clone())).collect()
    }

    /// What may be there: everything if that is at most `max`, or else the outermost cases and some
    /// between them, so many together.
    pub(super) fn images(&self, max: usize, rng: &mut Rng) -> Vec<Image> {
        let things = self.things();
        let mut images = Vec::new();
        let mut seen = HashSet::new();
        let mut add = |went: Vec<bool>, rng: &mut Rng| {
            let image = self.image(&went, rng);
            if seen.insert(image.clone()) {
                images.push(image);
            }
        };
        if things.len() < 12 && 1 << things.len() <= max {
            for all in 0..1u32 << things.len() {
                add((0..things.len()).map(|bit| all >> bit & 1 == 1).collect(), rng);
            }
            return images;
        }
        let writes = self.sorted().map(|file| file.writes.len()).sum::<usize>();
        let of =
            |take: &dyn Fn(Thing) -> bool| things.iter().map(|thing| take(*thing)).collect::<Vec<bool>>();
        add(of(&|_| false), rng);
        add(of(&|_| true), rng);
        add(of(&|thing| thing != Thing::Name), rng);
        add(of(&|thing| !matches!(thing, Thing::Sector(_))), rng);
        // All but one write.
        let but = rng.below(writes as u64) as usize;
        add(of(&|thing| thing != Thing::Sector(but)), rng);
        // The last alone.
        add(of(&|thing| thing == Thing::Name || thing == Thing::Sector(writes.saturating_sub(1))), rng);
        for _ in 6..max {
            // Few are missing, few are there, or half of them.
            let (there, of) = [(1, 8), (7, 8), (1, 2)][rng.below(3) as usize];
            let went = things.iter().map(|_| rng.below(of) < there).collect();
            add(went, rng);
        }
        images.truncate(max);
        images
    }
}
