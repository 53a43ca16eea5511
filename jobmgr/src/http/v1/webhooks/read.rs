//! What clients say of webhooks.

use poem_openapi::Object as Schema;
use serde_json::Value;

use super::super::super::Api;
use super::super::json::Object;
use super::super::problem::{FieldError, Problem};
use super::super::submission::labels;
use crate::domain::submission::Labels;
use crate::domain::webhook::{Kind, OwnWebhook};
use crate::notify::{SEALED_FOR, Secret};

/// How many names of jobspecs a webhook may have.
const NAMES: usize = 100;
/// The longest of them, in bytes, as in the database.
const LONGEST_NAME: usize = 255;

/// What is said of a webhook; what is left out is not said.
pub struct Said {
    pub url: Option<String>,
    pub events: Option<Vec<Kind>>,
    pub names: Option<Vec<String>>,
    pub labels: Option<Labels>,
}

impl Said {
    /// Reads it; what is wrong is told by `object`.
    pub fn read(object: &mut Object) -> Self {
        Self { url: object.text("url"), events: events(object), names: names(object), labels: labels(object) }
    }

    /// Where it leads, where that is said and it may lead there; else what is wrong goes to `errors`.
    pub async fn url(&mut self, api: &Api, errors: &mut Vec<FieldError>) -> Option<String> {
        match api.targets.check(&self.url.take()?).await {
            Ok(url) => Some(url.into()),
            Err(message) => {
                errors.push(FieldError { field: "url".into(), message });
                None
            }
        }
    }
}

fn events(object: &mut Object) -> Option<Vec<Kind>> {
    let words = texts(object, "events")?;
    let kinds: Vec<Kind> = Kind::OF_JOBS.into_iter().filter(|kind| words.iter().any(|w| w == kind.as_str())).collect();
    let all_known = words.iter().all(|word| Kind::OF_JOBS.iter().any(|kind| kind.as_str() == word));
    if !all_known || kinds.is_empty() {
        let known = Kind::OF_JOBS.map(Kind::as_str).join(", ");
        return object.wrong("events", format!("must be a list of at least one of {known}"));
    }
    Some(kinds)
}

fn names(object: &mut Object) -> Option<Vec<String>> {
    let names = texts(object, "names")?;
    let serves = |name: &String| (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    if names.len() > NAMES || !names.iter().all(serves) {
        return object.wrong("names", format!("must be a list of up to {NAMES} names of jobspecs"));
    }
    Some(names)
}

fn texts(object: &mut Object, name: &'static str) -> Option<Vec<String>> {
    let Value::Array(list) = object.take(name)? else { return object.wrong(name, "must be a list of texts") };
    let texts: Option<Vec<String>> = list.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    if texts.is_none() { object.wrong(name, "must be a list of texts") } else { texts }
}

/// The secret in `secret`, where there is such a field.
pub fn secret(object: &mut Object) -> Option<Secret> {
    let text = object.text("secret")?;
    Secret::parse(&text).map_or_else(|right| object.wrong("secret", right), Some)
}

/// Seals a secret, as it is stored.
pub fn seal(api: &Api, secret: &Secret) -> Result<String, Problem> {
    api.secrets.seal(SEALED_FOR, secret.expose().as_bytes()).map_err(|error| {
        tracing::error!(%error, "a webhook's secret can't be encrypted");
        Problem::unavailable()
    })
}

// What the OpenAPI document shows; `OwnDraft` reads it.
/// Who is told of a job's end.
#[derive(Schema)]
#[oai(rename = "SubmitWebhook")]
pub struct Own {
    /// Where the message goes: a public address.
    #[oai(validator(max_length = 2048))]
    url: String,
    /// What it is signed with: `whsec_` and the base64 of 24 to 64 bytes; left out: it is not signed.
    secret: Option<String>,
}

/// The webhook that a submission asks for; its address is not checked yet.
pub struct OwnDraft {
    url: String,
    secret: Option<Secret>,
}

impl OwnDraft {
    /// Reads the field `webhook`; what is wrong is told by `object`.
    pub fn read(object: &mut Object) -> Option<Self> {
        let mut own = Object::within(object.map("webhook")?, "webhook".into());
        let url = own.text("url");
        if url.is_none() {
            own.wrong::<()>("url", "is required: where to send the message");
        }
        let secret = secret(&mut own);
        for FieldError { field, message } in own.errors() {
            object.wrong::<()>(&field, message);
        }
        Some(Self { url: url?, secret })
    }

    /// What is stored of it; where it may not lead there, that goes to `errors`. A submission waits for no name server:
    /// what a name resolves to is checked when the message is sent.
    ///
    /// # Errors
    /// When its secret can't be encrypted.
    pub fn own(self, api: &Api, prefix: &str, errors: &mut Vec<FieldError>) -> Result<Option<OwnWebhook>, Problem> {
        let url = match api.targets.read(&self.url) {
            Ok(url) => url.into(),
            Err(message) => {
                errors.push(FieldError { field: format!("{prefix}webhook.url"), message });
                return Ok(None);
            }
        };
        let secret = self.secret.map(|secret| seal(api, &secret)).transpose()?;
        Ok(Some(OwnWebhook { url, secret }))
    }
}
