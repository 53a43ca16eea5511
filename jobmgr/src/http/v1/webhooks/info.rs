//! Webhooks and their messages as `/v1` shows them.

use std::collections::BTreeMap;

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::Serialize;

use super::super::timestamp::Timestamp;
use crate::domain::job::JobId;
use crate::domain::webhook::{Attempted, Delivery, Kind, Standing, Webhook};

/// A webhook.
#[derive(Object, Serialize)]
#[oai(rename = "Webhook", rename_all = "camelCase", example)]
#[serde(rename_all = "camelCase")]
pub struct WebhookInfo {
    /// Its number.
    id: i64,
    /// Where its messages go.
    url: String,
    /// What it is told.
    events: Vec<String>,
    /// The names of the jobspecs of whose jobs it is told; empty: of all.
    names: Vec<String>,
    /// Labels that a job must have for it to be told.
    labels: BTreeMap<String, String>,
    /// Whether it is told anything now.
    enabled: bool,
    /// Why not, where nobody asked for that.
    #[oai(nullable)]
    disabled_reason: Option<String>,
    /// What its messages are signed with. Shown when it is made, and never again.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// Until when its messages are signed with the secret before that one, too.
    #[oai(nullable)]
    previous_secret_until: Option<Timestamp>,
    /// When it was registered.
    created: Timestamp,
    /// Whose it is.
    #[oai(rename = "userID")]
    #[serde(rename = "userID")]
    user_id: i64,
}

impl WebhookInfo {
    /// With the secret that was made just now.
    pub fn with_secret(self, secret: String) -> Self {
        Self { secret: Some(secret), ..self }
    }
}

impl From<Webhook> for WebhookInfo {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            events: webhook.wanted.events.into_iter().map(|kind| kind.as_str().to_owned()).collect(),
            names: webhook.wanted.names,
            labels: webhook.wanted.labels,
            enabled: webhook.enabled,
            disabled_reason: webhook.why_disabled,
            secret: None,
            previous_secret_until: webhook.previous_until_ms.map(Timestamp::of),
            created: Timestamp::of(webhook.created_ms),
            user_id: webhook.user_id,
        }
    }
}

impl Example for WebhookInfo {
    fn example() -> Self {
        Self {
            id: 3,
            url: "https://example.org/hook".into(),
            events: Kind::ENDS.map(|kind| kind.as_str().to_owned()).into(),
            names: Vec::new(),
            labels: BTreeMap::new(),
            enabled: true,
            disabled_reason: None,
            secret: None,
            previous_secret_until: None,
            created: Timestamp::of(1_767_323_045_678),
            user_id: 1,
        }
    }
}

/// How a message fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "DeliveryStatus", rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum StandingWord {
    /// It is to be sent, for the first time or again.
    Pending,
    /// Its receiver has it.
    Delivered,
    /// It is not sent any more.
    Failed,
}

impl From<Standing> for StandingWord {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Pending => StandingWord::Pending,
            Standing::Delivered => StandingWord::Delivered,
            Standing::Failed => StandingWord::Failed,
        }
    }
}

/// A message in the log.
#[derive(Object, Serialize)]
#[oai(rename = "Delivery", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct DeliveryInfo {
    /// Its number.
    id: i64,
    /// Its `webhook-id`, by which its receiver knows it when it comes twice.
    #[oai(rename = "messageID")]
    #[serde(rename = "messageID")]
    message_id: String,
    /// What is told: `job.completed`, ..., or `webhook.test`.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The job that it is about.
    #[oai(rename = "jobID", nullable)]
    #[serde(rename = "jobID")]
    job_id: Option<JobId>,
    /// The how-manieth message of its webhook it is.
    sequence: i64,
    /// When what it tells happened.
    timestamp: Timestamp,
    // No doc comment: the reference would become an `allOf` of the reference and the comment.
    status: StandingWord,
    /// How often it was sent.
    attempts: i64,
    /// When it is sent next; null: not at all.
    #[oai(nullable)]
    next_attempt: Option<Timestamp>,
    /// The status of the last answer, where there was one.
    #[oai(nullable)]
    response_status: Option<i64>,
    /// The beginning of the last answer's body, up to 1 KiB.
    #[oai(nullable)]
    response: Option<String>,
    /// Why it was not taken.
    #[oai(nullable)]
    error: Option<String>,
    /// How long the last attempt took, in milliseconds.
    #[oai(nullable)]
    duration_ms: Option<i64>,
    /// When its receiver had it, or when it was given up.
    #[oai(nullable)]
    ended: Option<Timestamp>,
}

impl From<Delivery> for DeliveryInfo {
    fn from(delivery: Delivery) -> Self {
        let duration_ms = delivery.last.as_ref().map(|last| last.took_ms);
        let Attempted { status, error, response, .. } = delivery.last.unwrap_or_default();
        Self {
            id: delivery.id,
            message_id: delivery.message_id,
            kind: delivery.kind.as_str().into(),
            job_id: delivery.job_id,
            sequence: delivery.sequence,
            timestamp: Timestamp::of(delivery.time_ms),
            status: delivery.standing.into(),
            attempts: delivery.attempts,
            next_attempt: delivery.next_ms.map(Timestamp::of),
            response_status: status,
            response,
            error,
            duration_ms,
            ended: delivery.ended_ms.map(Timestamp::of),
        }
    }
}
