//! Transport for a home line: limits by hour and by month, QUIC or TCP by what worked, few at once.
//!
//! Invariant: no address of a peer is left out. What it is not: a hard cap. The month counts chunks alone,
//! and a limit holds from one minute to the next.
#![no_std]

use commonhold_plugin::time::Window;
use commonhold_plugin::transport::*;

struct HomeUplink;

impl Transport for HomeUplink {
    /// What the hours say, and no more than `after_budget` when the month's bytes are used up.
    fn limit(now: Moment, traffic: Traffic) -> Limits {
        let used = traffic.sent_this_month.saturating_add(traffic.received_this_month);
        let budget = config::bytes("month_budget", u64::MAX);
        let most = if used <= budget { 0 } else { config::bytes("after_budget", 64 << 10) };
        Limits { upload: slower(rate("upload", &now), most), download: slower(rate("download", &now), most) }
    }

    /// First what is better on this line, then what did not fail, then what connects soonest.
    fn dial(now: Moment, peer: Key, addresses: Vec<Address>) -> DialPlan {
        for (transport, name) in [(QUIC, "quic"), (TCP, "tcp")] {
            if let Some(worth) = worth(&addresses, transport) {
                mean::add(name, worth);
            }
        }
        // This peer's history counts; without one, what peers before it showed of the line.
        let known = |transport, name| worth(&addresses, transport).or_else(|| mean::get(name));
        let tcp = known(TCP, "tcp").unwrap_or(0) > known(QUIC, "quic").unwrap_or(0);
        // Now and then the other one first, each peer in another hour: what was slow may be fast again.
        let explore = u64::from(config::get("explore_one_in", 24_u32));
        let hour = (now.unix_seconds / 3600).wrapping_add(peer.d);
        let explores = hour.checked_rem(explore) == Some(0);
        let first = if tcp != explores { TCP } else { QUIC };
        let unknown_last = |it: &Address| if it.connect_ms == 0 { u32::MAX } else { it.connect_ms };
        let order = order::by_key(&addresses, |it| {
            (it.failures_in_row > 2, it.transport != first, it.failures_in_row, unknown_last(it))
        });
        // One when it worked the last time, else two in a race.
        let sure = order.first().map(|at| &addresses[*at as usize]);
        let sure = sure.is_some_and(|it| it.successes > 0 && it.failures_in_row == 0);
        DialPlan { order, at_once: if sure { 1 } else { 2 } }
    }

    /// Few chunks at the same time: a thin line that is shared by all of them makes each one late.
    fn send(need: Need) -> u32 {
        config::get("send_at_once", 4_u32).clamp(1, need.n.max(1))
    }
}

commonhold_plugin::export_transport!(HomeUplink, log);

/// What arrives per second over a transport to this peer, times the part of attempts that succeed; `None`
/// when it was never tried.
fn worth(addresses: &[Address], transport: u32) -> Option<u64> {
    let tried = addresses.iter().filter(|it| it.transport == transport && it.successes | it.failures != 0);
    let worth = |it: &Address| {
        // With connections and nothing yet to measure, better than only failures.
        let rate = it.bytes_per_second.max(1000) / 1000;
        rate.saturating_mul(1000 - u64::from(it.failed_per_mille()))
    };
    tried.map(worth).max()
}

/// The slower one of two limits; 0 is none.
fn slower(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a | b } else { a.min(b) }
}

/// Bytes per second at a moment by rules like "mon-fri 08:00-18:00 200 KB; 22:00-06:00 0; 2 MiB": the
/// first whose hours fit counts.
fn rate(name: &str, now: &Moment) -> u64 {
    let rules = config::text(name).unwrap_or_default();
    let mut found = None;
    // All are read, so that a mistake in one shows at once.
    for rule in rules.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
        let (hours, bytes) = parse(rule).unwrap_or_else(|| {
            panic!("configuration {name}: {rule} is no rule like mon-fri 08:00-18:00 200 KB")
        });
        found = found.or(hours.contains(now).then_some(bytes));
    }
    found.unwrap_or(0)
}

fn parse(rule: &str) -> Option<(Window, u64)> {
    // The number of bytes begins at the first word that begins with a digit and is no time.
    let words: Vec<&str> = rule.split_whitespace().collect();
    let number = |word: &&str| word.starts_with(|it: char| it.is_ascii_digit()) && !word.contains(':');
    let (hours, bytes) = words.split_at(words.iter().position(number)?);
    let window = if hours.is_empty() { Window::ALWAYS } else { hours.join(" ").parse().ok()? };
    Some((window, config::parse_bytes(&bytes.join(" "))?))
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    const HOURS: &str = "mon-fri 08:00-18:00 200 KB; sat-sun 1 MiB; 22:00-06:00 0; 2 MiB";

    fn limits(now: Moment, sent_this_month: u64) -> (u64, u64) {
        let traffic = Traffic { sent_this_month, received_this_month: 1 << 30, ..Traffic::default() };
        let Limits { upload, download } = HomeUplink::limit(now, traffic);
        (upload, download)
    }

    #[test]
    fn the_first_rule_whose_hours_fit_counts() {
        let _host = Host::new().config("upload", HOURS).config("download", "06:00-24:00 5 MB");
        assert_eq!(limits(Moment::at(0, 9, 0), 0), (200_000, 5_000_000));
        assert_eq!(limits(Moment::at(6, 9, 0), 0), (1 << 20, 5_000_000));
        assert_eq!(limits(Moment::at(1, 3, 0), 0), (0, 0));
        assert_eq!(limits(Moment::at(1, 19, 0), 0), (2 << 20, 5_000_000));
        let _host = Host::new();
        assert_eq!(limits(Moment::at(1, 3, 0), u64::MAX), (0, 0), "nothing is set");
    }

    #[test]
    fn after_the_budget_of_the_month_it_is_slow() {
        let host = Host::new().config("upload", HOURS).config("month_budget", "100 GiB");
        assert_eq!(limits(Moment::at(1, 3, 0), 99 << 30), (0, 0));
        assert_eq!(limits(Moment::at(1, 3, 0), 100 << 30), (64 << 10, 64 << 10));
        let _host = host.config("after_budget", "300 KB");
        assert_eq!(limits(Moment::at(0, 9, 0), 100 << 30), (200_000, 300_000), "never faster than the hours");
    }

    #[test]
    fn other_texts_are_no_rules() {
        for rule in ["fast", "8-18 1 MiB", "mon-fri", "1 MiB 08:00-18:00", "08:00-18:00 1 MiB 2"] {
            assert_eq!(parse(rule), None, "{rule}");
        }
    }

    #[test]
    #[should_panic(expected = "configuration upload: at night 1 MiB is no rule")]
    fn a_mistake_in_any_rule_shows_at_once() {
        let _host = Host::new().config("upload", "2 MiB; at night 1 MiB");
        limits(Moment::default(), 0);
    }

    fn address(transport: u32, successes: u32, failures: u32, bytes_per_second: u64) -> Address {
        Address { transport, successes, failures, bytes_per_second, ..Address::default() }
    }

    /// In an hour in which nothing is explored.
    fn dial(addresses: &[Address]) -> (Vec<u32>, u32) {
        let now = Moment { unix_seconds: 3600, ..Moment::default() };
        let DialPlan { order, at_once } = HomeUplink::dial(now, Key::NOBODY, addresses.to_vec());
        (order, at_once)
    }

    #[test]
    fn what_works_better_is_dialed_first() {
        let _host = Host::new();
        let (quic, tcp) = (address(QUIC, 9, 1, 100_000), address(TCP, 9, 0, 900_000));
        assert_eq!(dial(&[quic, tcp]), (vec![1, 0], 1));
        // Half of all attempts over TCP fail: worth half.
        assert_eq!(dial(&[address(QUIC, 9, 0, 500_000), address(TCP, 9, 9, 900_000)]), (vec![0, 1], 1));
        // Whoever fails again and again comes last.
        let failing = Address { failures_in_row: 3, ..tcp };
        assert_eq!(dial(&[failing, quic]).0, [1, 0]);
    }

    #[test]
    fn a_new_peer_is_dialed_as_the_line_likes_it() {
        let _host = Host::new();
        let new = [address(QUIC, 0, 0, 0), address(TCP, 0, 0, 0)];
        assert_eq!(dial(&new), (vec![0, 1], 2));
        dial(&[address(QUIC, 1, 9, 10_000), address(TCP, 9, 0, 900_000)]);
        assert_eq!(dial(&new), (vec![1, 0], 2), "UDP is slow here");
    }

    #[test]
    fn now_and_then_the_other_one_is_tried() {
        let addresses = [address(QUIC, 9, 0, 900_000), address(TCP, 9, 0, 100_000)];
        let tcp_first = |explore: &str| {
            let _host = Host::new().config("explore_one_in", explore);
            let dial = |hour: u64| {
                let now = Moment { unix_seconds: hour * 3600, ..Moment::default() };
                HomeUplink::dial(now, Key::NOBODY, addresses.to_vec()).order == [1, 0]
            };
            (0..240).filter(|hour| dial(*hour)).count()
        };
        assert_eq!(["24", "2", "0"].map(tcp_first), [10, 120, 0]);
    }

    #[test]
    fn few_chunks_go_at_once() {
        let send = |n| HomeUplink::send(Need { n, ..Need::default() });
        let _host = Host::new();
        assert_eq!([send(60), send(3)], [4, 3]);
        let _host = Host::new().config("send_at_once", "0");
        assert_eq!(send(60), 1);
    }

    #[test]
    fn everything_can_be_asked() {
        for (number, explore) in [("0", "0"), ("18446744073709551615", "1")] {
            let _host = Host::new()
                .config("upload", HOURS)
                .config("month_budget", number)
                .config("after_budget", number)
                .config("explore_one_in", explore);
            plugin_questions::transport::<HomeUplink>();
        }
    }
}
