//! Transport: reads do not wait for the slowest. Sources that answer soonest are asked first, and one more
//! when an answer takes longer than 19 in 20 did.
//!
//! Invariant: because of slowness at most `extra_per_mille` more chunks than are needed, rounded up, are
//! asked for, and in repair none. What it is not: more bandwidth; on a line that is full, asking for more
//! makes all of it later.
#![no_std]

use commonhold_plugin::transport::*;

struct Hedged;

impl Transport for Hedged {
    fn fetch(need: Need, sources: Vec<Source>) -> FetchPlan {
        let rules = Rules::configured();
        let order = order::by_key(&sources, |it| {
            (it.preferred != 1, it.reachable != 1, rules.expected_ms(it), it.index)
        });
        let n = need.n.max(1);
        let k = need.k.clamp(1, n);
        let first: Vec<&Source> = order.iter().take(k as usize).map(|at| &sources[*at as usize]).collect();
        // Repair has time.
        let extra = if need.purpose == PURPOSE_REPAIR { 0 } else { rules.extra(k).min(n - k) };
        // One more at once when it cannot be known how long somebody takes.
        let unsure = first.iter().any(|it| it.reachable != 1 || it.successes == 0);
        let ahead = extra.min(unsure.into());
        let slow_ms = first.iter().map(|it| it.slow_ms).max().unwrap_or(0);
        let hedge_after_ms =
            if slow_ms == 0 { rules.max_ms } else { slow_ms.clamp(rules.min_ms, rules.max_ms) };
        FetchPlan { order, parallel: k + ahead, hedge_after_ms, hedges: extra - ahead }
    }
}

commonhold_plugin::export_transport!(Hedged, log);

/// What the operator set.
struct Rules {
    /// Bounds of the wait, milliseconds.
    min_ms: u32,
    max_ms: u32,
    /// What is expected of a source that sent nothing yet, milliseconds.
    unknown_ms: u32,
    /// Most chunks beyond those that are needed, in thousandths of them.
    extra_per_mille: u32,
}

impl Rules {
    fn configured() -> Self {
        let min_ms = config::get("hedge_min_ms", 30_u32).max(HEDGE_AFTER_MS_MIN);
        Self {
            min_ms,
            max_ms: config::get("hedge_max_ms", HEDGE_AFTER_MS).max(min_ms),
            unknown_ms: config::get("unknown_ms", 300_u32),
            extra_per_mille: config::get("extra_per_mille", 500_u32),
        }
    }

    fn extra(&self, k: u32) -> u32 {
        (u64::from(k) * u64::from(self.extra_per_mille)).div_ceil(1000).try_into().unwrap_or(u32::MAX)
    }

    /// Its median, and the longest wait as often as it fails.
    fn expected_ms(&self, source: &Source) -> u64 {
        let median = if source.median_ms == 0 { self.unknown_ms } else { source.median_ms };
        let all = u64::from(source.successes) + u64::from(source.failures);
        let failing = (u64::from(self.max_ms) * u64::from(source.failures)).checked_div(all).unwrap_or(0);
        u64::from(median) + failing
    }
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    fn source(index: u32, median_ms: u32, slow_ms: u32) -> Source {
        Source { index, median_ms, slow_ms, successes: 9, ..Source::default() }
    }

    fn fetch(purpose: u32, sources: &[Source]) -> (Vec<u32>, u32, u32, u32) {
        let FetchPlan { order, parallel, hedge_after_ms, hedges } =
            Hedged::fetch(Need { purpose, ..Need::default() }, sources.to_vec());
        (order, parallel, hedge_after_ms, hedges)
    }

    #[test]
    fn the_fastest_are_asked_and_one_more_when_they_are_late() {
        let sources = [source(0, 400, 900), source(1, 80, 120), source(2, 20, 50), source(3, 90, 2000)];
        let _host = Host::new();
        assert_eq!(fetch(PURPOSE_READ, &sources), (vec![2, 1, 3, 0], 2, 120, 1));
        assert_eq!(fetch(PURPOSE_REPAIR, &sources), (vec![2, 1, 3, 0], 2, 120, 0));
        let _host = Host::new().config("hedge_max_ms", "100").config("extra_per_mille", "2000");
        assert_eq!(fetch(PURPOSE_READ, &sources), (vec![2, 1, 3, 0], 2, 100, 4));
        let _host = Host::new().config("hedge_min_ms", "500").config("extra_per_mille", "0");
        assert_eq!(fetch(PURPOSE_READ, &sources), (vec![2, 1, 3, 0], 2, 500, 0));
    }

    #[test]
    fn one_more_at_once_when_somebody_is_not_known() {
        let new = Source { index: 1, ..Source::default() };
        let _host = Host::new();
        assert_eq!(fetch(PURPOSE_READ, &[source(0, 50, 90), new]), (vec![0, 1], 3, 90, 0));
        assert_eq!(fetch(PURPOSE_READ, &[new]), (vec![0], 3, 1500, 0));
        assert_eq!(fetch(PURPOSE_READ, &[]), (vec![], 2, 1500, 1));
        let _host = Host::new().config("extra_per_mille", "0");
        assert_eq!(fetch(PURPOSE_READ, &[new]), (vec![0], 2, 1500, 0));
    }

    #[test]
    fn failing_gone_and_preferred_sources() {
        let failing = Source { failures: 9, ..source(0, 20, 50) };
        let gone = Source { reachable: 0, ..source(1, 10, 20) };
        let preferred = Source { preferred: 1, ..source(2, 500, 900) };
        let _host = Host::new();
        assert_eq!(fetch(PURPOSE_READ, &[failing, gone, preferred, source(3, 700, 800)]).0, [2, 3, 0, 1]);
    }

    #[test]
    fn everything_can_be_asked() {
        for most in ["0", "1000", "4294967295"] {
            let names = ["hedge_min_ms", "hedge_max_ms", "unknown_ms", "extra_per_mille"];
            let _host = names.iter().fold(Host::new(), |host, name| host.config(name, most));
            plugin_questions::transport::<Hedged>();
        }
    }
}
