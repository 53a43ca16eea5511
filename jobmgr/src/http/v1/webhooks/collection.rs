//! All webhooks, and a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::failed::{Causes, Failed};
use super::super::jobs::JsonBody;
use super::super::problem::{Code, Problem};
use super::info::WebhookInfo;
use super::read::{Said, seal, secret};
use crate::domain::webhook::{Kind, NewWebhook, Wanted};
use crate::notify::Secret;

/// The largest body in bytes.
pub(super) const MAX: u64 = 64 << 10;

/// `GET` and `POST /v1/webhooks`
pub struct Webhooks {
    /// What it answers from.
    pub api: Arc<Api>,
}

/// What may go wrong with a list.
struct OfList;

impl Causes for OfList {
    const CODES: &'static [Code] = &[Code::Unavailable];
}

/// What may go wrong with a new one.
struct OfNew;

impl Causes for OfNew {
    const CODES: &'static [Code] = &[
        Code::InvalidJson,
        Code::Incomplete,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidParameters,
        Code::Unavailable,
    ];
}

#[OpenApi]
impl Webhooks {
    /// Register a webhook
    ///
    /// From now on messages of what becomes of jobs are sent to an address, signed as Standard Webhooks says. The answer
    /// has the secret of the signatures; it is not shown again.
    #[oai(path = "/v1/webhooks", method = "post", operation_id = "createWebhook", tag = "Tag::Webhooks")]
    async fn create(&self, caller: Caller, body: JsonBody<NewHook, MAX>) -> Result<NewAnswer, Failed<OfNew>> {
        let (mut object, _) = body.0?;
        let mut said = Said::read(&mut object);
        let secret = secret(&mut object);
        if said.url.is_none() {
            object.wrong::<()>("url", "is required: where to send messages");
        }
        let mut errors = object.errors();
        let url = said.url(&self.api, &mut errors).await;
        let Some(url) = url.filter(|_| errors.is_empty()) else { return Err(Problem::invalid(errors).into()) };
        let secret = secret.unwrap_or_else(Secret::random);
        let wanted = Wanted {
            events: said.events.unwrap_or_else(|| Kind::ENDS.into()),
            names: said.names.unwrap_or_default(),
            labels: said.labels.unwrap_or_default(),
        };
        let new = NewWebhook { user_id: caller.user_id, url, wanted, secret: seal(&self.api, &secret)? };
        let failed = |error| Problem::failed(&error);
        let id = self.api.store.add_webhook(new).await.map_err(failed)?;
        let webhook = self.api.store.webhook(id).await.map_err(failed)?.ok_or_else(|| Problem::no_webhook(Some(id)))?;
        self.api.audit.note(&caller, "webhook.create", format_args!("webhook {id} {}", webhook.url));
        let info = WebhookInfo::from(webhook).with_secret(secret.expose());
        Ok(NewAnswer::New(Compact(info), format!("/v1/webhooks/{id}"), "no-store".into()))
    }

    /// List the webhooks
    ///
    /// All of them, the oldest first.
    #[oai(path = "/v1/webhooks", method = "get", operation_id = "listWebhooks", tag = "Tag::Webhooks")]
    async fn list(&self, caller: Caller) -> Result<ListAnswer, Failed<OfList>> {
        let webhooks = self.api.store.webhooks().await.map_err(|error| Problem::failed(&error))?;
        let items =
            webhooks.into_iter().filter(|webhook| caller.sees(webhook.user_id)).map(WebhookInfo::from).collect();
        Ok(ListAnswer::Webhooks(Compact(WebhookList { items, next: None })))
    }
}

// What the OpenAPI document shows; `Said` reads it.
/// A webhook to be registered.
#[derive(Object)]
#[oai(rename = "CreateWebhook", rename_all = "camelCase", example)]
struct NewHook {
    /// Where messages go: a public address, or one that the server's configuration names.
    #[oai(validator(max_length = 2048))]
    url: String,
    /// What it is told: of `job.queued`, `job.started`, `job.completed`, `job.failed`, `job.canceled`; left out: of the
    /// last three, which are the ends.
    events: Option<Vec<String>>,
    /// The names of the jobspecs of whose jobs it is told; left out: of all.
    #[oai(validator(max_items = "100"))]
    names: Option<Vec<String>>,
    /// Labels that a job must have for it to be told.
    labels: Option<BTreeMap<String, String>>,
    /// What messages are signed with: `whsec_` and the base64 of 24 to 64 bytes; left out: one is made.
    secret: Option<String>,
}

impl Example for NewHook {
    fn example() -> Self {
        let events = Some(vec![Kind::Failed.as_str().to_owned()]);
        Self { url: "https://example.org/hook".into(), events, names: None, labels: None, secret: None }
    }
}

/// Webhooks.
#[derive(Object, Serialize)]
struct WebhookList {
    /// All of them.
    items: Vec<WebhookInfo>,
    /// Where the next page begins: there is none.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum NewAnswer {
    /// The webhook is registered.
    #[oai(status = 201)]
    New(
        Compact<WebhookInfo>,
        /// Where it is.
        #[oai(header = "Location")]
        String,
        /// The answer is nobody else's.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The webhooks.
    #[oai(status = 200)]
    Webhooks(Compact<WebhookList>),
}
