//! Placement: the cheapest code and the cheapest holders that keep data as safe as the operator says.
//!
//! Invariant: the chance of loss of the code's segments is at most what is configured as soon as they
//! count as stored; else nothing is stored. What it is not: a promise. The chance counts with providers that fail apart from each other,
//! as often as the operator assumes.
#![no_std]

use commonhold_plugin::placement::*;

/// Codes are chosen of these k. More chunks make a segment cheaper to keep, and dearer to repair: each
/// repair reads k chunks.
const K: [u32; 10] = [1, 2, 3, 4, 6, 8, 10, 12, 16, 20];
/// Higher prices count as this one, so that sums of them fit.
const PRICE_MAX: u64 = 1 << 50;
/// Added to the price of whoever is a spare only.
const SPARE: u64 = 1 << 60;

struct Cheap;

impl Placement for Cheap {
    /// Of all codes that are safe enough, the one whose n cheapest holders cost least for each byte that
    /// is stored. When there are too few candidates for any, the smallest safe one: nothing is stored,
    /// and the owner reads how many are missing.
    fn choose_code(_now: Moment, candidates: Vec<Candidate>) -> Code {
        let rules = Rules::configured();
        let mut prices: Vec<u64> =
            candidates.iter().map(|it| rules.worth(it)).filter(|it| *it < SPARE).collect();
        prices.sort_unstable();
        // sums[n] is what the n cheapest ask together.
        let mut sums = vec![0];
        for (price, sum) in prices.iter().take(64).zip(0..) {
            sums.push(sums[sum] + price);
        }
        let codes: Vec<Code> = K.iter().filter_map(|k| rules.safe_code(*k)).collect();
        let cost = |it: &&Code| (sums[it.n as usize] * 64 / u64::from(it.k), it.n);
        let affordable = codes.iter().filter(|it| (it.n as usize) < sums.len()).min_by_key(cost);
        let smallest = || codes.iter().min_by_key(|it| it.n);
        // With no code at all, the safest one that there is: it needs 64 holders.
        affordable.or_else(smallest).copied().unwrap_or(Code { k: 8, n: 64 })
    }

    /// Whoever asks little more than the cheapest that suffice shares the chunks by lot and free space, so
    /// that not all of them go to the same few; the others are spares, the cheapest first.
    fn rank(need: Need, taken: Vec<Candidate>, candidates: Vec<Candidate>) -> Vec<u32> {
        let rules = Rules::configured();
        let at = |position: &u32| &candidates[*position as usize];
        let by_price = order::by_key(&candidates, |it| rules.worth(it));
        // An operator with a hundred cheap nodes gets one chunk: only the cheapest of them counts.
        let mut apart = Apart::new(&taken);
        let cheapest = by_price.iter().map(at).filter(|it| apart.admit(it));
        let enough = cheapest.take(need.holders.max(1) as usize).last().map_or(0, |it| rules.worth(it));
        let near = (enough + enough % SPARE * rules.near_per_mille / 1000).min(SPARE - 1);
        let is_near = |it: &Candidate| rules.worth(it) <= near;
        let mut order = order::weighted(&candidates, |it| if is_near(it) { default_weight(it) } else { 0 });
        order.extend(by_price.iter().filter(|it| !is_near(at(it))));
        order
    }
}

commonhold_plugin::export_placement!(Cheap, log);

/// What the operator set.
struct Rules {
    /// Chance that a provider is lost before its chunks are repaired elsewhere, millionths.
    provider_loss: u32,
    /// Highest chance that a segment is lost, billionths.
    segment_loss: u32,
    /// Of each byte that is kept, thousandths that are read back in a month.
    egress_per_mille: u64,
    near_per_mille: u64,
    /// Failed audits in thousandths of all, beyond which somebody is a spare.
    max_failed_per_mille: u32,
}

impl Rules {
    fn configured() -> Self {
        Self {
            provider_loss: config::get("provider_loss_ppm", 50_000_u32).min(1_000_000),
            segment_loss: config::get("segment_loss_ppb", 1_000_u32),
            egress_per_mille: config::get("egress_per_mille", 100_u64).min(1_000_000),
            near_per_mille: config::get("near_per_mille", 200_u64).min(10_000),
            max_failed_per_mille: config::get("max_failed_per_mille", 50_u32),
        }
    }

    /// What a GiB costs in a month: keeping it, and reading back a part of it. From [`SPARE`] on for those on
    /// probation and those who failed too many audits.
    fn worth(&self, candidate: &Candidate) -> u64 {
        let Prices { storage, egress, .. } = candidate.prices;
        let egress = egress.min(PRICE_MAX / self.egress_per_mille.max(1)) * self.egress_per_mille / 1000;
        let price = storage.min(PRICE_MAX).saturating_add(egress).min(PRICE_MAX);
        let good =
            candidate.standing == STANDING_GOOD && candidate.failed_per_mille() <= self.max_failed_per_mille;
        if good { price } else { SPARE + price }
    }

    /// The smallest code of this k that is safe enough and that a node takes. A segment counts as stored
    /// while a quarter of its parity is still missing, so that three quarters must be enough.
    fn safe_code(&self, k: u32) -> Option<Code> {
        let (each, all) = (f64::from(self.provider_loss) / 1e6, f64::from(self.segment_loss) / 1e9);
        let most = 64.min(8 * k);
        let enough = durability::chunks_needed(k, most, each, all)?.max(k + 1);
        let n = (k + 4 * (enough - k - 1) / 3 + 1).max(k + 2);
        (n <= most).then_some(Code { k, n })
    }
}

#[cfg(test)]
mod tests {
    use commonhold_plugin::test::Host;

    use super::*;

    /// Providers, each of its own operator, of these prices.
    fn asking(prices: &[u64]) -> Vec<Candidate> {
        let ask = |(storage, operator): (&u64, u32)| Candidate {
            operator,
            prices: Prices { storage: *storage, ..Prices::FREE },
            free_bytes: 1 << 30,
            lot: 1 << 32,
            ..Candidate::default()
        };
        prices.iter().zip(1..).map(ask).collect()
    }

    fn code(candidates: Vec<Candidate>) -> (u32, u32) {
        let Code { k, n } = Cheap::choose_code(Moment::default(), candidates);
        (k, n)
    }

    fn rank(holders: u32, candidates: &[Candidate]) -> Vec<u32> {
        Cheap::rank(Need { holders, ..Need::default() }, vec![], candidates.to_vec())
    }

    #[test]
    fn the_code_is_the_cheapest_that_is_safe_enough() {
        let _host = Host::new();
        // Equal prices: the code that stores least for each byte, as far as there are providers for it.
        let found = [8, 20, 64].map(|count| code(asking(&vec![1000; count])));
        assert_eq!(found, [(2, 8), (10, 19), (20, 31)]);
        for (k, n) in found {
            let stored = k + ((n - k) * 3).div_ceil(4);
            assert!(durability::loss(Code { k, n: stored }, 0.05) <= 1e-6);
        }
        // Few cheap ones and many dear ones: not worth more of the dear ones.
        let mut prices = vec![10; 8];
        prices.extend([100_000; 56]);
        assert_eq!(code(asking(&prices)), (2, 8));
    }

    #[test]
    fn when_nothing_is_safe_enough_nothing_is_stored() {
        let _host = Host::new();
        let (k, n) = code(asking(&[1; 3]));
        assert!(n > 3 && durability::loss(Code { k, n }, 0.05) <= 1e-6, "{k} of {n}");
        // Those who fail audits do not count.
        let mut bad = asking(&[1; 64]);
        bad.iter_mut().for_each(|it| (it.audits_passed, it.audits_failed) = (9, 1));
        assert_eq!(code(bad), (k, n));
        let _host = Host::new().config("provider_loss_ppm", "1000000");
        assert_eq!(code(asking(&[1; 64])), (8, 64));
    }

    #[test]
    fn a_lower_floor_makes_a_smaller_code() {
        let _host = Host::new().config("segment_loss_ppb", "100000").config("provider_loss_ppm", "10000");
        assert_eq!(code(asking(&[1; 64])), (20, 23));
    }

    #[test]
    fn near_prices_share_by_lot_and_the_others_are_spares() {
        let mut candidates = asking(&[900, 100, 110, 115, 300, 100]);
        (candidates[2].lot, candidates[5].lot) = (1, 2);
        let _host = Host::new();
        assert_eq!(rank(3, &candidates), [2, 5, 1, 3, 4, 0]);
        let _host = Host::new().config("near_per_mille", "0");
        assert_eq!(rank(2, &candidates), [5, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn reading_back_has_its_price() {
        let mut candidates = asking(&[100, 150]);
        candidates[0].prices.egress = 1000;
        let _host = Host::new();
        assert_eq!(rank(1, &candidates), [1, 0]);
        let _host = Host::new().config("egress_per_mille", "0");
        assert_eq!(rank(1, &candidates), [0, 1]);
    }

    #[test]
    fn many_cheap_nodes_of_one_operator_do_not_set_the_price() {
        let mut candidates = asking(&[10, 10, 10, 500, 510]);
        candidates[..3].iter_mut().for_each(|it| it.operator = 1);
        candidates[4].lot = 1;
        let _host = Host::new();
        assert_eq!(rank(2, &candidates)[0], 4, "500 is what two holders cost, so 510 is near");
    }

    #[test]
    fn whoever_failed_is_a_spare_however_cheap() {
        let mut candidates = asking(&[1, 2, 3]);
        candidates[0].standing = STANDING_PROBATION;
        (candidates[1].audits_passed, candidates[1].audits_failed) = (9, 1);
        let _host = Host::new();
        assert_eq!(rank(1, &candidates), [2, 0, 1]);
        assert_eq!(rank(3, &candidates)[0], 2, "also when all are wanted");
    }

    #[test]
    fn everything_can_be_asked() {
        for most in ["0", "7", "1000", "4294967295"] {
            let names = [
                "provider_loss_ppm",
                "segment_loss_ppb",
                "egress_per_mille",
                "near_per_mille",
                "max_failed_per_mille",
            ];
            let _host = names.iter().fold(Host::new(), |host, name| host.config(name, most));
            plugin_questions::placement::<Cheap>();
        }
    }
}
