//! Jobs to be queued, and the word by which a client knows a submission that it repeats.

use std::collections::BTreeMap;
use std::time::Duration;

use super::input::InputId;
use super::job::{DEFAULT_PRIORITY, Job, JobId, Parameters, Status};
use super::trace::TraceParent;
use super::webhook::OwnWebhook;

/// The user whose jobs those are that came without a token.
pub const LOCAL_USER: i64 = 1;

/// What a client sorts its jobs by: words with a value each, sorted.
pub type Labels = BTreeMap<String, String>;

/// How many labels a job may have.
pub const MAX_LABELS: usize = 32;
/// The longest name of a label, in bytes.
const LONGEST_NAME: usize = 63;
/// The longest value of a label, in bytes.
const LONGEST_VALUE: usize = 255;

/// The longest [`Key`], in bytes.
pub const LONGEST_KEY: usize = 255;

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The name of its jobspec.
    pub name: String,
    /// Its values.
    pub parameters: Parameters,
    /// 0 to 100; lower numbers run first.
    pub priority: i64,
    /// Whose it is.
    pub user_id: i64,
    /// How long it may wait for its first start, from when it may start; `None`: for ever.
    pub queue_timeout: Option<Duration>,
    /// When it may start, in Unix milliseconds; `None`: at once.
    pub run_after_ms: Option<i64>,
    /// How often it is run again after it failed; `None`: as its jobspec says.
    pub max_retries: Option<i64>,
    /// What its client sorts it by.
    pub labels: Labels,
    /// The job that it repeats.
    pub retry_of: Option<JobId>,
    /// The uploaded files that it is given; they stay as long as it is kept.
    pub inputs: Vec<InputId>,
    /// Who is told of its end, beside those who are told of the ends of many.
    pub webhook: Option<OwnWebhook>,
    /// The trace that its submission belongs to.
    pub trace_parent: Option<TraceParent>,
}

impl NewJob {
    /// The job that it is when it has just been queued; `created_ms`: when, in Unix milliseconds.
    pub fn queued(self, id: JobId, created_ms: i64) -> Job {
        Job {
            id,
            status: Status::Queued,
            reason: None,
            priority: self.priority,
            name: self.name,
            parameters: self.parameters,
            user_id: self.user_id,
            labels: self.labels,
            max_retries: self.max_retries,
            retry_of: self.retry_of,
            key: None,
            run_after_ms: self.run_after_ms.unwrap_or_default(),
            attempt: 0,
            created_ms,
            started_ms: None,
            finished_ms: None,
            cancel_asked_ms: None,
            worker: None,
            executor: None,
            gpus: Vec::new(),
            progress: None,
            ended: None,
        }
    }
}

impl Default for NewJob {
    /// Without a name.
    fn default() -> Self {
        Self {
            name: String::new(),
            parameters: Parameters::new(),
            priority: DEFAULT_PRIORITY,
            user_id: LOCAL_USER,
            queue_timeout: None,
            run_after_ms: None,
            max_retries: None,
            labels: Labels::new(),
            retry_of: None,
            inputs: Vec::new(),
            webhook: None,
            trace_parent: None,
        }
    }
}

/// What a client calls a submission, so that it may send it again: one job comes of all that have the same text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The client's text; 1 to [`LONGEST_KEY`] visible ASCII characters and spaces.
    pub text: String,
    /// Of what was sent with it, in lower-case hexadecimal: the same text with something else is a mistake.
    pub digest: String,
}

impl Key {
    /// A client's text for a request of which this is the digest.
    ///
    /// # Errors
    /// What would be right.
    pub fn new(text: &[u8], digest: String) -> Result<Self, String> {
        let right = || format!("use 1 to {LONGEST_KEY} ASCII characters without control characters");
        let serves = (1..=LONGEST_KEY).contains(&text.len()) && text.iter().all(|byte| (b' '..=b'~').contains(byte));
        let text = std::str::from_utf8(text).ok().filter(|_| serves).ok_or_else(right)?;
        Ok(Self { text: text.to_owned(), digest })
    }
}

/// Whether a job may have this label.
///
/// # Errors
/// What would be right.
pub fn check_label(name: &str, value: &str) -> Result<(), String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(is_letter) {
        return Err(format!("a label's name has 1 to {LONGEST_NAME} of A-Z a-z 0-9 _ . - /"));
    }
    if value.len() > LONGEST_VALUE || value.chars().any(char::is_control) {
        return Err(format!("a label's value has at most {LONGEST_VALUE} bytes and no control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_with_a_value() {
        for (name, value) in [("team", "art"), ("a", ""), ("app.example/x-1_2", "é ü: 5"), (&"n".repeat(63), "")] {
            assert_eq!(check_label(name, value), Ok(()), "{name}={value}");
        }
        for (name, value) in [("", "a"), ("a b", "c"), ("é", ""), (&"n".repeat(64), ""), ("a:b", "")] {
            assert!(check_label(name, value).unwrap_err().contains("name"), "{name}={value}");
        }
        for value in ["\n", "\0", &"v".repeat(256)] {
            assert!(check_label("a", value).unwrap_err().contains("value"), "{value}");
        }
    }

    #[test]
    fn keys_are_visible_ascii() {
        let key = |text: &[u8]| Key::new(text, String::new());
        assert_eq!(key(b"5f3e a~").unwrap().text, "5f3e a~");
        for text in [b"".as_slice(), &[b'x'; 256], b"a\tb", "é".as_bytes(), b"\xff"] {
            assert!(key(text).is_err(), "{text:?}");
        }
    }
}
