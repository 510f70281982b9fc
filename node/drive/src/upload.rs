//! The data phase of a put: reads the archive, seals files, stages names.
//!
//! Invariant: memory is bounded by the packer's and the staging's limits whatever the archive's
//! size; nothing here touches the drive's tree.

use std::time::Instant;

use commonhold_format::drive::{EntryKind, Name};
use tokio::io::AsyncRead;

use crate::archive::{TarItem, TarReader};
use crate::changes::exists;
use crate::error::DriveError;
use crate::located::FolderNode;
use crate::meter::Stage;
use crate::objects::Objects;
use crate::packer::Packer;
use crate::path::DrivePath;
use crate::report::{ListKind, PutReport, SKIPPED_MAX, Skipped};
use crate::staging::{STAGED_ENTRIES_MAX, STAGED_INLINE_MAX, StagedContent, StagedFile, StagedFolder};
use crate::write::INLINE_WRITE_MAX;

/// Bytes taken from the archive at a time.
const READ_LEN: usize = 256 << 10;

/// A put that is reading its archive.
pub(crate) struct Upload {
    to: DrivePath,
    roots: Roots,
    /// The folder at `to` as it was at the start, so that a clash shows before data are sent.
    there: Option<FolderNode>,
    objects: Objects,
    /// The archive's last root entry, and what stood under its name.
    looked_up: Option<(Name, Option<ListKind>)>,
    staged: StagedFolder,
    staged_entries: u64,
    staged_inline: usize,
    report: PutReport,
    skipped_more: u64,
}

/// How the archive's root entries are named in the drive.
struct Roots {
    rename: Option<Name>,
    seen: Root,
}

enum Root {
    None,
    /// `./`: everything stands in the renamed folder.
    Dot,
    /// The one root entry.
    Named(Name),
}

impl Roots {
    fn place(&mut self, path: Vec<Name>) -> Result<Vec<Name>, DriveError> {
        let Some(rename) = &self.rename else { return Ok(path) };
        let rename = rename.clone();
        if let Root::None = self.seen {
            self.seen = path.first().map_or(Root::Dot, |first| Root::Named(first.clone()));
        }
        let below = match (&self.seen, path.split_first()) {
            (Root::Named(root), Some((first, below))) if first == root => below.to_vec(),
            (Root::Dot, _) => path,
            _ => {
                return Err(DriveError::BadArchive(format!(
                    "it has several root entries and they cannot all be named {}",
                    rename.as_str()
                )));
            }
        };
        Ok(std::iter::once(rename).chain(below).collect())
    }
}

impl Upload {
    pub(crate) fn new(
        to: DrivePath,
        rename: Option<Name>,
        there: Option<FolderNode>,
        objects: Objects,
    ) -> Self {
        Self {
            to,
            roots: Roots { rename, seen: Root::None },
            there,
            objects,
            looked_up: None,
            staged: StagedFolder::default(),
            staged_entries: 0,
            staged_inline: 0,
            report: PutReport::default(),
            skipped_more: 0,
        }
    }

    /// Reads the archive to its end.
    pub(crate) async fn read(
        mut self,
        archive: impl AsyncRead + Unpin,
        packer: &mut Packer,
    ) -> Result<(StagedFolder, PutReport), DriveError> {
        let mut tar = TarReader::new(archive);
        let mut buffer = vec![0; READ_LEN];
        while let Some(item) = tar.next().await? {
            match item {
                TarItem::Skipped { path, why } => self.skip(path, why),
                TarItem::Folder { path, modified_ms } => self.folder(path, modified_ms).await?,
                TarItem::File { path, modified_ms, len, executable } => {
                    let Some(path) = self.claim(path, false).await? else { continue };
                    let content = self.content(&mut tar, len, packer, &mut buffer).await?;
                    self.staged.insert(&path, StagedFile { modified_ms, executable, content })?;
                    self.report.files += 1;
                    self.report.bytes += len;
                }
            }
        }
        if self.skipped_more > 0 {
            let more = self.skipped_more;
            self.report.warnings.push(format!("{more} more entries were skipped"));
        }
        for name in self.staged.children.keys() {
            self.report.stored.push(self.to.join(name.clone())?.to_string());
        }
        Ok((self.staged, self.report))
    }

    fn skip(&mut self, path: String, why: String) {
        if self.report.skipped.len() < SKIPPED_MAX {
            self.report.skipped.push(Skipped { path, why });
        } else {
            self.skipped_more += 1;
        }
    }

    /// Where an entry goes; none when it is skipped. A clash with the drive fails the put now
    /// rather than after everything was sent.
    async fn claim(&mut self, path: Vec<Name>, folder: bool) -> Result<Option<Vec<Name>>, DriveError> {
        let path = self.roots.place(path)?;
        let whole = self.to.names().iter().chain(&path).cloned().collect();
        let whole = match DrivePath::from_names(whole) {
            Ok(whole) => whole,
            Err(error) => {
                self.skip(path.iter().map(Name::as_str).collect::<Vec<_>>().join("/"), error.to_string());
                return Ok(None);
            }
        };
        if let Some(first) = path.first()
            && let Some(existing) = self.there(first).await?
        {
            let wants_folder = folder || path.len() > 1;
            if (existing == ListKind::Folder) != wants_folder {
                let word = |is_folder| if is_folder { "folder" } else { "file" };
                let path = self.to.join(first.clone())?;
                return Err(exists(&path, word(!wants_folder), word(wants_folder)));
            }
        }
        if !folder && let Some(why) = self.staged.objection(&path) {
            self.skip(whole.to_string(), why.to_owned());
            return Ok(None);
        }
        self.staged_entries += 1;
        if self.staged_entries > STAGED_ENTRIES_MAX {
            return Err(DriveError::BadArchive(format!(
                "it has more than {STAGED_ENTRIES_MAX} entries: put it in parts"
            )));
        }
        Ok(Some(path))
    }

    /// What stood under a root entry's name when the put began.
    async fn there(&mut self, name: &Name) -> Result<Option<ListKind>, DriveError> {
        let Some(there) = &self.there else { return Ok(None) };
        if let Some((known, kind)) = &self.looked_up
            && known == name
        {
            return Ok(*kind);
        }
        let found = self.objects.lookup(there, name).await?;
        let kind = found.map(|standing| match standing.entry().node {
            EntryKind::Folder(_) => ListKind::Folder,
            EntryKind::File(_) => ListKind::File,
        });
        self.looked_up = Some((name.clone(), kind));
        Ok(kind)
    }

    async fn folder(&mut self, path: Vec<Name>, modified_ms: i64) -> Result<(), DriveError> {
        let Some(path) = self.claim(path, true).await? else { return Ok(()) };
        if path.is_empty() {
            // The folder that the archive is put into: it keeps its own time.
            return Ok(());
        }
        match self.staged.folder_at(&path) {
            Some(folder) => {
                if folder.modified_ms.replace(modified_ms).is_none() {
                    self.report.folders += 1;
                }
            }
            None => {
                let shown = path.iter().map(Name::as_str).collect::<Vec<_>>().join("/");
                self.skip(shown, "a file of the same archive stands in its place".to_owned());
            }
        }
        Ok(())
    }

    async fn content(
        &mut self,
        tar: &mut TarReader<impl AsyncRead + Unpin>,
        len: u64,
        packer: &mut Packer,
        buffer: &mut [u8],
    ) -> Result<StagedContent, DriveError> {
        let small = len <= INLINE_WRITE_MAX as u64;
        if small && self.staged_inline + len as usize <= STAGED_INLINE_MAX {
            let mut bytes = Vec::with_capacity(len as usize);
            loop {
                let got = tar.read(buffer).await?;
                if got == 0 {
                    break;
                }
                bytes.extend_from_slice(&buffer[..got]);
            }
            self.staged_inline += bytes.len();
            return Ok(StagedContent::Inline(bytes));
        }
        let mut file = packer.begin_file(len).await?;
        loop {
            let begun = Instant::now();
            let got = tar.read(buffer).await?;
            packer.meter().since(Stage::Read, begun);
            if got == 0 {
                break;
            }
            packer.write(&mut file, &buffer[..got]).await?;
        }
        Ok(StagedContent::Stored(packer.finish(file).await?))
    }
}
