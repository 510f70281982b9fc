//! Row `growth`: how much a year adds to the ledgers of a node with 1 TB, 20 contracts and daily audits.
//!
//! Both sides run: an owner that has its terabyte at 20 providers, and a provider that keeps a
//! terabyte for 20 owners. Every note is signed, appended and synced as nodes do it, and the heads in
//! receipts are those that the ledgers had.

use std::fs;
use std::path::Path;

use commonhold_format::keys::PartyKey;
use commonhold_format::log::TileId;
use commonhold_ledger::Ledger;

use crate::Plan;
use crate::ground::Ground;
use crate::stock::{self, CONTRACTS, Deal};
use crate::trade;

/// Revisions under each contract on each day.
const REVISIONS: &[u64] = &[0, 1, 3];

pub(crate) fn run(ground: &Ground, plan: &Plan) {
    let mut totals = Vec::new();
    for revisions in REVISIONS {
        let (owner, provider) = (trade::key(1), trade::key(2));
        let plot = ground.plot();
        let [of_owner, of_provider] = ["owner", "provider"].map(|name| plot.path().join(name));
        let mut ours =
            Side::new(&of_owner, &owner, 1, |other, node| Deal::new(&owner, stock::node(1), other, node));
        let mut theirs = Side::new(&of_provider, &provider, 2, |other, node| {
            Deal::new(other, node, &provider, stock::node(2))
        });
        for day in 0..plan.days {
            // The first day brings the data in.
            let count = if day == 0 { 1.max(*revisions) } else { *revisions };
            ours.day(day, count, true);
            theirs.day(day, count, false);
        }
        println!(
            "{CONTRACTS} contracts, {} days, each day an audit, a receipt and {revisions} revisions for each",
            plan.days
        );
        totals.push(format!("{:.0}", ours.print("owner", &of_owner, plan.days)));
        theirs.print("provider", &of_provider, plan.days);
    }
    println!("-> MB of an owner's log a year, without evidence: {} (expected: about 20)", totals.join(", "));
}

/// One node and its contracts; of the other sides only the notes exist.
struct Side {
    ledger: Ledger,
    deals: Vec<Deal>,
}

impl Side {
    fn new(
        folder: &Path,
        key: &PartyKey,
        seed: u8,
        deal: impl Fn(&PartyKey, commonhold_format::ids::NodeId) -> Deal,
    ) -> Self {
        let ledger = stock::open(folder, key, stock::node(seed));
        let deals: Vec<Deal> = (0..CONTRACTS as u8)
            .map(|at| deal(&PartyKey::from_seed(&[100 + at; 32]), stock::node(100 + at)))
            .collect();
        for deal in &deals {
            ledger.append(&deal.contract()).unwrap();
        }
        Self { ledger, deals }
    }

    fn day(&mut self, day: u64, revisions: u64, is_owner: bool) {
        let ledger = &self.ledger;
        for deal in &mut self.deals {
            let notes = deal.day(day, revisions, |before| {
                let before = if is_owner { &before.owner } else { &before.provider };
                ledger.append_all(before).unwrap();
                let (head, other) = (ledger.head(), (day, [7; 32]));
                if is_owner { [head, other] } else { [other, head] }
            });
            let notes = if is_owner { notes.owner } else { notes.provider };
            ledger.append(notes.last().unwrap()).unwrap();
        }
        ledger.publish().unwrap();
    }

    /// Prints what a year adds; answers the log's megabytes.
    fn print(&self, name: &str, folder: &Path, days: u64) -> f64 {
        let log = fs::metadata(folder.join("log")).unwrap().len();
        let tiles: u64 = TileId::all(self.ledger.len())
            .filter(|tile| tile.level.is_some())
            .map(|tile| self.ledger.tile(&tile).unwrap().unwrap().len() as u64)
            .sum();
        let a_year = |bytes: u64| bytes as f64 * 365.0 / days as f64 / 1e6;
        println!(
            "  {name:9} {:>7} notes  log {:>6.1} MB a year, tiles of hashes {:>4.1} MB a year",
            self.ledger.len(),
            a_year(log),
            a_year(tiles)
        );
        a_year(log)
    }
}
