//! One webhook.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::failed::{Causes, Failed};
use super::super::jobs::JsonBody;
use super::super::parameter::Path;
use super::super::problem::{Code, Problem};
use super::collection::MAX;
use super::info::{DeliveryInfo, WebhookInfo};
use super::read::{Said, seal};
use crate::domain::webhook::{Change, Webhook as Registered};
use crate::notify::{self, Secret};

/// For how long the secret before the last change is used.
const BOTH: Duration = Duration::from_secs(24 * 3600);

/// `/v1/webhooks/{id}` and what is done to one.
pub struct Webhook {
    /// What it answers from.
    pub api: Arc<Api>,
}

/// What may go wrong with a look, or with an end.
struct OfOne;

impl Causes for OfOne {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Unavailable];
}

/// What may go wrong with a test.
struct OfTest;

impl Causes for OfTest {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Conflict, Code::Unavailable];
}

/// What may go wrong with a change.
struct OfChange;

impl Causes for OfChange {
    const CODES: &'static [Code] = &[
        Code::InvalidJson,
        Code::NotFound,
        Code::Incomplete,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidParameters,
        Code::Unavailable,
    ];
}

/// The webhook of this id, where there is one that the caller sees.
pub(super) async fn find(api: &Api, caller: &Caller, id: Path) -> Result<Registered, Problem> {
    let id = id.0.ok_or_else(|| Problem::no_webhook(None))?;
    let found = api.store.webhook(id).await.map_err(|error| Problem::failed(&error))?;
    found.filter(|webhook| caller.sees(webhook.user_id)).ok_or_else(|| Problem::no_webhook(Some(id)))
}

/// It is told nothing now.
pub(super) fn disabled(id: i64) -> Problem {
    Problem::new(Code::Conflict, format!("webhook {id} is disabled; enable it first: PATCH with \"enabled\": true"))
}

#[OpenApi]
impl Webhook {
    /// Look at a webhook
    #[oai(path = "/v1/webhooks/:id", method = "get", operation_id = "getWebhook", tag = "Tag::Webhooks")]
    async fn get(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
    ) -> Result<Answer, Failed<OfOne>> {
        Ok(Answer::Webhook(Compact(find(&self.api, &caller, id).await?.into())))
    }

    /// Change a webhook
    ///
    /// What is left out stays as it is. A webhook that is disabled is told nothing, and what waits for it is given up;
    /// one that was disabled since nobody was there any more is enabled here.
    #[oai(path = "/v1/webhooks/:id", method = "patch", operation_id = "changeWebhook", tag = "Tag::Webhooks")]
    async fn change(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
        body: JsonBody<ChangeHook, MAX>,
    ) -> Result<Answer, Failed<OfChange>> {
        let webhook = find(&self.api, &caller, id).await?;
        let (mut object, _) = body.0?;
        let mut said = Said::read(&mut object);
        let enabled = match object.take("enabled") {
            Some(Value::Bool(enabled)) => Some(enabled),
            Some(_) => object.wrong("enabled", "must be true or false"),
            None => None,
        };
        let mut errors = object.errors();
        let url = said.url(&self.api, &mut errors).await;
        if !errors.is_empty() {
            return Err(Problem::invalid(errors).into());
        }
        let change = Change { url, events: said.events, names: said.names, labels: said.labels, enabled };
        self.api.store.change_webhook(webhook.id, change).await.map_err(|error| Problem::failed(&error))?;
        self.api.audit.note(&caller, "webhook.change", format_args!("webhook {}", webhook.id));
        Ok(Answer::Webhook(Compact(find(&self.api, &caller, Path(Some(webhook.id))).await?.into())))
    }

    /// Remove a webhook
    ///
    /// With its log and all that waits for it.
    #[oai(path = "/v1/webhooks/:id", method = "delete", operation_id = "deleteWebhook", tag = "Tag::Webhooks")]
    async fn delete(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
    ) -> Result<DeleteAnswer, Failed<OfOne>> {
        let webhook = find(&self.api, &caller, id).await?;
        self.api.store.remove_webhook(webhook.id).await.map_err(|error| Problem::failed(&error))?;
        self.api.audit.note(&caller, "webhook.delete", format_args!("webhook {} {}", webhook.id, webhook.url));
        Ok(DeleteAnswer::Gone)
    }

    /// Give a webhook a new secret
    ///
    /// For 24 hours messages are signed with the one before, too, so that a receiver can change over. The answer has the
    /// new one; it is not shown again.
    #[oai(
        path = "/v1/webhooks/:id/rotate",
        method = "post",
        operation_id = "rotateWebhookSecret",
        tag = "Tag::Webhooks"
    )]
    async fn rotate(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
    ) -> Result<RotateAnswer, Failed<OfOne>> {
        let webhook = find(&self.api, &caller, id).await?;
        let secret = Secret::random();
        let sealed = seal(&self.api, &secret)?;
        self.api.store.rotate_webhook(webhook.id, sealed, BOTH).await.map_err(|error| Problem::failed(&error))?;
        let webhook = find(&self.api, &caller, Path(Some(webhook.id))).await?;
        self.api.audit.note(&caller, "webhook.rotate", format_args!("webhook {}", webhook.id));
        let info = WebhookInfo::from(webhook).with_secret(secret.expose());
        Ok(RotateAnswer::Webhook(Compact(info), "no-store".into()))
    }

    /// Try a webhook
    ///
    /// Sends a message of the type `webhook.test`. The answer is its delivery, in which is soon to be seen what came of it.
    #[oai(path = "/v1/webhooks/:id/test", method = "post", operation_id = "testWebhook", tag = "Tag::Webhooks")]
    async fn test(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
    ) -> Result<TestAnswer, Failed<OfTest>> {
        let webhook = find(&self.api, &caller, id).await?;
        if !webhook.enabled {
            return Err(disabled(webhook.id).into());
        }
        let failed = |error| Problem::failed(&error);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let gone = || Problem::no_webhook(Some(webhook.id));
        let id = notify::test(&self.api.store, webhook.id, now).await.map_err(failed)?.ok_or_else(gone)?;
        let delivery = self.api.store.delivery(id).await.map_err(failed)?.ok_or_else(gone)?;
        Ok(TestAnswer::Sent(Compact(delivery.into())))
    }
}

// What the OpenAPI document shows; `Said` reads it.
/// What of a webhook is to become something else.
#[derive(Object)]
#[oai(rename = "ChangeWebhook", rename_all = "camelCase")]
struct ChangeHook {
    /// Where messages go.
    #[oai(validator(max_length = 2048))]
    url: Option<String>,
    /// What it is told.
    events: Option<Vec<String>>,
    /// The names of the jobspecs of whose jobs it is told; empty: of all.
    #[oai(validator(max_items = "100"))]
    names: Option<Vec<String>>,
    /// Labels that a job must have for it to be told.
    labels: Option<BTreeMap<String, String>>,
    /// Whether it is told anything.
    enabled: Option<bool>,
}

#[derive(ApiResponse)]
enum Answer {
    /// The webhook.
    #[oai(status = 200)]
    Webhook(Compact<WebhookInfo>),
}

#[derive(ApiResponse)]
enum RotateAnswer {
    /// The webhook, with its new secret.
    #[oai(status = 200)]
    Webhook(
        Compact<WebhookInfo>,
        /// The answer is nobody else's.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum DeleteAnswer {
    /// It is gone.
    #[oai(status = 204)]
    Gone,
}

#[derive(ApiResponse)]
enum TestAnswer {
    /// The message, which is sent at once.
    #[oai(status = 202)]
    Sent(Compact<DeliveryInfo>),
}
