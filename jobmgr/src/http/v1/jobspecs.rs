//! What may be submitted.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::Value;

use super::super::Api;
use super::super::abouts::Known;
use super::super::classic::Compact;
use super::super::docs::Tag;
use super::failed::{Causes, Failed};
use super::problem::{Code, Problem};
use crate::domain::jobspec::About;

/// `GET /v1/jobspecs` and `GET /v1/jobspecs/{name}`
pub struct Jobspecs {
    /// What they answer from.
    pub api: Arc<Api>,
}

/// What may go wrong with one.
struct OfOne;

impl Causes for OfOne {
    const CODES: &'static [Code] = &[Code::UnknownJob];
}

#[OpenApi]
impl Jobspecs {
    /// List the jobspecs
    ///
    /// All that jobs can be submitted for, by name. One that can't be read is there with the reason.
    #[oai(path = "/v1/jobspecs", method = "get", operation_id = "listJobspecs", tag = "Tag::Jobs")]
    async fn list(&self) -> ListAnswer {
        let all = self.api.abouts.all().await;
        let items = all.into_iter().map(|(name, read)| match read {
            Ok(about) => JobspecInfo::of(name, about),
            Err(why) => JobspecInfo::broken(name, why),
        });
        ListAnswer::Jobspecs(Compact(JobspecList { items: items.collect(), next: None }))
    }

    /// Get a jobspec
    ///
    /// What can be given to it and how it runs; or, where its file can't be read, why not.
    #[oai(path = "/v1/jobspecs/:name", method = "get", operation_id = "getJobspec", tag = "Tag::Jobs")]
    async fn get(
        &self,
        /// Its name.
        name: Path<String>,
    ) -> Result<OneAnswer, Failed<OfOne>> {
        let name = name.0;
        let found = match self.api.abouts.find(&name).await {
            Known::Jobspec(about) => JobspecInfo::of(name, *about),
            Known::Broken(why) => JobspecInfo::broken(name, why),
            Known::Nobody => return Err(Problem::no_jobspec(&name).into()),
        };
        Ok(OneAnswer::Jobspec(Compact(found)))
    }
}

/// A jobspec.
#[derive(Object, Serialize)]
#[oai(rename = "Jobspec", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct JobspecInfo {
    /// Its name.
    name: String,
    /// One line about it.
    #[oai(nullable)]
    description: Option<String>,
    /// Which executor runs it.
    #[oai(nullable)]
    executor: Option<String>,
    /// The priority of jobs that name none.
    #[oai(nullable)]
    priority: Option<i64>,
    /// How long a job may run, in milliseconds.
    #[oai(nullable)]
    timeout_ms: Option<u64>,
    /// How long a job may wait for its first start, in milliseconds; null: for ever.
    #[oai(nullable)]
    queue_timeout_ms: Option<u64>,
    /// The labels that a worker needs to run it.
    requires: Vec<String>,
    /// How many of the worker's GPUs a job has for itself.
    gpus: usize,
    /// The JSON Schema of its parameters.
    parameters: Any<Value>,
    /// Why it can't serve, with the file and the place in it; null: it can.
    #[oai(nullable)]
    error: Option<String>,
}

impl JobspecInfo {
    fn of(name: String, about: About) -> Self {
        Self {
            name,
            description: about.description,
            executor: Some(about.executor),
            priority: Some(about.priority),
            timeout_ms: Some(about.timeout_ms),
            queue_timeout_ms: about.queue_timeout_ms,
            requires: about.requires,
            gpus: about.gpus,
            parameters: Any(about.parameters),
            error: None,
        }
    }

    fn broken(name: String, why: String) -> Self {
        Self {
            name,
            description: None,
            executor: None,
            priority: None,
            timeout_ms: None,
            queue_timeout_ms: None,
            requires: Vec::new(),
            gpus: 0,
            parameters: Any(About::default().parameters),
            error: Some(why),
        }
    }
}

/// The jobspecs.
#[derive(Object, Serialize)]
struct JobspecList {
    /// By name.
    items: Vec<JobspecInfo>,
    /// Where the next page begins: there is none.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// The jobspecs.
    #[oai(status = 200)]
    Jobspecs(Compact<JobspecList>),
}

#[derive(ApiResponse)]
enum OneAnswer {
    /// The jobspec.
    #[oai(status = 200)]
    Jobspec(Compact<JobspecInfo>),
}
