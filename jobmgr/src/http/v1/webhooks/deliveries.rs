//! What webhooks were told, and telling it again.

use std::sync::Arc;

use poem_openapi::registry::MetaSchema;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::super::classic::Compact;
use super::super::super::docs::Tag;
use super::super::super::{Api, Caller};
use super::super::failed::{Causes, Failed};
use super::super::parameter::{FromQuery, Optional, Path};
use super::super::problem::{Code, Problem};
use super::super::values::Limit;
use super::info::DeliveryInfo;
use super::one::{disabled, find};
use crate::domain::webhook::Standing;
use crate::store::AskedDeliveries;

/// `GET /v1/webhooks/{id}/deliveries`, `POST .../redeliver`, and the same list for a job's own webhook.
pub struct Deliveries {
    /// What it answers from.
    pub api: Arc<Api>,
}

/// What may go wrong with a list.
struct OfList;

impl Causes for OfList {
    const CODES: &'static [Code] = &[Code::NotFound, Code::InvalidParameters, Code::Unavailable];
}

/// What may go wrong with a repetition.
struct OfAgain;

impl Causes for OfAgain {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Conflict, Code::Unavailable];
}

#[OpenApi]
impl Deliveries {
    /// List what a webhook was told
    ///
    /// The newest message first, each with its last attempt. Those that ended are kept for a week.
    #[oai(
        path = "/v1/webhooks/:id/deliveries",
        method = "get",
        operation_id = "listWebhookDeliveries",
        tag = "Tag::Webhooks"
    )]
    async fn list(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
        /// How they fare.
        status: Optional<Standing>,
        /// How many a page has.
        limit: Optional<Limit>,
        /// Where the page begins: what `next` of the page before says.
        cursor: Optional<Before>,
    ) -> Result<ListAnswer, Failed<OfList>> {
        let webhook = find(&self.api, &caller, id).await?;
        let asked = AskedDeliveries { webhook: webhook.id, ..AskedDeliveries::default() };
        Ok(self.page(asked, status, limit, cursor).await?)
    }

    /// List what a job's own webhook was told
    ///
    /// The message of its end, if `webhook` of its submission asked for one and it has ended.
    #[oai(path = "/v1/jobs/:id/deliveries", method = "get", operation_id = "listJobDeliveries", tag = "Tag::Webhooks")]
    async fn of_job(
        &self,
        caller: Caller,
        /// The job's id.
        id: Path,
        /// How they fare.
        status: Optional<Standing>,
        /// How many a page has.
        limit: Optional<Limit>,
        /// Where the page begins: what `next` of the page before says.
        cursor: Optional<Before>,
    ) -> Result<ListAnswer, Failed<OfList>> {
        let id = id.0.ok_or_else(|| Problem::no_job(None))?;
        let job = self.api.store.job(id).await.map_err(|error| Problem::failed(&error))?;
        if caller.seen(job).is_none() {
            return Err(Problem::no_job(Some(id)).into());
        }
        let asked = AskedDeliveries { webhook: 0, job: Some(id), ..AskedDeliveries::default() };
        Ok(self.page(asked, status, limit, cursor).await?)
    }

    /// Tell a webhook again
    ///
    /// Sends a message again now, whatever became of it, with the same `webhook-id`.
    #[oai(
        path = "/v1/webhooks/:id/deliveries/:delivery/redeliver",
        method = "post",
        operation_id = "redeliverWebhook",
        tag = "Tag::Webhooks"
    )]
    async fn again(
        &self,
        caller: Caller,
        /// The webhook's id.
        id: Path,
        /// The delivery's id.
        delivery: Path,
    ) -> Result<AgainAnswer, Failed<OfAgain>> {
        let webhook = find(&self.api, &caller, id).await?;
        let id = delivery.0.ok_or_else(|| Problem::no_delivery(None))?;
        if !webhook.enabled {
            return Err(disabled(webhook.id).into());
        }
        let failed = |error| Problem::failed(&error);
        let nothing = || Problem::no_delivery(Some(id));
        if !self.api.store.redeliver(webhook.id, id).await.map_err(failed)? {
            return Err(nothing().into());
        }
        let delivery = self.api.store.delivery(id).await.map_err(failed)?.ok_or_else(nothing)?;
        Ok(AgainAnswer::Sent(Compact(delivery.into())))
    }
}

impl Deliveries {
    async fn page(
        &self,
        asked: AskedDeliveries,
        status: Optional<Standing>,
        limit: Optional<Limit>,
        cursor: Optional<Before>,
    ) -> Result<ListAnswer, Problem> {
        let mut errors = Vec::new();
        let Limit(limit) = limit.or_note(&mut errors).unwrap_or(Limit(50));
        let asked = AskedDeliveries {
            standing: status.or_note(&mut errors),
            before: cursor.or_note(&mut errors).map(|Before(id)| id),
            // One more than is shown tells whether there is another page.
            limit: limit + 1,
            ..asked
        };
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        let mut found = self.api.store.deliveries(asked).await.map_err(|error| Problem::failed(&error))?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| Before::text(last.id));
        let items = found.into_iter().map(DeliveryInfo::from).collect();
        Ok(ListAnswer::Deliveries(Compact(DeliveryList { items, next })))
    }
}

impl FromQuery for Standing {
    const RIGHT: &'static str = "use pending, delivered or failed";

    fn schema() -> MetaSchema {
        let words = Standing::ALL.map(|standing| standing.as_str().into()).into();
        MetaSchema { enum_items: words, ..MetaSchema::new("string") }
    }

    fn read(text: &str) -> Option<Self> {
        Standing::from_word(text)
    }
}

/// Where the next page begins: before this delivery.
struct Before(i64);

impl Before {
    /// The text by which a client asks for the next page.
    fn text(id: i64) -> String {
        format!("d{id:x}")
    }
}

impl FromQuery for Before {
    const RIGHT: &'static str = "use what `next` of the page before says";

    fn schema() -> MetaSchema {
        MetaSchema::new("string")
    }

    fn read(text: &str) -> Option<Self> {
        let id = i64::from_str_radix(text.strip_prefix('d')?, 16).ok().filter(|id| *id > 0)?;
        (Self::text(id) == text).then_some(Self(id))
    }
}

/// A page of messages.
#[derive(Object, Serialize)]
struct DeliveryList {
    /// The newest first.
    items: Vec<DeliveryInfo>,
    /// Where the next page begins, for `cursor`; null after the last one.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The messages.
    #[oai(status = 200)]
    Deliveries(Compact<DeliveryList>),
}

#[derive(ApiResponse)]
enum AgainAnswer {
    /// The message, which is sent at once.
    #[oai(status = 202)]
    Sent(Compact<DeliveryInfo>),
}
