//! Who calls: finds the caller of a request by its token, and keeps those out who ask for too much.
//!
//! All tokens are held in memory, by the SHA-256 of their texts. Once in a second, if anybody calls, the database is asked
//! whether they are still the same. So a request costs one SHA-256, wrong tokens cost no more than good ones, and what
//! is revoked elsewhere holds for a second at most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use poem::Request;
use poem::http::header::AUTHORIZATION;
use poem::http::{HeaderMap, HeaderName};

use super::caller::Caller;
use super::refusal::Refusal;
use super::scopes::Need;
use crate::auth::{Bucket, Digest, Rate, Token};
use crate::config::{Auth, Limits};
use crate::store::{Store, StoreError};

/// How long the tokens in memory count without a look.
const FRESH: Duration = Duration::from_secs(1);
/// For how long they count while the database does not answer.
const STALE: Duration = Duration::from_secs(30);
/// How often it is written down that a token is used.
const USED_EVERY: i64 = 5 * 60 * 1000;
/// How many addresses are remembered that showed wrong tokens.
const ADDRESSES: usize = 10_000;

/// What a proxy adds: who comes through one is somewhere else.
const FORWARDED: [HeaderName; 4] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Finds out who calls.
pub struct Gate {
    store: Store,
    auth: Option<Auth>,
    limits: Limits,
    known: RwLock<Option<Arc<Known>>>,
    /// Held by who looks; when somebody last looked in vain.
    looking: tokio::sync::Mutex<Option<(Instant, StoreError)>>,
    rates: Mutex<HashMap<i64, Bucket>>,
    wrong: Mutex<HashMap<IpAddr, Bucket>>,
}

/// The tokens, as they were at some time.
struct Known {
    version: i64,
    tokens: Arc<HashMap<Digest, Arc<Held>>>,
    looked: Instant,
    /// What the database's clock said then.
    now_ms: i64,
}

struct Held {
    token: Arc<Token>,
    /// When it was last written down that it is used.
    used_ms: AtomicI64,
}

impl Known {
    fn now_ms(&self) -> i64 {
        self.now_ms + i64::try_from(self.looked.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }
}

impl Gate {
    /// A gate for what `[Server] Auth` and `[Limits]` say.
    pub fn new(store: Store, auth: Option<Auth>, limits: Limits) -> Self {
        Self {
            store,
            auth,
            limits,
            known: RwLock::default(),
            looking: tokio::sync::Mutex::default(),
            rates: Mutex::default(),
            wrong: Mutex::default(),
        }
    }

    /// Lets a request pass, or not; `None`: nobody needs to be known.
    ///
    /// # Errors
    /// Why not.
    pub async fn pass(&self, request: &Request, need: Need) -> Result<Option<Caller>, (Refusal, Option<Caller>)> {
        if need == Need::Nothing {
            return Ok(None);
        }
        let caller = match self.caller(request).await {
            Ok(caller) => caller,
            Err(_) if need == Need::Maybe => return Ok(None),
            Err(refusal) => return Err((refusal, None)),
        };
        if !need.met_by(caller.scopes) {
            return Err((Refusal::Forbidden(need.in_words()), Some(caller)));
        }
        match self.in_time(&caller) {
            Ok(()) => Ok(Some(caller)),
            Err(refusal) => Err((refusal, Some(caller))),
        }
    }

    /// The tokens have changed in this process: the next request looks.
    pub fn forget(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the token that a caller has shown still holds, for answers that go on for long. While nobody can tell, it
    /// does.
    pub async fn holds(&self, caller: &Caller) -> bool {
        let (Some(token), Ok(known)) = (&caller.token, self.known().await) else { return true };
        known.tokens.get(&token.digest).is_some_and(|held| held.token.holds(known.now_ms()))
    }

    /// How many jobs of this caller's user may be queued.
    pub fn max_queued(&self, caller: &Caller) -> u64 {
        caller.token.as_ref().and_then(|token| token.max_queued).unwrap_or(self.limits.max_queued)
    }

    /// How many requests this caller may make in a minute; `None`: any number.
    pub fn requests_per_minute(&self, caller: &Caller) -> Option<u64> {
        let token = caller.token.as_ref()?;
        Some(token.requests_per_minute.unwrap_or(self.limits.requests_per_minute))
    }

    async fn caller(&self, request: &Request) -> Result<Caller, Refusal> {
        let address = request.remote_addr().as_socket_addr().map(|address| address.ip().to_canonical());
        let found =
            if self.auth == Some(Auth::None) { Caller::local() } else { self.known_caller(request, address).await? };
        let request_id = request.extensions().get::<super::front::RequestId>().map(|id| id.0.clone());
        Ok(Caller { address, request_id: request_id.unwrap_or_default(), ..found })
    }

    async fn known_caller(&self, request: &Request, address: Option<IpAddr>) -> Result<Caller, Refusal> {
        let known = self.known().await.map_err(|_| Refusal::Unavailable)?;
        let here = || address.is_some_and(|address| address.is_loopback()) && !is_forwarded(request.headers());
        if self.auth.is_none() && known.tokens.is_empty() && here() {
            return Ok(Caller::local());
        }
        let Some(shown) = shown(request.headers()) else { return Err(Refusal::Unauthorized) };
        let held = shown.and_then(Digest::of_shown).and_then(|digest| known.tokens.get(&digest));
        let now_ms = known.now_ms();
        match held.filter(|held| held.token.holds(now_ms)) {
            Some(held) => {
                self.note_use(held, now_ms);
                Ok(Caller::with(Arc::clone(&held.token)))
            }
            None => Err(self.wrong(address)),
        }
    }

    /// The tokens as they are now, or were a second ago.
    async fn known(&self) -> Result<Arc<Known>, StoreError> {
        let fresh = |known: &Arc<Known>| known.looked.elapsed() < FRESH;
        if let Some(known) = self.held().filter(fresh) {
            return Ok(known);
        }
        // One looks, the others wait for that.
        let mut failed = self.looking.lock().await;
        let before = match self.held() {
            Some(known) if fresh(&known) => return Ok(known),
            before => before,
        };
        let stale = before.clone().filter(|known| known.looked.elapsed() < STALE);
        if let Some((_, error)) = failed.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            // A database that hangs would keep all of them waiting, one after the other.
            return stale.ok_or_else(|| error.clone());
        }
        match self.look(before.as_deref()).await {
            Ok(known) => {
                *failed = None;
                let known = Arc::new(known);
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&known));
                Ok(known)
            }
            Err(error) => {
                tracing::warn!(%error, "can't look who may call");
                *failed = Some((Instant::now(), error.clone()));
                stale.ok_or(error)
            }
        }
    }

    fn held(&self) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look(&self, before: Option<&Known>) -> Result<Known, StoreError> {
        let looked = Instant::now();
        let (version, now_ms) = self.store.tokens_version().await?;
        let tokens = match before.filter(|known| known.version == version) {
            Some(known) => Arc::clone(&known.tokens),
            None => {
                let held = |token: Token| Held { used_ms: token.used_ms.unwrap_or(0).into(), token: Arc::new(token) };
                let tokens = self.store.tokens().await?.into_iter();
                Arc::new(tokens.map(|token| (token.digest, Arc::new(held(token)))).collect())
            }
        };
        Ok(Known { version, tokens, looked, now_ms })
    }

    fn note_use(&self, held: &Held, now_ms: i64) {
        let used = held.used_ms.load(Ordering::Relaxed);
        let due = now_ms - used > USED_EVERY;
        if due && held.used_ms.compare_exchange(used, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let (store, id) = (self.store.clone(), held.token.id);
            tokio::spawn(async move {
                if let Err(error) = store.token_used(id).await {
                    tracing::warn!(token = id, %error, "can't note that a token is used");
                }
            });
        }
    }

    /// Notes that a wrong token came from there.
    fn wrong(&self, address: Option<IpAddr>) -> Refusal {
        let Some(address) = address.map(network) else { return Refusal::Unauthorized };
        let (rate, now) = (Rate(self.limits.bad_tokens_per_minute), Instant::now());
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES {
            wrong.retain(|_, bucket| !bucket.is_full(rate, now));
            if wrong.len() >= ADDRESSES {
                wrong.clear();
            }
        }
        match wrong.entry(address).or_insert_with(|| Bucket::full(rate, now)).take(rate, now) {
            Ok(()) => Refusal::Unauthorized,
            Err(wait) => Refusal::TooMuch("too many wrong tokens came from this address; wait", seconds(wait)),
        }
    }

    fn in_time(&self, caller: &Caller) -> Result<(), Refusal> {
        let (Some(token), Some(limit)) = (&caller.token, self.requests_per_minute(caller)) else { return Ok(()) };
        let (rate, now) = (Rate(limit), Instant::now());
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = rates.entry(token.id).or_insert_with(|| Bucket::full(rate, now));
        let text = "this token may make no more requests for now; wait";
        bucket.take(rate, now).map_err(|wait| Refusal::TooMuch(text, seconds(wait)))
    }
}

/// What follows `Bearer` in the header; `None`: there is no such header, `Some(None)`: it is another one, or there are
/// several.
fn shown(headers: &HeaderMap) -> Option<Option<&[u8]>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return Some(None);
    }
    let (scheme, rest) = first.as_bytes().split_at_checked("Bearer ".len()).unwrap_or_default();
    Some(scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest))
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(name))
}

/// Whoever has an address of version 6 has a network of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Whole seconds, one at least.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs_f64().ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        values.collect()
    }

    #[test]
    fn one_header_with_one_scheme() {
        let read = |values: &[&str]| shown(&headers(values)).map(|shown| shown.map(<[u8]>::to_vec));
        assert_eq!(read(&["Bearer jm_x"]), Some(Some(b"jm_x".to_vec())));
        assert_eq!(read(&["bearer jm_x"]), Some(Some(b"jm_x".to_vec())));
        assert_eq!(read(&["Bearer  jm_x"]), Some(Some(b" jm_x".to_vec())));
        for other in ["", "Bearer", "Basic jm_x", "Bearer\tjm_x", "jm_x", "Bearerjm_x"] {
            assert_eq!(read(&[other]), Some(None), "{other}");
        }
        assert_eq!(read(&["Bearer jm_x", "Bearer jm_x"]), Some(None));
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_network_of_addresses_is_one() {
        let same = |one: &str, other: &str| network(one.parse().unwrap()) == network(other.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }
}
