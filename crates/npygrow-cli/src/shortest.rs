//! The shortest decimal that reads back as the same float, for formats that Rust has no type for.
//!
//! The algorithm is that of Steele and White with Burger and Dybvig's inclusive bounds, in whole numbers of any size: NumPy's
//! (Dragon4) gives the same digits.

use std::cmp::Ordering;

/// A float: `mantissa` times 2 to the `exponent`, and whether the next one below is nearer than the next one above.
pub(crate) struct Float {
    pub(crate) mantissa: u128,
    pub(crate) exponent: i32,
    pub(crate) is_power: bool,
}

/// The digits, and the power of ten of the first one. The mantissa is not 0.
pub(crate) fn digits(float: &Float) -> (Vec<u8>, i32) {
    let Float { mantissa, exponent, is_power } = *float;
    let is_even = mantissa.is_multiple_of(2);
    // The value is `rest / scale`; half the way to its neighbours is `above / scale` and `below / scale`.
    let shift = if is_power { 2 } else { 1 };
    let (up, down) = (exponent.max(0) as u32, (-exponent).max(0) as u32);
    let mut rest = Big::of(mantissa).shifted(up + shift);
    let mut scale = Big::of(1).shifted(down + shift);
    let mut above = Big::of(1).shifted(up + shift - 1);
    let mut below = Big::of(1).shifted(up);

    // At most one too low, which the comparison mends.
    let log2 = f64::from(exponent) + (mantissa as f64).log2();
    let mut power = (log2 * std::f64::consts::LOG10_2 - 1e-9).ceil() as i32;
    if power > 0 {
        scale.times_power(power as u32);
    } else {
        for big in [&mut rest, &mut above, &mut below] {
            big.times_power(power.unsigned_abs());
        }
    }
    if is_high(&rest, &above, &scale, is_even) {
        scale.times(10);
        power += 1;
    }

    let mut digits = Vec::new();
    loop {
        for big in [&mut rest, &mut above, &mut below] {
            big.times(10);
        }
        let mut digit = 0;
        while rest.order(&scale) != Ordering::Less {
            rest.subtract(&scale);
            digit += 1;
        }
        digits.push(digit);
        let order = rest.order(&below);
        let is_low = order == Ordering::Less || is_even && order == Ordering::Equal;
        let is_high = is_high(&rest, &above, &scale, is_even);
        if !is_low && !is_high {
            continue;
        }
        rest.times(2);
        let is_up = match (is_low, is_high, rest.order(&scale)) {
            (true, true, Ordering::Equal) => digit % 2 == 1,
            (true, true, order) => order == Ordering::Greater,
            _ => is_high,
        };
        return round(digits, is_up, power - 1);
    }
}

/// Whether the next float above is as near, or nearer, than what is left.
fn is_high(rest: &Big, above: &Big, scale: &Big, is_even: bool) -> bool {
    let mut sum = rest.clone();
    sum.add(above);
    let order = sum.order(scale);
    order == Ordering::Greater || is_even && order == Ordering::Equal
}

fn round(mut digits: Vec<u8>, is_up: bool, power: i32) -> (Vec<u8>, i32) {
    if !is_up {
        return (digits, power);
    }
    while digits.pop_if(|digit| *digit == 9).is_some() {}
    match digits.last_mut() {
        Some(digit) => {
            *digit += 1;
            (digits, power)
        }
        None => (vec![1], power + 1),
    }
}

/// A whole number, the lowest 32 bits first, without zeros at the end.
#[derive(Clone)]
struct Big(Vec<u32>);

impl Big {
    fn of(mut number: u128) -> Big {
        let mut limbs = Vec::new();
        while number > 0 {
            limbs.push(number as u32);
            number >>= 32;
        }
        Big(limbs)
    }

    fn shifted(mut self, bits: u32) -> Big {
        self.times(1 << (bits % 32));
        self.0.splice(0..0, std::iter::repeat_n(0, (bits / 32) as usize));
        self
    }

    fn times(&mut self, factor: u32) {
        let mut carry = 0;
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power(&mut self, power: u32) {
        for _ in 0..power / 9 {
            self.times(1_000_000_000);
        }
        self.times(10_u32.pow(power % 9));
    }

    fn add(&mut self, other: &Big) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let mut carry = 0;
        for (i, limb) in self.0.iter_mut().enumerate() {
            carry += u64::from(*limb) + other.0.get(i).map_or(0, |&limb| u64::from(limb));
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// `other` is not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = 0;
        for (i, limb) in self.0.iter_mut().enumerate() {
            let less = i64::from(*limb) - other.0.get(i).map_or(0, |&limb| i64::from(limb)) + borrow;
            *limb = less as u32;
            borrow = less >> 32;
        }
        while self.0.pop_if(|limb| *limb == 0).is_some() {}
    }

    fn order(&self, other: &Big) -> Ordering {
        let by_len = self.0.len().cmp(&other.0.len());
        by_len.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rust's own for every kind of `f64`.
    #[test]
    fn digits_are_those_of_f64() {
        let mut bits = 1_u64;
        for i in 0..3_000 {
            // Also powers of two, whose neighbours are at different distances.
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(if i % 3 == 0 { bits & 0x7ff << 52 } else { bits & (u64::MAX >> 1) });
            if !value.is_normal() {
                continue;
            }
            let fraction = value.to_bits() & ((1 << 52) - 1);
            let float = Float {
                mantissa: u128::from(fraction | 1 << 52),
                exponent: (value.to_bits() >> 52) as i32 - 1075,
                is_power: fraction == 0 && value >= f64::MIN_POSITIVE * 2.0,
            };
            let (digits, power) = digits(&float);
            let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            let (first, more) = text.split_at(1);
            let dot = if more.is_empty() { "" } else { "." };
            assert_eq!(format!("{first}{dot}{more}e{power}"), format!("{value:e}"));
        }
    }

    #[test]
    fn a_nine_that_is_rounded_up_carries() {
        assert_eq!(round(vec![1, 9, 9], true, 3), (vec![2], 3));
        assert_eq!(round(vec![9, 9], true, 3), (vec![1], 4));
        assert_eq!(round(vec![9, 9], false, 3), (vec![9, 9], 3));
    }
}
