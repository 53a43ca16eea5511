//! What goes into the audit log: who did what, to what, and how it ended.

/// Who did something.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct By {
    /// Whose jobs they submit; `None`: nobody knows.
    pub user_id: Option<i64>,
    /// The number of the token.
    pub token_id: Option<i64>,
    /// Its name; `local` without a token, `cli` for the command line.
    pub token: String,
    /// The address from which the request came.
    pub address: String,
}

impl By {
    /// Whoever runs commands on the server's machine.
    pub fn command_line() -> Self {
        Self { token: "cli".into(), ..Self::default() }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in Unix milliseconds of the database's clock; 0 until it is written.
    pub at_ms: i64,
    /// Who.
    pub by: By,
    /// What: `token.create`, `job.delete`, ...
    pub action: String,
    /// To what.
    pub target: String,
    /// `ok`, or why not: `forbidden`.
    pub outcome: String,
    /// The request's `X-Request-Id`.
    pub request_id: String,
}

impl Entry {
    /// Something that was done.
    pub fn done(by: By, action: &str, target: impl std::fmt::Display) -> Self {
        Self {
            at_ms: 0,
            by,
            action: short(action, 64),
            target: short(&target.to_string(), 255),
            outcome: "ok".into(),
            request_id: String::new(),
        }
    }
}

/// As much as a column has room for, without control characters: some of it was sent by strangers.
fn short(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_sent_fits_and_can_be_printed() {
        let entry = Entry::done(By::command_line(), "job.delete", "é\n\u{1b}[2J".repeat(100));
        assert_eq!(entry.target.chars().count(), 255);
        assert!(entry.target.starts_with("é\u{fffd}\u{fffd}[2J"), "{}", entry.target);
    }
}
