//! Pricing: credit by what a party gave and took, in the manner of tit-for-tat.
//!
//! Begin with a small gift; then do as the other does: trust grows with what it gave and shrinks with
//! what it took beyond that; and forgive: whoever gives again is trusted again.
//!
//! Invariant: whoever owes more than `first_gift` gets no more gifts, and whoever never gave no trust. What
//! it is not: a way to tell parties of one person apart; the budget of all gifts bounds what they can take
//! together.
#![no_std]

use commonhold_plugin::pricing::*;

struct Reciprocal;

impl Pricing for Reciprocal {
    /// Less for those who gave at least as much as they took.
    fn quote(request: Request) -> Prices {
        let Peer { given, taken, .. } = request.peer;
        let discount = config::get("discount_per_mille", 100_u64).min(1000);
        if given > 0 && given >= taken { request.base.scaled(1000 - discount) } else { request.base }
    }

    fn credit_limit(request: CreditRequest) -> Credit {
        let Peer { given, taken, account, .. } = request.peer;
        let first_gift = config::get("first_gift", 1_000_000_u64);
        let trust_per_mille = config::get("trust_per_mille", 500_u64);
        let trust_max = config::get("trust_max", 100_000_000_u64);
        // All that it gave counts when it took no more than that; when it took twice as much, half.
        let counted = if taken > given { times(given, given, taken) } else { given };
        let trust = times(counted, trust_per_mille, 1000).min(trust_max);
        // Owing it is what a gift is for. Owing more is for those who are trusted.
        let gift = if account > 0 && account.unsigned_abs() > first_gift { 0 } else { first_gift };
        Credit { trust: trust.min(AMOUNT_MAX), gift: gift.min(AMOUNT_MAX) }
    }
}

commonhold_plugin::export_pricing!(Reciprocal, log);

/// amount · part / whole, rounded down, or the largest number; `whole` is not 0.
fn times(amount: u64, part: u64, whole: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(part) / u128::from(whole);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    /// Somebody who never paid with anything but what it gave.
    fn peer(given: u64, taken: u64) -> Peer {
        let account = (i128::from(taken) - i128::from(given)).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        Peer { given, taken, account, ..Peer::default() }
    }

    fn credit(given: u64, taken: u64) -> (u64, u64) {
        let Credit { trust, gift } =
            Reciprocal::credit_limit(CreditRequest { peer: peer(given, taken), ..CreditRequest::default() });
        (trust, gift)
    }

    #[test]
    fn it_begins_with_a_gift_and_gives_no_second_one() {
        let _host = Host::new();
        assert_eq!(credit(0, 0), (0, 1_000_000));
        assert_eq!(credit(0, 1_000_000), (0, 1_000_000));
        assert_eq!(credit(0, 1_000_001), (0, 0));
        assert_eq!(credit(0, u64::MAX), (0, 0));
        let paid = Peer { account: 0, ..peer(0, 9_000_000) };
        let credit_limit = Reciprocal::credit_limit(CreditRequest { peer: paid, ..CreditRequest::default() });
        assert_eq!(credit_limit, Credit { trust: 0, gift: 1_000_000 }, "whoever pays is welcome");
        let _host = Host::new().config("first_gift", "0");
        assert_eq!(credit(0, 0), (0, 0));
    }

    #[test]
    fn trust_grows_with_what_was_given_and_forgives() {
        let _host = Host::new();
        assert_eq!(credit(10_000_000, 10_000_000), (5_000_000, 1_000_000));
        assert_eq!(credit(10_000_000, 20_000_000), (2_500_000, 0), "took twice as much");
        assert_eq!(credit(20_000_000, 20_000_000), (10_000_000, 1_000_000), "gave again");
        assert_eq!(credit(u64::MAX, 0).0, 100_000_000);
        let _host = Host::new().config("trust_per_mille", "1000").config("trust_max", "7");
        assert_eq!(credit(5, 0).0, 5);
        assert_eq!(credit(50, 0).0, 7);
    }

    #[test]
    fn those_who_give_as_much_pay_less() {
        let base = Prices { storage: 1000, egress: 100, audit: 10 };
        let quote = |given, taken| {
            Reciprocal::quote(Request { base, peer: peer(given, taken), ..Request::default() })
        };
        let _host = Host::new();
        assert_eq!([quote(0, 0), quote(4, 5)], [base; 2]);
        assert_eq!(quote(5, 5), Prices { storage: 900, egress: 90, audit: 9 });
        let _host = Host::new().config("discount_per_mille", "5000");
        assert_eq!(quote(5, 0), Prices::FREE);
    }

    #[test]
    fn who_gives_more_is_never_trusted_less() {
        let _host = Host::new();
        for taken in [0, 1, 1_000_000, 77_777_777, u64::MAX] {
            let all: Vec<(u64, u64)> = (0..64).map(|bit| credit((1 << bit) - 1, taken)).collect();
            assert!(all.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{taken}: {all:?}");
        }
    }

    #[test]
    fn everything_can_be_asked() {
        for most in ["0", "1000", "18446744073709551615"] {
            let names = ["first_gift", "trust_per_mille", "trust_max", "discount_per_mille"];
            let _host = names.iter().fold(Host::new(), |host, name| host.config(name, most));
            plugin_questions::pricing::<Reciprocal>();
        }
    }
}
