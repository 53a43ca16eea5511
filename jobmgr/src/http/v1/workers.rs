//! Who serves this database.

use std::sync::Arc;

use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::super::classic::{Compact, RETRY_AFTER_SECONDS};
use super::super::docs::Tag;
use super::super::{Api, Caller};
use super::failed::{Causes, Failed};
use super::problem::{Code, Problem, ProblemJson};
use super::timestamp::Timestamp;
use crate::domain::gpu::Gpu;
use crate::store::Worker;

/// `GET /v1/workers` and `POST /v1/workers/{id}/drain`
pub struct Workers {
    /// What it answers from.
    pub api: Arc<Api>,
}

#[OpenApi]
impl Workers {
    /// List the workers
    ///
    /// All processes that serve this database, also those that only answer over HTTP (they have no slots), the newest
    /// first. One that has been silent for a while is not `alive`: its jobs are given to others.
    #[oai(path = "/v1/workers", method = "get", operation_id = "listWorkers", tag = "Tag::Server")]
    async fn workers(&self) -> WorkersAnswer {
        match self.api.store.workers().await {
            Ok(workers) => {
                let items = workers.into_iter().rev().map(WorkerInfo::from).collect();
                WorkersAnswer::Workers(Compact(WorkerList { items, next: None }))
            }
            Err(failure) => {
                tracing::error!(error = %failure, "can't read who is there");
                WorkersAnswer::Unavailable(ProblemJson(Problem::unavailable()), RETRY_AFTER_SECONDS)
            }
        }
    }

    /// Drain a worker
    ///
    /// The worker finishes what it runs and takes nothing new until it is started again; jobs that run elsewhere and can
    /// be taken over are left to other workers. It notices within seconds. Asking again does no harm.
    #[oai(path = "/v1/workers/:id/drain", method = "post", operation_id = "drainWorker", tag = "Tag::Server")]
    async fn drain(
        &self,
        caller: Caller,
        /// The worker's id.
        id: Path<String>,
    ) -> Result<DrainAnswer, Failed<OfOne>> {
        let store = &self.api.store;
        let failed = |error| Problem::failed(&error);
        let nobody = || Problem::new(Code::NotFound, format!("there is no worker {:?}", id.0));
        let find = async || {
            let workers = store.workers().await.map_err(failed)?;
            workers.into_iter().find(|worker| worker.presence.id == id.0).ok_or_else(nobody)
        };
        let worker = find().await?;
        if worker.presence.slots == 0 {
            let detail = format!("{:?} only answers over HTTP; it takes no jobs", id.0);
            return Err(Problem::new(Code::Conflict, detail).into());
        }
        store.ask_to_drain(&id.0).await.map_err(failed)?;
        self.api.audit.note(&caller, "worker.drain", format_args!("worker {}", id.0));
        Ok(DrainAnswer::Asked(Compact(find().await?.into())))
    }
}

/// What may go wrong with one.
struct OfOne;

impl Causes for OfOne {
    const CODES: &'static [Code] = &[Code::NotFound, Code::Conflict, Code::Unavailable];
}

/// A process that serves this database.
#[derive(Object, Serialize)]
#[oai(rename = "Worker", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct WorkerInfo {
    /// Unique over all processes and time.
    id: String,
    /// What people call it: `[Worker] Name`, or its machine's name.
    name: String,
    /// Its machine's name.
    host: String,
    /// Its jobmgr's version.
    version: String,
    /// How many jobs it runs at once; 0: it only answers over HTTP.
    slots: i64,
    /// What it has, for a jobspec's `Requires`.
    labels: Vec<String>,
    /// The GPUs that it gives to jobs, where NVIDIA's driver tells of them.
    gpus: Vec<GpuInfo>,
    /// `active`, or `draining`: it finishes what it runs and takes nothing new.
    state: String,
    /// When it started.
    started: Timestamp,
    /// When it last said that it is there.
    last_seen: Timestamp,
    /// Whether that is recent enough.
    alive: bool,
}

impl From<Worker> for WorkerInfo {
    fn from(worker: Worker) -> Self {
        let says = worker.presence;
        Self {
            id: says.id,
            name: says.name,
            host: says.host,
            version: says.version,
            slots: says.slots,
            labels: says.labels,
            gpus: says.gpus.into_iter().map(GpuInfo::from).collect(),
            state: says.state,
            started: Timestamp::of(worker.started_ms),
            last_seen: Timestamp::of(worker.heartbeat_ms),
            alive: worker.alive,
        }
    }
}

/// A GPU.
#[derive(Object, Serialize)]
#[oai(rename = "Gpu", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
struct GpuInfo {
    /// Unique over all machines.
    id: String,
    /// Its model.
    name: String,
    /// How much memory it has; 0 where it does not say.
    memory_bytes: u64,
}

impl From<Gpu> for GpuInfo {
    fn from(gpu: Gpu) -> Self {
        Self { id: gpu.id, name: gpu.name, memory_bytes: gpu.memory_bytes }
    }
}

/// Workers.
#[derive(Object, Serialize)]
struct WorkerList {
    /// All of them.
    items: Vec<WorkerInfo>,
    /// Where the next page begins; null after the last one.
    #[oai(nullable)]
    next: Option<String>,
}

#[derive(ApiResponse)]
enum DrainAnswer {
    /// The worker, which takes nothing new as soon as it notices.
    #[oai(status = 202)]
    Asked(Compact<WorkerInfo>),
}

#[derive(ApiResponse)]
enum WorkersAnswer {
    /// The workers.
    #[oai(status = 200)]
    Workers(Compact<WorkerList>),
    /// The database is not available: `unavailable`. Try again.
    #[oai(status = 503)]
    Unavailable(
        ProblemJson,
        /// Seconds to wait.
        #[oai(header = "Retry-After")]
        u32,
    ),
}
