//! A random order of any number of rows that takes no memory.

/// A permutation of `0..len`, chosen by `seed`.
///
/// A Feistel network permutes the smallest power of four that holds `len` numbers, whatever its round function; numbers past
/// the end are sent through again until they are inside (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shuffle {
    len: u64,
    seed: u64,
    half_bits: u32,
}

/// More than a cipher of this width would need for shuffling; a round takes a nanosecond.
const ROUNDS: u64 = 12;

impl Shuffle {
    pub(crate) fn new(len: u64, seed: u64) -> Self {
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Shuffle { len, seed: mix(seed), half_bits: bits.div_ceil(2).max(1) }
    }

    /// The row that comes at `place`, which is below the number of rows.
    pub(crate) fn row(&self, place: u64) -> u64 {
        debug_assert!(place < self.len);
        let mut number = self.permute(place);
        // Ends: the cycle that `place` is on comes back to it, which is inside.
        while number >= self.len {
            number = self.permute(number);
        }
        number
    }

    fn permute(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..ROUNDS {
            // The high bits of the hash: they depend on all of its input.
            let hash = mix(right ^ self.seed.wrapping_add(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            (left, right) = (right, left ^ (hash >> (u64::BITS - self.half_bits)));
        }
        (left << self.half_bits) | right
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn order(len: u64, seed: u64) -> Vec<u64> {
        let shuffle = Shuffle::new(len, seed);
        (0..len).map(|place| shuffle.row(place)).collect()
    }

    #[test]
    fn every_row_comes_once() {
        for len in (0..200).chain([1023, 1024, 1025, 100_003]) {
            let mut rows = order(len, len);
            rows.sort_unstable();
            assert_eq!(rows, Vec::from_iter(0..len), "{len} rows");
        }
    }

    #[test]
    fn a_seed_is_an_order() {
        assert_eq!(order(100, 7), order(100, 7));
        assert_ne!(order(100, 7), order(100, 8));
        assert_ne!(order(100, 0), Vec::from_iter(0..100));
    }

    #[test]
    fn numbers_near_the_limit() {
        for len in [1 << 62, u64::MAX / 2, u64::MAX] {
            let shuffle = Shuffle::new(len, 1);
            assert!([0, 1, len / 2, len - 1].iter().all(|&place| shuffle.row(place) < len));
        }
    }

    /// Over many seeds each row comes at each place about equally often, also beside its neighbour: chi-squared with 15 and
    /// 63 degrees of freedom stays below what is passed once in a million.
    #[test]
    fn places_are_even() {
        const SEEDS: u64 = 8000;
        for len in [4_u64, 8] {
            let cells = usize::try_from(len * len).unwrap_or(0);
            let (mut places, mut pairs) = (vec![0_u32; cells], vec![0_u32; cells]);
            for seed in 0..SEEDS {
                let rows = order(len, seed);
                for (place, &row) in rows.iter().enumerate() {
                    places[place * rows.len() + usize::try_from(row).unwrap_or(0)] += 1;
                }
                pairs[usize::try_from(rows[0] * len + rows[1]).unwrap_or(0)] += 1;
            }
            let chi = |counts: &[u32], expected: f64, skip: bool| -> f64 {
                let counted =
                    counts.iter().enumerate().filter(|(at, _)| !skip || at / len as usize != at % len as usize);
                counted.map(|(_, &count)| (f64::from(count) - expected).powi(2) / expected).sum()
            };
            let limit = if len == 4 { 60.0 } else { 140.0 };
            let seeds = f64::from(u32::try_from(SEEDS).unwrap_or(0));
            let at_places = chi(&places, seeds / len as f64, false);
            let of_pairs = chi(&pairs, seeds / (len * (len - 1)) as f64, true);
            assert!(at_places < limit && of_pairs < limit, "{len} rows: {at_places:.0}, {of_pairs:.0} of {limit}");
        }
    }
}
