//! Files that come in parts, as they are kept on this device until they are complete.
//!
//! Invariant: a part is noted durably once its segments are stored, and from then on until the upload is
//! completed or given up nothing of it is deleted; so an upload goes on after a crash with the parts that
//! are missing. An upload that nobody has touched for [`IDLE_MAX`] is given up. The notes hold keys, like
//! the head beside them, and leave this device as little.
//!
//! Each upload is a folder of small files, `upload` and one for each part, encoded as pages of one entry
//! (spec/drive-layout.md, section 9).

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use commonhold_format::drive::{
    Attributes, Entry, EntryKind, File, FileContent, Items, Name, Page, TableBuilder,
};
use commonhold_format::ids::SegmentId;
use commonhold_format::segment::Segment;
use zeroize::Zeroizing;

use crate::error::DriveError;
use crate::heads;
use crate::keeper::lock;
use crate::located::Located;
use crate::packer::random;
use crate::path::DrivePath;

/// How long an upload is kept after its last part.
const IDLE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most uploads at a time.
pub const UPLOADS_MAX: usize = 1_000;
/// Highest number of a part.
pub const PARTS_MAX: u32 = 10_000;
/// Largest file of a part or an upload: a reference to thousands of extents.
const NOTE_LEN_MAX: u64 = 64 << 20;
const META: &str = "upload";
const MD5_ATTRIBUTE: &str = "md5";

/// An upload's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub [u8; 16]);

/// An upload as callers see it.
#[derive(Debug, Clone)]
pub struct UploadInfo {
    /// See there.
    pub id: UploadId,
    /// Where the file will stand.
    pub path: DrivePath,
    /// When it was begun, milliseconds since 1970.
    pub begun_ms: i64,
    /// What it was begun with.
    pub attributes: Attributes,
    /// The parts that are stored, by number.
    pub parts: BTreeMap<u32, PartInfo>,
}

/// A part as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// Its bytes.
    pub bytes: u64,
    /// MD5 of them.
    pub md5: [u8; 16],
    /// When it was stored, milliseconds since 1970.
    pub stored_ms: i64,
}

struct Part {
    info: PartInfo,
    content: Located,
}

struct Upload {
    path: DrivePath,
    begun_ms: i64,
    attributes: Attributes,
    parts: BTreeMap<u32, Part>,
}

impl Upload {
    fn info(&self, id: UploadId) -> UploadInfo {
        UploadInfo {
            id,
            path: self.path.clone(),
            begun_ms: self.begun_ms,
            attributes: self.attributes.clone(),
            parts: self.parts.iter().map(|(number, part)| (*number, part.info.clone())).collect(),
        }
    }

    fn touched_ms(&self) -> i64 {
        self.parts.values().map(|part| part.info.stored_ms).fold(self.begun_ms, i64::max)
    }
}

/// The uploads of this device.
pub(crate) struct Uploads {
    dir: PathBuf,
    held: Arc<Mutex<BTreeMap<UploadId, Upload>>>,
}

impl Uploads {
    /// Reads what was noted. What cannot be read is left out and told in the log: a part has to be sent again,
    /// or the whole upload, and the drive is not lost. Blocking.
    pub(crate) fn open(dir: &Path) -> Result<Self, DriveError> {
        let dir = dir.join("uploads");
        fs::create_dir_all(&dir).map_err(|error| DriveError::io(&dir, error))?;
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(|error| DriveError::io(&dir, error))? {
            let path = entry.map_err(|error| DriveError::io(&dir, error))?.path();
            let id = path.file_name().and_then(|name| name.to_str()).and_then(UploadId::parse);
            let Some(id) = id else { continue };
            match read_upload(&path) {
                Ok(upload) => {
                    held.insert(id, upload);
                }
                Err(error) => {
                    tracing::warn!(%error, "an upload that was begun cannot be gone on with");
                    // It may be the disk alone that does not answer now.
                    if matches!(error, DriveError::Damaged { .. }) || !path.join(META).exists() {
                        let _ = fs::remove_dir_all(&path);
                    }
                }
            }
        }
        Ok(Self { dir, held: Arc::new(Mutex::new(held)) })
    }

    /// Runs something blocking on the uploads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path, &Mutex<BTreeMap<UploadId, Upload>>) -> Result<T, DriveError> + Send + 'static,
    ) -> Result<T, DriveError> {
        let (dir, held) = (self.dir.clone(), self.held.clone());
        let done = tokio::task::spawn_blocking(move || work(&dir, &held)).await;
        done.map_err(|error| DriveError::Internal(error.to_string()))?
    }

    /// Begins an upload.
    pub(crate) async fn begin(
        &self,
        path: DrivePath,
        attributes: Attributes,
        now_ms: i64,
    ) -> Result<UploadInfo, DriveError> {
        let mut id = [0; 16];
        random(&mut id)?;
        let id = UploadId(id);
        self.blocking(move |dir, held| {
            if lock(held).len() >= UPLOADS_MAX {
                let why = "too many files are being put in parts: complete some or give them up";
                return Err(DriveError::TooLarge(why.to_owned()));
            }
            let upload = Upload { path, begun_ms: now_ms, attributes, parts: BTreeMap::new() };
            let folder = dir.join(id.to_string());
            fs::create_dir(&folder).map_err(|error| DriveError::io(&folder, error))?;
            let kept = upload.attributes.clone();
            let content = FileContent::Inline(upload.path.to_string().into_bytes());
            write_note(&folder, META, note(META, now_ms, kept, content, Vec::new()))?;
            let info = upload.info(id);
            lock(held).insert(id, upload);
            Ok(info)
        })
        .await
    }

    /// All uploads.
    pub(crate) fn all(&self) -> Vec<UploadInfo> {
        lock(&self.held).iter().map(|(id, upload)| upload.info(*id)).collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: UploadId) -> Result<UploadInfo, DriveError> {
        lock(&self.held).get(&id).map(|upload| upload.info(id)).ok_or_else(|| unknown(id))
    }

    /// Notes a part whose segments are stored.
    pub(crate) async fn store(
        &self,
        id: UploadId,
        number: u32,
        content: Located,
        md5: [u8; 16],
        now_ms: i64,
    ) -> Result<PartInfo, DriveError> {
        self.blocking(move |dir, held| {
            let info = PartInfo { bytes: content.object.len, md5, stored_ms: now_ms };
            let mut attributes = Attributes::new();
            attributes.insert(MD5_ATTRIBUTE.to_owned(), hex(&md5));
            let name = format!("{number:05}");
            let mut table = TableBuilder::new();
            let object = content.place(&mut table)?;
            let page = note(&name, now_ms, attributes, FileContent::Direct(object), table.finish());
            let mut held = lock(held);
            let upload = held.get_mut(&id).ok_or_else(|| unknown(id))?;
            write_note(&dir.join(id.to_string()), &name, page)?;
            upload.parts.insert(number, Part { info: info.clone(), content });
            Ok(info)
        })
        .await
    }

    /// The parts of these numbers, in order; `not_found` when one is not there.
    pub(crate) fn parts(&self, id: UploadId, numbers: &[u32]) -> Result<Vec<Located>, DriveError> {
        let held = lock(&self.held);
        let upload = held.get(&id).ok_or_else(|| unknown(id))?;
        numbers
            .iter()
            .map(|number| match upload.parts.get(number) {
                Some(part) => Ok(part.content.clone()),
                None => Err(DriveError::NotFound(format!("part {number} of the upload {id}"))),
            })
            .collect()
    }

    /// Gives an upload up, or forgets it when its file is in the drive.
    pub(crate) async fn remove(&self, id: UploadId) -> Result<(), DriveError> {
        self.blocking(move |dir, held| {
            if lock(held).remove(&id).is_none() {
                return Err(unknown(id));
            }
            let folder = dir.join(id.to_string());
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(DriveError::io(&folder, error)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Gives up what nobody has touched for long. True if there was something.
    pub(crate) async fn expire(&self, now_ms: i64) -> bool {
        let idle_ms = i64::try_from(IDLE_MAX.as_millis()).unwrap_or(i64::MAX);
        let idle: Vec<UploadId> = lock(&self.held)
            .iter()
            .filter(|(_, upload)| now_ms.saturating_sub(upload.touched_ms()) > idle_ms)
            .map(|(id, _)| *id)
            .collect();
        for id in &idle {
            if let Err(error) = self.remove(*id).await {
                tracing::warn!(%error, "an old upload stays");
            }
        }
        !idle.is_empty()
    }

    /// Adds the segments of all parts to `live`.
    pub(crate) fn live(&self, live: &mut HashSet<SegmentId>) {
        for upload in lock(&self.held).values() {
            for part in upload.parts.values() {
                live.extend(part.content.table.iter().map(Segment::id));
            }
        }
    }
}

impl UploadId {
    /// From 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: Option<Vec<u8>> = (0..16)
            .map(|at| {
                let digits = text.get(2 * at..2 * at + 2)?;
                digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(())?;
                u8::from_str_radix(digits, 16).ok()
            })
            .collect();
        (text.len() == 32).then_some(())?;
        Some(Self(bytes?.try_into().ok()?))
    }
}

impl std::fmt::Display for UploadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unknown(id: UploadId) -> DriveError {
    DriveError::NotFound(format!("the upload {id}"))
}

/// A page with one entry.
fn note(
    name: &str,
    modified_ms: i64,
    attributes: Attributes,
    content: FileContent,
    table: Vec<Segment>,
) -> Result<Page, DriveError> {
    let name = Name::new(name).map_err(|error| DriveError::Internal(error.to_string()))?;
    let file = File { content, executable: false, stored_ms: 0, history: None };
    let entry = Entry { name, modified_ms, attributes, node: EntryKind::File(file) };
    Ok(Page { table, items: Items::Entries(vec![entry]) })
}

fn write_note(folder: &Path, name: &str, page: Result<Page, DriveError>) -> Result<(), DriveError> {
    heads::write(folder, name, &page?.encode())
}

fn read_note(path: &Path) -> Result<(Entry, Vec<Segment>), DriveError> {
    let damaged = |why: &str| DriveError::damaged(path.display().to_string(), why);
    let len = fs::metadata(path).map_err(|error| DriveError::io(path, error))?.len();
    if len > NOTE_LEN_MAX {
        return Err(damaged("it is too large"));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(|error| DriveError::io(path, error))?);
    let page = Page::decode(&bytes).map_err(|error| damaged(&error.to_string()))?;
    match page.items {
        Items::Entries(entries) if entries.len() == 1 => {
            let entry = entries.into_iter().next().ok_or_else(|| damaged("it is empty"))?;
            Ok((entry, page.table))
        }
        _ => Err(damaged("it is something else")),
    }
}

fn read_upload(folder: &Path) -> Result<Upload, DriveError> {
    let damaged = |why: &str| DriveError::damaged(folder.display().to_string(), why);
    let (meta, _) = read_note(&folder.join(META))?;
    let EntryKind::File(File { content: FileContent::Inline(path), .. }) = &meta.node else {
        return Err(damaged("it does not say where it belongs"));
    };
    let path = std::str::from_utf8(path).map_err(|_| damaged("its path is not text"))?.parse()?;
    let mut parts = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(|error| DriveError::io(folder, error))? {
        let file = entry.map_err(|error| DriveError::io(folder, error))?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(number) = name.parse::<u32>().ok().filter(|_| name.len() == 5) else { continue };
        match read_part(&file) {
            Ok(part) => drop(parts.insert(number, part)),
            Err(error) => tracing::warn!(%error, "a part of an upload has to be sent again"),
        }
    }
    Ok(Upload { path, begun_ms: meta.modified_ms, attributes: meta.attributes, parts })
}

fn read_part(file: &Path) -> Result<Part, DriveError> {
    let damaged = |why: &str| DriveError::damaged(file.display().to_string(), why);
    let (entry, table) = read_note(file)?;
    let EntryKind::File(File { content: FileContent::Direct(object), .. }) = &entry.node else {
        return Err(damaged("it is no part"));
    };
    let md5 = entry.attributes.get(MD5_ATTRIBUTE).and_then(|text| UploadId::parse(text));
    let md5 = md5.ok_or_else(|| damaged("it has no hash"))?.0;
    let info = PartInfo { bytes: object.len, md5, stored_ms: entry.modified_ms };
    Ok(Part { info, content: Located { object: object.clone(), table: Arc::new(table) } })
}
