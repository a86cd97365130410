//! Numbers and times as NumPy spells them, from their bytes.

use crate::shortest::{Float, digits};
use std::fmt::{LowerExp, Write};
use std::str::FromStr;

/// A number's bytes, the lowest first; 16 at most.
pub(crate) fn bits(bytes: &[u8], is_big: bool) -> u128 {
    let push = |bits: u128, byte: &u8| bits << 8 | u128::from(*byte);
    if is_big { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) }
}

/// The same with a sign.
pub(crate) fn signed(bits: u128, size: usize) -> i128 {
    let unused = 128 - 8 * size as u32;
    (bits << unused) as i128 >> unused
}

/// A float of `size` bytes: `nan`, `-inf`, or the fewest digits that read back as the same value.
pub(crate) fn float(bits: u128, size: usize) -> String {
    match size {
        4 => native(f32::from_bits(bits as u32)),
        8 => native(f64::from_bits(bits as u64)),
        2 => unpacked(bits, 10, 5),
        // NumPy's long double is the machine's: here, as in NumPy, other machines' are not told apart.
        12 => extended(bits),
        _ if cfg!(any(target_arch = "x86", target_arch = "x86_64")) => extended(bits),
        _ => unpacked(bits, 112, 15),
    }
}

/// An IEEE 754 format: a sign, `exponent` bits, and `fraction` bits behind a one that is not stored.
fn unpacked(bits: u128, fraction: u32, exponent: u32) -> String {
    let mantissa = bits & ((1 << fraction) - 1);
    let biased = (bits >> fraction) as i32 & ((1 << exponent) - 1);
    let hidden = if biased == 0 { 0 } else { 1 << fraction };
    let is_special = biased == (1 << exponent) - 1;
    let least = 2 - (1 << (exponent - 1)) - fraction as i32;
    let is_power = mantissa == 0 && biased > 1;
    let float = Float { mantissa: mantissa | hidden, exponent: least + biased.max(1) - 1, is_power };
    spelt(bits >> (fraction + exponent) & 1 == 1, is_special.then_some(mantissa == 0), &float)
}

/// The 80 bits of the x87, whose leading one is stored.
fn extended(bits: u128) -> String {
    let mantissa = bits & u128::from(u64::MAX);
    let biased = (bits >> 64) as i32 & 0x7fff;
    let is_special = biased == 0x7fff;
    let is_power = mantissa == 1 << 63 && biased > 1;
    let float = Float { mantissa, exponent: biased.max(1) - 16_383 - 63, is_power };
    spelt(bits >> 79 & 1 == 1, is_special.then_some(mantissa << 65 == 0), &float)
}

/// `infinite`: what is no number is an infinity.
fn spelt(is_negative: bool, infinite: Option<bool>, float: &Float) -> String {
    let sign = if is_negative { "-" } else { "" };
    match infinite {
        Some(true) => format!("{sign}inf"),
        Some(false) => "nan".into(),
        None if float.mantissa == 0 => format!("{sign}0.0"),
        None => {
            let (digits, power) = digits(float);
            let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            decimal(sign, &digits, power)
        }
    }
}

/// A float that Rust knows how to print, faster than we do.
fn native<T: LowerExp + FromStr + PartialEq>(value: T) -> String {
    let shortest = format!("{value:e}");
    let Some((number, power)) = shortest.split_once('e') else { return shortest.to_lowercase() };
    let (sign, number) = if let Some(number) = number.strip_prefix('-') { ("-", number) } else { ("", number) };
    let mut digits = number.replace('.', "");
    // Between two decimals as near as each other Rust takes the one above, NumPy the even one.
    if digits.ends_with(['1', '3', '5', '7', '9']) {
        let len = digits.len();
        let exact = format!("{value:.40e}").replace(['-', '.'], "");
        let (even, rest) = exact.split_at(len);
        let is_tie = rest.strip_prefix('5').is_some_and(|rest| rest.bytes().take(40 - len).all(|digit| digit == b'0'));
        let (first, more) = even.split_at(1);
        if is_tie && format!("{sign}{first}.{more}e{power}").parse().is_ok_and(|even: T| even == value) {
            digits = even.into();
        }
    }
    decimal(sign, &digits, power.parse().unwrap_or(0))
}

/// As Python and NumPy write a `float64`: with an exponent below 1e-4 and from 1e16 on.
fn decimal(sign: &str, digits: &str, power: i32) -> String {
    let (first, more) = digits.split_at(1);
    let after = |digits: &str| if digits.is_empty() { "0".into() } else { digits.to_string() };
    match power {
        -4..0 => format!("{sign}0.{}{digits}", "0".repeat(power.unsigned_abs() as usize - 1)),
        0..16 => match digits.split_at_checked(power as usize + 1) {
            Some((whole, part)) => format!("{sign}{whole}.{}", after(part)),
            None => format!("{sign}{digits:0<0$}.0", power as usize + 1),
        },
        _ => {
            let dot = if more.is_empty() { "" } else { "." };
            let mark = if power < 0 { '-' } else { '+' };
            format!("{sign}{first}{dot}{more}e{mark}{:02}", power.unsigned_abs())
        }
    }
}

/// Real and imaginary part in one: `(1.5-2j)`, or `2j` without a real part.
pub(crate) fn complex(real: &str, imaginary: &str) -> String {
    let trim = |text: &str| text.strip_suffix(".0").unwrap_or(text).to_string();
    let (real, imaginary) = (trim(real), trim(imaginary));
    let plus = if imaginary.starts_with('-') { "" } else { "+" };
    if real == "0" { format!("{imaginary}j") } else { format!("({real}{plus}{imaginary}j)") }
}

/// The steps of a date or a time: so many of a unit. Without a unit they are numbers.
#[derive(Clone, Copy)]
pub(crate) struct Unit {
    pub(crate) steps: i128,
    name: &'static str,
    /// In a second; 0 for longer units.
    parts: i128,
    seconds: i128,
}

/// Name, its plural in words, parts in a second, seconds in one.
const UNITS: [(&str, &str, u32, i128); 13] = [
    ("Y", "years", 0, 0),
    ("M", "months", 0, 0),
    ("W", "weeks", 0, 7 * 86_400),
    ("D", "days", 0, 86_400),
    ("h", "hours", 0, 3_600),
    ("m", "minutes", 0, 60),
    ("s", "seconds", 0, 1),
    ("ms", "milliseconds", 3, 0),
    ("us", "microseconds", 6, 0),
    ("ns", "nanoseconds", 9, 0),
    ("ps", "picoseconds", 12, 0),
    ("fs", "femtoseconds", 15, 0),
    ("as", "attoseconds", 18, 0),
];

impl Unit {
    /// From a dtype's spelling, such as `<M8[25s]`; `None` where it has no unit.
    pub(crate) fn of(dtype: &str) -> Option<Unit> {
        let inside = dtype.split_once('[')?.1.strip_suffix(']')?;
        let name = inside.trim_start_matches(|c: char| c.is_ascii_digit());
        let steps = inside.strip_suffix(name)?;
        let (name, _, power, seconds) = UNITS.iter().find(|unit| unit.0 == name)?;
        let steps = if steps.is_empty() { 1 } else { steps.parse().ok()? };
        Some(Unit { steps, name, parts: if *power == 0 { 0 } else { 10_i128.pow(*power) }, seconds: *seconds })
    }

    /// `5 seconds`.
    pub(crate) fn time(&self, count: i128) -> String {
        let words = UNITS.iter().find(|unit| unit.0 == self.name).map_or("", |unit| unit.1);
        format!("{} {words}", count * self.steps)
    }

    /// In ISO 8601, as far as the unit goes.
    pub(crate) fn date(&self, count: i128) -> String {
        let count = count * self.steps;
        match self.name {
            "Y" => return format!("{:04}", 1970 + count),
            "M" => return format!("{:04}-{:02}", 1970 + count.div_euclid(12), count.rem_euclid(12) + 1),
            _ => {}
        }
        let (seconds, part) = match self.parts {
            0 => (count * self.seconds, 0),
            parts => (count.div_euclid(parts), count.rem_euclid(parts)),
        };
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400);
        let mut text = format!("{year:04}-{month:02}-{day:02}");
        let shown = ["h", "m", "s"].iter().position(|&name| name == self.name).unwrap_or(2);
        if !matches!(self.name, "W" | "D") {
            let clock = [second / 3_600, second / 60 % 60, second % 60];
            for (mark, value) in ['T', ':', ':'].into_iter().zip(clock).take(shown + 1) {
                let _ = write!(text, "{mark}{value:02}");
            }
        }
        if self.parts > 0 {
            let _ = write!(text, ".{part:00$}", self.parts.ilog10() as usize);
        }
        text
    }
}

/// The day so many days after 1970-01-01 in the Gregorian calendar without a beginning. The method is Howard Hinnant's: eras of
/// 400 years that start with a March.
fn civil(days: i128) -> (i128, i128, i128) {
    const ERA: i128 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i128::from(month <= 2), month, day)
}
