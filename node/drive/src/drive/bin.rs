//! The bin: what was removed and can be put back.
//!
//! Invariant: something in the bin is the entry that was removed, versions included, under a name that says
//! when, with its path as an attribute; putting it back moves it (spec/drive.md, section 5).

use commonhold_format::drive::Name;

use super::Drive;
use super::moving::arrive;
use super::stopped;
use crate::changes::{BIN, Changes, Slot, edit};
use crate::error::DriveError;
use crate::path::DrivePath;
use crate::report::{BinInfo, Info, Removed};
use crate::uploads::hex;

/// The attribute of something in the bin that says where it was.
pub(super) const PATH_ATTRIBUTE: &str = "path";

/// Puts what was taken from `path` into the bin.
pub(super) fn throw(
    changes: &mut Changes,
    path: &DrivePath,
    mut slot: Slot,
    salt: [u8; 4],
) -> Result<(), DriveError> {
    let id = format!("{:013}-{}", changes.now_ms.max(0), hex(&salt));
    let name = Name::new(&id).map_err(|error| DriveError::Internal(error.to_string()))?;
    match &mut slot {
        Slot::Gone => return Ok(()),
        Slot::Node(node) => {
            node.attributes.insert(PATH_ATTRIBUTE.to_owned(), path.to_string());
        }
        Slot::Open(at) => {
            changes.entry_of(*at).1.insert(PATH_ATTRIBUTE.to_owned(), path.to_string());
        }
    }
    changes.put(BIN, name, slot);
    Ok(())
}

/// When something in the bin was removed, from its name.
fn removed_ms(id: &str) -> i64 {
    id.split('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

impl Drive {
    /// What is in the bin, newest first.
    pub async fn bin(&self) -> Result<Vec<BinInfo>, DriveError> {
        let inner = &self.inner;
        inner.search_if_new().await?;
        let snapshot = inner.snapshot().await;
        let [_, bin, _] = snapshot.roots()?;
        let mut scan = inner.objects.scan(&bin, None);
        let mut items = Vec::new();
        while let Some(standing) = scan.next().await? {
            let entry = standing.entry();
            let id = entry.name.as_str().to_owned();
            let path = entry.attributes.get(PATH_ATTRIBUTE).cloned().unwrap_or_default();
            let info = Info::of(DrivePath::from_names(vec![entry.name.clone()])?, entry);
            items.push(BinInfo { removed_ms: removed_ms(&id), id, path, info });
        }
        items.reverse();
        Ok(items)
    }

    /// Puts something back: to where it was, or to another path, where nothing may stand.
    pub async fn restore_from_bin(&self, id: &str, to: Option<DrivePath>) -> Result<Info, DriveError> {
        let not_found = || DriveError::NotFound(format!("{id} in the bin"));
        let name = Name::new(id).map_err(|_| not_found())?;
        let missing = not_found();
        let work = edit(move |changes| {
            Box::pin(async move {
                let Some(mut slot) = changes.take(BIN, &name).await? else { return Err(missing) };
                let was = match &mut slot {
                    Slot::Gone => None,
                    Slot::Node(node) => node.attributes.remove(PATH_ATTRIBUTE),
                    Slot::Open(at) => changes.entry_of(*at).1.remove(PATH_ATTRIBUTE),
                };
                let to = match to {
                    Some(to) => to,
                    None => was.unwrap_or_default().parse()?,
                };
                arrive(changes, &to, slot, false, false).await?;
                Ok(to)
            })
        });
        let to = self.change(None, work).await?;
        self.info(&to).await
    }

    /// Gives up what is in the bin: these items, or all; of them, those removed before `before_ms`. Their
    /// space at providers is freed before this returns, as far as it can be.
    pub async fn empty_bin(
        &self,
        ids: Option<Vec<String>>,
        before_ms: Option<i64>,
    ) -> Result<(u64, Removed), DriveError> {
        let mut chosen = Vec::new();
        for item in self.bin().await? {
            let named = ids.as_ref().is_none_or(|ids| ids.contains(&item.id));
            if named && before_ms.is_none_or(|before| item.removed_ms < before) {
                chosen.push(item);
            }
        }
        let mut removed = Removed { path: "bin".to_owned(), files: 0, bytes: 0, warnings: Vec::new() };
        if chosen.is_empty() {
            return Ok((0, removed));
        }
        removed.files = chosen.iter().map(|item| item.info.files).sum();
        removed.bytes = chosen.iter().fold(0u64, |sum, item| sum.saturating_add(item.info.bytes));
        let items = chosen.len() as u64;
        let names: Result<Vec<Name>, _> = chosen.iter().map(|item| Name::new(&item.id)).collect();
        let names = names.map_err(|error| DriveError::Internal(error.to_string()))?;
        let work = edit(move |changes| {
            Box::pin(async move {
                for name in &names {
                    changes.take(BIN, name).await?;
                }
                Ok(())
            })
        });
        let inner = self.inner.clone();
        let emptying = tokio::spawn(async move {
            inner.commit(None, work).await.inspect_err(|_| inner.sweep_later())?;
            removed.warnings = inner.settle().await;
            Ok((items, removed))
        });
        emptying.await.map_err(stopped)?
    }
}
