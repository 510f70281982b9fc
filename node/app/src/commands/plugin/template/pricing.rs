//! PLUGIN_NAME: what things cost.
#![no_std]

use commonhold_plugin::pricing::*;

/// The configured prices while the disk has room; `markup_per_mille` more (default 500, half as much
/// again) when three quarters of it are in use.
struct Policy;

impl Pricing for Policy {
    fn quote(request: Request) -> Prices {
        let markup = config::get("markup_per_mille", 500_u64);
        if request.usage.per_mille() < 750 {
            request.base
        } else {
            request.base.scaled(markup.saturating_add(1000))
        }
    }
}

commonhold_plugin::export_pricing!(Policy, log);

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    #[test]
    fn a_full_disk_costs_more() {
        let base = Prices { storage: 1000, egress: 100, audit: 1 };
        let quote = |used_bytes| {
            let usage = Usage { allotted_bytes: 1 << 40, used_bytes, contracts: 3 };
            Policy::quote(Request { base, usage, ..Request::default() })
        };
        let _host = Host::new();
        assert_eq!(quote(1 << 38), base);
        assert_eq!(quote(1 << 40), Prices { storage: 1500, egress: 150, audit: 1 });
        let _host = Host::new().config("markup_per_mille", "1000");
        assert_eq!(quote(1 << 40), Prices { storage: 2000, egress: 200, audit: 2 });
    }
}
