//! A transport policy that does what its configuration says, for the tests beside it. `plugin.toml`:
//! name "line-probe", kind "transport", capabilities ["config", "log"]. Built like the plugins of
//! plugins/, from a crate whose `src/lib.rs` this is; what the tests use is `probe.wasm`.
#![no_std]

use commonhold_plugin::transport::*;

struct Probe;

impl Transport for Probe {
    /// `only` = 1 dials QUIC alone, 2 TCP alone.
    fn dial(_now: Moment, _peer: Key, addresses: Vec<Address>) -> DialPlan {
        let only = config::get("only", 0);
        let order = order::as_they_stand(addresses.len()).into_iter();
        let order = order.filter(|at| only == 0 || addresses[*at as usize].transport == only);
        DialPlan { order: order.collect(), at_once: config::get("at_once", AT_ONCE_MAX) }
    }

    /// `upload` and `download`, bytes per second.
    fn limit(_now: Moment, _traffic: Traffic) -> Limits {
        Limits { upload: config::get("upload", 0), download: config::get("download", 0) }
    }

    /// `hedge_ms` and `hedges` instead of the default's.
    fn fetch(need: Need, sources: Vec<Source>) -> FetchPlan {
        let plan = default_fetch(need, &sources);
        let hedges = config::get("hedges", plan.hedges).min(need.n);
        FetchPlan { hedges, hedge_after_ms: config::get("hedge_ms", plan.hedge_after_ms), ..plan }
    }

    /// `parallel` chunks at the same time.
    fn send(need: Need) -> u32 {
        config::get("parallel", need.n).clamp(1, need.n.max(1))
    }

    /// `closed` = 1 wants nobody.
    fn admit(_connection: Connection) -> Verdict {
        if config::get("closed", 0) == 1 { Verdict::no("closed") } else { Verdict::yes() }
    }
}

commonhold_plugin::export_transport!(Probe, log);
