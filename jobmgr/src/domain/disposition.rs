//! How a download is named and whether a browser may show it: the `Content-Disposition` (RFC 6266, RFC 8187).

/// Types that a browser only draws or plays; the rest could run something in the server's name.
const INERT: &[&str] = &[
    "audio/mpeg",
    "audio/ogg",
    "audio/wav",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "text/plain",
    "video/mp4",
    "video/ogg",
    "video/webm",
];

/// The longest name, in characters; of a longer one the end stays, which has the extension.
const LONGEST: usize = 180;

/// The value of the header: `inline; filename="a-b.png"`; `attachment` for what is not inert; with a `filename*` for
/// names that are not ASCII. It is printable ASCII whatever the name.
pub fn disposition(name: &str, mime: &str) -> String {
    let essence = mime.split(';').next().unwrap_or(mime).trim().to_ascii_lowercase();
    let kind = if INERT.contains(&essence.as_str()) { "inline" } else { "attachment" };
    let name = file_name(name);
    let fallback: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    if name.is_ascii() {
        return format!("{kind}; filename=\"{fallback}\"");
    }
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{}", encode(&name))
}

/// The name as a file can have it: the original's `-` for what is special in a path, a URL or a header, without
/// quotes, controls and what turns the direction of text.
fn file_name(name: &str) -> String {
    let plain: Vec<char> = name.chars().filter(|c| !is_invisible(*c)).map(replaced).collect();
    let start = plain.len().saturating_sub(LONGEST);
    if plain.is_empty() { "download".to_owned() } else { plain[start..].iter().collect() }
}

fn replaced(c: char) -> char {
    match c {
        ',' | '&' | '!' | '?' | '/' | '\\' | '@' | ':' | '%' => '-',
        '"' => '\'',
        other => other,
    }
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The name that a `Content-Disposition` gives a file: `filename*` where it can be read, else `filename`.
pub fn named(header: &[u8]) -> Option<String> {
    let header = String::from_utf8_lossy(header);
    let parameters: Vec<(String, String)> = parameters(&header);
    let of = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    of("filename*").and_then(|value| decode(&value)).or_else(|| of("filename"))
}

/// What follows the first `;`: names in small letters, and their values without quotes.
fn parameters(header: &str) -> Vec<(String, String)> {
    let (mut pairs, mut rest) = (Vec::new(), header.split_once(';').map_or("", |(_, rest)| rest));
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, next) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), next)
            }
        };
        pairs.push((name.trim_matches([' ', ';', '\t']).to_ascii_lowercase(), value));
        rest = next;
    }
    pairs
}

/// A quoted text after its first quote, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            // Browsers send paths with single backslashes; only quotes and backslashes are escaped.
            '\\' if text[at + 1..].starts_with(['"', '\\']) => value.extend(letters.next().map(|(_, next)| next)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// `UTF-8''a%20b`
fn decode(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let mut bytes = encoded.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().filter(|_| charset.eq_ignore_ascii_case("utf-8"))
}

/// RFC 8187, section 3.2.1: all but `attr-char` as `%XX` of its UTF-8.
fn encode(name: &str) -> String {
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{disposition, named};

    #[test]
    fn names_are_read_as_they_are_written() {
        for (header, expected) in [
            ("attachment; filename=a.csv", Some("a.csv")),
            ("attachment; filename=\"a b;c.csv\"; x=y", Some("a b;c.csv")),
            ("form-data; name=\"x\"; filename=\"C:\\\\a\\\"b\"", Some("C:\\a\"b")),
            ("attachment; filename=\"e\"; filename*=UTF-8''%C3%A9%20.txt", Some("é .txt")),
            ("attachment; filename=\"e\"; filename*=latin1''%E9", Some("e")),
            ("attachment; filename*=UTF-8''%zz; filename=e", Some("e")),
            ("attachment", None),
            ("", None),
            ("a; filename", None),
            ("a; filename=\"x", Some("x")),
        ] {
            assert_eq!(named(header.as_bytes()).as_deref(), expected, "{header}");
        }
        for name in ["é日.txt", "a'b c.png"] {
            assert_eq!(named(disposition(name, "text/plain").as_bytes()).as_deref(), Some(name));
        }
    }

    #[test]
    fn named_as_the_original_names_them() {
        assert_eq!(disposition("result.png", "image/png"), "inline; filename=\"result.png\"");
        assert_eq!(
            disposition("a/b c,d&e!f?g\\h@i:j%k.txt", "text/plain"),
            "inline; filename=\"a-b c-d-e-f-g-h-i-j-k.txt\""
        );
    }

    #[test]
    fn only_inert_types_are_shown() {
        for mime in ["text/html", "image/svg+xml", "application/pdf", "text/csv", "application/octet-stream", ""] {
            assert!(disposition("x", mime).starts_with("attachment; "), "{mime}");
        }
        for mime in ["text/plain; charset=utf-8", "IMAGE/PNG", "audio/wav", "video/mp4"] {
            assert!(disposition("x", mime).starts_with("inline; "), "{mime}");
        }
    }

    #[test]
    fn other_alphabets_keep_their_name() {
        assert_eq!(
            disposition("é日.txt", "text/plain"),
            "inline; filename=\"__.txt\"; filename*=UTF-8''%C3%A9%E6%97%A5.txt"
        );
        assert_eq!(
            disposition("ü'(1).png", "image/png"),
            "inline; filename=\"_'(1).png\"; filename*=UTF-8''%C3%BC%27%281%29.png"
        );
    }

    #[test]
    fn no_name_leaves_the_header() {
        let hostile = [
            "a\r\nSet-Cookie: x=1\r\n\r\n<html>",
            "a\"; filename=\"evil.exe",
            "%0d%0aX: y",
            "\u{85}\u{2028}é\u{7f}",
            "\u{202e}gpj.exe",
            "a\\\"b",
            "\0",
            "",
        ];
        for name in hostile {
            let header = disposition(name, "text/plain");
            assert!(header.bytes().all(|b| (0x20..0x7f).contains(&b)), "{header:?}");
            let quotes = header.matches('"').count();
            assert_eq!(quotes, 2, "{header:?}");
            assert!(!header.contains('\\') && !header.contains("\"\""), "{header:?}");
        }
        assert_eq!(disposition("\n", "text/plain"), "inline; filename=\"download\"");
    }

    #[test]
    fn long_names_keep_their_extension() {
        let header = disposition(&format!("{}.png", "日".repeat(5000)), "image/png");
        assert!(header.len() < 2000 && header.ends_with(".png"), "{}", header.len());
    }
}
