//! Amounts of memory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An amount of memory: bytes, or text such as `"2GiB"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// A number and a unit: `B`, `kB`, `MB`, `GB`, `TB` (powers of 1000), `KiB`, `MiB`, `GiB`, `TiB` (of 1024), and
    /// as Docker's command line has them `b`, `k`, `m`, `g`, `t` (of 1024).
    Text(String),
}

impl Size {
    /// The bytes; the error says what is wrong with the text.
    pub(crate) fn bytes(&self) -> Result<i64, String> {
        let bytes = match self {
            Size::Bytes(bytes) => i64::try_from(*bytes).ok(),
            Size::Text(text) => parse(text),
        };
        let shown = match self {
            Size::Bytes(bytes) => bytes.to_string(),
            Size::Text(text) => format!("{text:?}"),
        };
        bytes
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| format!("{shown} is no amount of memory such as \"2GiB\" or 512000000"))
    }
}

fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let unit: f64 = match text[digits..].trim() {
        "" | "B" | "b" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" | "k" | "K" => 1024.0,
        "MiB" | "m" | "M" => 1_048_576.0,
        "GiB" | "g" | "G" => 1_073_741_824.0,
        "TiB" | "t" | "T" => 1_099_511_627_776.0,
        _ => return None,
    };
    let bytes = number * unit;
    // Far below where a float stops counting ones.
    (bytes <= 1e15).then_some(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_what_they_say() {
        let bytes = |text: &str| Size::Text(text.into()).bytes();
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(bytes("64m"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(Size::Bytes(7).bytes(), Ok(7));
        for wrong in ["", "GiB", "2 gigs", "-1", "0", "1e400", "2..5m", "99999999TiB"] {
            let why = bytes(wrong).expect_err(wrong);
            assert!(why.contains("2GiB"), "{why}");
        }
    }
}
