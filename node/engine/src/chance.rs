//! Chance from a number that was drawn elsewhere, in integers only.
//!
//! Invariant: the same draw gives the same result on every machine, which `f64::ln` does not
//! promise. Not here: drawing.

/// Bits behind the point of the numbers here.
pub(crate) const FRACTION_BITS: u32 = 32;

/// ln 2 with [`FRACTION_BITS`] bits behind the point.
const LN_2: u64 = 2_977_044_472;

/// -log2 of (`draw` + 1) / 2^64, with [`FRACTION_BITS`] bits behind the point: 0 for the highest
/// draw, 64 for the lowest. For a uniform draw it is exponentially distributed.
pub(crate) fn minus_log2(draw: u64) -> u64 {
    let value = u128::from(draw) + 1;
    let whole = value.ilog2();
    // The value, scaled to [1, 2) with 63 bits behind the point. Each squaring shifts one bit of the
    // logarithm in front of the point.
    let mut scaled = (value << 63) >> whole;
    let mut fraction = 0_u64;
    for _ in 0..FRACTION_BITS {
        scaled = (scaled * scaled) >> 63;
        let bit = (scaled >> 64) as u64;
        scaled >>= bit;
        fraction = (fraction << 1) | bit;
    }
    (64 << FRACTION_BITS) - ((u64::from(whole) << FRACTION_BITS) | fraction)
}

/// An exponentially distributed number with mean 1 and [`FRACTION_BITS`] bits behind the point:
/// 0 to 44.4.
pub(crate) fn exponential(draw: u64) -> u64 {
    ((u128::from(minus_log2(draw)) * u128::from(LN_2)) >> FRACTION_BITS) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_agree_with_floating_point() {
        let scale = f64::from(2).powi(FRACTION_BITS as i32);
        for draw in [0, 1, 2, 3, 1 << 20, (1 << 63) - 1, 1 << 63, u64::MAX / 3, u64::MAX - 1, u64::MAX] {
            let exact = -((draw as f64 + 1.0) / f64::from(2).powi(64)).log2();
            let found = minus_log2(draw) as f64 / scale;
            assert!((exact - found).abs() < 1e-6, "{draw}: {found}, not {exact}");
            let natural = exponential(draw) as f64 / scale;
            assert!((exact * std::f64::consts::LN_2 - natural).abs() < 1e-6, "{draw}: {natural}");
        }
        assert_eq!(minus_log2(u64::MAX), 0);
        assert_eq!(minus_log2(0), 64 << FRACTION_BITS);
    }
}
