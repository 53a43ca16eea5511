//! What can run jobs.

use std::sync::Arc;

use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::Value;

use super::super::Api;
use super::super::classic::Compact;
use super::super::docs::Tag;
use crate::domain::executor::Executor;

/// `GET /v1/executors`
pub struct Executors {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Executors {
    /// List the executors
    ///
    /// What a jobspec may name as its `Executor`, by name: those that the process which answers has, built in or in
    /// libraries of its configuration. Workers of other machines may have others. One whose library can't be opened is
    /// there with the reason.
    #[oai(path = "/v1/executors", method = "get", operation_id = "listExecutors", tag = "Tag::Server")]
    async fn list(&self) -> ListAnswer {
        let items = self.api.executors.list().into_iter().map(ExecutorInfo::from).collect();
        ListAnswer::Executors(Compact(ExecutorList { items, next: None }))
    }
}

/// An executor.
#[derive(Object, Serialize)]
#[oai(rename = "Executor", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct ExecutorInfo {
    /// The name by which jobspecs select it.
    name: String,
    /// Whether it is built in; otherwise it is in a library.
    built_in: bool,
    /// Its own version; null: it could not be asked.
    #[oai(nullable)]
    version: Option<String>,
    /// The version of the interface that its library was built with, such as `1.0`; null: it has none.
    #[oai(nullable)]
    abi: Option<String>,
    /// The SHA-256 of the library's file; null: it has none.
    #[oai(nullable)]
    sha256: Option<String>,
    /// Whether its jobs outlive jobmgr, which goes on with them when it is back.
    recovers: bool,
    /// Whether it removes what jobs left elsewhere.
    cleans_up: bool,
    /// Whether it runs several jobs at once, beside a worker's slots.
    concurrent: bool,
    /// The JSON Schema of what a jobspec may say in `Options`; empty where it is not known.
    options: Any<Value>,
    /// Whether it can be used now.
    loaded: bool,
    /// Why it can't be used now; null: it can.
    #[oai(nullable)]
    error: Option<String>,
}

impl From<Executor> for ExecutorInfo {
    fn from(known: Executor) -> Self {
        Self {
            name: known.name,
            built_in: known.built_in,
            version: known.version,
            abi: known.abi.map(|(major, minor)| format!("{major}.{minor}")),
            sha256: known.sha256,
            recovers: known.recovers,
            cleans_up: known.cleans_up,
            concurrent: known.concurrent,
            options: Any(known.options.unwrap_or_else(|| Value::Object(Default::default()))),
            loaded: known.error.is_none(),
            error: known.error,
        }
    }
}

/// The executors.
#[derive(Object, Serialize)]
struct ExecutorList {
    /// By name.
    items: Vec<ExecutorInfo>,
    /// Where the next page begins: there is none.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The executors.
    #[oai(status = 200)]
    Executors(Compact<ExecutorList>),
}
