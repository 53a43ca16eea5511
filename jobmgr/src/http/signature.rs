//! Addresses that nobody but us can make, and that expire: for stores that can't sign their own.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// For how long a download's address holds, whoever signs it.
pub const VALID: Duration = Duration::from_secs(2 * 60 * 60);

/// Where such addresses lead.
pub const PATH: &str = "/artifacts/content";

/// The address of an artifact's bytes, below this server's root.
pub fn address(key: &[u8], artifact: i64) -> String {
    let expires = now().saturating_add(VALID.as_secs());
    let signature = sign(key, artifact, expires);
    format!("{PATH}?id={artifact}&expires={expires}&signature={signature}")
}

/// Whether `signature` was made by [`address`] for this artifact and time, and the time is not over. `expires` is in
/// Unix seconds. The comparison takes the same time for every wrong signature.
pub fn holds(key: &[u8], artifact: i64, expires: &str, signature: &str) -> bool {
    let Ok(seconds) = expires.parse::<u64>() else { return false };
    let Some(signature) = from_hex(signature) else { return false };
    // What was signed is the number: another way to write it (`+1`, `01`) is another address.
    let canonical = seconds.to_string() == expires;
    canonical && seconds > now() && mac(key, artifact, seconds).verify_slice(&signature).is_ok()
}

fn sign(key: &[u8], artifact: i64, expires: u64) -> String {
    let signature = mac(key, artifact, expires).finalize().into_bytes();
    signature.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn mac(key: &[u8], artifact: i64, expires: u64) -> Hmac<Sha256> {
    // HMAC takes keys of every length; the type has no way to say so.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
    mac.update(format!("{artifact}:{expires}").as_bytes());
    mac
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";

    fn parts(address: &str) -> (&str, &str) {
        let (_, rest) = address.split_once("&expires=").unwrap();
        rest.split_once("&signature=").unwrap()
    }

    #[test]
    fn a_fresh_address_holds() {
        let address = address(KEY, 17);
        let (expires, signature) = parts(&address);
        assert!(address.starts_with("/artifacts/content?id=17&"), "{address}");
        assert!(holds(KEY, 17, expires, signature));
        let left = expires.parse::<u64>().unwrap() - now();
        assert!((7190..=7200).contains(&left), "{left}");
    }

    #[test]
    fn nothing_of_it_can_be_changed() {
        let address = address(KEY, 17);
        let (expires, signature) = parts(&address);
        let later = (expires.parse::<u64>().unwrap() + 1).to_string();
        assert!(!holds(KEY, 18, expires, signature));
        assert!(!holds(KEY, 17, &later, signature));
        assert!(!holds(KEY, 17, &format!("0{expires}"), signature));
        assert!(!holds(b"other", 17, expires, signature));
        assert!(!holds(KEY, 17, expires, &signature[1..]));
        assert!(!holds(KEY, 17, expires, &signature.replace(|_: char| true, "0")));
        assert!(!holds(KEY, 17, expires, ""));
        assert!(!holds(KEY, 17, "", signature));
    }

    #[test]
    fn it_expires() {
        let past = now() - 1;
        assert!(!holds(KEY, 17, &past.to_string(), &sign(KEY, 17, past)));
        let soon = now() + 60;
        assert!(holds(KEY, 17, &soon.to_string(), &sign(KEY, 17, soon)));
    }

    #[test]
    fn it_is_hmac_sha256() {
        // printf 17:1700000000 | openssl dgst -sha256 -hmac key
        assert_eq!(sign(KEY, 17, 1_700_000_000), "4eefc660f69a8263930b58b55b73cb06cfae5284d2b204c76635d03b40ba365d");
    }
}
