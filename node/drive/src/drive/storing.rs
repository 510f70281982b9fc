//! Storing one file, and what becomes of the one that stood in its place.
//!
//! Invariant: a file takes its place only when all of its bytes are stored, exactly as many as were
//! announced, and what the caller made a condition still holds then.

use std::sync::Arc;

use commonhold_format::drive::Attributes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Drive;
use super::reading::id_of;
use super::state::SMALL_BYTES_MAX;
use crate::changes::{FILES, Seen, Slot, edit, exists};
use crate::error::DriveError;
use crate::hashed::Hashed;
use crate::keeper::Pending;
use crate::located::{Content, FileNode, Kind, Located, Node, Past, PastVersion};
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::report::{Info, ListKind};
use crate::uploads::hex;

/// Files up to this length wait in memory for a batch, in which they are packed with others.
const SMALL_FILE_MAX: u64 = 256 << 10;
/// Bytes taken from a reader at a time.
const READ_LEN: usize = 256 << 10;
/// The attribute with the MD5 of a file's content, hexadecimal.
const ETAG_ATTRIBUTE: &str = "etag";

/// A file that is to be stored.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its whole path. Folders above it are made.
    pub path: DrivePath,
    /// Its bytes.
    pub len: u64,
    /// When it was last modified, milliseconds since 1970; now without it.
    pub modified_ms: Option<i64>,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// What is kept beside its bytes.
    pub attributes: Attributes,
    /// What must hold when it takes its place.
    pub only_if: OnlyIf,
    /// What becomes of the file that stood there.
    pub replaced: Replaced,
}

/// A condition on what stands at a path; `precondition` when it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnlyIf {
    /// None.
    #[default]
    Always,
    /// Nothing stands there.
    Absent,
    /// A file with this [`Info::content_id`].
    Content([u8; 16]),
}

/// What becomes of a file whose place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replaced {
    /// It is kept as an earlier version.
    #[default]
    Kept,
    /// It is gone, its earlier versions too.
    Gone,
}

impl Drive {
    /// Stores one file. Small ones are packed together with others that come at the same time. The head is
    /// announced, and space freed, in the background.
    pub async fn store(
        &self,
        mut file: NewFile,
        content: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Info, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        if file.path.is_root() {
            return Err(exists(&file.path, "folder", "file"));
        }
        let path = file.path.to_string();
        if file.len <= SMALL_FILE_MAX {
            let permits = (file.len as usize).clamp(1, SMALL_BYTES_MAX) as u32;
            // Never closed, so this cannot fail.
            let _place = inner.small.clone().acquire_many_owned(permits).await.ok();
            let mut content = Hashed::new(content);
            let bytes = read_small(&path, file.len, &mut content).await?;
            name_content(&mut file, &content);
            return self.take_place(file, Content::Inline(bytes), None).await;
        }
        let code = inner.keeper.custody().code().await?;
        let pending = inner.keeper.pending();
        let mut content = Hashed::new(content);
        let sealed = self.seal(&path, file.len, &mut content, Packer::new(pending.clone(), code)).await;
        name_content(&mut file, &content);
        match sealed {
            Ok(located) => self.take_place(file, Content::Direct(located), Some(pending)).await,
            Err(error) => {
                drop(pending);
                inner.sweep_later();
                Err(error)
            }
        }
    }

    /// Seals and sends one object of exactly `len` bytes.
    pub(super) async fn seal(
        &self,
        path: &str,
        len: u64,
        mut content: impl AsyncRead + Send + Unpin,
        mut packer: Packer,
    ) -> Result<Located, DriveError> {
        let mut file = packer.begin_file(len).await?;
        let mut buffer = vec![0; READ_LEN];
        let mut left = len;
        loop {
            let got = content.read(&mut buffer).await.map_err(interrupted)?;
            if got == 0 {
                break;
            }
            left = left.checked_sub(got as u64).ok_or_else(|| changed(path, len, "more came"))?;
            packer.write(&mut file, &buffer[..got]).await?;
        }
        if left > 0 {
            return Err(changed(path, len, &format!("{left} bytes fewer came")));
        }
        let object = packer.finish(file).await?;
        let table = packer.flush().await?;
        Ok(Located { object, table })
    }

    /// Lets content take its place in the tree.
    pub(super) async fn take_place(
        &self,
        file: NewFile,
        content: Content,
        pending: Option<Arc<Pending>>,
    ) -> Result<Info, DriveError> {
        self.take_place_if(file, content, pending, || Ok(())).await
    }

    /// The same if `holds` finds no fault when it is the file's turn. Nothing is swept from then until the
    /// file has its place.
    pub(super) async fn take_place_if(
        &self,
        file: NewFile,
        content: Content,
        pending: Option<Arc<Pending>>,
        holds: impl FnOnce() -> Result<(), DriveError> + Send + 'static,
    ) -> Result<Info, DriveError> {
        let path = file.path.clone();
        let (len, executable, attributes) = (file.len, file.executable, file.attributes.clone());
        let keep = self.inner.options.versions_max > 0 && file.replaced == Replaced::Kept;
        let work = edit(move |changes| {
            Box::pin(async move {
                holds()?;
                let name = file.path.name().cloned().ok_or_else(|| exists(&file.path, "folder", "file"))?;
                let above = file.path.parent().unwrap_or_default();
                let folder = changes.folder_made(FILES, &above).await?;
                let old = match changes.see(folder, &name).await? {
                    Some(Seen::Folder(_)) => return Err(exists(&file.path, "folder", "file")),
                    Some(Seen::File(node)) => Some(node),
                    None => None,
                };
                check(&file.path, file.only_if, old.as_ref())?;
                let node = Node {
                    modified_ms: file.modified_ms.unwrap_or(changes.now_ms),
                    attributes: file.attributes,
                    kind: Kind::File(FileNode {
                        content,
                        executable: file.executable,
                        stored_ms: u64::try_from(changes.now_ms).unwrap_or(0),
                        past: Past::default(),
                    }),
                };
                let node = succeed(node, old, keep);
                let stored = match &node.kind {
                    Kind::File(file) => file.stored_ms,
                    Kind::Folder(_) => 0,
                };
                let modified_ms = node.modified_ms;
                changes.put(folder, name, Slot::Node(node));
                Ok((stored, modified_ms))
            })
        });
        let (version, modified_ms) = self.change(pending, work).await?;
        match self.info(&path).await {
            Ok(info) if info.version == version => Ok(info),
            // Somebody else has changed it since: what was stored is told all the same.
            _ => Ok(Info {
                path,
                kind: ListKind::File,
                bytes: len,
                modified_ms,
                executable,
                version,
                versions: 0,
                versions_bytes: 0,
                content_id: [0; 16],
                files: 1,
                children: 0,
                attributes,
            }),
        }
    }
}

/// Notes the MD5 of a file's bytes, unless the caller has another name for them.
fn name_content<R>(file: &mut NewFile, content: &Hashed<R>) {
    file.attributes.entry(ETAG_ATTRIBUTE.to_owned()).or_insert_with(|| hex(&content.md5()));
}

/// A file that takes the place of `old`, with that one and what it has of earlier versions if they are kept.
pub(super) fn succeed(mut node: Node, old: Option<Node>, keep: bool) -> Node {
    let (Kind::File(file), Some(Node { modified_ms, attributes, kind: Kind::File(old) })) =
        (&mut node.kind, old)
    else {
        return node;
    };
    file.stored_ms = file.stored_ms.max(old.stored_ms.saturating_add(1));
    if keep {
        let version = PastVersion {
            stored_ms: old.stored_ms,
            modified_ms,
            executable: old.executable,
            content: old.content,
            attributes,
        };
        let mut newer = vec![version];
        newer.extend(old.past.newer);
        // What the new one brings with it was another file's, and goes.
        file.past = Past { newer, object: old.past.object };
    }
    node
}

/// Refuses what the condition refuses.
pub(super) fn check(path: &DrivePath, only_if: OnlyIf, old: Option<&Node>) -> Result<(), DriveError> {
    let holds = match (only_if, old.map(|node| &node.kind)) {
        (OnlyIf::Always, _) | (OnlyIf::Absent, None) => true,
        (OnlyIf::Content(id), Some(Kind::File(file))) => id_of(file.stored_ms, &file.content) == id,
        _ => false,
    };
    if holds { Ok(()) } else { Err(DriveError::Precondition(path.to_string())) }
}

fn interrupted(error: std::io::Error) -> DriveError {
    DriveError::Interrupted(error.to_string())
}

fn changed(path: &str, expected: u64, found: &str) -> DriveError {
    DriveError::Changed { path: path.to_owned(), expected, found: found.to_owned() }
}

/// Reads exactly `len` bytes into memory.
pub(super) async fn read_small(
    path: &str,
    len: u64,
    content: impl AsyncRead + Send + Unpin,
) -> Result<Vec<u8>, DriveError> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    let mut limited = content.take(len.saturating_add(1));
    limited.read_to_end(&mut bytes).await.map_err(interrupted)?;
    match (bytes.len() as u64).cmp(&len) {
        std::cmp::Ordering::Equal => Ok(bytes),
        std::cmp::Ordering::Greater => Err(changed(path, len, "more came")),
        std::cmp::Ordering::Less => {
            Err(changed(path, len, &format!("{} bytes fewer came", len - bytes.len() as u64)))
        }
    }
}
