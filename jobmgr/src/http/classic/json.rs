//! JSON with the bytes that the original's encoder (Go's `encoding/json`) gives: compact, a newline at the end, and
//! `<`, `>`, `&`, U+2028 and U+2029 escaped, so that an answer is harmless inside a page or a script too.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The bytes of an answer.
pub fn to_vec(answer: &impl Serialize) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    // Strings and numbers can always be written, and a Vec takes everything.
    if let Err(failure) = answer.serialize(&mut Serializer::with_formatter(&mut body, Escaping)) {
        tracing::error!(error = %failure, "can't write an answer");
    }
    body.push(b'\n');
    body
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, length, escape)) = next_escape(rest) {
            writer.write_all(&rest.as_bytes()[..at])?;
            writer.write_all(escape)?;
            rest = &rest[at + length..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Where the next character to escape is, how many bytes it has, and what stands for it.
fn next_escape(text: &str) -> Option<(usize, usize, &'static [u8])> {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().find_map(|(at, byte)| match byte {
        b'<' => Some((at, 1, b"\\u003c".as_slice())),
        b'>' => Some((at, 1, b"\\u003e")),
        b'&' => Some((at, 1, b"\\u0026")),
        0xE2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => Some((at, 3, b"\\u2028")),
        0xE2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => Some((at, 3, b"\\u2029")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_escapes_what_pages_would_read() {
        let text = "</a>&\u{2028}\u{2029}\u{20ac}\u{e9}\"\\\n\t\u{1}\u{7f}";
        let expected =
            concat!(r#""\u003c/a\u003e\u0026\u2028\u2029"#, "\u{20ac}\u{e9}", r#"\"\\\n\t\u0001"#, "\u{7f}\"\n");
        assert_eq!(String::from_utf8(to_vec(&text)).unwrap(), expected);
        assert_eq!(to_vec(&""), b"\"\"\n");
    }

    #[test]
    fn it_reads_back_as_it_was() {
        let text = "a<b>&amp; \u{2027}\u{2028}\u{202a} <<>>";
        assert_eq!(serde_json::from_slice::<String>(&to_vec(&text)).unwrap(), text);
    }
}
