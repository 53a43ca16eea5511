//! What messages are signed with, and the signatures: those of Standard Webhooks, version 1.
//!
//! The rules are those of <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// How many bytes a key may have.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Reads base64 with its padding and without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that a receiver knows too. It can't be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one, which nobody can guess.
    pub fn random() -> Self {
        let halves = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        Self(halves.iter().flat_map(|half| *half.as_bytes()).collect())
    }

    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = text.strip_prefix(PREFIX).and_then(|encoded| LENIENT.decode(encoded).ok());
        let key = key.filter(|key| LENGTHS.contains(&key.len()));
        let right = || format!("must be {PREFIX} and the base64 of {} to {} bytes", LENGTHS.start(), LENGTHS.end());
        key.map(Self).ok_or_else(right)
    }

    /// The text that its receiver is given.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn signature(&self, id: &str, seconds: u64, body: &str) -> String {
        // HMAC takes keys of every length; the type has no way to say so.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!());
        mac.update(format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The header `webhook-signature`: a signature with each of these keys, with spaces between them. `seconds`: the Unix
/// time in `webhook-timestamp`.
pub fn signatures(secrets: &[Secret], id: &str, seconds: u64, body: &str) -> String {
    let each: Vec<String> = secrets.iter().map(|secret| secret.signature(id, seconds, body)).collect();
    each.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An example that implementations of the standard share.
    const SHARED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_signature_is_that_of_the_standard() {
        let secret = Secret::parse(SHARED).unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "{\"test\": 2432232314}");
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signatures(std::slice::from_ref(&secret), id, 1_614_265_330, body), expected);
        let other = Secret::random();
        let both = signatures(&[other, secret], id, 1_614_265_330, body);
        assert!(both.starts_with("v1,") && both.ends_with(&format!("= {expected}")), "{both}");
        assert_eq!(signatures(&[], id, 1, body), "");
    }

    #[test]
    fn row_94_secrets_are_of_the_right_form_and_length() {
        let of = |length: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; length]));
        for length in [24, 32, 64] {
            let secret = Secret::parse(&of(length)).unwrap();
            assert_eq!(secret.expose(), of(length));
            assert!(Secret::parse(of(length).trim_end_matches('=')) == Ok(secret), "{length} without padding");
        }
        let whole = SHARED.strip_prefix(PREFIX).unwrap();
        let wrong =
            ["", PREFIX, whole, &of(23), &of(65), "whsec_MfKQ9r8G!YqrTwjUPD8ILPZIo2LaLaSw", &format!("WHSEC_{whole}")];
        for text in wrong {
            assert!(Secret::parse(text).is_err_and(|right| right.contains("24 to 64 bytes")), "{text}");
        }
        assert_eq!(Secret::parse(&Secret::random().expose()).unwrap().0.len(), 32);
        assert!(Secret::random() != Secret::random());
    }
}
