//! `Range`, `If-Range` and `If-None-Match` (RFC 9110, sections 13 and 14).

use std::ops::Range;

use poem::http::HeaderMap;
use poem::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// What of an object a request wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: the caller has it.
    Unchanged,
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads the headers for an object of `size` bytes. A range in another unit, of several parts, or that can't be read
/// is as good as none.
pub fn wanted(headers: &HeaderMap, size: u64, etag: &str) -> Wanted {
    let none_match = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if none_match.flat_map(|list| list.split(',')).any(|tag| matches(tag.trim(), etag)) {
        return Wanted::Unchanged;
    }
    let same = headers.get(IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
    let range = headers.get(RANGE).filter(|_| same).and_then(|range| range.to_str().ok());
    range.and_then(|range| part(range, size)).unwrap_or(Wanted::Whole)
}

fn matches(tag: &str, etag: &str) -> bool {
    tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
}

fn part(range: &str, size: u64) -> Option<Wanted> {
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let part = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(count)) => size.saturating_sub(count)..size,
        (Some(first), None) => first..size,
        (Some(first), Some(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Some(_), Some(_)) => return None,
    };
    Some(if part.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(part) })
}

/// `Some(None)`: left out. A number beyond 64 bits is beyond every size.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use poem::http::{HeaderName, HeaderValue};

    use super::*;

    const ETAG: &str = "\"abc\"";

    fn ask(headers: &[(HeaderName, &str)], size: u64) -> Wanted {
        let pairs = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        wanted(&pairs.collect(), size, ETAG)
    }

    fn range(range: &str) -> Wanted {
        ask(&[(RANGE, range)], 10)
    }

    #[test]
    fn one_range() {
        assert_eq!(range("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(range("bytes=2-5"), Wanted::Part(2..6));
        assert_eq!(range("bytes=9-"), Wanted::Part(9..10));
        assert_eq!(range("Bytes= 0-99999999999999999999"), Wanted::Part(0..10));
        assert_eq!(range("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(range("bytes=-99"), Wanted::Part(0..10));
    }

    #[test]
    fn ranges_that_are_not_there() {
        for wrong in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(range(wrong), Wanted::Unsatisfiable, "{wrong}");
        }
        assert_eq!(ask(&[(RANGE, "bytes=0-")], 0), Wanted::Unsatisfiable);
        assert_eq!(ask(&[(RANGE, "bytes=-1")], 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn ranges_that_count_as_none() {
        for none in
            ["bytes=0-1,3-4", "bytes=5-2", "bytes=-", "bytes=a-b", "bytes", "lines=0-1", "bytes=+1-2", "bytes=--1"]
        {
            assert_eq!(range(none), Wanted::Whole, "{none}");
        }
        assert_eq!(ask(&[], 10), Wanted::Whole);
    }

    #[test]
    fn above_four_gib() {
        let size = 5 << 30;
        assert_eq!(ask(&[(RANGE, "bytes=4294967296-4294967297")], size), Wanted::Part((4 << 30)..(4 << 30) + 2));
    }

    #[test]
    fn what_the_caller_has_is_not_sent_again() {
        for tags in [ETAG, "*", "W/\"abc\"", "\"x\", \"abc\""] {
            assert_eq!(ask(&[(IF_NONE_MATCH, tags), (RANGE, "bytes=0-1")], 10), Wanted::Unchanged, "{tags}");
        }
        assert_eq!(ask(&[(IF_NONE_MATCH, "\"x\"")], 10), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole() {
        assert_eq!(ask(&[(RANGE, "bytes=0-1"), (IF_RANGE, ETAG)], 10), Wanted::Part(0..2));
        assert_eq!(ask(&[(RANGE, "bytes=0-1"), (IF_RANGE, "\"old\"")], 10), Wanted::Whole);
    }
}
