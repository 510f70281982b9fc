//! Walks over the keys of a bucket in S3's order, page by page (spec/s3.md, "Listing").
//!
//! Invariant: keys come strictly ascending by their bytes, each once, and no more is held than one page for
//! each folder on the way down. A folder `a` is visited as `a/`: after `a-b` and `a.txt`, although the drive
//! lists it before them.
//!
//! How: the drive lists names by their bytes. A folder waits in `waiting` until the next name is beyond its
//! name with a slash. Names in between all begin with the folder's name, so that what waits is a chain of
//! names of which each begins with the one before it, at most as many as a name has bytes.

use std::collections::VecDeque;

use commonhold_client::types::{FileInfo, FileKind};
use commonhold_format::drive::Name;
use futures::future::BoxFuture;

use super::names::{bucket_path, is_marker};
use crate::api::ApiFault;
use crate::drive::DriveApi;

/// Most entries that one call asks for.
const PAGE_MAX: usize = 500;

/// What a walk comes upon.
#[derive(Debug)]
pub(super) enum Found {
    /// A file, or a folder with a marker, and its key.
    Object(String, FileInfo),
    /// A folder with keys below it, when these are not asked for one by one; ends with a slash.
    Folder(String),
}

/// A walk.
pub(super) struct Walk<'a> {
    drive: &'a dyn DriveApi,
    /// Show folders instead of what is in them.
    folders: bool,
    page: usize,
    /// The folders on the way down.
    levels: Vec<Level>,
    /// The marker of the folder that is walked over.
    first: Option<Found>,
}

/// A folder that is being listed.
struct Level {
    path: String,
    /// What its keys begin with: empty, or ends with a slash.
    base: String,
    /// What names must begin with.
    name_prefix: String,
    /// Only keys after this one.
    after_key: Option<String>,
    /// The name after which the drive is asked.
    after_name: Option<String>,
    more: bool,
    page: VecDeque<FileInfo>,
    waiting: Vec<FileInfo>,
}

impl<'a> Walk<'a> {
    /// Over the keys of `bucket` that begin with `prefix` and come after `after`. With `folders`, keys with
    /// a slash behind the prefix are not told one by one. `expected` is how many will be taken, about.
    pub(super) async fn start(
        drive: &'a dyn DriveApi,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        folders: bool,
        expected: usize,
    ) -> Result<Self, ApiFault> {
        let page = expected.saturating_add(2).clamp(8, PAGE_MAX);
        let mut walk = Self { drive, folders, page, levels: Vec::new(), first: None };
        let (base, name_prefix) = match prefix.rfind('/') {
            Some(slash) => prefix.split_at(slash + 1),
            None => ("", prefix),
        };
        // No key begins with what is no path, and none comes after a key beyond all with this prefix.
        let possible =
            base.is_empty() || base[..base.len() - 1].split('/').all(|name| Name::new(name).is_ok());
        let beyond = after.is_some_and(|after| after > prefix && !after.starts_with(prefix));
        if !possible || beyond {
            return Ok(walk);
        }
        let mut path = bucket_path(bucket);
        if !base.is_empty() {
            path = format!("{path}/{}", &base[..base.len() - 1]);
            match drive.info(path.clone()).await {
                Ok(info) if info.entry.kind == FileKind::Folder => {
                    if name_prefix.is_empty() && is_marker(&info) && after.is_none_or(|after| base > after) {
                        walk.first = Some(Found::Object(base.to_owned(), info));
                    }
                }
                Ok(_) => return Ok(walk),
                Err(fault) if is_missing(&fault) => return Ok(walk),
                Err(fault) => return Err(fault),
            }
        }
        let level =
            walk.level(path, base.to_owned(), name_prefix.to_owned(), after.map(str::to_owned)).await?;
        walk.levels.push(level);
        Ok(walk)
    }

    /// A folder's listing, from where it is to begin.
    async fn level(
        &self,
        path: String,
        base: String,
        name_prefix: String,
        after_key: Option<String>,
    ) -> Result<Level, ApiFault> {
        // A key before all that can come here decides nothing.
        let after_key = after_key.filter(|after| *after >= base);
        let mut level = Level {
            path,
            base,
            name_prefix,
            after_key,
            after_name: None,
            more: true,
            page: VecDeque::new(),
            waiting: Vec::new(),
        };
        let after =
            level.after_key.as_deref().unwrap_or_default().get(level.base.len()..).unwrap_or_default();
        let start = after.split('/').next().unwrap_or_default();
        if start < level.name_prefix.as_str() {
            // The first names that fit are the prefix itself and those after it.
            let name = level.name_prefix.clone();
            match self.child(&level, &name).await? {
                Some(info) if info.entry.kind == FileKind::Folder => level.waiting.push(info),
                Some(info) => level.page.push_back(info),
                None => {}
            }
            level.after_name = nearest_name(&name);
        } else if !start.is_empty() {
            // Folders whose names come before `start` and whose keys come after it: `start` begins with
            // their names, and goes on with a character before the slash.
            let start = start.to_owned();
            let ends = start.char_indices().filter(|(_, c)| *c < '/').map(|(end, _)| end);
            for end in ends.chain([start.len()]) {
                let name = &start[..end];
                if name.starts_with(&level.name_prefix)
                    && let Some(info) = self.child(&level, name).await?
                    && info.entry.kind == FileKind::Folder
                {
                    level.waiting.push(info);
                }
            }
            level.after_name = nearest_name(&start);
        }
        Ok(level)
    }

    async fn child(&self, level: &Level, name: &str) -> Result<Option<FileInfo>, ApiFault> {
        if Name::new(name).is_err() {
            return Ok(None);
        }
        match self.drive.info(format!("{}/{name}", level.path)).await {
            Ok(info) => Ok(Some(info)),
            Err(fault) if is_missing(&fault) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> BoxFuture<'_, Result<Option<Found>, ApiFault>> {
        Box::pin(async move {
            if let Some(first) = self.first.take() {
                return Ok(Some(first));
            }
            loop {
                let Some(level) = self.levels.last_mut() else { return Ok(None) };
                let Some(info) = level.next(self.drive, self.page).await? else {
                    self.levels.pop();
                    continue;
                };
                let key = format!("{}{}", level.base, info.entry.name);
                let after = level.after_key.as_deref();
                if info.entry.kind == FileKind::File {
                    if after.is_none_or(|after| key.as_str() > after) {
                        return Ok(Some(Found::Object(key, info)));
                    }
                    continue;
                }
                let base = key + "/";
                let (after, inside) = match after {
                    Some(after) if after.starts_with(&base) => (Some(after.to_owned()), true),
                    Some(after) if *after > *base => continue,
                    _ => (None, false),
                };
                let path = format!("{}/{}", level.path, info.entry.name);
                if self.folders {
                    // A folder that was told already is not told again.
                    if after.as_deref() != Some(&base) && self.has_keys(&info, path, &base, after).await? {
                        return Ok(Some(Found::Folder(base)));
                    }
                    continue;
                }
                let below = self.level(path, base.clone(), String::new(), after).await?;
                self.levels.push(below);
                if is_marker(&info) && !inside {
                    return Ok(Some(Found::Object(base, info)));
                }
            }
        })
    }

    /// Whether a folder has keys after `after`.
    async fn has_keys(
        &self,
        info: &FileInfo,
        path: String,
        base: &str,
        after: Option<String>,
    ) -> Result<bool, ApiFault> {
        if after.is_none() && (info.files > 0 || is_marker(info)) {
            return Ok(true);
        }
        if info.children == 0 {
            return Ok(false);
        }
        let mut walk = Walk { drive: self.drive, folders: false, page: 8, levels: Vec::new(), first: None };
        let level = walk.level(path, base.to_owned(), String::new(), after).await?;
        walk.levels.push(level);
        Ok(walk.next().await?.is_some())
    }
}

impl Level {
    /// The next child in the order of keys.
    async fn next(&mut self, drive: &dyn DriveApi, page: usize) -> Result<Option<FileInfo>, ApiFault> {
        loop {
            self.fill(drive, page).await?;
            let next = self.page.front().map(|info| info.entry.name.as_str());
            if let Some(waiting) = self.waiting.last()
                && next.is_none_or(|next| comes_before(&waiting.entry.name, next))
            {
                return Ok(self.waiting.pop());
            }
            let Some(info) = self.page.pop_front() else { return Ok(None) };
            if info.entry.kind == FileKind::File {
                return Ok(Some(info));
            }
            self.waiting.push(info);
        }
    }

    /// Sees to it that the page begins with a name that fits, or that there is none.
    async fn fill(&mut self, drive: &dyn DriveApi, page: usize) -> Result<(), ApiFault> {
        loop {
            while let Some(info) = self.page.front() {
                let name = &info.entry.name;
                if name.starts_with(&self.name_prefix) {
                    return Ok(());
                }
                if *name > self.name_prefix {
                    self.more = false;
                    self.page.clear();
                } else {
                    self.page.pop_front();
                }
            }
            if !self.more {
                return Ok(());
            }
            match drive.infos(self.path.clone(), self.after_name.clone(), page).await {
                Ok((infos, more)) => {
                    self.more = more && !infos.is_empty();
                    if let Some(last) = infos.last() {
                        self.after_name = Some(last.entry.name.clone());
                    }
                    self.page.extend(infos);
                }
                // The folder went away meanwhile.
                Err(fault) if is_missing(&fault) => self.more = false,
                Err(fault) => return Err(fault),
            }
        }
    }
}

/// Whether the keys of the folder `folder` come before `name`: `folder/` against `name`.
fn comes_before(folder: &str, name: &str) -> bool {
    match name.strip_prefix(folder) {
        Some(rest) => rest.chars().next().is_some_and(|next| next > '/'),
        None => folder < name,
    }
}

/// The name itself, or the longest beginning of it that is one: no name between the two is lost by asking
/// for those after it.
fn nearest_name(text: &str) -> Option<String> {
    let mut ends = text.char_indices().map(|(end, _)| end).chain([text.len()]).rev();
    ends.find(|end| Name::new(&text[..*end]).is_ok()).map(|end| text[..end].to_owned())
}

/// What there is when a path leads nowhere, or to a file where a folder was.
fn is_missing(fault: &ApiFault) -> bool {
    matches!(fault.code, "not_found" | "gone" | "exists" | "bad_path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_where_their_keys_belong() {
        for (folder, name) in [("a", "b"), ("a", "aa"), ("a", "a0"), ("a-", "a."), ("a", "ab/")] {
            assert!(comes_before(folder, name), "{folder}/ < {name}");
        }
        for (folder, name) in [("a", "a-b"), ("a", "a.txt"), ("a", "a "), ("b", "a"), ("a", "a!")] {
            assert!(!comes_before(folder, name), "{folder}/ > {name}");
        }
    }

    #[test]
    fn attack_25_what_is_no_name_is_cut_to_one() {
        assert_eq!(nearest_name("abc").as_deref(), Some("abc"));
        assert_eq!(nearest_name("a\nb").as_deref(), Some("a"));
        assert_eq!(nearest_name("\n"), None);
        assert_eq!(nearest_name(""), None);
        assert_eq!(nearest_name(".."), None);
        assert_eq!(nearest_name(&"ü".repeat(200)).map(|name| name.len()), Some(254));
    }
}
