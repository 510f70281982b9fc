//! Contracts of this owner that its book does not know: after a restore from the phrase the files
//! can be read, but what providers keep under such contracts is not audited. The owner is told.
//!
//! Invariant: a provider can hide contracts but not make any up that would change something here:
//! the answer is only counted. Not here: entering them into the book, which takes the revisions'
//! whole history.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use commonhold_format::ids::NodeId;
use commonhold_format::wire::{Request, Response, list_contracts_message};

use super::{CONTRACT_TIMEOUT, Owner};

/// How often a node without contracts asks the providers that it has found.
const LOOKS: usize = 20;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(3);

impl Owner {
    /// While the book is empty, asks each provider that is found, for a minute after the start.
    pub async fn look_for_forgotten(&self) {
        let mut asked = HashSet::new();
        for _ in 0..LOOKS {
            if !self.contracts().is_empty() {
                return;
            }
            for candidate in self.offering() {
                if asked.insert(candidate.node) {
                    let found = self.forgotten_at(candidate.node).await.unwrap_or(0);
                    self.forgotten.fetch_add(found, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How many contracts with this owner a provider knows and the book does not.
    async fn forgotten_at(&self, node: NodeId) -> Option<u64> {
        let signature = self.party.sign(&list_contracts_message(&self.net.node(), &node));
        let ask = Request::ListContracts { owner: self.party.id(), signature };
        match self.call(node, ask, CONTRACT_TIMEOUT).await {
            Ok(Response::Contracts { contracts }) => {
                Some(contracts.iter().filter(|id| self.store.contract(id).is_none()).count() as u64)
            }
            _ => None,
        }
    }

    /// What the operator should know about it, if anything.
    pub fn forgotten_problem(&self) -> Option<String> {
        let found = self.forgotten.load(Ordering::Relaxed);
        (found > 0).then(|| {
            format!(
                "providers keep {found} contracts of yours that this data directory does not know: your files can be read, but what is under them is neither audited nor repaired; put the files again to have them under new contracts"
            )
        })
    }
}
