use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;

use super::{SecretsError, random};

/// How long a key is, in bytes.
const LENGTH: usize = 32;
/// What a sealed value begins with: the form that this file writes.
const FORM: &str = "1";
/// Random bytes for the key of one value.
const SALT: usize = 12;
/// Random bytes for its nonce.
const NONCE: usize = 12;

/// A key. What is derived of it for one purpose tells nothing of another's.
#[derive(Clone)]
pub(super) struct Key {
    bytes: [u8; LENGTH],
    name: String,
}

/// The name of the key with which a value was sealed.
pub(super) fn named(sealed: &str) -> Option<&str> {
    sealed.strip_prefix(FORM)?.strip_prefix('.')?.split_once('.').map(|(name, _)| name)
}

impl Key {
    /// A key as it is written in base64.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let right = "a key is 32 random bytes in base64, as `openssl rand -base64 32` prints them";
        let bytes = STANDARD.decode(text).map_err(|_| format!("this is no base64; {right}"))?;
        let found = bytes.len();
        let bytes = bytes.try_into().map_err(|_| format!("this has {found} bytes; {right}"))?;
        Ok(Self::of(bytes))
    }

    pub(super) fn random() -> Result<Self, SecretsError> {
        Ok(Self::of(random()?))
    }

    fn of(bytes: [u8; LENGTH]) -> Self {
        let name = hex(&derived(&bytes, &[b"name"])[..4]);
        Self { bytes, name }
    }

    /// As [`Key::read`] reads it.
    pub(super) fn text(&self) -> String {
        STANDARD.encode(self.bytes)
    }

    /// A few digits by which people tell keys apart; they say nothing of the key.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn seal(&self, bound: &[u8], value: &[u8]) -> Result<String, SecretsError> {
        let begin: [u8; SALT + NONCE] = random()?;
        let mut sealed = value.to_vec();
        let (cipher, nonce) = self.cipher(&begin)?;
        cipher.seal_in_place_append_tag(nonce, Aad::from(bound), &mut sealed).map_err(|_| SecretsError::Damaged)?;
        Ok(format!("{FORM}.{}.{}", self.name, BASE64.encode([&begin[..], &sealed].concat())))
    }

    pub(super) fn open(&self, bound: &[u8], sealed: &str) -> Result<Vec<u8>, SecretsError> {
        let text = sealed.rsplit_once('.').map(|(_, text)| text).ok_or(SecretsError::Damaged)?;
        let bytes = BASE64.decode(text).map_err(|_| SecretsError::Damaged)?;
        let (begin, rest) = bytes.split_first_chunk::<{ SALT + NONCE }>().ok_or(SecretsError::Damaged)?;
        let (cipher, nonce) = self.cipher(begin)?;
        let mut rest = rest.to_vec();
        let opened = cipher.open_in_place(nonce, Aad::from(bound), &mut rest).map_err(|_| SecretsError::Damaged)?;
        Ok(opened.to_vec())
    }

    pub(super) fn digest(&self, bound: &[u8], value: &[u8]) -> String {
        hex(&derived(&self.bytes, &[b"digest", &[0], bound, &[0], value]))
    }

    /// With a key of its own, any number of values may have random nonces.
    fn cipher(&self, begin: &[u8; SALT + NONCE]) -> Result<(LessSafeKey, Nonce), SecretsError> {
        let (salt, nonce) = begin.split_at(SALT);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &derived(&self.bytes, &[b"value", &[0], salt]));
        let key = key.map_err(|_| SecretsError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretsError::Damaged)?;
        Ok((LessSafeKey::new(key), nonce))
    }
}

fn derived(key: &[u8; LENGTH], pieces: &[&[u8]]) -> [u8; LENGTH] {
    // HMAC takes keys of every length; the type has no way to say so.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
