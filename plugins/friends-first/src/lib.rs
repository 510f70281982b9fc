//! Placement: named peers hold the data; strangers hold what friends have no room for.
//!
//! Invariant: no stranger stands before a friend, and with `strangers = parity` friends alone can give
//! each new segment back. What it is not: a promise that friends stay.
#![no_std]

use core::str::FromStr;

use commonhold_plugin::placement::*;

/// Codes for groups of any size, the largest first.
const CODES: [(u32, u32); 6] = [(20, 60), (10, 30), (2, 6), (2, 5), (2, 4), (1, 3)];

struct FriendsFirst;

impl Placement for FriendsFirst {
    /// The largest code for which there are holders enough, of friends alone or with strangers.
    fn choose_code(_now: Moment, candidates: Vec<Candidate>) -> Code {
        let friends = friends();
        let known = candidates.iter().filter(|it| friends.contains(&it.party)).count() as u32;
        let (all, data) = match strangers() {
            Strangers::Yes => (candidates.len() as u32, u32::MAX),
            Strangers::Parity => (candidates.len() as u32, known),
            Strangers::No => (known, known),
        };
        // The smallest when there are too few for any: the owner reads how many are missing.
        let (k, n) = CODES.into_iter().find(|(k, n)| *n <= all && *k <= data).unwrap_or((1, 3));
        Code { k, n }
    }

    /// Friends by lot and free space, then strangers likewise, as many as may hold a chunk.
    fn rank(need: Need, taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
        let friends = friends();
        let stranger = |it: &Candidate| !friends.contains(&it.party);
        // One number, which sorts sooner than two: strangers after friends, and whoever lost a chunk first.
        let key = |it: &Candidate| u64::from(stranger(it)) << 32 | u64::from(it.returning.wrapping_sub(1));
        let mut order = order::weighted_after(&candidates, key, default_weight);
        // A segment is stored when a quarter of its parity is still missing, and may be a friend's.
        let parity = need.code.n.saturating_sub(need.code.k) as usize;
        let strangers = match strangers() {
            Strangers::Yes => return order,
            Strangers::Parity => parity - parity.div_ceil(4),
            Strangers::No => 0,
        };
        let mut left = strangers.saturating_sub(taken.iter().filter(|it| stranger(it)).count());
        // Of strangers who share an operator or subnet only one can get a chunk: only it counts.
        let mut apart = Apart::new(&taken);
        order.retain(|at| {
            let it = &candidates[*at as usize];
            if !stranger(it) {
                apart.take(it);
                return true;
            }
            let stays = left > 0 && apart.admit(it);
            left -= usize::from(stays);
            stays
        });
        order
    }

    /// Friends always; strangers while the reserve for friends stays free.
    fn admit(offer: Offer) -> Verdict {
        let percent = config::get("reserve_percent", 50_u64).min(100);
        let reserve = offer.allotted_bytes / 100 * percent;
        if friends().contains(&offer.owner) || offer.free_bytes.saturating_sub(offer.bytes) > reserve {
            Verdict::yes()
        } else {
            Verdict::no(&format!("{percent} % of this disk are for friends of its operator"))
        }
    }
}

commonhold_plugin::export_placement!(FriendsFirst, log);

fn friends() -> BTreeSet<Key> {
    config::list("friends").into_iter().collect()
}

fn strangers() -> Strangers {
    config::get("strangers", Strangers::Yes)
}

/// Whether strangers hold chunks.
enum Strangers {
    Yes,
    /// No more of a segment than friends can do without.
    Parity,
    No,
}

impl FromStr for Strangers {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "yes" => Ok(Self::Yes),
            "parity" => Ok(Self::Parity),
            "no" => Ok(Self::No),
            _ => Err("yes, parity or no is meant"),
        }
    }
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    fn key(d: u64) -> Key {
        Key { d, ..Key::NOBODY }
    }

    /// Parties 1 to 3 are friends.
    fn host() -> Host {
        Host::new().config("friends", &format!("{}, {}\n{}", key(1), key(2), key(3)))
    }

    /// Providers of these parties, the later the worse their lot.
    fn of(parties: &[u64]) -> Vec<Candidate> {
        let of = |(party, lot): (&u64, u64)| Candidate {
            party: key(*party),
            operator: *party as u32,
            free_bytes: 1 << 30,
            lot,
            ..Candidate::default()
        };
        parties.iter().zip(1..).map(of).collect()
    }

    fn rank(taken: &[u64], candidates: &[u64]) -> Vec<u32> {
        FriendsFirst::rank(Need::default(), of(taken), of(candidates))
    }

    #[test]
    fn friends_come_first_and_strangers_as_allowed() {
        let candidates = [9, 3, 8, 1, 7, 6, 5];
        let _host = host();
        assert_eq!(rank(&[], &candidates), [1, 3, 0, 2, 4, 5, 6]);
        let _host = host().config("strangers", "no");
        assert_eq!(rank(&[], &candidates), [1, 3]);
        let _host = host().config("strangers", "parity");
        assert_eq!(
            rank(&[], &candidates),
            [1, 3, 0, 2, 4],
            "of five chunks that are stored two are friends'"
        );
        assert_eq!(rank(&[10, 11, 2], &candidates), [1, 3, 0]);
        assert_eq!(rank(&[10, 11, 12, 13, 14], &candidates), [1, 3]);
    }

    #[test]
    fn strangers_who_cannot_get_a_chunk_do_not_count() {
        let _host = host().config("strangers", "parity");
        assert_eq!(rank(&[10, 11], &[9, 9, 10, 8]), [0]);
    }

    #[test]
    fn codes_for_groups_of_any_size() {
        let code = |parties: &[u64]| {
            let Code { k, n } = FriendsFirst::choose_code(Moment::default(), of(parties));
            (k, n)
        };
        let many: Vec<u64> = (1..=64).collect();
        let _host = host();
        assert_eq!([code(&many), code(&many[..29]), code(&many[..4])], [(20, 60), (2, 6), (2, 4)]);
        let _host = host().config("strangers", "parity");
        assert_eq!([code(&many), code(&many[2..])], [(2, 6), (1, 3)]);
        let _host = host().config("strangers", "no");
        assert_eq!([code(&many), code(&many[2..])], [(1, 3); 2], "the second says that two are missing");
    }

    #[test]
    fn friends_keep_their_part_of_the_disk() {
        let admit = |owner, free_bytes, bytes| {
            let offer =
                Offer { owner: key(owner), bytes, free_bytes, allotted_bytes: 1000, ..Offer::default() };
            FriendsFirst::admit(offer)
        };
        let _host = host();
        assert!(admit(1, 0, 5000).admit && admit(9, 900, 399).admit);
        let no = admit(9, 900, 400);
        assert_eq!(
            (no.admit, no.reason.as_str()),
            (false, "50 % of this disk are for friends of its operator")
        );
        let _host = host().config("reserve_percent", "0");
        assert!(admit(9, 900, 899).admit && !admit(9, 900, 900).admit);
    }

    #[test]
    #[should_panic(expected = "configuration friends: a key is 64 hexadecimal digits: alice")]
    fn a_name_is_no_key() {
        let _host = Host::new().config("friends", "alice");
        rank(&[], &[1]);
    }

    #[test]
    fn everything_can_be_asked() {
        for strangers in ["yes", "parity", "no"] {
            let _host =
                host().config("strangers", strangers).config("reserve_percent", "18446744073709551615");
            plugin_questions::placement::<FriendsFirst>();
        }
    }
}
