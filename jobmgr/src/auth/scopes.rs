//! What a token may do.

use std::fmt;
use std::str::FromStr;

/// One thing that a token may be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See the jobs of all users, and who serves them.
    Read,
    /// Submit jobs; see, cancel and retry those of its own user.
    Submit,
    /// Everything.
    Admin,
}

impl Scope {
    /// All of them, the weakest first.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Submit, Scope::Admin];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Submit => "submit",
            Scope::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// Several scopes; what each of them allows is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ADMIN: Scopes = Scopes(1 << (Scope::Admin as u8));

    /// These.
    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }

    /// Whether what `scope` allows is allowed: it is among these, or `admin` is.
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (scope.bit() | Scope::Admin.bit()) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The words, the weakest first.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0).map(Scope::as_str)
    }
}

impl fmt::Display for Scopes {
    /// The words with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Scopes {
    type Err = String;

    /// Reads words with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut scopes = Scopes::default();
        for word in text.split(',').map(str::trim) {
            let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
            let scope = scope.ok_or_else(|| {
                format!("'{}' is not a scope; use read, submit or admin, with commas between", word.escape_debug())
            })?;
            scopes.0 |= scope.bit();
        }
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        let scopes: Scopes = "submit, read".parse().unwrap();
        assert_eq!(scopes.to_string(), "read,submit");
        assert_eq!(scopes, Scopes::of([Scope::Read, Scope::Submit]));
        for wrong in ["", "write", "Read", "read,", "read submit", "\n"] {
            assert!(wrong.parse::<Scopes>().unwrap_err().contains("is not a scope"), "{wrong}");
        }
    }

    #[test]
    fn admin_may_everything_and_the_others_what_they_say() {
        let allowed = |scopes: Scopes| Scope::ALL.map(|scope| scopes.allow(scope));
        assert_eq!(allowed(Scopes::ADMIN), [true, true, true]);
        assert_eq!(allowed(Scopes::of([Scope::Read])), [true, false, false]);
        assert_eq!(allowed(Scopes::of([Scope::Submit])), [false, true, false]);
        assert_eq!(allowed(Scopes::default()), [false; 3]);
        assert!(Scopes::default().is_empty() && !Scopes::ADMIN.is_empty());
    }
}
