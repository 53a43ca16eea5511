//! Addresses at which the API takes files of jobs that run elsewhere: for stores that can't sign their own. Nobody but
//! us can make them, and they expire.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::job::JobId;

/// Where such addresses lead.
pub const PATH: &str = "/artifacts/upload";

/// The right to upload one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The job that it is for.
    pub job: JobId,
    /// The run of that job.
    pub attempt: i64,
    /// Which of its uploads it is.
    pub slot: u32,
    /// How large it may be, in bytes.
    pub max: u64,
    /// Until when, in Unix seconds.
    pub expires: u64,
}

impl Upload {
    /// The address below the server's root.
    pub fn address(&self, key: &[u8]) -> String {
        let Self { job, attempt, slot, max, expires } = self;
        let signature = BASE64.encode(self.mac(key).finalize().into_bytes());
        format!("{PATH}?job={job}&attempt={attempt}&slot={slot}&max={max}&expires={expires}&signature={signature}")
    }

    /// What an address allows, by the values of its query, unless it was not made with this key, or is over at `now`
    /// (Unix seconds). The comparison takes the same time for every wrong signature.
    pub fn read(key: &[u8], value: impl Fn(&str) -> Option<String>, now: u64) -> Option<Self> {
        let number = |name: &str| value(name)?.parse().ok();
        let upload = Self {
            job: value("job")?.parse().ok()?,
            attempt: value("attempt")?.parse().ok()?,
            slot: value("slot")?.parse().ok()?,
            max: number("max")?,
            expires: number("expires")?,
        };
        let signature = BASE64.decode(value("signature")?).ok()?;
        let holds = upload.mac(key).verify_slice(&signature).is_ok();
        (holds && upload.expires > now).then_some(upload)
    }

    fn mac(&self, key: &[u8]) -> Hmac<Sha256> {
        let Self { job, attempt, slot, max, expires } = self;
        // HMAC takes keys of every length; the type has no way to say so.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
        // Downloads are signed with the same key, and begin with a number.
        mac.update(format!("upload:{job}:{attempt}:{slot}:{max}:{expires}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";
    const UPLOAD: Upload = Upload { job: 17, attempt: 2, slot: 3, max: 100, expires: 1_000 };

    fn read(address: &str, key: &[u8], now: u64) -> Option<Upload> {
        let query = address.split_once('?').unwrap().1;
        let value = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
                .map(|(_, v)| v.into())
        };
        Upload::read(key, value, now)
    }

    #[test]
    fn it_holds_until_it_expires() {
        let address = UPLOAD.address(KEY);
        assert_eq!(read(&address, KEY, 999), Some(UPLOAD));
        assert_eq!(read(&address, KEY, 1_000), None);
    }

    #[test]
    fn nothing_of_it_can_be_changed() {
        let address = UPLOAD.address(KEY);
        assert_eq!(read(&address, b"other", 1), None);
        for (from, to) in [
            ("job=17", "job=18"),
            ("attempt=2", "attempt=1"),
            ("slot=3", "slot=4"),
            ("max=100", "max=101"),
            ("expires=1000", "expires=2000"),
            ("signature=", "signature=A"),
            ("&max=100", ""),
        ] {
            assert!(address.contains(from), "{address}");
            assert_eq!(read(&address.replace(from, to), KEY, 1), None, "{to}");
        }
    }
}
