//! The counts that a file passes through, chosen so that one that never was is known as such.

/// A hundred million: where a commit changes sixteen bytes in place of eight.
const CARRY: u64 = 100_000_000;

/// How a file grows.
pub(crate) struct Walk {
    /// The bytes of a row, 8 or none.
    pub(crate) row_size: u64,
    /// The count that it begins with, then that after each append.
    pub(crate) counts: Vec<u64>,
}

impl Walk {
    /// That of the file with this number.
    pub(crate) fn of(file: u64) -> Walk {
        let round = file / 3;
        match file % 3 {
            0 => carries(round),
            1 => digits(),
            _ => sparse(round),
        }
    }
}

/// Rows without bytes, so that an append can be of any number of them: every second commit carries past 10^8.
fn carries(round: u64) -> Walk {
    let first = round * 7919 % 10_000_000;
    let around = |carry: u64| [carry * CARRY - 1, carry * CARRY];
    Walk { row_size: 0, counts: (first + 1..first + 2000).flat_map(around).collect() }
}

/// From nothing past 9/10, 99/100, ... 99,999/100,000.
fn digits() -> Walk {
    let around = |digits| 10_u64.pow(digits).saturating_sub(3).max(1)..10_u64.pow(digits) + 3;
    Walk {
        row_size: 8,
        counts: (0..6).flat_map(around).collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
    }
}

/// From a hole of many rows past a power of ten, or another multiple of 10^8: rows one by one, and some at once.
fn sparse(round: u64) -> Walk {
    let border = match round % 8 {
        power @ 0..5 => 10_u64.pow(6 + power as u32),
        _ => (2 + round % 900) * CARRY,
    };
    Walk { row_size: 8, counts: (0..250).map(|step| border - 400 + step * 2 - step % 2).collect() }
}

/// The value of a row: no two are alike.
pub(crate) fn value(row: u64) -> u64 {
    row.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn walks_go_up_and_past_what_they_are_for() {
        let mut borders = Vec::new();
        for file in 0..60 {
            let Walk { counts, .. } = Walk::of(file);
            assert!(counts.is_sorted_by(|a, b| a < b), "{file}");
            assert!(*counts.last().unwrap() < 10_u64.pow(16));
            borders.extend((0..12).filter(|&power| {
                counts.windows(2).any(|pair| pair[0] < 10_u64.pow(power) && pair[1] >= 10_u64.pow(power))
            }));
        }
        borders.sort_unstable();
        borders.dedup();
        assert_eq!(borders, Vec::from_iter(1..12));
    }
}
