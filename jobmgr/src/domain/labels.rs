//! Labels: what workers are and have, and what jobs require; `gpu`, or `os=linux`.

/// What a label looks like, for schemas.
pub const PATTERN: &str = "^[A-Za-z0-9_.-]+(=[A-Za-z0-9_.:/-]+)?$";

/// The longest label, in characters.
const LONGEST: usize = 100;

/// Whether all of them are labels, and each is there once.
///
/// # Errors
/// The index of the first that can't serve, and why.
pub fn check(labels: &[String]) -> Result<(), (usize, String)> {
    for (index, label) in labels.iter().enumerate() {
        if !is_label(label) {
            let text = format!(
                "'{}' is not a label; use up to {LONGEST} of A-Z a-z 0-9 _ . - such as \"gpu\", or a word and a value \
                 such as \"os=linux\" (the value also with / and :)",
                label.escape_debug()
            );
            return Err((index, text));
        }
        if labels[..index].contains(label) {
            return Err((index, format!("'{label}' is there twice; remove one of them")));
        }
    }
    Ok(())
}

/// Whether it is `word` or `word=value`.
fn is_label(label: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let (word, value) = label.split_once('=').map_or((label, None), |(word, value)| (word, Some(value)));
    let value_serves =
        value.is_none_or(|value| !value.is_empty() && value.bytes().all(|b| is_word(b) || b"/:".contains(&b)));
    label.len() <= LONGEST && !word.is_empty() && word.bytes().all(is_word) && value_serves
}

/// Whether `labels` has all of `required`.
///
/// # Errors
/// What is missing, in one line.
pub fn have(labels: &[String], required: &[String]) -> Result<(), String> {
    let missing: Vec<_> = required.iter().filter(|label| !labels.contains(label)).map(String::as_str).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [only] => Err(format!("label {only} is missing")),
        several => Err(format!("labels {} are missing", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn labels_are_words_with_or_without_a_value() {
        let longest = "x".repeat(100);
        for label in ["gpu", "os=linux", "A-Z.9_", "image=ghcr.io/a/b:1.2", longest.as_str()] {
            assert_eq!(check(&list(&[label])), Ok(()), "{label}");
        }
        let longer = "x".repeat(101);
        let refused =
            ["", "=", "a=", "=b", "a=b=c", "a b", "a/b", "a:b", "a=b c", "\u{e9}", "a\n", "a,b", longer.as_str()];
        for label in refused {
            let (index, text) = check(&list(&["fine", label])).unwrap_err();
            assert!(index == 1 && text.contains("is not a label; use") && !text.contains('\n'), "{label}: {text}");
        }
    }

    #[test]
    fn the_schemas_pattern_is_the_same_rule() {
        let known: Vec<char> = (' '..='~').chain(['\u{e9}', '\n']).collect();
        let (word, value) = PATTERN.trim_matches(['^', '$']).split_once("(=").unwrap();
        let in_class = |class: &str, c: char| match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' => true,
            _ => class.trim_start_matches("[A-Za-z0-9").trim_end_matches([']', '+', ')', '?']).contains(c),
        };
        for c in known {
            assert_eq!(is_label(&c.to_string()), in_class(word, c), "{c:?}");
            assert_eq!(is_label(&format!("a={c}")), in_class(value, c), "{c:?}");
        }
    }

    #[test]
    fn labels_are_there_once() {
        assert_eq!(check(&list(&["os=linux", "os=debian", "os"])), Ok(()));
        let (index, text) = check(&list(&["gpu", "x", "gpu"])).unwrap_err();
        assert_eq!((index, text.as_str()), (2, "'gpu' is there twice; remove one of them"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let has = list(&["gpu", "os=linux"]);
        assert_eq!(have(&has, &[]), Ok(()));
        assert_eq!(have(&has, &list(&["os=linux", "gpu"])), Ok(()));
        // A label is compared as a whole, and with regard to case.
        assert_eq!(have(&has, &list(&["os", "gpu"])).unwrap_err(), "label os is missing");
        assert_eq!(have(&has, &list(&["GPU", "gpu", "x=1"])).unwrap_err(), "labels GPU, x=1 are missing");
    }
}
