//! What log lines may hold: no tokens, no control characters, no end.
//!
//! A field may hold what a stranger sent. Each line is written by one call, so it can be looked at as a whole.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::auth::PREFIX;

/// The longest line, in bytes.
const LONGEST: usize = 16 << 10;
/// So many letters and digits after the prefix are a token, whole or cut off.
const TOKEN: usize = 16;

/// Writes lines without what they may not hold.
pub(super) struct Clean<W> {
    to: W,
    /// The formatter's own escapes stay; it escapes those of values itself.
    colors: bool,
}

impl<W: Write> Clean<W> {
    pub(super) fn new(to: W, colors: bool) -> Self {
        Self { to, colors }
    }
}

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.to.write_all(clean(&String::from_utf8_lossy(line), self.colors).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn clean(line: &str, colors: bool) -> Cow<'_, str> {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    let bad = |c: char| c.is_control() && !(colors && c == '\u{1b}');
    if text.len() <= LONGEST && !text.contains(bad) && !text.contains(PREFIX) {
        return line.into();
    }
    let mut left = String::with_capacity(text.len().min(LONGEST));
    // Before it is cut: half a token is none of a reader's business either.
    for c in without_tokens(text).chars() {
        if left.len() >= LONGEST {
            left.push_str("...");
            break;
        }
        if bad(c) { left.extend(c.escape_default()) } else { left.push(c) }
    }
    (left + end).into()
}

fn without_tokens(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, found) = rest.split_at(at + PREFIX.len());
        // One may follow another at once.
        let length = found.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        left.push_str(before);
        left.push_str(if length >= TOKEN { "***" } else { &found[..length] });
        rest = &found[length..];
    }
    left + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    fn written(line: &str, colors: bool) -> String {
        let mut bytes = Vec::new();
        Clean::new(&mut bytes, colors).write_all(line.as_bytes()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn row_101_tokens_are_not_written() {
        let secret = Secret::random().unwrap();
        let token = secret.reveal();
        for line in [
            format!("path=/x/{token}\n"),
            format!("{token}{token} jm_ jm_short\n"),
            format!("{}\n", &token[..30]),
            format!("{}{token}\n", "x".repeat(LONGEST - 10)),
        ] {
            let written = written(&line, false);
            assert!(!written.contains(&token[3..25]) && written.ends_with('\n'), "{written}");
        }
        assert_eq!(written("a jm_short b\n", false), "a jm_short b\n");
    }

    #[test]
    fn row_101_a_line_is_one_line() {
        assert_eq!(written("a\nINFO forged\r\u{1b}[2J\u{9b}\n", false), "a\\nINFO forged\\r\\u{1b}[2J\\u{9b}\n");
        assert_eq!(written("\u{1b}[32mINFO\u{1b}[0m a\nb\n", true), "\u{1b}[32mINFO\u{1b}[0m a\\nb\n");
        assert_eq!(written("é ok\n", false), "é ok\n");
    }

    #[test]
    fn row_101_a_line_has_an_end() {
        let long = written(&format!("{}\n", "é".repeat(1 << 20)), false);
        assert!(long.len() < LONGEST + 10 && long.ends_with("...\n"));
    }
}
