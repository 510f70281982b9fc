//! Placement: never two chunks of a segment with one operator, in one subnet or in one region.
//!
//! Invariant: of a ranking and of those who hold chunks already, no two share an operator or a subnet,
//! and a region has at most `per_region` of the ranked ones and the holders together. So spares keep it
//! too. What it is not: a check of regions, which are what providers say of themselves.
#![no_std]

use commonhold_plugin::placement::*;

struct Spread;

impl Placement for Spread {
    /// The default's code for as many candidates as can be kept apart.
    fn choose_code(_now: Moment, candidates: Vec<Candidate>) -> Code {
        default_code(Rules::configured().apart(&[], &candidates).len())
    }

    /// The default's order, without those who share something with one before.
    fn rank(_need: Need, taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
        Rules::configured().apart(&taken, &candidates)
    }
}

commonhold_plugin::export_placement!(Spread, log);

/// What the operator set.
struct Rules {
    /// Most chunks of a segment in a region, at least 1.
    per_region: u32,
    /// Regions that may be used; any when there is none.
    regions: Vec<u32>,
    /// Whether those who do not say where they are may be used; all of them count as one region.
    unknown: bool,
}

impl Rules {
    fn configured() -> Self {
        let regions: Vec<String> = config::list("regions");
        Self {
            per_region: config::get("per_region", 1_u32).max(1),
            regions: regions.iter().map(|letters| named(letters)).collect(),
            unknown: config::get("unknown", true),
        }
    }

    fn allows(&self, candidate: &Candidate) -> bool {
        match candidate.region {
            0 => self.unknown,
            region => self.regions.is_empty() || self.regions.contains(&region),
        }
    }

    fn apart(&self, taken: &[Candidate], candidates: &[Candidate]) -> Vec<u32> {
        let weight = |it: &Candidate| if self.allows(it) { default_weight(it) } else { 0 };
        let order = order::weighted(candidates, weight);
        Apart::new(taken).per_region(self.per_region).walk(&order, candidates).0
    }
}

/// Panics at what is no region: a plugin with a mistake in its configuration is not enabled.
fn named(letters: &str) -> u32 {
    match region(letters) {
        0 => panic!("configuration regions: {letters} is no code of two letters"),
        region => region,
    }
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    fn at(operator: u32, subnet: u32, country: &str, lot: u64) -> Candidate {
        Candidate {
            operator,
            subnet,
            region: region(country),
            lot,
            free_bytes: 1 << 30,
            ..Candidate::default()
        }
    }

    fn rank(taken: &[Candidate], candidates: &[Candidate]) -> Vec<u32> {
        Spread::rank(Need::default(), taken.to_vec(), candidates.to_vec())
    }

    #[test]
    fn nothing_is_shared() {
        let candidates = [
            at(1, 1, "NL", 1),
            at(1, 2, "DE", 2),
            at(3, 1, "FR", 3),
            at(4, 4, "NL", 4),
            at(5, 5, "SE", 5),
            at(6, 0, "", 6),
            at(7, 0, "", 7),
        ];
        let _host = Host::new();
        assert_eq!(rank(&[], &candidates), [0, 4, 5]);
        assert_eq!(rank(&[at(9, 5, "NL", 0)], &candidates), [1, 2, 5]);
        assert_eq!(rank(&[at(9, 9, "", 0)], &candidates), [0, 4]);
    }

    #[test]
    fn operators_set_regions_and_their_bound() {
        let candidates =
            [at(1, 1, "NL", 1), at(2, 2, "NL", 2), at(3, 3, "NL", 3), at(4, 4, "US", 4), at(5, 5, "", 5)];
        let _host = Host::new().config("per_region", "2");
        assert_eq!(rank(&[], &candidates), [0, 1, 3, 4]);
        let _host = Host::new().config("regions", "nl, DE");
        assert_eq!(rank(&[], &candidates), [0, 4]);
        let _host = Host::new().config("regions", "NL").config("unknown", "false");
        assert_eq!(rank(&[], &candidates), [0]);
        let _host = Host::new().config("per_region", "0");
        assert_eq!(rank(&[], &candidates), [0, 3, 4]);
    }

    #[test]
    #[should_panic(expected = "configuration regions: Europe is no code of two letters")]
    fn a_region_that_is_none_is_not_passed_over() {
        let _host = Host::new().config("regions", "Europe");
        rank(&[], &[]);
    }

    #[test]
    fn whoever_lost_a_chunk_gets_it_back_first() {
        let mut candidates = [at(1, 1, "NL", 1), at(2, 2, "NL", 9)];
        candidates[1].returning = 3;
        let _host = Host::new();
        assert_eq!(rank(&[], &candidates), [1]);
    }

    #[test]
    fn the_code_is_for_those_who_can_be_kept_apart() {
        let everywhere = |countries: &[&str]| {
            (0..64)
                .map(|it: usize| at(it as u32, it as u32, countries[it % countries.len()], 1))
                .collect::<Vec<_>>()
        };
        let letters: Vec<String> =
            ('A'..='Z').flat_map(|a| ["X", "Y", "Z"].map(|b| format!("{a}{b}"))).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        let _host = Host::new();
        assert_eq!(Spread::choose_code(Moment::default(), everywhere(&letters)).n, 60);
        assert_eq!(Spread::choose_code(Moment::default(), everywhere(&["NL", "DE"])).n, 6);
        let _host = Host::new().config("per_region", "20");
        assert_eq!(Spread::choose_code(Moment::default(), everywhere(&["NL", "DE"])).n, 30);
    }

    /// Over many random questions: the invariant, and that nobody who would fit is left out.
    #[test]
    fn no_two_share_anything_whatever_is_asked() {
        let mut seed = 5_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for per_region in [1, 1, 3] {
            let _host = Host::new().config("per_region", &per_region.to_string());
            for _ in 0..200 {
                let mut some = |count: u64| {
                    let countries = ["NL", "DE", "FR", "", "US", "JP"];
                    (0..count)
                        .map(|_| {
                            at(next(20) as u32, next(12) as u32, countries[next(6) as usize], next(1 << 39))
                        })
                        .collect::<Vec<_>>()
                };
                let (taken, candidates) = (some(2), some(30));
                let ranking = rank(&taken, &candidates);
                let mut apart = Apart::new(&taken).per_region(per_region);
                assert!(ranking.iter().all(|it| apart.admit(&candidates[*it as usize])));
                assert!(!candidates.iter().any(|it| apart.fits(it)), "somebody was left out");
            }
        }
    }
}
