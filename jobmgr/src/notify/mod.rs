//! Messages to those who asked to be told of what becomes of jobs.
//!
//! A clerk makes messages of the events that the changes of jobs left; one process does so at a time. Carriers deliver
//! them, in every process that serves. Neither is ever waited for: a receiver that is dead delays no job.

/// When a message is sent again.
mod backoff;
/// Delivers what is to be delivered.
mod carrier;
/// Makes messages of events.
mod clerk;
/// What a message says.
mod message;
/// What messages are signed with.
mod secret;
/// One attempt to deliver a message.
mod send;
/// Where messages may go.
mod targets;

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::domain::webhook::{Kind, Message};
use crate::secrets::Secrets;
use crate::store::{Store, StoreError};
use carrier::Carrier;
use clerk::Clerk;
pub use secret::Secret;
use send::Post;
pub use targets::Targets;

/// What secrets of webhooks are sealed for.
pub const SEALED_FOR: &str = "webhook";

/// What messages are made and delivered with.
pub struct Notifier {
    /// The events, and the messages.
    pub store: Store,
    /// Opens what messages are signed with.
    pub secrets: Secrets,
    /// Where messages may go.
    pub targets: Arc<Targets>,
    /// `[Webhooks]`
    pub config: config::Webhooks,
}

impl Notifier {
    /// Makes and delivers messages until `stop`; then those that are on their way have a few seconds.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, secrets, targets, config } = self;
        let post = match Post::new(targets, config.timeout) {
            Ok(post) => post,
            Err(error) => {
                tracing::error!(%error, "no webhook is told anything by this process");
                return;
            }
        };
        let clerk = Clerk::new(store.clone());
        let carrier = Carrier::new(store, secrets, post, config);
        tokio::join!(clerk.run(&stop), carrier.run(&stop));
    }
}

/// Has a webhook told that somebody tries it; gives the delivery's id, or `None`: there is no such webhook.
///
/// # Errors
/// When the database fails.
pub async fn test(store: &Store, webhook: i64, now_ms: i64) -> Result<Option<i64>, StoreError> {
    let message = Message {
        webhook_id: webhook,
        own: None,
        lane: lane(webhook),
        message_id: message_id(),
        job_id: None,
        kind: Kind::Test,
        time_ms: now_ms,
        data: json!({ "webhookID": webhook }).to_string(),
    };
    store.tell(message).await
}

/// By which a receiver knows a message that comes twice.
fn message_id() -> String {
    format!("msg_{}", uuid::Uuid::new_v4().simple())
}

/// What waits for the same webhook.
fn lane(webhook: i64) -> String {
    format!("w{webhook}")
}
