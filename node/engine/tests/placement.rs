//! Placement: one chunk for each party and subnet, never beyond the free space, the same order for
//! the same seed.
#![allow(clippy::unwrap_used)]

mod people;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use commonhold_engine::audit::Standing;
use commonhold_engine::placement::{
    Candidate, FREE_WEIGHT_BYTES_MAX, Subnet, TooFewProviders, choose_code, rank, stored_threshold, subnet_of,
};
use commonhold_engine::policy::BuiltIn;
use commonhold_format::code::Code;
use commonhold_format::ids::NodeId;
use commonhold_format::policy::Moment;
use commonhold_format::statement::AuditOutcome;
use people::{candidate, candidates, node};
use proptest::prelude::*;

fn subnet(text: &str) -> Option<Subnet> {
    subnet_of(text.parse::<IpAddr>().unwrap())
}

#[test]
fn public_addresses_have_a_subnet_and_others_have_none() {
    assert_eq!(subnet("81.2.69.160"), Some(Subnet::V4([81, 2, 69])));
    assert_eq!(subnet("81.2.69.1"), subnet("81.2.69.254"));
    assert_ne!(subnet("81.2.69.1"), subnet("81.2.70.1"));
    assert_eq!(subnet("2a01:4f8:c0c:1::1"), Some(Subnet::V6([0x2a, 0x01, 0x04, 0xf8, 0x0c, 0x0c])));
    assert_eq!(subnet("2a01:4f8:c0c:1::1"), subnet("2a01:4f8:c0c:ffff::9"));
    assert_ne!(subnet("2a01:4f8:c0c::1"), subnet("2a01:4f8:c0d::1"));
    for exempt in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.2.1",
        "198.51.100.7",
        "203.0.113.9",
        "198.18.0.1",
        "198.19.255.255",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
    ] {
        assert_eq!(subnet(exempt), None, "{exempt}");
    }
    for public in
        ["100.63.255.255", "100.128.0.0", "172.32.0.1", "198.20.0.1", "223.255.255.1", "2001:db9::1"]
    {
        assert!(subnet(public).is_some(), "{public}");
    }
}

#[test]
fn ipv4_inside_ipv6_is_ipv4() {
    let plain = subnet("81.2.69.160");
    assert!(plain.is_some());
    for wrapped in ["::ffff:81.2.69.160", "64:ff9b::81.2.69.160", "2002:5102:45a0::1"] {
        assert_eq!(subnet(wrapped), plain, "{wrapped}");
    }
    assert_eq!(subnet("::ffff:192.168.1.1"), None);
}

#[test]
fn the_code_grows_with_the_network_and_can_always_be_placed() {
    let network = |size: u16| (0..size).map(|n| candidate(n, n, 1 << 30, None)).collect::<Vec<_>>();
    let choose = |providers| choose_code(&network(providers), &BuiltIn, Moment::default());
    let code = |providers| choose(providers).map(|code| (code.k(), code.n()));
    for have in 0..6 {
        assert_eq!(code(have), Err(TooFewProviders { have: have.into(), need: 6 }));
    }
    for providers in [6, 11, 12, 29] {
        assert_eq!(code(providers), Ok((2, 6)), "{providers}");
    }
    for providers in [30, 40, 41, 59] {
        assert_eq!(code(providers), Ok((10, 30)), "{providers}");
    }
    for providers in [60, 61, 12_000] {
        assert_eq!(code(providers), Ok((20, 60)), "{providers}");
    }
    for providers in 6..200 {
        assert!(u16::from(choose(providers).unwrap().n()) <= providers);
    }
}

#[test]
fn stored_needs_k_and_three_quarters_of_the_parity() {
    let threshold = |k, n| stored_threshold(Code::new(k, n).unwrap());
    assert_eq!((threshold(2, 6), threshold(10, 30), threshold(20, 60)), (5, 25, 50));
    assert_eq!((threshold(1, 1), threshold(1, 64), threshold(64, 64)), (1, 49, 64));
    for n in 1..=64 {
        for k in 1..=n {
            assert!((k..=n).contains(&threshold(k, n)));
        }
    }
}

#[test]
fn a_provider_in_bad_standing_gets_nothing_and_one_on_probation_less() {
    let record = |outcomes: &[AuditOutcome]| {
        outcomes.iter().fold(Standing::default(), |standing, outcome| standing.record(*outcome, 1_000).0)
    };
    let mut all: Vec<Candidate> = (0..4).map(|n| candidate(n, n, 1 << 30, None)).collect();
    all[0].standing = record(&[AuditOutcome::NoAnswer]);
    all[1].standing = record(&[AuditOutcome::Quarantined]);
    all[2].standing = record(&[AuditOutcome::WrongBytes]);
    let mut first = HashMap::new();
    for seed in 0..200 {
        let ranked = rank(&all, &[], 1, &[seed; 32]);
        assert_eq!(ranked.iter().copied().collect::<HashSet<_>>(), HashSet::from([node(2), node(3)]));
        *first.entry(ranked[0]).or_insert(0) += 1;
    }
    // Weights 1 and 8: 22 of 200 expected for the one on probation.
    assert!((5..=50).contains(&first[&node(2)]), "{first:?}");
}

#[test]
fn more_space_is_drawn_more_often_but_a_claim_beyond_a_tebibyte_gains_nothing() {
    let first = |claims: [u64; 2]| -> usize {
        let all = [candidate(0, 0, claims[0], None), candidate(1, 1, claims[1], None)];
        (0..1000_u16)
            .filter(|seed| {
                let mut bytes = [0; 32];
                bytes[..2].copy_from_slice(&seed.to_be_bytes());
                rank(&all, &[], 1, &bytes)[0] == node(0)
            })
            .count()
    };
    let three_quarters = first([3 << 30, 1 << 30]);
    assert!((690..=810).contains(&three_quarters), "{three_quarters}");
    assert_eq!(first([u64::MAX, FREE_WEIGHT_BYTES_MAX]), first([FREE_WEIGHT_BYTES_MAX; 2]));
    let half = first([u64::MAX, FREE_WEIGHT_BYTES_MAX]);
    assert!((430..=570).contains(&half), "{half}");
}

#[test]
fn a_thousand_identities_in_one_subnet_or_of_one_party_get_one_chunk() {
    let subnet = Some(Subnet::V4([81, 2, 69]));
    let many: Vec<Candidate> = (0..1000).map(|n| candidate(n, n, 1 << 40, subnet)).collect();
    assert_eq!(rank(&many, &[], 1 << 20, &[7; 32]).len(), 1);
    let one_party: Vec<Candidate> = (0..1000).map(|n| candidate(n, 5, 1 << 40, None)).collect();
    assert_eq!(rank(&one_party, &[], 1 << 20, &[7; 32]).len(), 1);
}

proptest! {
    #[test]
    fn no_two_share_a_party_or_subnet_and_all_have_room(
        all in candidates(0..40),
        taken in candidates(0..6),
        chunk_len in 0_u64..2_000_000,
        seed: [u8; 32],
    ) {
        let ranked = rank(&all, &taken, chunk_len, &seed);
        let mut parties: HashSet<_> = taken.iter().map(|it| it.party).collect();
        let mut subnets: HashSet<_> = taken.iter().filter_map(|it| it.subnet).collect();
        let mut nodes: HashSet<NodeId> = taken.iter().map(|it| it.node).collect();
        for chosen in &ranked {
            let it = all.iter().find(|it| it.node == *chosen).unwrap();
            prop_assert!(it.free_bytes >= chunk_len);
            prop_assert!(it.standing.takes_new_data());
            prop_assert!(nodes.insert(it.node));
            prop_assert!(parties.insert(it.party));
            prop_assert!(it.subnet.is_none_or(|subnet| subnets.insert(subnet)));
        }
        // And nobody who could have come in was left out.
        for it in &all {
            let shut_out = it.free_bytes < chunk_len
                || !it.standing.takes_new_data()
                || nodes.contains(&it.node)
                || parties.contains(&it.party)
                || it.subnet.is_some_and(|subnet| subnets.contains(&subnet));
            prop_assert!(shut_out, "{:?}", it.node);
        }
    }

    /// Also when a list names a node twice, under other parties and with other claims.
    #[test]
    fn the_order_follows_from_the_seed_and_not_from_the_list(
        (all, shuffled) in (candidates(0..20), candidates(0..20)).prop_flat_map(|(all, again)| {
            let all = [all, again].concat();
            (Just(all.clone()), Just(all).prop_shuffle())
        }),
        chunk_len in 0_u64..2_000_000,
        seed: [u8; 32],
    ) {
        let ranked = rank(&all, &[], chunk_len, &seed);
        prop_assert_eq!(&ranked, &rank(&all, &[], chunk_len, &seed));
        prop_assert_eq!(&ranked, &rank(&shuffled, &[], chunk_len, &seed));
    }
}

#[test]
fn seeds_give_different_orders() {
    let all: Vec<Candidate> = (0..20).map(|n| candidate(n, n, 1 << 30, None)).collect();
    let orders: HashSet<Vec<NodeId>> = (0..50).map(|seed| rank(&all, &[], 1, &[seed; 32])).collect();
    assert_eq!(orders.len(), 50);
}
