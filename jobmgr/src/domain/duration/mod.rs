//! Go duration strings (`1m30s`), read and written exactly as Go's `time.ParseDuration` and `Duration.String` do.
//!
//! The rules are those of <https://pkg.go.dev/time#ParseDuration>: a sign, then decimal numbers, each with an optional
//! fraction and a unit (`ns us ms s m h`; also `µs` with U+00B5 or U+03BC), and nothing between them.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

pub mod age;
mod setting;
#[cfg(test)]
mod tests;

pub use setting::{deserialize, serialize};

/// The largest number of nanoseconds, apart from the sign: 2^63, which only a negative duration can have.
const LIMIT: u64 = 1 << 63;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A duration as Go has it: nanoseconds, which may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct GoDuration(pub i64);

/// Why a text is no duration; the texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a duration at all, or one that 64 bits of nanoseconds can't hold.
    #[error("time: invalid duration {}", quoted(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", quoted(.0))]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {} in duration {}", quoted(.unit), quoted(.text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

impl GoDuration {
    /// The duration as the standard library has it; `None` when it is negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl From<Duration> for GoDuration {
    /// Durations of more than 292 years become the longest one.
    fn from(duration: Duration) -> Self {
        GoDuration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(GoDuration(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (part, after) = part(rest, text, unit)?;
            total = total.checked_add(part).filter(|total| *total <= LIMIT).ok_or_else(invalid)?;
            rest = after;
        }
        if negative {
            return Ok(GoDuration(0_i64.wrapping_sub_unsigned(total)));
        }
        i64::try_from(total).map(GoDuration).map_err(|_| invalid())
    }
}

/// The nanoseconds of a unit of Go.
fn unit(name: &str) -> Option<u64> {
    match name {
        "ns" => Some(1),
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(SECOND),
        "m" => Some(MINUTE),
        "h" => Some(HOUR),
        _ => None,
    }
}

/// Takes one number with its unit off the front of `rest`: its nanoseconds, and what follows.
fn part<'t>(rest: &'t str, text: &str, nanos_of: fn(&str) -> Option<u64>) -> Result<(u64, &'t str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (digits, after) = leading(rest, |b| b.is_ascii_digit());
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => leading(after, |b| b.is_ascii_digit()),
        None => ("", after),
    };
    if digits.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let whole = if digits.is_empty() { Ok(0) } else { digits.parse::<u64>() };
    let whole = whole.ok().filter(|whole| *whole <= LIMIT).ok_or_else(invalid)?;
    let (unit, after) = leading(after, |b| b != b'.' && !b.is_ascii_digit());
    let nanos = match nanos_of(unit) {
        Some(nanos) => nanos,
        None if unit.is_empty() => return Err(DurationError::MissingUnit(text.to_owned())),
        None => return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() }),
    };
    let sum = whole.checked_mul(nanos).and_then(|whole| whole.checked_add(fraction_nanos(fraction, nanos)));
    let sum = sum.filter(|sum| *sum <= LIMIT).ok_or_else(invalid)?;
    Ok((sum, after))
}

/// A fraction of a unit in nanoseconds. Go computes it in `f64` and drops digits that 63 bits can't hold; the same
/// nanosecond comes out here only in the same way.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    let mut value = 0_u64;
    let mut scale = 1_f64;
    for digit in digits.bytes() {
        if value > (LIMIT - 1) / 10 {
            break;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > LIMIT {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// Splits `text` after the bytes that `matches` takes. It may stop only before an ASCII byte, or at the end.
fn leading(text: &str, matches: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|b| !matches(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// `text` in double quotes; bytes that are not printable ASCII as `\xNN`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..0x80 => out.push(char::from(byte)),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_char('-')?;
        }
        match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return decimal(f, nanos, 1_000, "\u{b5}s"),
            1_000_000..SECOND => return decimal(f, nanos, 1_000_000, "ms"),
            _ => {}
        }
        if nanos >= HOUR {
            write!(f, "{}h", nanos / HOUR)?;
        }
        if nanos >= MINUTE {
            write!(f, "{}m", nanos % HOUR / MINUTE)?;
        }
        decimal(f, nanos % MINUTE, SECOND, "s")
    }
}

/// Writes `nanos` in `unit`s of so many nanoseconds, without zeros at the end of the fraction.
fn decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let fraction = nanos % unit;
    if fraction > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(name)
}
