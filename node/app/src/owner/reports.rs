//! What providers report of their own accord: chunks that have rotted there.
//!
//! Invariant: a provider can only speak of the chunks of its own contract, and only so many in an
//! hour, so that it cannot make this node send without end. A report costs the provider the chunks.

use std::time::Duration;

use commonhold_format::ids::ContractId;
use commonhold_format::wire::Refusal;
use commonhold_store::Role;
use tokio::sync::mpsc;

use super::Owner;
use crate::hourly::Hourly;
use crate::provider::DamageReport;

/// Chunks of one contract that are taken as damaged in an hour.
const CHUNKS_PER_HOUR_MAX: usize = 4096;
/// How long reports are gathered before a repair begins.
const GATHER: Duration = Duration::from_secs(3);

impl Owner {
    /// Takes reports until nobody sends them any more, and repairs what they are about.
    pub async fn take_reports(&self, mut reports: mpsc::Receiver<DamageReport>) {
        let mut budgets = Hourly::new(CHUNKS_PER_HOUR_MAX);
        let mut repair_at: Option<tokio::time::Instant> = None;
        loop {
            let due = async {
                match repair_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let report = tokio::select! {
                report = reports.recv() => report,
                () = due => {
                    repair_at = None;
                    self.repair_reported().await;
                    continue;
                }
            };
            let Some(report) = report else { return };
            let taken = self.take_report(&report, &mut budgets).await;
            if taken.is_ok() {
                repair_at.get_or_insert(tokio::time::Instant::now() + GATHER);
            }
            // The provider may have gone away.
            let _ = report.answer.send(taken);
        }
    }

    async fn take_report(
        &self,
        report: &DamageReport,
        budgets: &mut Hourly<ContractId>,
    ) -> Result<(), (Refusal, String)> {
        let state = self.store.contract(&report.contract).filter(|state| state.role == Role::Owner);
        let Some(state) = state else {
            return Err((Refusal::Unknown, "this node has no such contract".to_owned()));
        };
        if state.contract.node != report.from {
            return Err((Refusal::Forbidden, "the contract names another node".to_owned()));
        }
        if !budgets.take(report.contract, report.chunks.len()) {
            return Err((Refusal::Busy, "too many damaged chunks in an hour: try again later".to_owned()));
        }
        tracing::warn!(node = %report.from, chunks = report.chunks.len(), "a provider reports damage");
        self.mark_lost(report.contract, report.chunks.clone()).await;
        Ok(())
    }

    async fn repair_reported(&self) {
        match self.repair_now(self.config.absent_after.0).await {
            Ok(report) if report.full == report.segments => {}
            Ok(report) => tracing::warn!(?report, "not every segment has all its chunks"),
            Err(error) => tracing::error!(error, "repair could not keep its records"),
        }
    }
}
