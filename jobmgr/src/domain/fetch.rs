//! Addresses at which the API gives the input files of jobs that run elsewhere: for stores that can't sign their own.
//! Nobody but us can make them, and they expire, at the latest with the attempt that they are for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::input::InputId;
use super::job::JobId;

/// Where such addresses lead.
pub const PATH: &str = "/inputs/content";

/// The right to read one input file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The job that has it.
    pub job: JobId,
    /// The run of that job.
    pub attempt: i64,
    /// The file.
    pub input: InputId,
    /// Until when, in Unix seconds.
    pub expires: u64,
}

impl Fetch {
    /// The address below the server's root.
    pub fn address(&self, key: &[u8]) -> String {
        let Self { job, attempt, input, expires } = self;
        let signature = BASE64.encode(self.mac(key).finalize().into_bytes());
        format!("{PATH}?job={job}&attempt={attempt}&input={input}&expires={expires}&signature={signature}")
    }

    /// What an address allows, by the values of its query, unless it was not made with this key, or is over at `now`
    /// (Unix seconds). The comparison takes the same time for every wrong signature.
    pub fn read(key: &[u8], value: impl Fn(&str) -> Option<String>, now: u64) -> Option<Self> {
        let number = |name: &str| value(name)?.parse().ok();
        let (job, attempt, input) = (number("job")?, number("attempt")?, number("input")?);
        let fetch = Self { job, attempt, input, expires: value("expires")?.parse().ok()? };
        let signature = BASE64.decode(value("signature")?).ok()?;
        let holds = fetch.mac(key).verify_slice(&signature).is_ok();
        (holds && fetch.expires > now).then_some(fetch)
    }

    fn mac(&self, key: &[u8]) -> Hmac<Sha256> {
        let Self { job, attempt, input, expires } = self;
        // HMAC takes keys of every length; the type has no way to say so.
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!());
        // What else is signed with the same key begins with other words.
        mac.update(format!("input:{job}:{attempt}:{input}:{expires}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";
    const FETCH: Fetch = Fetch { job: 17, attempt: 2, input: 3, expires: 1_000 };

    fn read(address: &str, key: &[u8], now: u64) -> Option<Fetch> {
        let query = address.split_once('?').unwrap().1;
        let value = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
        };
        Fetch::read(key, value, now)
    }

    #[test]
    fn it_holds_until_it_expires_and_can_not_be_changed() {
        let address = FETCH.address(KEY);
        assert_eq!(read(&address, KEY, 999), Some(FETCH));
        assert_eq!((read(&address, KEY, 1_000), read(&address, b"other", 1)), (None, None));
        for (from, to) in [
            ("job=17", "job=18"),
            ("attempt=2", "attempt=1"),
            ("input=3", "input=4"),
            ("expires=1000", "expires=2000"),
            ("signature=", "signature=A"),
            ("&input=3", ""),
        ] {
            assert!(address.contains(from), "{address}");
            assert_eq!(read(&address.replace(from, to), KEY, 1), None, "{to}");
        }
    }
}
