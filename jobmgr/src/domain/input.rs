//! Files that clients upload for jobs.

/// The number by which an uploaded file is known.
pub type InputId = i64;

/// The longest name of an uploaded file, in bytes.
pub const LONGEST_NAME: usize = 255;
/// The longest name that it has on a disk, in bytes; with the end of a path before it, every system takes that.
const LONGEST_FILE: usize = 200;
/// The name of a file that has none.
const NAMELESS: &str = "input";

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its number.
    pub id: InputId,
    /// Whose it is.
    pub user_id: i64,
    /// Its name, as [`name`] gives it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its key in the object store.
    pub key: String,
    /// When it was uploaded, in Unix milliseconds.
    pub created_ms: i64,
}

/// An uploaded file that has no number yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInput {
    /// Whose it is.
    pub user_id: i64,
    /// Its name, as [`name`] gives it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its key in the object store.
    pub key: String,
}

/// What a client calls a file: the last part of a path, without characters that are not seen.
pub fn name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let seen: String = last.chars().filter(|c| !is_unseen(*c)).collect();
    let name = cut(seen.trim(), LONGEST_NAME);
    if name.is_empty() || name.chars().all(|c| c == '.') { NAMELESS.to_owned() } else { name }
}

/// Names for the files of a job, in their order, as every file system takes them; no two are the same, whether letters
/// matter or not.
pub fn file_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let own = file_name(name);
        let mut free = own.clone();
        let mut number = 2;
        while taken.iter().any(|other| other.to_lowercase() == free.to_lowercase()) {
            free = format!("{number}-{own}");
            number += 1;
        }
        taken.push(free);
    }
    taken
}

fn file_name(name: &str) -> String {
    let plain: String = name.chars().filter(|c| !is_unseen(*c)).map(plain).collect();
    let plain = cut(&plain, LONGEST_FILE);
    let plain = plain.trim_end_matches(['.', ' ']);
    match plain {
        "" => NAMELESS.to_owned(),
        name if is_device(name) => format!("_{name}"),
        name => name.to_owned(),
    }
}

/// What is special in a path on some system becomes `_`.
fn plain(c: char) -> char {
    if matches!(c, '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*') { '_' } else { c }
}

/// Names that Windows takes for devices, whatever extension they have.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |word: &str| {
        let digit = stem.strip_prefix(word).and_then(|rest| rest.chars().next().filter(|_| rest.chars().count() == 1));
        digit.is_some_and(|digit| matches!(digit, '1'..='9' | '¹' | '²' | '³'))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// At most so many bytes; the extension stays.
fn cut(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let extension = name.rfind('.').map(|at| &name[at..]).filter(|extension| extension.len() <= 20).unwrap_or_default();
    let mut end = most - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_end_of_a_path() {
        for (given, expected) in [
            ("a.csv", "a.csv"),
            ("/etc/passwd", "passwd"),
            ("..\\..\\x.txt", "x.txt"),
            ("C:\\fakepath\\data 1.bin", "data 1.bin"),
            (" a\r\nb\0.txt ", "ab.txt"),
            ("\u{202e}fdp.exe", "fdp.exe"),
            ("é ü.png", "é ü.png"),
            ("", "input"),
            ("..", "input"),
            ("a/", "input"),
            ("a:b?", "a:b?"),
        ] {
            assert_eq!(name(given), expected, "{given:?}");
        }
        let long = name(&format!("{}.csv", "é".repeat(300)));
        assert!(long.len() <= LONGEST_NAME && long.ends_with("é.csv"), "{long}");
    }

    #[test]
    fn every_file_system_takes_the_names_of_files() {
        let names = ["a.csv", "A.CSV", "a.csv", "con", "Com1.txt", "a:b?", "x. .", "...", "-rf", "LPT", "nul.tar.gz"];
        let expected =
            ["a.csv", "2-A.CSV", "3-a.csv", "_con", "_Com1.txt", "a_b_", "x", "input", "-rf", "LPT", "_nul.tar.gz"];
        assert_eq!(file_names(names), expected);
        assert!(file_names([&*"é".repeat(255)])[0].len() <= LONGEST_FILE);
    }
}
