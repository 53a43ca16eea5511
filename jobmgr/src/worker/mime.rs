//! The MIME type of an artifact, by its name: nobody looks into the file.

/// What the original gave to these extensions, so that its clients see what they saw (and `webp`, which it got wrong).
const CLASSIC: &[(&str, &str)] = &[
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

/// What may be anything.
const UNKNOWN: &str = "application/octet-stream";

/// The type of a file of this name, by its last extension without regard to case.
pub fn of(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((_, extension)) = file.rsplit_once('.') else { return UNKNOWN };
    let extension = extension.to_ascii_lowercase();
    match CLASSIC.iter().find(|(known, _)| *known == extension) {
        Some((_, mime)) => mime,
        None => mime_guess::from_ext(&extension).first_raw().unwrap_or(UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_classic_types_stay() {
        for (extension, mime) in super::CLASSIC {
            assert_eq!(of(&format!("f.{extension}")), *mime);
        }
    }

    #[test]
    fn only_the_last_extension_of_the_last_part_counts() {
        let cases = [
            ("F.PNG", "image/png"),
            ("a.b.Jpg", "image/jpeg"),
            ("a.png/noext", "application/octet-stream"),
            ("Makefile", "application/octet-stream"),
            ("dot.", "application/octet-stream"),
            ("x.unknownext", "application/octet-stream"),
            ("", "application/octet-stream"),
            ("page.html", "text/html"),
            ("d/data.json", "application/json"),
            ("v.svg", "image/svg+xml"),
        ];
        for (name, mime) in cases {
            assert_eq!(of(name), mime, "{name}");
        }
    }
}
