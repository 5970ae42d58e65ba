//! Exact money: what a buyer pays, a seller gets, and an order holds back.
//!
//! A value is price x quantity with 13 decimals; cash has 6 decimals; rates are parts per million. So
//! `value * 10^6 + fees` is cash times 10^13, and everything here is one division by that constant. A
//! 128-bit division by a variable is slow on every machine, thus both constants are split into a power
//! of two, a shift, and a power of five small enough for three 64-bit divisions by a constant.

use crate::codes::PPM;

const CASH_SHIFT: u32 = 13;
const CASH_FIVES: u64 = 1_220_703_125; // 5^13
const VALUE_SHIFT: u32 = 7;
const VALUE_FIVES: u64 = 78_125; // 5^7

/// Divide by `fives * 2^shift`; `fives` must be below 2^32. Returns quotient and whether a rest remains.
#[inline]
fn divide(number: u128, shift: u32, fives: u64) -> (u128, bool) {
    let shifted = number >> shift;
    let lost = number != shifted << shift;
    let high = (shifted >> 64) as u64;
    let low = shifted as u64;
    if high == 0 {
        return (u128::from(low / fives), lost || low % fives != 0);
    }
    let top = high / fives;
    let middle_part = (high % fives) << 32 | low >> 32;
    let middle = middle_part / fives;
    let bottom_part = (middle_part % fives) << 32 | low & 0xFFFF_FFFF;
    let bottom = bottom_part / fives;
    let quotient = u128::from(top) << 64 | u128::from(middle) << 32 | u128::from(bottom);
    (quotient, lost || bottom_part % fives != 0)
}

/// Cash of `value * 10^6 + fees` (19 decimals), rounded up.
#[inline]
pub(crate) fn cash_up(scaled: u128) -> u128 {
    let (quotient, rest) = divide(scaled, CASH_SHIFT, CASH_FIVES);
    quotient + u128::from(rest)
}

/// Cash of `value * 10^6 - fees` (19 decimals), rounded down.
#[inline]
pub(crate) fn cash_down(scaled: u128) -> u128 {
    divide(scaled, CASH_SHIFT, CASH_FIVES).0
}

/// Cash of a value (13 decimals), rounded down.
#[inline]
pub(crate) fn value_down(value: u128) -> u128 {
    divide(value, VALUE_SHIFT, VALUE_FIVES).0
}

/// Cash of a value (13 decimals), rounded up.
#[inline]
pub(crate) fn value_up(value: u128) -> u128 {
    let (quotient, rest) = divide(value, VALUE_SHIFT, VALUE_FIVES);
    quotient + u128::from(rest)
}

/// The exact product of a price and a quantity, both positive.
#[inline]
pub(crate) fn value_of(price: i64, quantity: i64) -> u128 {
    u128::from(price as u64) * u128::from(quantity as u64)
}

/// What a buyer has paid for fills of `value` with `fees` (value x ppm): rounded up.
#[inline]
pub(crate) fn paid(value: u128, fees: u128) -> i128 {
    cash_up(value * PPM + fees) as i128
}

/// What a seller has received for fills of `value` less `fees` (value x ppm): rounded down.
#[inline]
pub(crate) fn received(value: u128, fees: u128) -> i128 {
    cash_down(value * PPM - fees) as i128
}

/// What a buy order holds: enough for the rest at its worst price and the higher of its rates.
#[inline]
pub(crate) fn buy_hold(value: u128, fees: u128, exposure: u128, ppm: u32) -> i128 {
    let whole = (value + exposure) * PPM + fees + exposure * u128::from(ppm);
    let already = if value == 0 { 0 } else { paid(value, fees) };
    cash_up(whole) as i128 - already
}

/// Cost basis that leaves with `quantity` of `whole` shares: in proportion, rounded down.
#[inline]
pub(crate) fn basis_part(basis: i64, quantity: i64, whole: i64) -> i64 {
    if quantity == whole {
        return basis;
    }
    (value_of(basis, quantity) / u128::from(whole as u64)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_up(number: u128, by: u128) -> u128 {
        number / by + u128::from(number % by != 0)
    }

    #[test]
    fn division_agrees_with_the_plain_one_over_all_magnitudes() {
        let mut state: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
        for round in 0..200_000_u32 {
            state = state.wrapping_mul(0x2545_F491_4F6C_DD1D_1234_5678_9ABC_DEF1).rotate_left(41);
            let number = state >> (round % 128);
            for near in [number, number / 10_000_000_000_000 * 10_000_000_000_000] {
                assert_eq!(cash_up(near), plain_up(near, 10_000_000_000_000));
                assert_eq!(cash_down(near), near / 10_000_000_000_000);
                assert_eq!(value_up(near), plain_up(near, 10_000_000));
                assert_eq!(value_down(near), near / 10_000_000);
            }
        }
        assert_eq!(cash_down(u128::MAX), u128::MAX / 10_000_000_000_000);
    }

    #[test]
    fn buyer_rounds_up_and_seller_down_so_the_rest_is_never_negative_in_sum() {
        let value = value_of(1, 1);
        assert_eq!(paid(value, 0), 1);
        assert_eq!(received(value, 0), 0);
        let share = value_of(1_000_000, 1_000_000_000); // one share at 100
        assert_eq!(paid(share, 0), 100_000_000);
        assert_eq!(paid(share, share * 500), 100_050_000);
        assert_eq!(received(share, share * 500), 99_950_000);
    }

    #[test]
    fn hold_covers_the_rest_at_the_higher_rate_and_ends_at_zero() {
        let exposure = value_of(1_000_000, 3_000_000_000);
        assert_eq!(buy_hold(0, 0, exposure, 1000), 300_300_000);
        let filled = value_of(999_900, 3_000_000_000);
        assert_eq!(buy_hold(filled, filled * 7, 0, 1000), 0);
    }

    #[test]
    fn basis_leaves_in_proportion_and_entirely_with_the_last_share() {
        assert_eq!(basis_part(100, 1, 3), 33);
        assert_eq!(basis_part(67, 2, 2), 67);
    }
}
