//! What this node says to those who watch it: whether it can do its work, and its metrics.
//!
//! Invariant: it names no file, no chunk, no party and no folder of this machine, for it is said without the
//! token. Metrics are counted at most once in [`FRESH`], whoever asks how often.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use commonhold_engine::audit::State;
use commonhold_format::ids::{ContractId, PartyId};
use commonhold_format::policy::Kind;
use commonhold_format::statement::AuditOutcome;
use commonhold_gateway::{ApiFault, HealthApi, RequestCounts};
use commonhold_host::FaultKind;
use commonhold_store::{Role, Store};
use futures::future::BoxFuture;

use super::{Api, blocking, fault};
use crate::alerts::Alert;
use crate::clock::unix_seconds;
use crate::config::AlertsConfig;
use crate::metrics::Snapshot;
use crate::progress::human;
use crate::provider::served::KINDS;

/// How old metrics may be.
const FRESH: Duration = Duration::from_secs(2);

/// Outcomes of audits in the order in which they are counted.
const OUTCOMES: [AuditOutcome; 5] = [
    AuditOutcome::Passed,
    AuditOutcome::WrongBytes,
    AuditOutcome::NoAnswer,
    AuditOutcome::Offline,
    AuditOutcome::Quarantined,
];

impl Api {
    async fn why_not_ready(&self) -> Vec<String> {
        let mut obstacles = Vec::new();
        if self.vault().quarantine().is_some() {
            obstacles.push("the store is in quarantine: `commonhold status` says why".to_owned());
        } else if self.owner.is_some() && self.owner_half().is_none() {
            obstacles.push("the drive is not open yet".to_owned());
        }
        if !self.net.peers().await.iter().any(|peer| peer.connected) {
            obstacles.push("no other node is connected".to_owned());
        }
        obstacles
    }

    /// What is the matter at present, as sentences.
    pub async fn alerts_seen(&self, config: &AlertsConfig) -> BTreeMap<Alert, String> {
        let mut seen = BTreeMap::new();
        if let Some(why) = self.vault().quarantine() {
            seen.insert(Alert::Quarantine, format!("The store is in quarantine: {why}."));
        }
        if !self.net.peers().await.iter().any(|peer| peer.connected) {
            seen.insert(Alert::NoPeers, "No other node is connected.".to_owned());
        }
        if let Some(problem) = self.plugins.problems().into_iter().next() {
            seen.insert(Alert::PolicyFallback, problem);
        }
        if let Some(store) = self.vault().store().ok().filter(|_| self.lends) {
            self.see_disk(&store, config, &mut seen);
        }
        if let Some((owner, _)) = self.owner_half() {
            let bad = [State::Probation, State::Suspended, State::Lost];
            let audited = owner.audited();
            let failed = audited.iter().filter(|(_, stood)| bad.contains(&stood.standing.state())).count();
            if failed > 0 {
                let sentence = format!("{failed} providers that keep files of this node failed audits.");
                seen.insert(Alert::ProviderFailed, sentence);
            }
            let (agent, absent) = (owner.clone(), self.absent_after_seconds);
            let lost = blocking(move || agent.redundancy(absent)).await.map_or(0, |found| found.lost);
            if lost > 0 {
                let sentence = format!("{lost} segments have too few chunks within reach to be read now.");
                seen.insert(Alert::SegmentsLost, sentence);
            }
        }
        seen
    }

    /// Of a lent disk.
    fn see_disk(&self, store: &Store, config: &AlertsConfig, seen: &mut BTreeMap<Alert, String>) {
        let usage = store.usage();
        let (room, allotted) = (usage.free_bytes.min(store.room()), usage.allotted_bytes);
        let least = allotted / 100 * u64::from(100 - config.disk_percent);
        // What is told begins and ends at different places, so that it does not come and go at one.
        let slack = if self.alerts.holds(Alert::DiskFilling) { allotted / 50 } else { 0 };
        if room <= least.saturating_add(slack) {
            let sentence =
                format!("Of {} that are lent, there is room for {}.", human(allotted), human(room));
            seen.insert(Alert::DiskFilling, sentence);
        }
        let here = |contract: &ContractId| store.contract(contract).is_some();
        let failing = self.provider.verdicts.failing(here);
        if failing > 0 {
            let sentence = format!("The last audits under {failing} contracts of this provider were failed.");
            seen.insert(Alert::AuditFailed, sentence);
        }
        let lends = |id: &ContractId| store.contract(id).is_some_and(|it| it.role == Role::Provider);
        let now = unix_seconds();
        let start = now.saturating_sub(self.started.elapsed().as_secs());
        let last = self.provider.served.last().unwrap_or(0).max(start);
        if now.saturating_sub(last) >= config.silent_after.0 && store.contracts().iter().any(lends) {
            let sentence = format!("Nobody asked this provider for anything for {}.", config.silent_after);
            seen.insert(Alert::Silent, sentence);
        }
    }

    async fn gather(&self) -> Result<Snapshot, ApiFault> {
        let mut shot = Snapshot::default();
        shot.whole("commonhold_build_info", &[env!("CARGO_PKG_VERSION")], 1);
        let start = unix_seconds().saturating_sub(self.started.elapsed().as_secs());
        shot.whole("commonhold_start_time_seconds", &[], start);
        shot.whole("commonhold_ready", &[], self.why_not_ready().await.is_empty().into());
        shot.whole("commonhold_quarantined", &[], self.vault().quarantine().is_some().into());
        self.gather_disk(&mut shot);
        self.gather_line(&mut shot).await;
        self.gather_work(&mut shot).await;
        self.gather_policies(&mut shot);
        self.gather_interfaces(&mut shot);
        self.gather_files(&mut shot).await?;
        let (ledger, me, creditor) = (self.ledger.clone(), self.party, self.creditor.clone());
        let vault = self.provider.vault.clone();
        let shot = blocking(move || -> Result<Snapshot, ApiFault> {
            gather_process(&mut shot);
            let internal = |error: commonhold_ledger::LedgerError| fault("internal", error.to_string());
            let holds = gather_contracts(&mut shot, &vault);
            let (mut earned, mut spent, mut mine, mut theirs, mut held) = (0i128, 0i128, 0i128, 0i128, 0i128);
            for account in ledger.accounts(&me).map_err(internal)? {
                earned += account.taken;
                spent += account.given;
                let owed = account.owed_to_me();
                mine += owed.max(0);
                theirs += (-owed).max(0);
                held += owed.max(0).min(holds.get(&account.party).copied().unwrap_or(0));
            }
            let amounts = [
                ("earned", earned),
                ("spent", spent),
                ("owed_to_me", mine),
                ("owed_by_me", theirs),
                ("held", held),
            ];
            for (amount, value) in amounts {
                shot.signed("commonhold_credit_microcredits", &[amount], value);
            }
            // A store in quarantine counts nothing; the rest is told all the same.
            if let Some((used, budget)) = creditor.and_then(|it| it.gifts().ok()) {
                shot.signed("commonhold_gift_budget_microcredits", &["used"], used);
                shot.signed(
                    "commonhold_gift_budget_microcredits",
                    &["left"],
                    (i128::from(budget) - used).max(0),
                );
            }
            Ok(shot)
        });
        shot.await?
    }

    /// The lent disk.
    fn gather_disk(&self, shot: &mut Snapshot) {
        let Some(store) = self.vault().store().ok().filter(|_| self.lends) else { return };
        let usage = store.usage();
        let parts = [
            ("used", usage.used_bytes),
            ("trash", usage.trash_bytes),
            ("dead", usage.dead_bytes),
            ("reserve", usage.reserve_bytes),
            ("free", usage.free_bytes),
        ];
        for (part, bytes) in parts {
            shot.whole("commonhold_disk_bytes", &[part], bytes);
        }
        shot.whole("commonhold_disk_allotted_bytes", &[], usage.allotted_bytes);
        shot.whole("commonhold_disk_excess_bytes", &[], usage.excess_bytes);
        shot.whole("commonhold_disk_room_bytes", &[], store.room());
        shot.whole("commonhold_disk_chunks", &["kept"], usage.chunks);
        shot.whole("commonhold_disk_chunks", &["trash"], usage.trash_chunks);
        let laps = store.scrub_progress().unwrap_or_default().laps;
        shot.whole("commonhold_scrub_laps_total", &[], laps);
        shot.whole("commonhold_scrub_rotten_chunks_total", &[], self.provider.damage.scrubbed().rot);
    }

    /// The line and the nodes at its other end.
    async fn gather_line(&self, shot: &mut Snapshot) {
        let (sent, received) = self.link.since_start();
        shot.whole("commonhold_chunk_bytes_total", &["sent"], sent);
        shot.whole("commonhold_chunk_bytes_total", &["received"], received);
        let (traffic, limits) = (self.link.traffic(), self.link.limits());
        let counts = [
            ("day", traffic.sent_today, traffic.received_today),
            ("month", traffic.sent_this_month, traffic.received_this_month),
        ];
        for (period, sent, received) in counts {
            shot.whole("commonhold_traffic_bytes", &[period, "sent"], sent);
            shot.whole("commonhold_traffic_bytes", &[period, "received"], received);
        }
        shot.whole("commonhold_rate_limit_bytes_per_second", &["sent"], limits.upload);
        shot.whole("commonhold_rate_limit_bytes_per_second", &["received"], limits.download);
        shot.whole("commonhold_hedged_chunks_total", &[], self.link.hedges());
        let peers = self.net.peers().await;
        let connected = peers.iter().filter(|peer| peer.connected).count() as u64;
        shot.whole("commonhold_peers", &["connected"], connected);
        shot.whole("commonhold_peers", &["away"], peers.len() as u64 - connected);
        for transport in ["quic", "tcp"] {
            let by = peers.iter().filter(|peer| peer.connected && peer.transport == Some(transport)).count();
            shot.whole("commonhold_peers_connected", &[transport], by as u64);
        }
        shot.whole("commonhold_connections_refused_total", &[], self.net.refused_connections());
        let known = self.directory.all();
        let reachable = known.iter().filter(|it| it.reachable);
        shot.whole("commonhold_dht_nodes", &["known"], known.len() as u64);
        shot.whole("commonhold_dht_nodes", &["reachable"], reachable.clone().count() as u64);
        let offering = reachable.filter(|it| it.record.offer.is_some()).count();
        shot.whole("commonhold_dht_nodes", &["offering"], offering as u64);
    }

    /// What was done for others, and what is written about it.
    async fn gather_work(&self, shot: &mut Snapshot) {
        for (kind, [served, refused]) in KINDS.into_iter().zip(self.provider.served.counts()) {
            shot.whole("commonhold_requests_total", &[kind, "served"], served);
            shot.whole("commonhold_requests_total", &[kind, "refused"], refused);
        }
        let here = self.provider.verdicts.totals();
        for (outcome, count) in OUTCOMES.iter().zip(here).filter(|_| self.lends) {
            shot.whole("commonhold_audits_total", &["provider", outcome.as_str()], count);
        }
        shot.whole("commonhold_ledger_notes_total", &[], self.ledger.len());
        shot.whole("commonhold_ledger_cosigners", &[], self.witness.cosigners());
        for alert in Alert::ALL {
            shot.whole("commonhold_alert", &[alert.as_str()], self.alerts.holds(alert).into());
        }
        let sent = &self.alerts.sent;
        let messages = [("sent", &sent.sent), ("failed", &sent.failed), ("dropped", &sent.dropped)];
        for (outcome, count) in messages {
            shot.whole("commonhold_alert_messages_total", &[outcome], count.load(Ordering::Relaxed));
        }
        let forks = self.witness.forks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len();
        shot.whole("commonhold_ledger_forks", &[], forks as u64);
    }

    fn gather_policies(&self, shot: &mut Snapshot) {
        for kind in Kind::ALL {
            let status = self.plugins.seat(kind).status();
            let (name, it) = (kind.to_string(), &status.metrics);
            let policy = name.as_str();
            shot.whole("commonhold_policy_plugin", &[policy], status.plugin.is_some().into());
            shot.whole("commonhold_policy_resting", &[policy], status.paused.is_some().into());
            shot.whole("commonhold_policy_calls_total", &[policy], it.calls);
            shot.real("commonhold_policy_seconds_total", &[policy], it.total_time.as_secs_f64());
            shot.real("commonhold_policy_longest_seconds", &[policy], it.max_time.as_secs_f64());
            shot.whole("commonhold_policy_fallbacks_total", &[policy], it.fallbacks);
            for fault in FaultKind::ALL {
                let count = it.faults.get(&fault).copied().unwrap_or(0);
                shot.whole("commonhold_policy_faults_total", &[policy, fault.as_str()], count);
            }
        }
    }

    fn gather_interfaces(&self, shot: &mut Snapshot) {
        let it = &self.interfaces;
        let all = [
            ("api", &it.api),
            ("s3", &it.s3),
            ("gateway", &it.gateway),
            ("ledger", &it.ledger),
            ("metrics", &it.metrics),
        ];
        for (interface, counts) in all {
            for (class, count) in RequestCounts::CLASSES.into_iter().zip(counts.answered()) {
                shot.whole("commonhold_http_requests_total", &[interface, class], count);
            }
            shot.whole("commonhold_http_connections", &[interface], counts.connections());
        }
    }

    /// The owner's half.
    async fn gather_files(&self, shot: &mut Snapshot) -> Result<(), ApiFault> {
        let Some((owner, drive)) = self.owner_half() else { return Ok(()) };
        let (agent, absent) = (owner.clone(), self.absent_after_seconds);
        let found = blocking(move || agent.redundancy(absent)).await?;
        let states = [
            ("complete", found.complete),
            ("missing", found.missing),
            ("at_risk", found.at_risk),
            ("lost", found.lost),
        ];
        for (state, count) in states {
            shot.whole("commonhold_segments", &[state], count);
        }
        let (queue, chunks, bytes) = owner.repairs();
        shot.whole("commonhold_repair_queue_segments", &[], queue);
        shot.whole("commonhold_repaired_chunks_total", &[], chunks);
        shot.whole("commonhold_repaired_bytes_total", &[], bytes);
        shot.whole("commonhold_drive_forks", &[], drive.status().await.forks.len() as u64);
        for (stage, time) in owner.meter.totals() {
            shot.real("commonhold_stage_seconds_total", &[stage], time.as_secs_f64());
        }
        for (outcome, count) in OUTCOMES.iter().zip(owner.audit_totals()) {
            shot.whole("commonhold_audits_total", &["owner", outcome.as_str()], count);
        }
        let audited = owner.audited();
        for standing in ["good", "probation", "suspended", "quarantined", "absent", "lost"] {
            let count =
                audited.iter().filter(|(_, stood)| stood.standing.state().as_str() == standing).count();
            shot.whole("commonhold_providers", &[standing], count as u64);
        }
        Ok(())
    }
}

/// Contracts by role; answers what each owner may hold back, microcredits.
fn gather_contracts(shot: &mut Snapshot, vault: &crate::vault::Vault) -> BTreeMap<PartyId, i128> {
    let mut holds: BTreeMap<_, i128> = BTreeMap::new();
    let Ok(store) = vault.store() else { return holds };
    let now = unix_seconds();
    let mut sums = [[0u64; 2]; 2];
    for state in store.contracts().iter().filter_map(|id| store.contract(id)) {
        let [contracts, bytes] = &mut sums[usize::from(state.role == Role::Provider)];
        *contracts += 1;
        *bytes += state.revision.as_ref().map_or(0, |(revision, _)| revision.held_bytes);
        if state.role == Role::Provider && state.contract.ends > now {
            let hold = holds.entry(state.contract.owner).or_default();
            *hold = (*hold).max(state.contract.hold_microcredits.into());
        }
    }
    for (role, [contracts, bytes]) in ["owner", "provider"].into_iter().zip(sums) {
        shot.whole("commonhold_contracts", &[role], contracts);
        shot.whole("commonhold_contract_bytes", &[role], bytes);
    }
    holds
}

/// The process, as far as the operating system says.
fn gather_process(shot: &mut Snapshot) {
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        if let Some(kib) = kib {
            shot.whole("commonhold_resident_memory_bytes", &[], kib.saturating_mul(1024));
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        shot.whole("commonhold_open_files", &[], open.count() as u64);
    }
}

impl HealthApi for Api {
    fn obstacles(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(self.why_not_ready())
    }

    fn metrics(&self) -> BoxFuture<'_, Result<String, ApiFault>> {
        Box::pin(async move {
            let mut shown = self.shown.lock().await;
            if let Some((at, text)) = &*shown
                && at.elapsed() < FRESH
            {
                return Ok(text.clone());
            }
            let text = self.gather().await?.into_text();
            let text = text.map_err(|_| ApiFault::internal("the metrics could not be written"))?;
            *shown = Some((Instant::now(), text.clone()));
            Ok(text)
        })
    }
}
