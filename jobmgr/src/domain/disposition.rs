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
    use super::disposition;

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
