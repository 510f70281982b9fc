//! PLUGIN_NAME: where chunks go.
#![no_std]

use commonhold_plugin::placement::*;

/// Providers that answer within `max_latency_ms` (default 500) before all others; among them as the
/// built-in default draws, and the others as spares.
struct Policy;

impl Placement for Policy {
    fn rank(_need: Need, _taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
        let max_latency_ms = config::get("max_latency_ms", 500_u32);
        order::weighted_after(&candidates, |it| it.latency_ms > max_latency_ms, default_weight)
    }
}

commonhold_plugin::export_placement!(Policy, log);

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    fn candidate(latency_ms: u32, lot: u64) -> Candidate {
        Candidate { latency_ms, lot, free_bytes: 1 << 30, ..Candidate::default() }
    }

    #[test]
    fn slow_providers_are_spares() {
        let candidates = vec![candidate(900, 1), candidate(20, 9), candidate(30, 5)];
        let _host = Host::new();
        assert_eq!(Policy::rank(Need::default(), vec![], candidates.clone()), [2, 1, 0]);
        let _host = Host::new().config("max_latency_ms", "25");
        assert_eq!(Policy::rank(Need::default(), vec![], candidates), [1, 0, 2]);
    }
}
