//! Plans the pages that a change of folders needs: a B+ tree that is never written over.
//!
//! Invariant: a plan refers to pages that no change touches as they are, and has one new page for each
//! that one does, its parents included; all pages of a folder's tree that are on one level stay on one
//! level, and none but the topmost is nearly empty for long. Nothing is sealed or sent here; `write` does
//! that, from the lowest height up.

use commonhold_format::drive::{Attributes, Items, Name, Totals};
use futures::future::BoxFuture;

use crate::error::DriveError;
use crate::folder::{Standing, page_for};
use crate::located::{FolderNode, Located, Node, SharedPage, entry_totals, sum};
use crate::objects::{Bounds, Objects};

/// Most entries of a page. Few, because a page is written anew whenever one of them changes.
const ENTRIES_MAX: usize = 32;
/// Most bytes of a page's entries, about. Files that stand in their entries take more room than others.
const ENTRIES_WEIGHT_MAX: usize = 12 << 10;
/// Most pages below a page.
const PAGES_MAX: usize = 64;
/// A page with less than this part of its most is joined with a neighbour.
const SPARSE: usize = 4;

/// What stands in a new page of the lowest level.
pub(crate) enum Item {
    /// An entry as it was.
    Old(Standing),
    /// A new or changed entry.
    New(Name, Node),
    /// A folder that changes, whose topmost page is in the plan.
    Folder { name: Name, modified_ms: i64, attributes: Attributes, top: Option<Unit>, totals: Totals },
}

impl Item {
    fn name(&self) -> &Name {
        match self {
            Item::Old(standing) => &standing.entry().name,
            Item::New(name, _) | Item::Folder { name, .. } => name,
        }
    }

    fn totals(&self) -> Totals {
        match self {
            Item::Old(standing) => entry_totals(standing.entry()),
            Item::New(_, node) => node.totals(),
            Item::Folder { totals, .. } => Totals { entries: 1, ..*totals },
        }
    }

    fn weight(&self) -> Result<usize, DriveError> {
        let rest = match self {
            Item::Old(standing) => standing.node()?.weight(),
            Item::New(_, node) => node.weight(),
            Item::Folder { attributes, .. } => {
                160 + attributes.iter().map(|(key, value)| key.len() + value.len() + 6).sum::<usize>()
            }
        };
        Ok(self.name().as_str().len() + rest)
    }

    fn height(&self, plan: &Plan) -> usize {
        match self {
            Item::Folder { top: Some(Unit::New(at)), .. } => plan.pages[*at].height + 1,
            _ => 0,
        }
    }
}

/// A page: one that is there, or one of the plan.
#[derive(Clone)]
pub(crate) enum Unit {
    Old { first: Name, page: Located, totals: Totals },
    New(usize),
}

/// A page that is to be written.
pub(crate) struct NewPage {
    pub(crate) items: NewItems,
    pub(crate) totals: Totals,
    /// 0 when it refers to no other new page, else one more than the highest of those.
    pub(crate) height: usize,
    /// Set by `write`.
    pub(crate) written: Option<Located>,
}

/// What stands in it.
pub(crate) enum NewItems {
    Entries(Vec<Item>),
    Pages { level: u8, pages: Vec<Unit> },
}

/// The pages that are to be written.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) pages: Vec<NewPage>,
}

/// A change of one entry: a new one, or none.
pub(crate) type Edit = (Name, Option<Item>);

impl Plan {
    /// The lower bound of a page.
    pub(crate) fn first(&self, unit: &Unit) -> Name {
        match unit {
            Unit::Old { first, .. } => first.clone(),
            Unit::New(at) => match &self.pages[*at].items {
                NewItems::Entries(items) => items[0].name().clone(),
                NewItems::Pages { pages, .. } => self.first(&pages[0]),
            },
        }
    }

    pub(crate) fn totals(&self, unit: &Unit) -> Totals {
        match unit {
            Unit::Old { totals, .. } => *totals,
            Unit::New(at) => self.pages[*at].totals,
        }
    }

    /// Plans a folder with `edits`, which ascend by name. Gives its topmost page, none when it has no
    /// entries any more, and its sums.
    pub(crate) async fn folder(
        &mut self,
        objects: &Objects,
        base: &FolderNode,
        edits: Vec<Edit>,
    ) -> Result<(Option<Unit>, Totals), DriveError> {
        let Some(top) = &base.page else {
            let items = edits.into_iter().filter_map(|(_, item)| item).collect();
            let units = self.entries(items)?;
            return Ok(self.top(units, 1));
        };
        if edits.is_empty() {
            // The lower bound of a topmost page is never asked for; any name will do.
            let page = objects.top(base).await?.ok_or_else(crate::located::unwritten)?;
            let first = first_name(&page);
            return Ok((Some(Unit::Old { first, page: top.clone(), totals: base.totals }), base.totals));
        }
        let page = objects.page(&top.table, &top.object, &Bounds::default()).await?;
        let level = match &page.items {
            Items::Entries(_) => 0,
            Items::Pages { level, .. } => *level,
        };
        let units = self.page(objects, page, Bounds::default(), edits).await?;
        Ok(self.top(units, level + 1))
    }

    /// Puts pages of one level under as many levels as they need; `level` is that of the next one.
    fn top(&mut self, mut units: Vec<Unit>, mut level: u8) -> (Option<Unit>, Totals) {
        while units.len() > 1 {
            units = self.branches(level, units);
            level += 1;
        }
        let Some(mut unit) = units.pop() else { return (None, Totals::default()) };
        // A page with one page below it says nothing.
        while let Unit::New(at) = &unit
            && let NewItems::Pages { pages, .. } = &self.pages[*at].items
            && let [only] = pages.as_slice()
        {
            unit = only.clone();
        }
        let totals = self.totals(&unit);
        (Some(unit), totals)
    }

    /// Plans what becomes of a page and of those below it.
    fn page<'a>(
        &'a mut self,
        objects: &'a Objects,
        page: SharedPage,
        bounds: Bounds,
        edits: Vec<Edit>,
    ) -> BoxFuture<'a, Result<Vec<Unit>, DriveError>> {
        Box::pin(async move {
            let (level, below) = match &page.items {
                Items::Entries(_) => return self.entries(merged(&page, edits)),
                Items::Pages { level, pages } => (*level, pages),
            };
            let mut parts: Vec<Vec<Edit>> = below.iter().map(|_| Vec::new()).collect();
            for edit in edits {
                parts[page_for(below, &edit.0)].push(edit);
            }
            let mut units = Vec::new();
            for (at, part) in parts.into_iter().enumerate() {
                let old = &below[at];
                if part.is_empty() {
                    let located = Located::of(&old.page, &page.table)?;
                    units.push(Unit::Old { first: old.first.clone(), page: located, totals: old.totals });
                } else {
                    let bounds = bounds.below(level, below, at);
                    let next = objects.page(&page.table, &old.page, &bounds).await?;
                    units.extend(self.page(objects, next, bounds, part).await?);
                }
            }
            let units = self.joined(objects, level - 1, units).await?;
            Ok(self.branches(level, units))
        })
    }

    /// Joins new pages that are nearly empty with a neighbour. All are of `level`.
    async fn joined(
        &mut self,
        objects: &Objects,
        level: u8,
        units: Vec<Unit>,
    ) -> Result<Vec<Unit>, DriveError> {
        let mut joined: Vec<Unit> = Vec::with_capacity(units.len());
        for unit in units {
            let join = match joined.last() {
                Some(last) => self.is_sparse(last) || self.is_sparse(&unit),
                None => false,
            };
            let last = if join { joined.pop() } else { None };
            let Some(last) = last else {
                joined.push(unit);
                continue;
            };
            if level == 0 {
                let mut items = self.items_of(objects, &last).await?;
                items.extend(self.items_of(objects, &unit).await?);
                joined.extend(self.entries(items)?);
            } else {
                let mut pages = self.pages_of(objects, level, &last).await?;
                pages.extend(self.pages_of(objects, level, &unit).await?);
                joined.extend(self.branches(level, pages));
            }
        }
        Ok(joined)
    }

    fn is_sparse(&self, unit: &Unit) -> bool {
        let Unit::New(at) = unit else { return false };
        match &self.pages[*at].items {
            NewItems::Entries(items) => items.len() < ENTRIES_MAX / SPARSE,
            NewItems::Pages { pages, .. } => pages.len() < PAGES_MAX / SPARSE,
        }
    }

    /// The items of a page of the lowest level; a new one is given up for it.
    async fn items_of(&mut self, objects: &Objects, unit: &Unit) -> Result<Vec<Item>, DriveError> {
        match unit {
            Unit::New(at) => match &mut self.pages[*at].items {
                NewItems::Entries(items) => Ok(std::mem::take(items)),
                NewItems::Pages { .. } => Err(crate::located::unwritten()),
            },
            Unit::Old { page, .. } => {
                let bounds = Bounds { level: Some(0), ..Bounds::default() };
                let page = objects.page(&page.table, &page.object, &bounds).await?;
                Ok(merged(&page, Vec::new()))
            }
        }
    }

    async fn pages_of(&mut self, objects: &Objects, level: u8, unit: &Unit) -> Result<Vec<Unit>, DriveError> {
        match unit {
            Unit::New(at) => match &mut self.pages[*at].items {
                NewItems::Pages { pages, .. } => Ok(std::mem::take(pages)),
                NewItems::Entries(_) => Err(crate::located::unwritten()),
            },
            Unit::Old { page, .. } => {
                let bounds = Bounds { level: Some(level), ..Bounds::default() };
                let page = objects.page(&page.table, &page.object, &bounds).await?;
                let Items::Pages { pages, .. } = &page.items else {
                    return Err(crate::located::unwritten());
                };
                let unit = |below: &commonhold_format::drive::PageRef| {
                    let located = Located::of(&below.page, &page.table)?;
                    Ok(Unit::Old { first: below.first.clone(), page: located, totals: below.totals })
                };
                pages.iter().map(unit).collect()
            }
        }
    }

    /// New pages of the lowest level for these items, as few as they need and about equally full.
    fn entries(&mut self, items: Vec<Item>) -> Result<Vec<Unit>, DriveError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let weights: Result<Vec<usize>, DriveError> = items.iter().map(Item::weight).collect();
        let weights = weights?;
        let by_count = items.len().div_ceil(ENTRIES_MAX);
        let by_weight = weights.iter().sum::<usize>().div_ceil(ENTRIES_WEIGHT_MAX);
        let parts = by_count.max(by_weight);
        let (count_each, weight_each) =
            (items.len().div_ceil(parts), weights.iter().sum::<usize>().div_ceil(parts));
        let mut units = Vec::with_capacity(parts);
        let (mut part, mut part_weight) = (Vec::new(), 0);
        for (item, weight) in items.into_iter().zip(weights) {
            // What is lighter than the others may make a page longer, up to the most.
            let full = part.len() >= ENTRIES_MAX
                || (part.len() >= count_each && part_weight >= weight_each)
                || part_weight + weight > ENTRIES_WEIGHT_MAX;
            if full && !part.is_empty() {
                units.push(self.add(NewItems::Entries(std::mem::take(&mut part))));
                part_weight = 0;
            }
            part_weight += weight;
            part.push(item);
        }
        units.push(self.add(NewItems::Entries(part)));
        Ok(units)
    }

    /// New pages of `level` over `units`.
    fn branches(&mut self, level: u8, units: Vec<Unit>) -> Vec<Unit> {
        if units.is_empty() {
            return units;
        }
        let each = units.len().div_ceil(units.len().div_ceil(PAGES_MAX));
        let mut above = Vec::new();
        let mut units = units.into_iter().peekable();
        while units.peek().is_some() {
            let pages = units.by_ref().take(each).collect();
            above.push(self.add(NewItems::Pages { level, pages }));
        }
        above
    }

    fn add(&mut self, items: NewItems) -> Unit {
        let (totals, height) = match &items {
            NewItems::Entries(items) => (
                sum(items.iter().map(Item::totals)),
                items.iter().map(|item| item.height(self)).max().unwrap_or(0),
            ),
            NewItems::Pages { pages, .. } => (
                sum(pages.iter().map(|unit| self.totals(unit))),
                pages
                    .iter()
                    .map(|unit| if let Unit::New(at) = unit { self.pages[*at].height + 1 } else { 0 })
                    .max()
                    .unwrap_or(0),
            ),
        };
        self.pages.push(NewPage { items, totals, height, written: None });
        Unit::New(self.pages.len() - 1)
    }
}

fn first_name(page: &SharedPage) -> Name {
    match &page.items {
        Items::Entries(entries) => entries[0].name.clone(),
        Items::Pages { pages, .. } => pages[0].first.clone(),
    }
}

/// The entries of a page with `edits`, which ascend by name.
fn merged(page: &SharedPage, edits: Vec<Edit>) -> Vec<Item> {
    let old = crate::folder::entries(page);
    let mut items = Vec::with_capacity(old.len() + edits.len());
    let mut edits = edits.into_iter().peekable();
    for (at, entry) in old.iter().enumerate() {
        while let Some((_, new)) = edits.next_if(|(name, _)| *name < entry.name) {
            items.extend(new);
        }
        match edits.next_if(|(name, _)| *name == entry.name) {
            Some((_, new)) => items.extend(new),
            None => items.push(Item::Old(Standing { page: page.clone(), at })),
        }
    }
    items.extend(edits.filter_map(|(_, new)| new));
    items
}
