//! One attempt to deliver a message.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, StatusCode};
use tokio::time::Instant;

use super::backoff;
use super::secret::{self, Secret};
use super::targets::Targets;
use crate::domain::webhook::Attempted;

/// How much of an answer is read, in bytes.
const READ: usize = 64 << 10;
/// How much of it is kept, in bytes.
const KEPT: usize = 1 << 10;
/// How long a connection is kept that has nothing to do.
const IDLE: Duration = Duration::from_secs(30);

/// A message as it is sent.
pub struct Letter {
    /// Where to.
    pub url: String,
    /// By which the receiver knows it when it comes twice.
    pub id: String,
    /// What it says.
    pub body: String,
    /// What it is signed with.
    pub secrets: Vec<Secret>,
}

/// What an attempt came to.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the receiver has it.
    pub verdict: Verdict,
    /// For the log.
    pub attempted: Attempted,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the receiver has it.
    Taken,
    /// To try again; not before this time is over, if the receiver says so.
    Refused(Option<Duration>),
    /// Nothing: there is nobody any more.
    Gone,
}

/// Sends messages.
pub struct Post {
    client: Client,
    targets: Arc<Targets>,
}

/// Names become addresses that were checked.
struct Checked(Arc<Targets>);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = targets.resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl Post {
    /// One that goes where `targets` allows, and for so long at most.
    ///
    /// # Errors
    /// When there can be none.
    pub fn new(targets: Arc<Targets>, patience: Duration) -> Result<Self, String> {
        // The second one that does so in a process is told that it was done.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = builder(&targets, patience).build().or_else(|error| {
            // A machine may have none; over HTTP receivers are told all the same.
            tracing::warn!(error = chain(&error), "without the system's certificates no webhook over HTTPS is told");
            builder(&targets, patience).tls_certs_only([]).build()
        });
        Ok(Self { client: client.map_err(|error| chain(&error))?, targets })
    }

    /// Tries once.
    pub async fn send(&self, letter: Letter) -> Outcome {
        let begun = Instant::now();
        let mut outcome = match self.answer(letter).await {
            Ok(response) => heard(response).await,
            Err(why) => Outcome {
                verdict: Verdict::Refused(None),
                attempted: Attempted { error: Some(why), ..Attempted::default() },
            },
        };
        outcome.attempted.took_ms = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        outcome
    }

    async fn answer(&self, letter: Letter) -> Result<Response, String> {
        // The resolver does not see addresses, only names.
        let url = self.targets.read(&letter.url)?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/json");
        request = request.header("webhook-id", &letter.id).header("webhook-timestamp", seconds);
        if !letter.secrets.is_empty() {
            let signatures = secret::signatures(&letter.secrets, &letter.id, seconds, &letter.body);
            request = request.header("webhook-signature", signatures);
        }
        request.body(letter.body).send().await.map_err(|error| chain(&error))
    }
}

fn builder(targets: &Arc<Targets>, patience: Duration) -> ClientBuilder {
    Client::builder()
        .dns_resolver(Checked(Arc::clone(targets)))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        // One of the environment would connect in our place.
        .no_proxy()
        .http1_only()
        .timeout(patience)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("jobmgr/", env!("CARGO_PKG_VERSION")))
}

async fn heard(mut response: Response) -> Outcome {
    let status = response.status();
    let asked = response.headers().get(RETRY_AFTER).and_then(backoff::asked);
    let asked = asked.filter(|_| [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status));
    let verdict = match status {
        StatusCode::GONE => Verdict::Gone,
        status if status.is_success() => Verdict::Taken,
        _ => Verdict::Refused(asked),
    };
    let error = match status {
        status if status.is_success() => None,
        status if status.is_redirection() => Some(format!("answered {status}; redirects are not followed")),
        status => Some(format!("answered {status}")),
    };
    let response = Some(beginning(&mut response).await).filter(|text| !text.is_empty());
    Outcome { verdict, attempted: Attempted { status: Some(status.as_u16().into()), error, response, took_ms: 0 } }
}

/// Reads what is there of a body, up to a limit; a body that breaks off or takes too long changes nothing any more.
async fn beginning(response: &mut Response) -> String {
    let (mut read, mut kept) = (0, Vec::new());
    while read < READ {
        let Ok(Some(piece)) = response.chunk().await else { break };
        read += piece.len();
        let room = KEPT.saturating_sub(kept.len()).min(piece.len());
        kept.extend_from_slice(&piece[..room]);
    }
    // A database of text takes no NUL.
    String::from_utf8_lossy(&kept).replace('\0', "\u{fffd}")
}

/// An error with its causes, each of them once. The address is left out: whoever reads this knows it.
fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = if error.is_timeout() { None } else { error.source() };
    while let Some(cause) = next {
        let text = cause.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    match error.is_timeout() {
        true => "no answer in time".into(),
        false if texts.is_empty() => "the request could not be sent".into(),
        false => texts.join(": "),
    }
}
