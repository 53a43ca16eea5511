//! What is wrong in a text, and where.

use std::fmt;

use super::shape;

/// What is wrong, and where: `line 2, column 1: unknown key 'Timout'; did you mean 'Timeout'?`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong and what would be right; one line.
    pub text: String,
}

/// Where a mistake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the text.
    Line {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// In a value that is not from the text: an environment variable.
    Outside(String),
    /// Something that the text lacks.
    Whole,
}

impl Place {
    /// The place of a byte of `text`.
    pub fn of(text: &str, offset: usize) -> Place {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        // Bytes that continue a character do not count.
        let column = before[start..].iter().filter(|b| **b & 0xc0 != 0x80).count() + 1;
        Place::Line { line, column }
    }
}

impl Mistake {
    /// A mistake of the text as a whole.
    pub fn whole(text: impl Into<String>) -> Self {
        Self { place: Place::Whole, text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { line, column } => write!(f, "line {line}, column {column}: {}", self.text),
            Place::Outside(origin) => write!(f, "{origin}: {}", self.text),
            Place::Whole => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for Mistake {}

/// What serde says about a value or a key, in the words of this program's other texts; one line.
pub fn in_our_words(text: &str) -> String {
    if let Some(key) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("key '{key}' is missing");
    }
    if let Some((key, known)) = text.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, ")) {
        return shape::unknown(key, known.split('`').skip(1).step_by(2));
    }
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return one_line(text) };
    let expected = match expected {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        other => return format!("{}, expected {other}", one_line(found)),
    };
    format!("{}, expected {expected}", one_line(found))
}

/// Texts of others on one line.
pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
