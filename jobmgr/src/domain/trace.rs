//! Which trace something belongs to, as HTTP requests and programs hand it on (W3C Trace Context, `traceparent`).

use std::fmt;

/// The longest `traceparent` that is looked at: later versions may have more than the first.
const LONGEST: usize = 128;
/// That of version 00.
const LENGTH: usize = 55;

/// A position in a trace: its id, the id of a span, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Of the whole trace; not zero.
    pub trace: u128,
    /// Of the span that what comes next belongs to; not zero.
    pub span: u64,
    /// Version 00 has one: 1 says that the trace is recorded.
    pub flags: u8,
}

impl TraceParent {
    /// The position that a header or a variable names; `None` where it is not well-formed: it is to be ignored then.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !(LENGTH..=LONGEST).contains(&text.len()) || !text.is_ascii() {
            return None;
        }
        let (first, more) = text.split_at(LENGTH);
        let mut parts = first.split('-');
        let mut part = |length| parts.next().filter(|part| part.len() == length && lower(part));
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // A later version may go on after another dash; 255 is none.
        let ends = more.is_empty() || version != "00" && more.starts_with('-');
        let known = version != "ff" && ends;
        let found = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (known && found.trace != 0 && found.span != 0).then_some(found)
    }
}

impl fmt::Display for TraceParent {
    /// As version 00, which every later one can read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags & 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_well_formed_comes_back_as_it_was() {
        assert_eq!(TraceParent::parse(GOOD).unwrap().to_string(), GOOD);
        // Flags that nobody knows yet are not handed on.
        assert_eq!(TraceParent::parse(&GOOD.replace("-01", "-ff")).unwrap().to_string(), GOOD);
        let later = format!("01{}-what-else", &GOOD[2..]);
        assert_eq!(TraceParent::parse(&later).unwrap().to_string(), GOOD);
    }

    #[test]
    fn what_is_not_is_ignored() {
        let zero_trace = GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = GOOD.replace("00f067aa0ba902b7", &"0".repeat(16));
        let long = format!("01{}-{}", &GOOD[2..], "x".repeat(200));
        for bad in [
            "",
            &GOOD[..54],
            &format!("{GOOD}-x"),
            &format!("{GOOD}0"),
            &format!(" {GOOD}"),
            &GOOD.to_uppercase(),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace('-', "_"),
            &GOOD.replace("4bf", "4bg"),
            &GOOD.replace("4bf", "+bf"),
            &format!("01{}x", &GOOD[2..]),
            &zero_trace,
            &zero_span,
            &long,
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\u{e9}",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad:?}");
        }
    }
}
