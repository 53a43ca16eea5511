//! What is known of a token; never its text.

use super::{Digest, Scopes};

/// The longest name of a token, in characters.
pub const LONGEST_NAME: usize = 100;

/// A token as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What people call it; no two that hold have the same.
    pub name: String,
    /// By which it is found.
    pub digest: Digest,
    /// Whose jobs it submits.
    pub user_id: i64,
    /// What it may do.
    pub scopes: Scopes,
    /// How many jobs of its user may be queued; `None`: as `[Limits]` says.
    pub max_queued: Option<u64>,
    /// How many requests it may make in a minute; `None`: as `[Limits]` says.
    pub requests_per_minute: Option<u64>,
    /// When it was made, in Unix milliseconds of the database's clock; the same for the rest.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: Option<i64>,
    /// When it was revoked.
    pub revoked_ms: Option<i64>,
    /// When it was last used, to a few minutes.
    pub used_ms: Option<i64>,
}

impl Token {
    /// Whether it holds at this time.
    pub fn holds(&self, now_ms: i64) -> bool {
        self.revoked_ms.is_none() && self.expires_ms.is_none_or(|expires| now_ms < expires)
    }

    /// Where it stands, in a word.
    pub fn standing(&self, now_ms: i64) -> &'static str {
        match (self.revoked_ms, self.holds(now_ms)) {
            (Some(_), _) => "revoked",
            (None, false) => "expired",
            (None, true) => "active",
        }
    }
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// Of its text.
    pub digest: Digest,
    /// Whose jobs it submits; `None`: those of a user that nobody was before.
    pub user_id: Option<i64>,
    /// What it may do.
    pub scopes: Scopes,
    /// How many jobs of its user may be queued.
    pub max_queued: Option<u64>,
    /// How many requests it may make in a minute.
    pub requests_per_minute: Option<u64>,
    /// How long it holds, in milliseconds; `None`: until it is revoked.
    pub lasts_ms: Option<i64>,
}

/// Whether a token may have this name: printable, and no number, since those are ids.
///
/// # Errors
/// What would be right.
pub fn check_name(name: &str) -> Result<(), String> {
    let right = format!("use 1 to {LONGEST_NAME} letters, digits and . _ - @ / with a letter among them");
    let sound = |c: char| c.is_ascii_alphanumeric() || "._-@/".contains(c);
    let length = name.chars().count();
    let serves = (1..=LONGEST_NAME).contains(&length) && name.chars().all(sound);
    let named = name.chars().any(|c| c.is_ascii_alphabetic());
    if serves && named && !name.starts_with(['-', '.']) { Ok(()) } else { Err(right) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    #[test]
    fn it_holds_until_it_expires_or_is_revoked() {
        let token = Token {
            id: 1,
            name: "ci".into(),
            digest: Secret::random().unwrap().digest(),
            user_id: 2,
            scopes: Scopes::ADMIN,
            max_queued: None,
            requests_per_minute: None,
            created_ms: 0,
            expires_ms: Some(1000),
            revoked_ms: None,
            used_ms: None,
        };
        assert!(token.holds(999) && !token.holds(1000) && !token.holds(i64::MAX));
        assert_eq!((token.standing(999), token.standing(1000)), ("active", "expired"));
        let revoked = Token { revoked_ms: Some(5), ..token.clone() };
        assert!(!revoked.holds(6) && revoked.standing(6) == "revoked");
        assert!(Token { expires_ms: None, ..token }.holds(i64::MAX));
    }

    #[test]
    fn names_are_words() {
        for name in ["ci", "ann@laptop", "team/art-2", "7a", &"n".repeat(100)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "17", "-x", ".x", "a b", "a\n", "\u{e9}", "\u{202e}x", "1.2", &"n".repeat(101)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
