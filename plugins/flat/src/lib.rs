//! Pricing: fixed prices, a fixed ceiling and fixed credit, whoever asks.
//!
//! Invariant: the answers depend on the configuration alone, and on nothing that others do.
#![no_std]

use commonhold_plugin::pricing::*;

struct Flat;

impl Pricing for Flat {
    /// What is set; a price that is not set is the node's own.
    fn quote(request: Request) -> Prices {
        let Prices { storage, egress, audit } = request.base;
        let set = Prices {
            storage: config::get("storage", storage),
            egress: config::get("egress", egress),
            audit: config::get("audit", audit),
        };
        set.map(|price| price.min(AMOUNT_MAX))
    }

    fn credit_limit(_request: CreditRequest) -> Credit {
        Credit {
            trust: config::get("trust", Credit::DEFAULT.trust).min(AMOUNT_MAX),
            gift: config::get("gift", Credit::DEFAULT.gift).min(AMOUNT_MAX),
        }
    }

    fn ceiling(_market: Market) -> Prices {
        Prices {
            storage: config::get("max_storage", u64::MAX),
            egress: config::get("max_egress", u64::MAX),
            audit: config::get("max_audit", u64::MAX),
        }
    }
}

commonhold_plugin::export_pricing!(Flat, log);

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    #[test]
    fn what_is_set_is_answered() {
        let _host = Host::new()
            .config("storage", "2000")
            .config("egress", "0")
            .config("trust", "5000000")
            .config("gift", "100")
            .config("max_storage", "3000");
        let base = Prices { storage: 1, egress: 2, audit: 3 };
        let quote = Flat::quote(Request { base, ..Request::default() });
        assert_eq!(quote, Prices { storage: 2000, egress: 0, audit: 3 });
        assert_eq!(Flat::credit_limit(CreditRequest::default()), Credit { trust: 5_000_000, gift: 100 });
        assert_eq!(Flat::ceiling(Market::default()), Prices { storage: 3000, ..Prices::ANY });
    }

    #[test]
    fn with_nothing_set_it_is_the_default() {
        let _host = Host::new();
        let base = Prices { storage: 1, egress: 2, audit: 3 };
        assert_eq!(Flat::quote(Request { base, ..Request::default() }), base);
        assert_eq!(Flat::credit_limit(CreditRequest::default()), Credit::DEFAULT);
        assert_eq!(Flat::ceiling(Market::default()), Prices::ANY);
    }

    #[test]
    #[should_panic(expected = "configuration gift")]
    fn a_debt_is_no_gift() {
        let _host = Host::new().config("gift", "-1");
        Flat::credit_limit(CreditRequest::default());
    }

    #[test]
    fn everything_can_be_asked() {
        for most in ["0", "18446744073709551615"] {
            let names = ["storage", "egress", "audit", "trust", "gift", "max_storage"];
            let _host = names.iter().fold(Host::new(), |host, name| host.config(name, most));
            plugin_questions::pricing::<Flat>();
        }
    }
}
