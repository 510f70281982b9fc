//! Every metric that a node has: its name, kind, unit, labels with all their values, and meaning.
//!
//! Invariant: a label has no values but those here, so that nothing of a file, a chunk or a party can become
//! one. spec/metrics.md has the same table; a test compares them.

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the node runs.
    Counter,
    /// It is as it is now.
    Gauge,
    /// It is 1, and its labels say something. Those have any value.
    Info,
}

/// A label and all its values.
pub type Label = (&'static str, &'static [&'static str]);

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As it is exposed, with the suffix of its kind.
    pub name: &'static str,
    /// What its number means.
    pub kind: Kind,
    /// What it counts.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [Label],
    /// One phrase.
    pub help: &'static str,
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn counter(
    name: &'static str,
    unit: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit, labels, help }
}

const DIRECTION: Label = ("direction", &["sent", "received"]);
const POLICY: Label = ("policy", &["placement", "transport", "pricing"]);
const ROLE: Label = ("role", &["owner", "provider"]);
const INTERFACE: Label = ("interface", &["api", "s3", "gateway", "ledger", "metrics"]);

/// All of them.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "commonhold_build_info",
        kind: Kind::Info,
        unit: "",
        labels: &[("version", &[])],
        help: "the version that runs",
    },
    gauge("commonhold_start_time_seconds", "Unix seconds", &[], "when the node was started"),
    gauge(
        "commonhold_resident_memory_bytes",
        "bytes",
        &[],
        "memory of the process; absent where there is no /proc",
    ),
    gauge(
        "commonhold_open_files",
        "files",
        &[],
        "open files and sockets of the process; absent where there is no /proc",
    ),
    gauge("commonhold_ready", "0 or 1", &[], "whether /readyz says yes"),
    gauge("commonhold_quarantined", "0 or 1", &[], "whether the store is in quarantine"),
    gauge(
        "commonhold_disk_bytes",
        "bytes",
        &[("part", &["used", "trash", "dead", "reserve", "free"])],
        "the accounts of the lent disk; the parts together are what is allotted and the excess",
    ),
    gauge("commonhold_disk_allotted_bytes", "bytes", &[], "what is lent"),
    gauge(
        "commonhold_disk_excess_bytes",
        "bytes",
        &[],
        "what is used beyond that, after it was made smaller",
    ),
    gauge(
        "commonhold_disk_room_bytes",
        "bytes",
        &[],
        "what can be stored now: free, and there on the file system",
    ),
    gauge("commonhold_disk_chunks", "chunks", &[("state", &["kept", "trash"])], "chunks on the lent disk"),
    counter("commonhold_scrub_laps_total", "laps", &[], "times that the scrub went through everything, ever"),
    counter("commonhold_scrub_rotten_chunks_total", "chunks", &[], "chunks that the scrub found rotten"),
    counter("commonhold_chunk_bytes_total", "bytes", &[DIRECTION], "bytes of chunks that went over the line"),
    gauge(
        "commonhold_traffic_bytes",
        "bytes",
        &[("period", &["day", "month"]), DIRECTION],
        "bytes of chunks since midnight, and since the first of the month",
    ),
    gauge(
        "commonhold_rate_limit_bytes_per_second",
        "bytes per second",
        &[DIRECTION],
        "limits of the transport policy; 0 for none",
    ),
    counter(
        "commonhold_hedged_chunks_total",
        "chunks",
        &[],
        "chunks that were asked for because others were slow",
    ),
    gauge("commonhold_peers", "nodes", &[("state", &["connected", "away"])], "nodes that the network knows"),
    gauge(
        "commonhold_peers_connected",
        "nodes",
        &[("transport", &["quic", "tcp"])],
        "connected nodes by how",
    ),
    counter(
        "commonhold_connections_refused_total",
        "connections",
        &[],
        "connections that the transport policy did not want",
    ),
    gauge(
        "commonhold_dht_nodes",
        "nodes",
        &[("state", &["known", "reachable", "offering"])],
        "nodes found by walking the DHT whose signed record is valid; those that answered last; those among them that lend disk",
    ),
    counter(
        "commonhold_requests_total",
        "requests",
        &[
            (
                "kind",
                &[
                    "hello", "contract", "put", "commit", "get", "audit", "receipt", "ledger", "money",
                    "told", "other",
                ],
            ),
            ("outcome", &["served", "refused"]),
        ],
        "requests of other nodes by what they are about",
    ),
    counter(
        "commonhold_audits_total",
        "audits",
        &[ROLE, ("outcome", &["passed", "wrong-bytes", "no-answer", "offline", "quarantined"])],
        "audits in this node's ledger: as owner, of others; as provider, of this disk, as far as owners told",
    ),
    gauge(
        "commonhold_providers",
        "nodes",
        &[("standing", &["good", "probation", "suspended", "quarantined", "absent", "lost"])],
        "providers that were audited, by how they stand",
    ),
    gauge("commonhold_contracts", "contracts", &[ROLE], "contracts in the book"),
    gauge("commonhold_contract_bytes", "bytes", &[ROLE], "bytes that contracts hold by their last revision"),
    gauge(
        "commonhold_credit_microcredits",
        "microcredits",
        &[("amount", &["earned", "spent", "owed_to_me", "owed_by_me", "held"])],
        "by notes that both signed: ever earned; ever spent; owed now; of what is owed to this node, what an owner may hold back until its contract ends",
    ),
    gauge(
        "commonhold_gift_budget_microcredits",
        "microcredits",
        &[("part", &["used", "left"])],
        "gifts to strangers in this epoch",
    ),
    gauge(
        "commonhold_segments",
        "segments",
        &[("state", &["complete", "missing", "at_risk", "lost"])],
        "segments of this owner: with all chunks; with some missing; with a quarter of the parity or less; with fewer than k",
    ),
    gauge(
        "commonhold_repair_queue_segments",
        "segments",
        &[],
        "segments that the repair that runs has still to do",
    ),
    counter("commonhold_repaired_chunks_total", "chunks", &[], "chunks that were made again"),
    counter("commonhold_repaired_bytes_total", "bytes", &[], "their bytes"),
    gauge("commonhold_drive_forks", "heads", &[], "heads of the drive that are not merged"),
    counter(
        "commonhold_stage_seconds_total",
        "seconds",
        &[(
            "stage",
            &[
                "read", "seal", "code", "hash", "send", "commit", "index", "head", "fetch", "check",
                "decode", "open",
            ],
        )],
        "time that the stages of puts and gets took; they run beside each other",
    ),
    gauge("commonhold_policy_plugin", "0 or 1", &[POLICY], "whether a plugin is in"),
    gauge("commonhold_policy_resting", "0 or 1", &[POLICY], "whether it is not asked, after too many faults"),
    counter(
        "commonhold_policy_calls_total",
        "calls",
        &[POLICY],
        "times that the plugin was asked, since it was put in",
    ),
    counter(
        "commonhold_policy_seconds_total",
        "seconds",
        &[POLICY],
        "time in the plugin, to the microsecond and better",
    ),
    gauge("commonhold_policy_longest_seconds", "seconds", &[POLICY], "its longest call"),
    counter(
        "commonhold_policy_fallbacks_total",
        "decisions",
        &[POLICY],
        "questions that the default answered in its place",
    ),
    counter(
        "commonhold_policy_faults_total",
        "calls",
        &[
            POLICY,
            (
                "fault",
                &["fuel", "wall", "memory", "stack", "trap", "panic", "answer", "import", "busy", "other"],
            ),
        ],
        "calls without a usable answer",
    ),
    counter("commonhold_ledger_notes_total", "notes", &[], "notes in this node's ledger"),
    gauge("commonhold_ledger_cosigners", "nodes", &[], "who cosigned its published head"),
    gauge("commonhold_ledger_forks", "forks", &[], "forks of ledgers for which there is evidence"),
    gauge(
        "commonhold_alert",
        "0 or 1",
        &[(
            "alert",
            &[
                "audit_failed",
                "provider_failed",
                "disk_filling",
                "no_peers",
                "policy_fallback",
                "silent",
                "quarantine",
                "segments_lost",
            ],
        )],
        "whether an alert was told and did not end",
    ),
    counter(
        "commonhold_alert_messages_total",
        "messages",
        &[("outcome", &["sent", "failed", "dropped"])],
        "messages about alerts",
    ),
    counter(
        "commonhold_http_requests_total",
        "requests",
        &[INTERFACE, ("status", &["2xx", "3xx", "4xx", "5xx"])],
        "requests that were answered, by interface",
    ),
    gauge("commonhold_http_connections", "connections", &[INTERFACE], "connections that are open"),
];

/// The metric of a name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|it| it.name == name)
}
