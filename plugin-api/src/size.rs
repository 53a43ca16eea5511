//! Bytes as people write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const EXAMPLE: &str = "a number of bytes, or a size such as \"512MiB\" or \"2GiB\"";
/// For showing, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes, at most what fits into 63 bits. In TOML and JSON it is a number, or a text with a unit: `512MiB`,
/// `1.5GiB` (powers of 1024, also as `512M` or `512m`), `1GB` (powers of 1000), `7B`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(
    /// Bytes.
    pub u64,
);

/// With the largest unit that leaves a whole number.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    /// Reads a text with or without a unit; the error says what would be right.
    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map(Size).ok_or_else(|| format!("'{text}' is not a size; use {EXAMPLE}"))
    }
}

fn parse(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let factor: u64 = match unit.trim_start_matches(' ') {
        "" | "B" | "b" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        "T" | "t" | "TiB" => 1 << 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than that say nothing about bytes.
    if !is_number(whole) || !is_number(part) || part.len() > 15 {
        return None;
    }
    let tenths = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part = part.parse::<u128>().ok()? * u128::from(factor) / tenths;
    let bytes = whole.parse::<u128>().ok()?.checked_mul(factor.into())?.checked_add(part)?;
    // Kernels and databases count in signed numbers.
    i64::try_from(bytes).ok()?.try_into().ok()
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXAMPLE)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        let fits = i64::try_from(bytes).is_ok();
        fits.then_some(Size(bytes)).ok_or_else(|| E::custom(format!("must be at most {}, and is {bytes}", i64::MAX)))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        let bytes = u64::try_from(bytes).map_err(|_| E::custom(format!("must not be negative, and is {bytes}")))?;
        Ok(Size(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+([.][0-9]{1,15})? *([KkMGT]?B|b|[KMGT]iB|[KMGTkmgt])?$",
            "examples": [1_073_741_824, "512MiB", "2GiB"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let right = [
            ("1", 1),
            ("7 B", 7),
            ("2GiB", 2 << 30),
            ("1GB", 1_000_000_000),
            ("64 M", 64 << 20),
            ("64m", 64 << 20),
            ("1.5 GB", 1_500_000_000),
            ("0.5KiB", 512),
            ("1.0000000001B", 1),
            ("9223372036854775807", i64::MAX as u64),
        ];
        for (text, bytes) in right {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(serde_json::from_str::<Size>(&format!("\"{text}\"")).unwrap(), Size(bytes), "{text}");
        }
        let wrong = [
            "",
            "G",
            "GiB",
            "-1",
            "1 gib",
            "1.GiB",
            ".5G",
            "2..5m",
            "1e9",
            "2 gigs",
            " 1",
            "99999999999T",
            "9223372036854775808",
        ];
        for text in wrong {
            let error = serde_json::from_str::<Size>(&format!("\"{text}\"")).unwrap_err().to_string();
            let told =
                format!("'{text}' is not a size; use a number of bytes, or a size such as \"512MiB\" or \"2GiB\"");
            assert!(error.starts_with(&told), "{error}");
        }
    }

    #[test]
    fn numbers_are_bytes() {
        assert_eq!(serde_json::from_str::<Size>("512").unwrap(), Size(512));
        for (json, told) in [
            ("-5", "must not be negative, and is -5"),
            ("9223372036854775808", "must be at most 9223372036854775807, and is 9223372036854775808"),
            ("1.5", "invalid type: floating point `1.5`, expected a number of bytes, or a size such as \"512MiB\""),
            ("true", "invalid type: boolean `true`, expected a number of bytes, or a size such as \"512MiB\""),
        ] {
            let error = serde_json::from_str::<Size>(json).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
        assert_eq!(serde_json::to_string(&Size(1 << 20)).unwrap(), "1048576");
    }

    #[test]
    fn they_are_shown_as_people_write_them() {
        let shown = [64 << 20, 1 << 30, 1536 << 20, 1_000_001, 0].map(|bytes| Size(bytes).to_string());
        assert_eq!(shown, ["64MiB", "1GiB", "1536MiB", "1000001 bytes", "0 bytes"]);
    }

    #[test]
    fn the_schema_takes_what_is_read() {
        let schema = schemars::schema_for!(Size);
        assert_eq!(schema.get("type"), Some(&serde_json::json!(["integer", "string"])));
        assert_eq!(schema.get("minimum"), Some(&serde_json::json!(0)));
    }
}
