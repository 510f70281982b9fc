//! How likely a segment is to be lost.

use crate::placement::Code;

/// The chance that a segment is lost when each of its n holders is lost, apart from all others, with the
/// chance `loss` before anybody repairs: that more than n − k are.
///
/// Holders that share a house, a power line or an owner are not lost apart from each other; keep them
/// apart, or count with a higher chance. NaN and numbers below 0 are taken as 0, above 1 as 1; a code
/// that is none has the chance 1.
///
/// ```
/// use commonhold_plugin::{durability, placement::Code};
/// // Three copies, each lost with a chance of 1 in 10.
/// assert!((durability::loss(Code { k: 1, n: 3 }, 0.1) - 0.001).abs() < 1e-12);
/// assert!(durability::loss(Code { k: 10, n: 30 }, 0.1) < 1e-12);
/// ```
pub fn loss(code: Code, loss: f64) -> f64 {
    let loss = if loss > 0.0 { loss.min(1.0) } else { 0.0 };
    let Code { k, n } = code;
    if k == 0 || k > n || n > 255 {
        return 1.0;
    }
    // all[j] is the chance that j of the holders so far survive; those beyond k are counted as k.
    let mut all = [0.0; 256];
    all[0] = 1.0;
    let k = k as usize;
    for _ in 0..n {
        all[k] += all[k - 1] * (1.0 - loss);
        for survivors in (1..k).rev() {
            all[survivors] = all[survivors] * loss + all[survivors - 1] * (1.0 - loss);
        }
        all[0] *= loss;
    }
    all[..k].iter().sum()
}

/// The smallest n up to `most` for which the chance of losing a segment of k chunks is at most `chance`;
/// `None` when `most` does not do.
pub fn chunks_needed(k: u32, most: u32, each: f64, chance: f64) -> Option<u32> {
    (k.max(1)..=most).find(|n| loss(Code { k, n: *n }, each) <= chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the formula.
    fn binomial(k: u32, n: u32, loss: f64) -> f64 {
        let choose = |n: u32, j: u32| (0..j).fold(1.0, |all, i| all * f64::from(n - i) / f64::from(i + 1));
        (0..k).map(|j| choose(n, j) * (1.0 - loss).powi(j as i32) * loss.powi((n - j) as i32)).sum()
    }

    #[test]
    fn it_is_the_binomial_formula() {
        for (k, n) in [(1, 1), (1, 3), (2, 6), (10, 30), (20, 60), (64, 64)] {
            for each in [0.0, 1e-6, 0.01, 0.3, 0.9, 1.0] {
                let (found, expected) = (loss(Code { k, n }, each), binomial(k, n, each));
                assert!(
                    (found - expected).abs() <= 1e-9 * expected + 1e-300,
                    "{k} {n} {each}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn odd_arguments_are_taken_carefully() {
        for code in [Code { k: 0, n: 3 }, Code { k: 4, n: 3 }, Code { k: 2, n: 300 }] {
            assert_eq!(loss(code, 0.1), 1.0);
        }
        let code = Code { k: 2, n: 6 };
        assert_eq!([loss(code, -1.0), loss(code, f64::NAN), loss(code, 7.0)], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn enough_chunks_are_found() {
        assert_eq!(chunks_needed(1, 9, 0.1, 0.0011), Some(3));
        assert_eq!(chunks_needed(1, 2, 0.1, 0.0011), None);
    }
}
