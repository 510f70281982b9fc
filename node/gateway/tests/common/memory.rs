//! A drive in memory: what [`DriveApi`] promises, without providers, encryption or disk.
//!
//! Invariant: every answer and every code of a fault is one that spec/api.md and `DriveApi` allow, so
//! that what works against this drive works against the real one. Not here: speed, and files that do
//! not fit in memory.
#![allow(dead_code, unused_macros, unused_imports, clippy::unwrap_used, unreachable_pub)]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonhold_client::types::*;
use commonhold_format::drive::Name;
use commonhold_gateway::{
    Answer, ApiFault, ArchiveReader, DriveApi, NewFile, OnlyIf, OpenFile, RemovedTo, Replaced, S3KeyApi,
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use md5::{Digest, Md5};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

/// Entries that one answer of `find` looks at.
pub const FIND_LOOKS_MAX: usize = 2_000;
/// Numbers of parts.
const PART_NUMBER_MAX: u32 = 10_000;
/// How long the bin keeps things, as it says.
const KEEP_SECONDS: u64 = 30 * 86_400;

type Outcome<T> = Result<T, ApiFault>;

#[derive(Clone)]
struct Version {
    stored: u64,
    modified: i64,
    executable: bool,
    content: Arc<Vec<u8>>,
    content_id: String,
    attributes: Attributes,
}

#[derive(Clone)]
enum Node {
    /// Versions, newest first; never empty.
    File(Vec<Version>),
    Folder {
        children: BTreeMap<String, Node>,
        modified: i64,
        attributes: Attributes,
    },
}

impl Node {
    fn folder() -> Self {
        Node::Folder { children: BTreeMap::new(), modified: now(), attributes: Attributes::new() }
    }

    fn kind(&self) -> FileKind {
        match self {
            Node::File(_) => FileKind::File,
            Node::Folder { .. } => FileKind::Folder,
        }
    }
}

struct InBin {
    item: BinItem,
    node: Node,
}

struct Upload {
    view: UploadView,
    parts: BTreeMap<u32, Arc<Vec<u8>>>,
}

struct Inner {
    root: Node,
    bin: Vec<InBin>,
    uploads: Vec<Upload>,
    shares: Vec<ShareView>,
    forks: Vec<HeadView>,
    at_risk: Vec<AtRisk>,
    sequence: u64,
    clock: u64,
    ids: u64,
    breaks: BTreeMap<String, u64>,
    holds: BTreeMap<String, (u64, CancellationToken)>,
    keys: Vec<S3KeyView>,
}

/// The drive. Shared; all methods of [`DriveApi`] work on it at once.
pub struct Memory {
    inner: Mutex<Inner>,
    /// Earlier versions that are kept of a file.
    pub versions_max: usize,
}

impl Default for Memory {
    fn default() -> Self {
        let inner = Inner {
            root: Node::folder(),
            bin: vec![],
            uploads: vec![],
            shares: vec![],
            forks: vec![],
            at_risk: vec![],
            sequence: 0,
            clock: 0,
            ids: 0,
            breaks: BTreeMap::new(),
            holds: BTreeMap::new(),
            keys: vec![],
        };
        Self { inner: Mutex::new(inner), versions_max: 100 }
    }
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Readers of the file at `path` fail after so many bytes of what they were to read.
    pub fn break_after(&self, path: &str, bytes: u64) {
        self.lock().breaks.insert(path.to_owned(), bytes);
    }

    /// Readers of what is at `path`, a file or a folder's archive, stand still after so many bytes until
    /// [`Memory::let_go`].
    pub fn hold_after(&self, path: &str, bytes: u64) {
        self.lock().holds.insert(path.to_owned(), (bytes, CancellationToken::new()));
    }

    /// Readers of what is at `path` go on.
    pub fn let_go(&self, path: &str) {
        if let Some((_, held)) = self.lock().holds.remove(path) {
            held.cancel();
        }
    }

    /// A reader, held as [`Memory::hold_after`] says.
    pub fn held(&self, path: &str, content: ArchiveReader) -> ArchiveReader {
        let Some((bytes, held)) = self.lock().holds.get(path).cloned() else { return content };
        let parts = tokio_util::io::ReaderStream::new(content);
        let parts = futures::stream::unfold((parts, 0), move |(mut parts, sent)| {
            let held = held.clone();
            async move {
                if sent >= bytes {
                    held.cancelled().await;
                }
                let part = futures::StreamExt::next(&mut parts).await?;
                let sent = sent + part.as_ref().map_or(0, |part| part.len() as u64);
                Some((part, (parts, sent)))
            }
        });
        Box::pin(tokio_util::io::StreamReader::new(Box::pin(parts)))
    }

    /// Another history shows up.
    pub fn add_fork(&self, fork: HeadView) {
        self.lock().forks.push(fork);
    }

    /// The next checks report this.
    pub fn add_risk(&self, risk: AtRisk) {
        self.lock().at_risk.push(risk);
    }

    /// Stores a file without more ado.
    pub fn put(&self, path: &str, content: &[u8]) -> FileInfo {
        let file = NewFile { path: path.into(), len: content.len() as u64, ..NewFile::default() };
        self.lock().store(file, content.to_vec(), self.versions_max).unwrap()
    }

    /// The current bytes of a file.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let path = parse(path).ok()?;
        match self.lock().find_node(&path)? {
            Node::File(versions) => Some(versions[0].content.to_vec()),
            Node::Folder { .. } => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| i64::try_from(it.as_millis()).unwrap())
}

pub fn md5_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Md5::digest(bytes))
}

fn fault<T>(code: &'static str, message: impl Into<String>) -> Outcome<T> {
    Err(ApiFault::new(code, message))
}

fn missing(path: &str) -> ApiFault {
    ApiFault::not_found(format!("{path} is not in the drive"))
}

/// The names of an absolute path. One slash at its end is forgiven.
fn parse(path: &str) -> Outcome<Vec<String>> {
    let bad = |why: String| ApiFault::new("bad_path", format!("{path:?} is not a path in a drive: {why}"));
    let relative = path.strip_prefix('/').ok_or_else(|| bad("it must begin with '/'".into()))?;
    let relative = relative.strip_suffix('/').unwrap_or(relative);
    if relative.is_empty() {
        return if path.len() > 1 { Err(bad("a name in it is empty".into())) } else { Ok(vec![]) };
    }
    let names = relative.split('/').map(|name| match Name::new(name) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(error) => Err(bad(error.to_string())),
    });
    let names = names.collect::<Outcome<Vec<_>>>()?;
    if names.len() > 64 || path.len() > PATH_LEN_MAX + 1 {
        return Err(bad("it is too long".into()));
    }
    Ok(names)
}

fn show(names: &[String]) -> String {
    format!("/{}", names.join("/"))
}

fn check_attributes(attributes: &Attributes) -> Outcome<()> {
    let len: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    let key = attributes.keys().map(String::len).max().unwrap_or(1);
    if attributes.len() > ATTRIBUTES_MAX || len > ATTRIBUTES_LEN_MAX || key > ATTRIBUTE_KEY_LEN_MAX {
        return fault("too_large", "these are more attributes than a file can have");
    }
    Ok(())
}

fn entry(names: &[String], node: &Node) -> FileEntry {
    let (modified_ms, executable) = match node {
        Node::File(versions) => (versions[0].modified, versions[0].executable),
        Node::Folder { modified, .. } => (*modified, false),
    };
    FileEntry {
        name: names.last().cloned().unwrap_or_default(),
        path: show(names),
        kind: node.kind(),
        bytes: sums(node).bytes,
        modified_ms,
        executable,
    }
}

fn version_info(names: &[String], versions: &[Version], at: usize) -> FileInfo {
    let it = &versions[at];
    FileInfo {
        entry: FileEntry {
            bytes: it.content.len() as u64,
            modified_ms: it.modified,
            executable: it.executable,
            ..entry(names, &Node::File(versions.to_vec()))
        },
        version: it.stored,
        versions: versions.len() as u64 - 1,
        content_id: it.content_id.clone(),
        files: 1,
        children: 0,
        attributes: it.attributes.clone(),
    }
}

fn info(names: &[String], node: &Node) -> FileInfo {
    match node {
        Node::File(versions) => version_info(names, versions, 0),
        Node::Folder { children, attributes, .. } => FileInfo {
            entry: entry(names, node),
            version: 0,
            versions: 0,
            content_id: String::new(),
            files: sums(node).files,
            children: children.len() as u64,
            attributes: attributes.clone(),
        },
    }
}

fn sums(node: &Node) -> UsageView {
    let mut sum = UsageView::default();
    match node {
        Node::File(versions) => {
            sum.files = 1;
            sum.bytes = versions[0].content.len() as u64;
            sum.versions = versions.len() as u64 - 1;
            sum.versions_bytes = versions[1..].iter().map(|it| it.content.len() as u64).sum();
        }
        Node::Folder { children, .. } => {
            for child in children.values() {
                let below = sums(child);
                sum.files += below.files;
                sum.folders += below.folders + u64::from(child.kind() == FileKind::Folder);
                sum.bytes += below.bytes;
                sum.versions += below.versions;
                sum.versions_bytes += below.versions_bytes;
            }
        }
    }
    sum
}

impl Inner {
    fn find_node(&self, names: &[String]) -> Option<&Node> {
        names.iter().try_fold(&self.root, |node, name| match node {
            Node::Folder { children, .. } => children.get(name),
            Node::File(_) => None,
        })
    }

    fn node(&self, path: &str) -> Outcome<(Vec<String>, &Node)> {
        let names = parse(path)?;
        let node = self.find_node(&names).ok_or_else(|| missing(path))?;
        Ok((names, node))
    }

    fn node_mut(&mut self, path: &str) -> Outcome<(Vec<String>, &mut Node)> {
        let names = parse(path)?;
        let found = names.iter().try_fold(&mut self.root, |node, name| match node {
            Node::Folder { children, .. } => children.get_mut(name),
            Node::File(_) => None,
        });
        Ok((names, found.ok_or_else(|| missing(path))?))
    }

    fn file(&self, path: &str) -> Outcome<(Vec<String>, &[Version])> {
        match self.node(path)? {
            (names, Node::File(versions)) => Ok((names, versions)),
            _ => fault("bad_path", format!("{path} is a folder")),
        }
    }

    /// Makes the folders of `names` and gives the children of the last.
    fn folders(&mut self, names: &[String]) -> Outcome<&mut BTreeMap<String, Node>> {
        let mut node = &mut self.root;
        for (at, name) in names.iter().enumerate() {
            let Node::Folder { children, .. } = node else {
                return fault("exists", format!("{} is a file", show(&names[..at])));
            };
            node = children.entry(name.clone()).or_insert_with(Node::folder);
        }
        match node {
            Node::Folder { children, .. } => Ok(children),
            Node::File(_) => fault("exists", format!("{} is a file", show(names))),
        }
    }

    /// Whether folders can be made of `names`, without making any.
    fn room(&self, names: &[String]) -> Outcome<()> {
        for at in 0..=names.len() {
            if let Some(Node::File(_)) = self.find_node(&names[..at]) {
                return fault("exists", format!("{} is a file", show(&names[..at])));
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &str) -> Outcome<(Vec<String>, Node)> {
        let names = parse(path)?;
        let Some((name, parents)) = names.split_last() else {
            return fault("bad_path", "the drive itself cannot be moved or removed");
        };
        if self.find_node(&names).is_none() {
            return Err(missing(path));
        }
        let node = self.folders(parents)?.remove(name).unwrap();
        Ok((names, node))
    }

    fn changed(&mut self) {
        self.sequence += 1;
    }

    /// A number for a version, above all before it.
    fn tick(&mut self) -> u64 {
        self.clock = (self.clock + 1).max(u64::try_from(now()).unwrap());
        self.clock
    }

    fn random_id(&mut self) -> String {
        self.ids += 1;
        HEXLOWER.encode(&Md5::digest(format!("id {}", self.ids)))
    }

    fn holds(&self, names: &[String], only_if: &OnlyIf) -> Outcome<()> {
        let there = self.find_node(names);
        let holds = match only_if {
            OnlyIf::Always => true,
            OnlyIf::Absent => there.is_none(),
            OnlyIf::Content(id) => {
                matches!(there, Some(Node::File(versions)) if versions[0].content_id == *id)
            }
        };
        if holds { Ok(()) } else { fault("precondition", format!("{} is not as expected", show(names))) }
    }

    /// Puts a version at a path.
    fn place(
        &mut self,
        names: &[String],
        mut version: Version,
        replaced: Replaced,
        versions_max: usize,
    ) -> Outcome<FileInfo> {
        let Some((name, parents)) = names.split_last() else {
            return fault("bad_path", "the drive itself is a folder");
        };
        if let Some(Node::Folder { .. }) = self.find_node(names) {
            return fault("exists", format!("{} is a folder", show(names)));
        }
        self.room(parents)?;
        version.stored = self.tick();
        let children = self.folders(parents)?;
        let mut versions = vec![version];
        if let (Some(Node::File(old)), Replaced::Kept) = (children.remove(name), replaced) {
            versions.extend(old);
            versions.truncate(versions_max + 1);
        }
        let node = Node::File(versions);
        let answer = info(names, &node);
        children.insert(name.clone(), node);
        self.changed();
        Ok(answer)
    }

    fn store(&mut self, file: NewFile, content: Vec<u8>, versions_max: usize) -> Outcome<FileInfo> {
        let names = parse(&file.path)?;
        check_attributes(&file.attributes)?;
        self.holds(&names, &file.only_if)?;
        let mut attributes = file.attributes;
        attributes.entry("etag".into()).or_insert_with(|| md5_hex(&content));
        let version = Version {
            stored: 0,
            modified: file.modified_ms.unwrap_or_else(now),
            executable: file.executable,
            content: Arc::new(content),
            content_id: self.random_id(),
            attributes,
        };
        self.place(&names, version, file.replaced, versions_max)
    }

    /// Is `to` free for something of this kind?
    fn free(&self, from: &FileKind, to: &[String], replace: bool) -> Outcome<()> {
        let Some((_, parents)) = to.split_last() else {
            return fault("exists", "the drive itself is there already");
        };
        self.room(parents)?;
        match self.find_node(to) {
            None => Ok(()),
            Some(Node::File(_)) if replace && *from == FileKind::File => Ok(()),
            Some(_) => fault("exists", format!("{} is there already", show(to))),
        }
    }

    fn move_to(&mut self, request: MoveRequest, versions_max: usize) -> Outcome<FileInfo> {
        let (from, node) = self.node(&request.from)?;
        let kind = node.kind();
        let to = parse(&request.to)?;
        if from.is_empty() {
            return fault("bad_path", "the drive itself cannot be moved");
        }
        if from == to {
            return Ok(info(&from, node));
        }
        if to.starts_with(&from) {
            return fault("bad_path", "a folder cannot be moved into itself");
        }
        self.free(&kind, &to, request.replace)?;
        let (_, mut node) = self.take(&request.from)?;
        let (name, parents) = to.split_last().unwrap();
        let number = self.tick();
        let children = self.folders(parents)?;
        if let (Some(Node::File(old)), Node::File(versions)) = (children.remove(name), &mut node) {
            // What stood there becomes an earlier version, so the moved one is newer now.
            versions[0].stored = number;
            versions.extend(old);
            versions.sort_by_key(|it| std::cmp::Reverse(it.stored));
            versions.dedup_by_key(|it| it.stored);
            versions.truncate(versions_max + 1);
        }
        let answer = info(&to, &node);
        children.insert(name.clone(), node);
        self.changed();
        Ok(answer)
    }

    fn copy_to(
        &mut self,
        request: MoveRequest,
        version: Option<u64>,
        attributes: Option<Attributes>,
        replaced: Replaced,
        versions_max: usize,
    ) -> Outcome<FileInfo> {
        let (from, node) = self.node(&request.from)?;
        let to = parse(&request.to)?;
        if from.is_empty() {
            return fault("bad_path", "the drive itself cannot be copied");
        }
        if node.kind() == FileKind::Folder && to.starts_with(&from) {
            return fault("bad_path", "a folder cannot be copied into itself");
        }
        self.free(&node.kind(), &to, request.replace)?;
        let mut copy = node.clone();
        match &mut copy {
            Node::File(versions) => {
                let mut one = match version {
                    None => versions[0].clone(),
                    Some(number) => at_version(&request.from, versions, number)?.clone(),
                };
                if let Some(attributes) = attributes {
                    check_attributes(&attributes)?;
                    one.attributes = attributes;
                }
                self.place(&to, one, replaced, versions_max)
            }
            Node::Folder { .. } => {
                if version.is_some() {
                    return fault("bad_path", format!("{} is a folder", request.from));
                }
                forget_versions(&mut copy, &mut || self.tick());
                let answer = info(&to, &copy);
                let (name, parents) = to.split_last().unwrap();
                self.folders(parents)?.insert(name.clone(), copy);
                self.changed();
                Ok(answer)
            }
        }
    }

    fn upload_at(&self, id: &str) -> Outcome<usize> {
        self.uploads
            .iter()
            .position(|it| it.view.id == id)
            .ok_or_else(|| ApiFault::not_found(format!("there is no upload {id}")))
    }

    fn add_part(&mut self, id: &str, number: u32, content: Vec<u8>) -> Outcome<PartView> {
        check_number(number)?;
        let at = self.upload_at(id)?;
        let stored_ms = now();
        let view = PartView { number, bytes: content.len() as u64, md5: md5_hex(&content), stored_ms };
        let upload = &mut self.uploads[at];
        upload.parts.insert(number, Arc::new(content));
        upload.view.parts.retain(|it| it.number != number);
        upload.view.parts.push(view.clone());
        upload.view.parts.sort_by_key(|it| it.number);
        Ok(view)
    }

    fn fork_at(&self, hash: &str) -> Outcome<usize> {
        let found = by_prefix(hash, self.forks.iter().map(|it| it.hash.as_str()))?;
        found.ok_or_else(|| ApiFault::not_found(format!("there is no other history {hash}")))
    }

    fn read(
        &self,
        path: &str,
        version: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Outcome<(FileInfo, Range<u64>, Vec<u8>)> {
        let (names, versions) = self.file(path)?;
        let at = match version {
            None => 0,
            Some(number) => versions
                .iter()
                .position(|it| it.stored == number)
                .ok_or_else(|| ApiFault::not_found(format!("{path} has no version {number}")))?,
        };
        let content = &versions[at].content;
        let len = content.len() as u64;
        let range = range.unwrap_or(0..len);
        let start = range.start.min(len);
        let range = start..range.end.clamp(start, len);
        let bytes =
            content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec();
        Ok((version_info(&names, versions, at), range, bytes))
    }
}

fn forget_versions(node: &mut Node, tick: &mut impl FnMut() -> u64) {
    match node {
        Node::File(versions) => {
            versions.truncate(1);
            versions[0].stored = tick();
        }
        Node::Folder { children, .. } => children.values_mut().for_each(|child| forget_versions(child, tick)),
    }
}

fn at_version<'a>(path: &str, versions: &'a [Version], number: u64) -> Outcome<&'a Version> {
    versions
        .iter()
        .find(|it| it.stored == number)
        .ok_or_else(|| ApiFault::not_found(format!("{path} has no version {number}")))
}

fn check_number(number: u32) -> Outcome<()> {
    if (1..=PART_NUMBER_MAX).contains(&number) {
        Ok(())
    } else {
        fault("invalid", format!("parts have the numbers 1 to {PART_NUMBER_MAX}"))
    }
}

/// The one of `all` that begins with these digits.
fn by_prefix<'a>(digits: &str, all: impl Iterator<Item = &'a str>) -> Outcome<Option<usize>> {
    let hexadecimal = digits.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    if !(8..=64).contains(&digits.len()) || !hexadecimal {
        return fault("invalid", "at least 8 hexadecimal digits are needed");
    }
    let found: Vec<usize> =
        all.enumerate().filter(|(_, it)| it.starts_with(digits)).map(|(at, _)| at).collect();
    match found[..] {
        [] => Ok(None),
        [at] => Ok(Some(at)),
        _ => fault("invalid", format!("{digits} is the beginning of several")),
    }
}

/// Everything below a folder, depth first.
fn walk(names: &mut Vec<String>, node: &Node, visit: &mut impl FnMut(&[String], &Node)) {
    if let Node::Folder { children, .. } = node {
        for (name, child) in children {
            names.push(name.clone());
            visit(names, child);
            walk(names, child, visit);
            names.pop();
        }
    }
}

/// Reads exactly `len` bytes.
async fn read_exactly(len: u64, mut content: ArchiveReader) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    match (&mut content).take(len + 1).read_to_end(&mut bytes).await {
        Ok(read) if read as u64 == len => Ok(bytes),
        Ok(_) => fault("changed", format!("these are not the {len} bytes that were announced")),
        Err(error) => fault("interrupted", format!("the content broke off: {error}")),
    }
}

fn reader(bytes: Vec<u8>, breaks: Option<u64>) -> ArchiveReader {
    match breaks {
        Some(at) if at < bytes.len() as u64 => {
            let good = io::Cursor::new(bytes[..usize::try_from(at).unwrap()].to_vec());
            let bad =
                futures::stream::iter([Err::<&[u8], _>(io::Error::other("too few chunks can be fetched"))]);
            Box::pin(good.chain(tokio_util::io::StreamReader::new(bad)))
        }
        _ => Box::pin(io::Cursor::new(bytes)),
    }
}

impl DriveApi for Memory {
    fn info(&self, path: String) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let inner = self.lock();
            let (names, node) = inner.node(&path)?;
            Ok(info(&names, node))
        })
    }

    fn list_page(&self, path: String, after: Option<String>, limit: usize) -> Answer<'_, Listing> {
        Box::pin(async move {
            let inner = self.lock();
            let (mut names, node) = inner.node(&path)?;
            let path = show(&names);
            let after = after.unwrap_or_default();
            let mut entries = match node {
                Node::File(_) => vec![entry(&names, node)],
                Node::Folder { children, .. } => {
                    let children = children.iter().filter(|(name, _)| **name > after).take(limit + 1);
                    let entries = children.map(|(name, child)| {
                        names.push(name.clone());
                        let entry = entry(&names, child);
                        names.pop();
                        entry
                    });
                    entries.collect()
                }
            };
            entries.retain(|it| it.name > after);
            let more = entries.len() > limit;
            entries.truncate(limit);
            let next = entries.last().filter(|_| more).map(|it| it.name.clone());
            Ok(Listing { path, entries, next })
        })
    }

    fn infos(&self, path: String, after: Option<String>, limit: usize) -> Answer<'_, (Vec<FileInfo>, bool)> {
        Box::pin(async move {
            let inner = self.lock();
            let (mut names, node) = inner.node(&path)?;
            let Node::Folder { children, .. } = node else {
                return fault("bad_path", format!("{path} is a file"));
            };
            let after = after.unwrap_or_default();
            let mut infos = Vec::new();
            for (name, child) in children.iter().filter(|(name, _)| **name > after).take(limit + 1) {
                names.push(name.clone());
                infos.push(info(&names, child));
                names.pop();
            }
            let more = infos.len() > limit;
            infos.truncate(limit);
            Ok((infos, more))
        })
    }

    fn find(
        &self,
        path: String,
        name: Option<String>,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Found> {
        Box::pin(async move {
            let inner = self.lock();
            let (mut names, node) = inner.node(&path)?;
            let after = after.map(|after| parse(&after)).transpose()?;
            let name = name.map(|it| it.to_lowercase());
            let fits = |names: &[String]| {
                let own = names.last().map(|it| it.to_lowercase()).unwrap_or_default();
                name.as_ref().is_none_or(|name| own.contains(name))
            };
            let mut all = Vec::new();
            if node.kind() == FileKind::File {
                all.push((names.clone(), entry(&names, node)));
            }
            walk(&mut names, node, &mut |names, node| all.push((names.to_vec(), entry(names, node))));
            // Depth first in the order of names is the order of the lists of names.
            all.retain(|(names, _)| after.as_ref().is_none_or(|after| names > after));
            let mut found = Found::default();
            let total = all.len();
            for (looked, (names, entry)) in all.into_iter().enumerate() {
                if fits(&names) {
                    found.entries.push(entry);
                }
                if found.entries.len() == limit || looked + 1 == FIND_LOOKS_MAX {
                    found.next = (looked + 1 < total).then(|| show(&names));
                    break;
                }
            }
            Ok(found)
        })
    }

    fn open(&self, path: String, version: Option<u64>, range: Option<Range<u64>>) -> Answer<'_, OpenFile> {
        Box::pin(async move {
            let (info, range, content) = {
                let inner = self.lock();
                let (info, range, bytes) = inner.read(&path, version, range)?;
                let breaks = inner.breaks.get(&path).copied();
                if breaks == Some(0) {
                    return fault("unavailable", "not enough chunks can be fetched at present");
                }
                (info, range, reader(bytes, breaks))
            };
            Ok(OpenFile { info, range, content: self.held(&path, content) })
        })
    }

    fn store(&self, file: NewFile, content: ArchiveReader) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            parse(&file.path)?;
            check_attributes(&file.attributes)?;
            let bytes = read_exactly(file.len, content).await?;
            self.lock().store(file, bytes, self.versions_max)
        })
    }

    fn make_folder(&self, path: String) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let names = parse(&path)?;
            let mut inner = self.lock();
            inner.room(&names)?;
            if inner.find_node(&names).is_none() {
                inner.folders(&names)?;
                inner.changed();
            }
            Ok(info(&names, inner.find_node(&names).unwrap()))
        })
    }

    fn set_attributes(&self, path: String, attributes: Attributes) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            check_attributes(&attributes)?;
            let mut inner = self.lock();
            inner.changed();
            let (names, node) = inner.node_mut(&path)?;
            match node {
                Node::File(versions) => versions[0].attributes = attributes,
                Node::Folder { attributes: old, .. } => *old = attributes,
            }
            Ok(info(&names, node))
        })
    }

    fn set_attributes_if(
        &self,
        path: String,
        attributes: Attributes,
        only_if: OnlyIf,
    ) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            check_attributes(&attributes)?;
            let mut inner = self.lock();
            let names = inner.node(&path)?.0;
            inner.holds(&names, &only_if)?;
            inner.changed();
            let (_, node) = inner.node_mut(&path)?;
            match node {
                Node::File(versions) => versions[0].attributes = attributes,
                Node::Folder { attributes: old, .. } => *old = attributes,
            }
            Ok(info(&names, node))
        })
    }

    fn move_to(&self, request: MoveRequest) -> Answer<'_, FileInfo> {
        Box::pin(async move { self.lock().move_to(request, self.versions_max) })
    }

    fn copy_to(
        &self,
        request: MoveRequest,
        version: Option<u64>,
        attributes: Option<Attributes>,
        replaced: Replaced,
    ) -> Answer<'_, FileInfo> {
        Box::pin(
            async move { self.lock().copy_to(request, version, attributes, replaced, self.versions_max) },
        )
    }

    fn remove_to(&self, path: String, to: RemovedTo) -> Answer<'_, Removed> {
        Box::pin(async move {
            let mut inner = self.lock();
            let (names, node) = inner.take(&path)?;
            let UsageView { files, bytes, .. } = sums(&node);
            let path = show(&names);
            if to == RemovedTo::Bin {
                let id = inner.random_id();
                let item =
                    BinItem { id, path: path.clone(), kind: node.kind(), files, bytes, removed_ms: now() };
                inner.bin.insert(0, InBin { item, node });
            }
            inner.changed();
            Ok(Removed { path, files, bytes, warnings: vec![] })
        })
    }

    fn remove_file(&self, path: String, to: RemovedTo, only_if: OnlyIf) -> Answer<'_, Removed> {
        Box::pin(async move {
            let mut inner = self.lock();
            let (names, node) = inner.node(&path)?;
            if node.kind() == FileKind::Folder {
                return fault("exists", format!("{path} is a folder"));
            }
            inner.holds(&names, &only_if)?;
            let (_, node) = inner.take(&path)?;
            let UsageView { files, bytes, .. } = sums(&node);
            if to == RemovedTo::Bin {
                let id = inner.random_id();
                let (path, kind) = (show(&names), FileKind::File);
                let item = BinItem { id, path, kind, files, bytes, removed_ms: now() };
                inner.bin.insert(0, InBin { item, node });
            }
            inner.changed();
            Ok(Removed { path: show(&names), files, bytes, warnings: vec![] })
        })
    }

    fn remove_empty_folder(&self, path: String) -> Answer<'_, Removed> {
        Box::pin(async move {
            let mut inner = self.lock();
            match inner.node(&path)?.1 {
                Node::File(_) => return fault("bad_path", format!("{path} is a file")),
                Node::Folder { children, .. } if !children.is_empty() => {
                    return fault("exists", format!("{path} is not empty"));
                }
                Node::Folder { .. } => {}
            }
            let (names, _) = inner.take(&path)?;
            inner.changed();
            Ok(Removed { path: show(&names), files: 0, bytes: 0, warnings: vec![] })
        })
    }

    fn bin(&self) -> Answer<'_, BinView> {
        Box::pin(async move {
            let items = self.lock().bin.iter().map(|it| it.item.clone()).collect();
            Ok(BinView { items, keep_seconds: Some(KEEP_SECONDS) })
        })
    }

    fn restore_from_bin(&self, request: BinRestoreRequest) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = inner.bin.iter().position(|it| it.item.id == request.id);
            let at = at.ok_or_else(|| ApiFault::not_found(format!("the bin has no {}", request.id)))?;
            let to = parse(request.to.as_deref().unwrap_or(&inner.bin[at].item.path))?;
            inner.free(&FileKind::Folder, &to, false)?;
            let InBin { node, .. } = inner.bin.remove(at);
            let answer = info(&to, &node);
            let (name, parents) = to.split_last().unwrap();
            inner.folders(parents)?.insert(name.clone(), node);
            inner.changed();
            Ok(answer)
        })
    }

    fn empty_bin(&self, request: BinEmptyRequest) -> Answer<'_, BinEmptied> {
        Box::pin(async move {
            let mut inner = self.lock();
            let before = request
                .older_than_seconds
                .map(|seconds| now().saturating_sub_unsigned(seconds.saturating_mul(1000)));
            let unknown = |id: &&String| !inner.bin.iter().any(|it| it.item.id == **id);
            if let Some(id) = request.ids.iter().flatten().find(unknown) {
                return Err(ApiFault::not_found(format!("the bin has no {id}")));
            }
            let mut emptied = BinEmptied::default();
            inner.bin.retain(|it| {
                let meant = request.ids.as_ref().is_none_or(|ids| ids.contains(&it.item.id))
                    && before.is_none_or(|before| it.item.removed_ms <= before);
                if meant {
                    emptied.items += 1;
                    emptied.files += it.item.files;
                    emptied.bytes += it.item.bytes;
                }
                !meant
            });
            inner.changed();
            Ok(emptied)
        })
    }

    fn versions(&self, path: String) -> Answer<'_, VersionsView> {
        Box::pin(async move {
            let inner = self.lock();
            let (names, versions) = inner.file(&path)?;
            let views = versions.iter().enumerate().map(|(at, it)| VersionView {
                version: it.stored,
                bytes: it.content.len() as u64,
                modified_ms: it.modified,
                content_id: it.content_id.clone(),
                current: at == 0,
                attributes: it.attributes.clone(),
            });
            Ok(VersionsView { path: show(&names), versions: views.collect() })
        })
    }

    fn restore_version(&self, request: RestoreVersionRequest) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let mut inner = self.lock();
            let (names, versions) = inner.file(&request.path)?;
            let version = at_version(&request.path, versions, request.version)?.clone();
            if versions[0].stored == version.stored {
                return Ok(version_info(&names, versions, 0));
            }
            inner.place(&names, version, Replaced::Kept, self.versions_max)
        })
    }

    fn remove_version(&self, path: String, version: u64) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut inner = self.lock();
            inner.file(&path)?;
            let (_, node) = inner.node_mut(&path)?;
            let Node::File(versions) = node else { unreachable!("it is a file") };
            at_version(&path, versions, version)?;
            if versions[0].stored == version {
                return fault("invalid", "this is the current version: remove the file instead");
            }
            versions.retain(|it| it.stored != version);
            inner.changed();
            Ok(())
        })
    }

    fn usage(&self, path: String, children: bool) -> Answer<'_, UsageView> {
        Box::pin(async move {
            let inner = self.lock();
            let (mut names, node) = inner.node(&path)?;
            let mut usage = UsageView { path: show(&names), ..sums(node) };
            if let (Node::Folder { children, .. }, true) = (node, children) {
                for (name, child) in children {
                    names.push(name.clone());
                    usage.children.push(UsageView { path: show(&names), ..sums(child) });
                    names.pop();
                }
            }
            Ok(usage)
        })
    }

    fn heads(&self) -> Answer<'_, HeadsView> {
        Box::pin(async move {
            let inner = self.lock();
            let UsageView { files, bytes, .. } = sums(&inner.root);
            let current = (inner.sequence > 0).then(|| HeadView {
                hash: format!("{:064x}", inner.sequence),
                sequence: inner.sequence,
                written_ms: now(),
                files,
                bytes,
            });
            Ok(HeadsView { announced: current.is_some(), current, forks: inner.forks.clone() })
        })
    }

    fn merge(&self, hash: String) -> Answer<'_, Merged> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = inner.fork_at(&hash)?;
            inner.forks.remove(at);
            inner.changed();
            Ok(Merged { with_ancestor: true, ..Merged::default() })
        })
    }

    fn forget(&self, hash: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = inner.fork_at(&hash)?;
            inner.forks.remove(at);
            Ok(())
        })
    }

    fn begin(&self) -> Answer<'_, ()> {
        // It is known from the beginning.
        Box::pin(async { Ok(()) })
    }

    fn check_drive(&self, request: CheckRequest) -> Answer<'_, CheckReport> {
        Box::pin(async move {
            let mut inner = self.lock();
            let path = request.path.unwrap_or_else(|| "/".into());
            let files = sums(inner.node(&path)?.1).files;
            let missing = inner.at_risk.len() as u64;
            if request.repair {
                inner.at_risk.clear();
            }
            let at_risk = inner.at_risk.clone();
            let left = at_risk.len() as u64;
            // Where something is lost, a provider is away too, with a piece of the root folder.
            let away = left.min(1);
            let mut incomplete: Vec<Incomplete> = at_risk
                .iter()
                .map(|it| Incomplete { path: it.path.clone(), chunks_lost: 1, chunks_unreachable: 0 })
                .collect();
            if away > 0 {
                incomplete.push(Incomplete { path: "/".into(), chunks_lost: 0, chunks_unreachable: away });
            }
            let provider = |peer_id: &str, chunks_lost, chunks_unreachable, why: &str| CheckedProvider {
                peer_id: peer_id.into(),
                chunks_proven: 2,
                chunks_counted: 0,
                chunks_lost,
                chunks_unreachable,
                why: why.into(),
            };
            let mut providers =
                vec![provider("12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X", 0, 0, "")];
            if left > 0 {
                let why = "it does not show chunks that it signed for";
                let (lossy, gone) = (
                    "12D3KooWAHoMceXbQd74D1qg68Ch9mXVXKRBmncbq86EFxGqR9aP",
                    "12D3KooWBjqMpU3MbGKkfxQEo7mmDU923qV3L2p2nnLsHJvMnfYK",
                );
                providers.push(provider(lossy, left, 0, why));
                providers.push(provider(gone, 0, away, "it cannot be reached"));
            }
            Ok(CheckReport {
                files,
                segments: 2,
                chunks: 12,
                chunks_proven: 12 - left - away,
                chunks_lost: left,
                chunks_unreachable: away,
                missing_chunks: left + away,
                repaired_chunks: missing - left,
                fetched_bytes: 12 * 1352,
                incomplete_total: incomplete.len() as u64,
                incomplete,
                at_risk_total: left,
                at_risk,
                providers,
                seconds: 0.25,
                ..CheckReport::default()
            })
        })
    }

    fn begin_upload(&self, request: UploadRequest) -> Answer<'_, UploadView> {
        Box::pin(async move {
            let mut inner = self.lock();
            let names = parse(&request.path)?;
            if names.is_empty() {
                return fault("bad_path", "the drive itself is a folder");
            }
            check_attributes(&request.attributes)?;
            let view = UploadView {
                id: inner.random_id(),
                path: show(&names),
                begun_ms: now(),
                parts: vec![],
                attributes: request.attributes,
            };
            inner.uploads.insert(0, Upload { view: view.clone(), parts: BTreeMap::new() });
            Ok(view)
        })
    }

    fn uploads(&self) -> Answer<'_, UploadsView> {
        Box::pin(async move {
            Ok(UploadsView { uploads: self.lock().uploads.iter().map(|it| it.view.clone()).collect() })
        })
    }

    fn upload(&self, id: String) -> Answer<'_, UploadView> {
        Box::pin(async move {
            let inner = self.lock();
            Ok(inner.uploads[inner.upload_at(&id)?].view.clone())
        })
    }

    fn store_part(&self, id: String, number: u32, len: u64, content: ArchiveReader) -> Answer<'_, PartView> {
        Box::pin(async move {
            check_number(number)?;
            self.lock().upload_at(&id)?;
            let bytes = read_exactly(len, content).await?;
            self.lock().add_part(&id, number, bytes)
        })
    }

    fn copy_part(
        &self,
        id: String,
        number: u32,
        from: String,
        version: Option<u64>,
        range: Option<Range<u64>>,
    ) -> Answer<'_, PartView> {
        Box::pin(async move {
            let mut inner = self.lock();
            let (_, _, bytes) = inner.read(&from, version, range)?;
            inner.add_part(&id, number, bytes)
        })
    }

    fn complete_upload(
        &self,
        id: String,
        request: CompleteRequest,
        attributes: Attributes,
        only_if: OnlyIf,
        replaced: Replaced,
    ) -> Answer<'_, FileInfo> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = inner.upload_at(&id)?;
            let upload = &inner.uploads[at];
            if request.parts.is_empty() || !request.parts.is_sorted_by(|a, b| a < b) {
                return fault("invalid", "the numbers of the parts must ascend, and there must be one");
            }
            let mut content = Vec::new();
            for number in &request.parts {
                match upload.parts.get(number) {
                    Some(part) => content.extend_from_slice(part),
                    None => return fault("invalid", format!("there is no part {number}")),
                }
            }
            check_attributes(&attributes)?;
            let names = parse(&upload.view.path)?;
            inner.holds(&names, &only_if)?;
            let version = Version {
                stored: 0,
                modified: request.modified_ms.unwrap_or_else(now),
                executable: request.executable,
                content: Arc::new(content),
                content_id: inner.random_id(),
                attributes,
            };
            let info = inner.place(&names, version, replaced, self.versions_max)?;
            inner.uploads.remove(at);
            Ok(info)
        })
    }

    fn abort_upload(&self, id: String) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = inner.upload_at(&id)?;
            inner.uploads.remove(at);
            Ok(())
        })
    }

    fn shares(&self) -> Answer<'_, SharesView> {
        Box::pin(async move {
            let inner = self.lock();
            let mut shares = inner.shares.clone();
            for share in &mut shares {
                if inner.node(&share.path).is_err() {
                    share.problem = Some(format!("{} was moved or removed", share.path));
                } else if share.expires_ms.is_some_and(|ends| ends <= now()) {
                    share.problem = Some("it has expired".into());
                }
            }
            Ok(SharesView { shares })
        })
    }

    fn share(&self, request: ShareRequest) -> Answer<'_, ShareView> {
        Box::pin(async move {
            let mut inner = self.lock();
            let (names, node) = inner.node(&request.path)?;
            let kind = node.kind();
            if request.drop_box && kind != FileKind::Folder {
                return fault("bad_path", "only a folder can be a drop box");
            }
            if request.password.as_ref().is_some_and(|it| !(1..=PASSWORD_LEN_MAX).contains(&it.len())) {
                return fault("invalid", "a password has 1 to 1,024 bytes");
            }
            if request.expires_seconds == Some(0) {
                return fault("invalid", "a link must last at least one second");
            }
            let base = request.base.unwrap_or_else(|| "http://127.0.0.1:4780".into());
            let plain = base.starts_with("https://") || base.starts_with("http://");
            if !plain || base.ends_with('/') || base.contains(['?', '#']) {
                return fault("invalid", "the base of a link is like https://drive.example.org");
            }
            let path = show(&names);
            let raw = |text: String| {
                let half = Md5::digest(text);
                [&half[..], &half[..]].concat()
            };
            inner.ids += 1;
            let id = raw(format!("share {}", inner.ids));
            let secret = raw(format!("secret {}", inner.ids));
            let created_ms = now();
            let ends = |seconds: u64| created_ms.saturating_add_unsigned(seconds.saturating_mul(1000));
            let view = ShareView {
                link: format!("{base}/s/{}#{}", BASE64URL_NOPAD.encode(&id), BASE64URL_NOPAD.encode(&secret)),
                id: HEXLOWER.encode(&id),
                path,
                kind,
                created_ms,
                expires_ms: request.expires_seconds.map(ends),
                password: request.password.is_some(),
                drop_box: request.drop_box,
                problem: None,
            };
            inner.shares.insert(0, view.clone());
            Ok(view)
        })
    }

    fn unshare(&self, id: String) -> Answer<'_, ShareView> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = by_prefix(&id, inner.shares.iter().map(|it| it.id.as_str()))?;
            let at = at.ok_or_else(|| ApiFault::not_found(format!("there is no link {id}")))?;
            Ok(inner.shares.remove(at))
        })
    }
}

impl S3KeyApi for Memory {
    fn s3_keys(&self) -> Answer<'_, S3KeysView> {
        Box::pin(async move { Ok(S3KeysView { endpoint: None, keys: self.lock().keys.clone() }) })
    }

    fn new_s3_key(&self, name: String) -> Answer<'_, S3KeyNew> {
        Box::pin(async move {
            let mut inner = self.lock();
            let access_key = inner.random_id()[..20].to_uppercase();
            let key = S3KeyView { access_key, name, created_ms: now() };
            inner.keys.push(key.clone());
            Ok(S3KeyNew { key, secret_key: "secret".repeat(6), endpoint: None })
        })
    }

    fn remove_s3_key(&self, access_key: String) -> Answer<'_, S3KeyView> {
        Box::pin(async move {
            let mut inner = self.lock();
            let at = inner.keys.iter().position(|it| it.access_key == access_key);
            let at = at.ok_or_else(|| ApiFault::not_found(format!("there is no key {access_key}")))?;
            Ok(inner.keys.remove(at))
        })
    }
}

/// Methods of [`DriveApi`] that go to the drive in a field, for a node whose other half is a fake: all but
/// `list_page` and `remove_to`, which such a fake may want to answer itself.
macro_rules! rest_of_drive {
    (@ $drive:ident $($method:ident($($name:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(fn $method(&self, $($name: $kind),*) -> commonhold_gateway::Answer<'_, $answer> {
            commonhold_gateway::DriveApi::$method(&*self.$drive, $($name),*)
        })*
    };
    ($drive:ident) => {
        rest_of_drive! { @ $drive
            info(path: String) -> FileInfo;
            infos(path: String, after: Option<String>, limit: usize) -> (Vec<FileInfo>, bool);
            find(path: String, name: Option<String>, after: Option<String>, limit: usize) -> Found;
            open(path: String, version: Option<u64>, range: Option<std::ops::Range<u64>>) -> commonhold_gateway::OpenFile;
            store(file: commonhold_gateway::NewFile, content: ArchiveReader) -> FileInfo;
            make_folder(path: String) -> FileInfo;
            set_attributes(path: String, attributes: Attributes) -> FileInfo;
            set_attributes_if(path: String, attributes: Attributes, only_if: commonhold_gateway::OnlyIf) -> FileInfo;
            move_to(request: MoveRequest) -> FileInfo;
            copy_to(request: MoveRequest, version: Option<u64>, attributes: Option<Attributes>, replaced: commonhold_gateway::Replaced) -> FileInfo;
            remove_file(path: String, to: commonhold_gateway::RemovedTo, only_if: commonhold_gateway::OnlyIf) -> Removed;
            remove_empty_folder(path: String) -> Removed;
            bin() -> BinView;
            restore_from_bin(request: BinRestoreRequest) -> FileInfo;
            empty_bin(request: BinEmptyRequest) -> BinEmptied;
            versions(path: String) -> VersionsView;
            restore_version(request: RestoreVersionRequest) -> FileInfo;
            remove_version(path: String, version: u64) -> ();
            usage(path: String, children: bool) -> UsageView;
            heads() -> HeadsView;
            merge(hash: String) -> Merged;
            forget(hash: String) -> ();
            begin() -> ();
            check_drive(request: CheckRequest) -> CheckReport;
            begin_upload(request: UploadRequest) -> UploadView;
            uploads() -> UploadsView;
            upload(id: String) -> UploadView;
            store_part(id: String, number: u32, len: u64, content: ArchiveReader) -> PartView;
            copy_part(id: String, number: u32, from: String, version: Option<u64>, range: Option<std::ops::Range<u64>>) -> PartView;
            complete_upload(id: String, request: CompleteRequest, attributes: Attributes, only_if: commonhold_gateway::OnlyIf, replaced: commonhold_gateway::Replaced) -> FileInfo;
            abort_upload(id: String) -> ();
            shares() -> SharesView;
            share(request: ShareRequest) -> ShareView;
            unshare(id: String) -> ShareView;
        }
    };
}

pub(crate) use rest_of_drive;
