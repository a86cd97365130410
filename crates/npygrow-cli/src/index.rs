//! Python's slices: which rows, and which items of a row.

use std::str::FromStr;

/// One part of an index, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// One index; its axis goes.
    One(i64),
    /// `start:stop:step`.
    Run(Option<i64>, Option<i64>, i64),
}

/// What `a[...]` takes, the growth axis first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index(pub(crate) Vec<Part>);

/// So many indices of an axis: `start`, `start + step`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) start: u64,
    pub(crate) step: i64,
    pub(crate) count: u64,
    /// Whether an index alone stands for the axis, which then does not show.
    pub(crate) is_one: bool,
}

impl Steps {
    /// All of `start..end`.
    pub(crate) fn range(start: u64, end: u64) -> Steps {
        Steps { start, step: 1, count: end.saturating_sub(start), is_one: false }
    }

    /// The index at place `i`, which is below `count`.
    pub(crate) fn at(&self, i: u64) -> u64 {
        // Both are inside of an axis, which is at most i64::MAX long.
        self.start.wrapping_add_signed(self.step.wrapping_mul(i as i64))
    }
}

impl FromStr for Index {
    type Err = String;

    fn from_str(text: &str) -> Result<Index, String> {
        let wrong = || format!("expected a slice such as 100:200, ::10, -5: or 0:10,:,3, found `{text}`");
        let number = |text: &str| match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| wrong()),
        };
        let part = |text: &str| {
            let numbers = text.split(':').map(number).collect::<Result<Vec<_>, _>>()?;
            match numbers[..] {
                [Some(index)] => Ok(Part::One(index)),
                [start, stop] => Ok(Part::Run(start, stop, 1)),
                [_, _, Some(0)] => Err("a slice cannot step by 0".into()),
                [start, stop, step] => Ok(Part::Run(start, stop, step.unwrap_or(1))),
                _ => Err(wrong()),
            }
        };
        text.split(',').map(part).collect::<Result<_, _>>().map(Index)
    }
}

impl Part {
    /// What it takes of an axis, by Python's rules; `what` names the axis.
    pub(crate) fn steps(&self, len: u64, what: &str) -> Result<Steps, String> {
        let size = i128::from(len);
        let at = |index: i64| if index < 0 { size + i128::from(index) } else { index.into() };
        match *self {
            Part::One(index) => match u64::try_from(at(index)) {
                Ok(start) if start < len => Ok(Steps { start, step: 1, count: 1, is_one: true }),
                _ => Err(format!("expected an index of the {len} {what}, found {index}")),
            },
            Part::Run(start, stop, step) => {
                // Backwards they run from the last index down to 0, and stop before -1.
                let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
                let [first, last] = if step > 0 { [low, high] } else { [high, low] };
                let start = start.map_or(first, |start| at(start).clamp(low, high));
                let stop = stop.map_or(last, |stop| at(stop).clamp(low, high));
                let wide = i128::from(step);
                let count = ((stop - start) * wide.signum()).max(0) as u128;
                let count = count.div_ceil(step.unsigned_abs().into()) as u64;
                let start = if count == 0 { 0 } else { start as u64 };
                Ok(Steps { start, step, count, is_one: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(text: &str, len: u64, expected: &[u64]) {
        let Index(parts) = text.parse().unwrap();
        let steps = parts[0].steps(len, "rows").unwrap();
        assert_eq!((0..steps.count).map(|i| steps.at(i)).collect::<Vec<_>>(), expected, "{text} of {len}");
    }

    #[test]
    fn as_in_python() {
        check(":", 3, &[0, 1, 2]);
        check("1:", 3, &[1, 2]);
        check("-2:", 3, &[1, 2]);
        check("-9:2", 3, &[0, 1]);
        check("2:99", 3, &[2]);
        check("2:1", 3, &[]);
        check("::2", 5, &[0, 2, 4]);
        check("1:4:3", 5, &[1]);
        check("::-1", 3, &[2, 1, 0]);
        check("::-2", 4, &[3, 1]);
        check("3:0:-1", 9, &[3, 2, 1]);
        check("99:-99:-4", 9, &[8, 4, 0]);
        check(" -1 ", 3, &[2]);
        check("0:10:9223372036854775807", 3, &[0]);
        check("::-9223372036854775808", 3, &[2]);
        check("::", 0, &[]);
        check("::-1", 0, &[]);
    }

    #[test]
    fn parts() {
        let parsed: Index = "0:10,:,3,::-1".parse().unwrap();
        let expected =
            [Part::Run(Some(0), Some(10), 1), Part::Run(None, None, 1), Part::One(3), Part::Run(None, None, -1)];
        assert_eq!(parsed.0, expected);
    }

    #[test]
    fn errors() {
        for text in ["", "x", "1:2:3:4", "1,,2", "1.5", "0x1"] {
            let expected = format!("expected a slice such as 100:200, ::10, -5: or 0:10,:,3, found `{text}`");
            assert_eq!(text.parse::<Index>(), Err(expected));
        }
        assert_eq!("::0".parse::<Index>(), Err("a slice cannot step by 0".into()));
        for index in [3, -4] {
            let expected = format!("expected an index of the 3 rows, found {index}");
            assert_eq!(Part::One(index).steps(3, "rows"), Err(expected));
        }
    }
}
