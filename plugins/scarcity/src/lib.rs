//! Pricing: storage costs more as the disk fills.
//!
//! Invariant: with a curve that rises, a fuller disk never costs less. What it is not: a rise for those
//! who are customers already; prices of a contract that stands do not change.
#![no_std]

use commonhold_plugin::pricing::*;

/// Per cent of the disk in use, and the factor of the price there, in thousandths.
const CURVE: &str = "50:1000 80:1500 95:3000 100:10000";

struct Scarcity;

impl Pricing for Scarcity {
    /// The configured price of storage times the factor of the curve. Sending and audits wear no disk
    /// out, and cost what is configured.
    fn quote(request: Request) -> Prices {
        let Request { base, bytes, mut usage, .. } = request;
        let expected = config::get("expected_percent", 0_u64).min(100);
        usage.used_bytes = usage.used_bytes.saturating_add(bytes.saturating_mul(expected) / 100);
        let storage = base.scaled(factor(&curve(), usage.per_mille())).storage;
        Prices { storage, ..base }
    }
}

commonhold_plugin::export_pricing!(Scarcity, log);

/// The highest factor: a thousand times the price.
const FACTOR_MAX: u64 = 1_000_000;

/// Points of the curve: thousandths of the disk, thousandths of the price.
fn curve() -> Vec<(u64, u64)> {
    let written = config::text("curve").unwrap_or_else(|| CURVE.to_owned());
    let mut points: Vec<(u64, u64)> = Vec::new();
    for part in written.split_whitespace() {
        let point = part.split_once(':').and_then(|(percent, factor)| {
            let percent: u64 = percent.parse().ok().filter(|it| *it <= 100)?;
            let factor = factor.parse().ok().filter(|it| *it <= FACTOR_MAX)?;
            Some((percent * 10, factor))
        });
        match (point, points.last()) {
            (Some(point), last) if last.is_none_or(|last| last.0 < point.0) => points.push(point),
            _ => panic!("configuration curve: {part} is no rising point like 80:1500"),
        }
    }
    points
}

/// Between two points on the straight line; before the first and after the last as there.
fn factor(curve: &[(u64, u64)], used: u64) -> u64 {
    let after = curve.iter().position(|point| used < point.0).unwrap_or(curve.len());
    let at = |point: usize| curve.get(point).copied();
    match (after.checked_sub(1).and_then(at), at(after)) {
        (None, None) => 1000,
        (None, Some((_, factor))) | (Some((_, factor)), None) => factor,
        (Some((from, low)), Some((to, high))) => {
            let (way, all) = (used - from, to - from);
            (low * (all - way) + high * way) / all
        }
    }
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    fn quote(used_percent: u64, bytes: u64) -> Prices {
        let base = Prices { storage: 1000, egress: 100, audit: 1 };
        let usage = Usage { allotted_bytes: 100 << 30, used_bytes: used_percent << 30, contracts: 1 };
        Scarcity::quote(Request { base, bytes, usage, ..Request::default() })
    }

    #[test]
    fn the_price_follows_the_curve() {
        let _host = Host::new();
        let found = [0, 50, 65, 80, 90, 95, 98, 100, 200].map(|used| quote(used, 0).storage);
        assert_eq!(found, [1000, 1000, 1250, 1500, 2500, 3000, 7200, 10_000, 10_000]);
        assert_eq!((quote(100, 0).egress, quote(100, 0).audit), (100, 1));
        let _host = Host::new().config("curve", "0:500 100:1500");
        assert_eq!([0, 25, 50, 100].map(|used| quote(used, 0).storage), [500, 750, 1000, 1500]);
        let _host = Host::new().config("curve", "");
        assert_eq!(quote(100, 0).storage, 1000);
    }

    #[test]
    fn a_contract_may_count_before_it_is_used() {
        let _host = Host::new().config("expected_percent", "50");
        assert_eq!(quote(50, 60 << 30).storage, 1500);
        let _host = Host::new();
        assert_eq!(quote(50, 60 << 30).storage, 1000);
    }

    #[test]
    #[should_panic(expected = "configuration curve: 50:2000 is no rising point like 80:1500")]
    fn a_curve_that_goes_back_is_a_mistake() {
        let _host = Host::new().config("curve", "80:1500 50:2000");
        quote(0, 0);
    }

    #[test]
    fn a_fuller_disk_never_costs_less() {
        let _host = Host::new();
        let prices: Vec<u64> = (0..=100).map(|used| quote(used, 0).storage).collect();
        assert!(prices.is_sorted());
    }

    #[test]
    fn everything_can_be_asked() {
        for curve in ["0:0 100:1000000", "100:1", CURVE] {
            let _host = Host::new().config("curve", curve).config("expected_percent", "100");
            plugin_questions::pricing::<Scarcity>();
        }
    }
}
