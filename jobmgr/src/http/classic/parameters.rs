//! The JSON object of a job's values.

use std::collections::BTreeMap;

use crate::domain::job::Parameters;

/// The largest object in bytes.
const MAX: usize = 1 << 20;

/// Reads an object of strings; `null` is the empty string, of equal keys the last wins. `None`: it is something else,
/// is followed by something, holds a NUL or a lone surrogate, is not UTF-8, or is larger than 1 MiB.
pub fn parse(text: &[u8]) -> Option<Parameters> {
    if text.len() > MAX {
        return None;
    }
    // A value of another type fails where it begins: no depth of nesting is ever followed.
    let values: BTreeMap<String, Option<String>> = serde_json::from_slice(text).ok()?;
    let values: Parameters = values.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
    let has_nul = values.iter().any(|(name, value)| name.contains('\0') || value.contains('\0'));
    (!has_nul).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Option<Vec<(String, String)>> {
        parse(text.as_bytes()).map(|values| values.into_iter().collect())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn objects_of_strings() {
        assert_eq!(object("{}"), Some(vec![]));
        assert_eq!(object(" {\"b\":\"2\",\n\"a\":\"\\u0031\"}\n"), Some(vec![pair("a", "1"), pair("b", "2")]));
        assert_eq!(object("{\"a\":null}"), Some(vec![pair("a", "")]));
        assert_eq!(object("{\"a\":\"1\",\"a\":\"2\"}"), Some(vec![pair("a", "2")]));
    }

    #[test]
    fn text_is_kept_as_it_is() {
        let value = "e\u{301} \u{e9} \u{202e}\u{1F600}";
        assert_eq!(object(&format!("{{\"a\":\"{value}\"}}")), Some(vec![pair("a", value)]));
        assert_eq!(object("{\"a\":\"\\ud83d\\ude00\"}"), Some(vec![pair("a", "\u{1F600}")]));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "nope",
            "{",
            "[]",
            "\"a\"",
            "1",
            "true",
            "null",
            "NaN",
            "{\"a\":\"1\"} x",
            "{'a':'1'}",
            "{\"a\":\"1\",}",
            "{\"a\":1}",
            "{\"a\":1e400}",
            "{\"a\":NaN}",
            "{\"a\":true}",
            "{\"a\":[]}",
            "{\"a\":{}}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\u0000\"}",
            "{\"\\u0000\":\"\"}",
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(object(text), None, "{text}");
        }
        assert_eq!(parse(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn nesting_is_not_followed() {
        for open in ["[", "{\"a\":"] {
            assert_eq!(object(&format!("{{\"a\":{}", open.repeat(150_000))), None);
            assert_eq!(object(&open.repeat(150_000)), None);
        }
    }

    #[test]
    fn one_mebibyte_is_the_most() {
        let of = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(parse(of(MAX).as_bytes()).is_some());
        assert!(parse(of(MAX + 1).as_bytes()).is_none());
    }
}
