//! Orders of candidates, addresses and sources, as positions.
//!
//! Invariant: each answer has each position at most once, and equals stay as they stand. Functions that
//! order by lot are exact: they give what dividing without rounding would give.

use alloc::vec::Vec;

use crate::placement::Candidate;

/// All positions, as they stand.
pub fn as_they_stand(len: usize) -> Vec<u32> {
    (0..len as u32).collect()
}

/// All positions, smallest key first.
pub fn by_key<T, K: Ord>(list: &[T], key: impl Fn(&T) -> K) -> Vec<u32> {
    let mut keyed: Vec<(K, u32)> = list.iter().map(key).zip(0..).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, position)| position).collect()
}

/// The default's order: whoever lost a chunk of this segment gets it back, in the order of the chunks;
/// then each candidate is first with a chance in proportion to its weight, by its lot. A weight of 0
/// leaves a candidate out, also one that returns.
pub fn weighted(candidates: &[Candidate], weight: impl Fn(&Candidate) -> u64) -> Vec<u32> {
    weighted_after(candidates, |it| it.returning.wrapping_sub(1), weight)
}

/// As [`weighted`], with a key of your own that comes before the lot: smallest key first, among equal keys
/// by lot and weight.
pub fn weighted_after<K: Ord>(
    candidates: &[Candidate],
    key: impl Fn(&Candidate) -> K,
    weight: impl Fn(&Candidate) -> u64,
) -> Vec<u32> {
    let weights: Vec<u64> = candidates.iter().map(weight).collect();
    let drawn = Drawn::new(candidates, &weights);
    let kept = candidates.iter().zip(&weights).zip(0..).filter(|((_, weight), _)| **weight > 0);
    let mut keyed: Vec<(K, u32)> = kept.map(|((it, _), position)| (key(it), position)).collect();
    if !keyed.is_sorted() {
        keyed.sort_unstable();
    }
    let mut order: Vec<u32> = keyed.iter().map(|(_, position)| *position).collect();
    let mut begin = 0;
    for equals in keyed.chunk_by(|(a, _), (b, _)| a == b) {
        let end = begin + equals.len();
        drawn.sort(&mut order[begin..end]);
        begin = end;
    }
    order
}

/// Candidates with their weights, to be ordered by lot / weight.
struct Drawn<'a> {
    candidates: &'a [Candidate],
    weights: &'a [u64],
    /// Whether quotients can be compared as floating-point numbers at first.
    quick: bool,
}

/// Bits of a position beside a quotient.
const POSITION_BITS: u32 = 14;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;

impl<'a> Drawn<'a> {
    fn new(candidates: &'a [Candidate], weights: &'a [u64]) -> Self {
        // Numbers up to here are floating-point numbers without rounding, and of two quotients of such
        // numbers the rounded ones are never the other way round: at most they are equal.
        const EXACT: u64 = 1 << 53;
        let quick = candidates.len() <= 1 << POSITION_BITS
            && candidates.iter().all(|it| it.lot <= EXACT)
            && weights.iter().all(|weight| *weight <= EXACT);
        Self { candidates, weights, quick }
    }

    /// Orders positions; equals by position.
    fn sort(&self, positions: &mut [u32]) {
        if !self.quick {
            return self.sort_exactly(positions);
        }
        // Numbers alone are sorted several times as fast as rows that are compared field by field. The
        // bits of floating-point numbers that are not negative are in their order; the last of them give
        // way to the position.
        let word = |position: &u32| {
            let at = *position as usize;
            let share = self.candidates[at].lot as f64 / self.weights[at] as f64;
            (share.to_bits() << 1 & !POSITION_MASK) | u64::from(*position)
        };
        let mut words: Vec<u64> = positions.iter().map(word).collect();
        words.sort_unstable();
        let mut begin = 0;
        for equals in words.chunk_by(|a, b| a & !POSITION_MASK == b & !POSITION_MASK) {
            let run = &mut positions[begin..begin + equals.len()];
            for (position, word) in run.iter_mut().zip(equals) {
                *position = (word & POSITION_MASK) as u32;
            }
            if run.len() > 1 {
                self.sort_exactly(run);
            }
            begin += equals.len();
        }
    }

    /// lot / weight without dividing, in 128 bits, which cost a guest much.
    fn sort_exactly(&self, positions: &mut [u32]) {
        let of = |position: u32, other: u32| {
            u128::from(self.candidates[position as usize].lot) * u128::from(self.weights[other as usize])
        };
        positions.sort_unstable_by(|a, b| of(*a, *b).cmp(&of(*b, *a)).then(a.cmp(b)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, for tests.
    fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed >> 11
        }
    }

    /// By the definition: 128 bits and a sort that keeps equals as they stand.
    fn plain(candidates: &[Candidate], weight: impl Fn(&Candidate) -> u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..candidates.len() as u32).collect();
        order.retain(|at| weight(&candidates[*at as usize]) > 0);
        order.sort_by(|a, b| {
            let (a, b) = (&candidates[*a as usize], &candidates[*b as usize]);
            let fresh = |it: &Candidate| it.returning.wrapping_sub(1);
            fresh(a).cmp(&fresh(b)).then(
                (u128::from(a.lot) * u128::from(weight(b))).cmp(&(u128::from(b.lot) * u128::from(weight(a)))),
            )
        });
        order
    }

    #[test]
    fn the_order_by_lot_is_exact() {
        let mut next = numbers(7);
        for round in 0..2000 {
            // Small numbers have many equal quotients, large ones many that round to the same; beyond 53
            // bits the numbers themselves are rounded.
            let bits = [3, 8, 39, 53, 64][round % 5];
            let mask = u64::MAX >> (64 - bits);
            let count = next() as usize % 40;
            let base = next().wrapping_mul(next());
            let candidates: Vec<Candidate> = (0..count)
                .map(|_| Candidate {
                    lot: (base ^ (next() % 4)) & mask,
                    free_bytes: (base ^ (next() % 3)) & mask,
                    returning: (next() % 3) as u32,
                    ..Candidate::default()
                })
                .collect();
            let weight = |it: &Candidate| it.free_bytes;
            assert_eq!(weighted(&candidates, weight), plain(&candidates, weight), "{bits} bits");
        }
    }

    #[test]
    fn more_candidates_than_a_question_has_are_in_order_too() {
        let mut next = numbers(9);
        let candidates: Vec<Candidate> = (0..20_000)
            .map(|_| Candidate { lot: next() % 5000, free_bytes: 1 + next() % 9, ..Candidate::default() })
            .collect();
        let weight = |it: &Candidate| it.free_bytes;
        assert_eq!(weighted(&candidates, weight), plain(&candidates, weight));
    }

    #[test]
    fn equals_stay_as_they_stand() {
        assert_eq!(by_key(&[3, 1, 3, 1, 2], |it| *it), [1, 3, 4, 0, 2]);
        assert_eq!(weighted(&[Candidate::default(); 3], |_| 1), [0, 1, 2]);
        assert_eq!(as_they_stand(3), [0, 1, 2]);
    }

    #[test]
    fn heavier_candidates_come_first_more_often() {
        let mut next = numbers(3);
        let mut first = [0; 2];
        for _ in 0..3000 {
            let mut lot = || {
                let uniform = (next() % (1 << 20) + 1) as f64 / f64::from(1 << 20);
                (-uniform.log2() * 4_294_967_296.0) as u64
            };
            let candidates =
                [1, 3].map(|free_bytes| Candidate { free_bytes, lot: lot(), ..Candidate::default() });
            first[weighted(&candidates, |it| it.free_bytes)[0] as usize] += 1;
        }
        assert!((2000..2500).contains(&first[1]), "{first:?}");
    }
}
