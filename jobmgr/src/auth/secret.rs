//! The text that a client shows: `jm_`, 256 random bits, and a checksum, in letters and digits.
//!
//! It is compared by its SHA-256 alone, in a map or an index: nothing learns from the time of an answer how much of a
//! text was right. The checksum says at once that something is no token, and tells scanners of leaked secrets that it
//! is one.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// What every token begins with.
pub const PREFIX: &str = "jm_";
/// 62 to the power of 43 is more than 2 to the power of 256.
const BODY: usize = 43;
/// 62 to the power of 6 is more than 2 to the power of 32.
const CHECK: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token's text. Only its [`Digest`] is kept; it is shown once.
pub struct Secret(String);

/// SHA-256 of a token's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Secret {
    /// A new one that nobody can guess.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn random() -> Result<Self, String> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits).map_err(|error| format!("the system has no random numbers: {error}"))?;
        Ok(Self::from_bits(bits))
    }

    fn from_bits(bits: [u8; 32]) -> Self {
        let mut text = PREFIX.to_owned();
        text.push_str(&in_letters(bits.to_vec(), BODY));
        text.push_str(&checksum(&text));
        Self(text)
    }

    /// The text, for the one who is to have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("jm_***")
    }
}

impl Digest {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// The digest of what a client showed; `None` where that has not the form of a token. The form is no secret.
    pub fn of_shown(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == PREFIX.len() + BODY + CHECK)?;
        let (rest, check) = text.split_at_checked(PREFIX.len() + BODY)?;
        let body = rest.strip_prefix(PREFIX)?;
        let sound = body.bytes().all(|byte| byte.is_ascii_alphanumeric()) && checksum(rest) == check;
        sound.then(|| Self::of(text))
    }

    /// From what a database keeps.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Digest {
    /// Lower-case hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn checksum(text: &str) -> String {
    in_letters(crc32fast::hash(text.as_bytes()).to_be_bytes().to_vec(), CHECK)
}

/// A large number in the digits of base 62, the lowest first.
fn in_letters(mut number: Vec<u8>, length: usize) -> String {
    let digit = |_| {
        let rest = number.iter_mut().fold(0_u32, |rest, byte| {
            let value = rest << 8 | u32::from(*byte);
            *byte = (value / 62) as u8;
            value % 62
        });
        char::from(DIGITS[rest as usize])
    };
    (0..length).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts_and_no_two_are_alike() {
        let texts: std::collections::BTreeSet<String> = (0..256)
            .map(|bit| {
                let mut bits = [0_u8; 32];
                bits[bit / 8] = 1 << (bit % 8);
                Secret::from_bits(bits).0
            })
            .collect();
        assert_eq!(texts.len(), 256);
        assert!(texts.iter().all(|text| text.len() == 52 && Digest::of_shown(text.as_bytes()).is_some()));
        assert_ne!(Secret::from_bits([255; 32]).0, Secret::from_bits([254; 32]).0);
        assert_ne!(Secret::random().unwrap().0, Secret::random().unwrap().0);
    }

    #[test]
    fn what_is_shown_is_exact() {
        let secret = Secret::from_bits([7; 32]);
        let text = secret.reveal();
        let digest = Digest::of_shown(text.as_bytes()).unwrap();
        assert!(digest == secret.digest() && Digest::from_hex(&digest.to_string()) == Some(digest));
        let mut wrong = vec![
            String::new(),
            "jm_".to_owned(),
            text[..51].to_owned(),
            format!("{text} "),
            format!(" {text}"),
            text.to_uppercase(),
            text.to_lowercase(),
            text.replacen("jm_", "JM_", 1),
            text.repeat(20_000),
            format!("{}\u{e9}", &text[..50]),
        ];
        let swapped = |at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            String::from_utf8(bytes).unwrap()
        };
        wrong.extend((0..text.len()).map(swapped));
        for shown in wrong {
            assert!(Digest::of_shown(shown.as_bytes()).is_none(), "{shown:.100}");
        }
        assert!(Digest::of_shown(&[0xff; 52]).is_none());
    }

    #[test]
    fn a_secret_is_not_shown_by_accident() {
        assert_eq!(format!("{:?}", Secret::from_bits([7; 32])), "jm_***");
    }

    #[test]
    fn broken_rows_are_no_digests() {
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(63)] {
            assert!(Digest::from_hex(text).is_none(), "{text}");
        }
    }
}
