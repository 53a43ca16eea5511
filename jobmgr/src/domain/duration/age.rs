//! How long things are kept: Go durations that may also have days and weeks (`30d`, `2w`, `1d12h`), more than zero.
//!
//! A day is 24 hours. Durations themselves go on without these units, as clients of the original know them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serializer};

use super::{HOUR, part, unit};

const DAY: u64 = 24 * HOUR;

/// What an age looks like, for errors.
const EXAMPLE: &str = "a number with its unit, such as \"30d\", \"2w\" or \"1d12h\"";

/// How old something may become; more than zero, and less than 292 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || format!("'{}' is not an age; use {EXAMPLE}", text.escape_debug());
        let (negative, number) = match text.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let nanos = nanos(number).ok_or_else(invalid)?;
        match (negative, nanos) {
            (_, 0) => Err(format!("must be more than 0, and is '{text}'; leave it out to keep for ever")),
            (true, _) => Err(format!("must not be negative, and is '{text}'")),
            (false, _) => Ok(Age(Duration::from_nanos(nanos))),
        }
    }
}

/// The sum of the numbers in a text without a sign; `None` where it is no age, or one of more than 292 years.
fn nanos(text: &str) -> Option<u64> {
    let mut rest = if text == "0" { "0s" } else { text };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (nanos, after) = part(rest, text, unit_of_age).ok()?;
        total = total.checked_add(nanos)?;
        rest = after;
    }
    i64::try_from(total).is_ok().then_some(total)
}

fn unit_of_age(name: &str) -> Option<u64> {
    match name {
        "d" => Some(DAY),
        "w" => Some(7 * DAY),
        _ => unit(name),
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Age;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXAMPLE)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Age, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Age {
    fn schema_name() -> Cow<'static, str> {
        "Age".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w))+$",
            "examples": ["30d", "2w", "1d12h"]
        })
    }
}

/// Reads an age that may be left out; for `#[serde(default, with = "age")]`.
///
/// # Errors
/// When it is no age.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Age::deserialize(deserializer).map(|age| Some(age.0))
}

/// Writes an age as [`deserialize`] reads it.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match age {
        Some(age) => serializer.collect_str(&super::GoDuration::from(*age)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn days_and_weeks_beside_the_units_of_go() {
        let table = [
            ("30d", 30 * 24 * HOUR),
            ("2w", 14 * 24 * HOUR),
            ("1d12h", 36 * HOUR),
            ("1w1d1h", 193 * HOUR),
            ("1.5d", 36 * HOUR),
            ("+.5d", 12 * HOUR),
            ("1h30m", HOUR * 3 / 2),
            ("1ns", Duration::from_nanos(1)),
            ("15250w", 15250 * 7 * 24 * HOUR),
        ];
        for (text, age) in table {
            assert_eq!(text.parse(), Ok(Age(age)), "{text}");
        }
    }

    #[test]
    fn what_is_no_age_is_refused() {
        for text in
            ["", "30", "d", "30 d", "30D", "1y", "1d-12h", "--1d", "1mo", "15251w", "99999999999d", "1e3d", "\u{e9}"]
        {
            let wrong = text.parse::<Age>().unwrap_err();
            assert_eq!(
                wrong,
                format!("'{text}' is not an age; use a number with its unit, such as \"30d\", \"2w\" or \"1d12h\"")
            );
        }
        for text in ["0", "0d", "-0s", "+0", "0w0d", "0.1ns"] {
            let wrong = text.parse::<Age>().unwrap_err();
            assert_eq!(wrong, format!("must be more than 0, and is '{text}'; leave it out to keep for ever"));
        }
        assert_eq!("-1d".parse::<Age>().unwrap_err(), "must not be negative, and is '-1d'");
    }
}
