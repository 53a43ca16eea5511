use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::AsyncBufRead;
use jobmgr_plugin_api::runtime::runtime;
use jobmgr_plugin_api::{Error, Kind, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api as Resources, DeleteParams, ListParams, LogParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::Config;
use crate::refusal::{CREATE, refusal};

/// How many objects the API server gives at once.
const PAGE: u32 = 500;

/// The output of a container.
pub type Log = Pin<Box<dyn AsyncBufRead + Send>>;

/// The few requests to the API server, each with a limit of time.
pub struct Api {
    found: kube::Config,
    /// Made with the first question: it has a thread, and an executor that is only looked at needs none.
    client: OnceLock<Client>,
    limit: Duration,
    namespace: String,
}

impl Api {
    /// Reads the credentials; asks nothing yet.
    pub fn new(config: &Config) -> Result<Self> {
        let passing = Builder::new_current_thread().enable_all().build()?;
        let mut found = credentials(config, &passing)?;
        // `Clustered` tries again, and says so.
        found.default_retry = false;
        let namespace = config.namespace.clone().unwrap_or_else(|| found.default_namespace.clone());
        drop(connection(&found, passing.handle())?);
        Ok(Self { found, client: OnceLock::new(), limit: config.request_limit(), namespace })
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let made = connection(&self.found, runtime().handle())?;
        Ok(self.client.get_or_init(|| made))
    }

    /// The namespace of jobs that name none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What can be asked about objects of one kind.
    pub fn resources<K>(&self, namespace: &str) -> Result<Resources<K>>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Ok(Resources::namespaced(self.client()?.clone(), namespace))
    }

    /// Creates a Job; `None`: there is one of that name. Words that the API server does not know are an error.
    pub fn create(&self, namespace: &str, job: &Value) -> Result<Option<Job>> {
        let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs?fieldManager=jobmgr&fieldValidation=Strict");
        let request = http::Request::post(path).header("content-type", "application/json").body(job.to_string());
        let request = request.map_err(|error| Error::failed(format!("{CREATE}: {error}")))?.map(String::into_bytes);
        match self.call(CREATE, self.client()?.request::<Job>(request)) {
            Ok(Ok(job)) => Ok(Some(job)),
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => Ok(None),
            Ok(Err(error)) => Err(refusal(CREATE, &error)),
            Err(error) => Err(error),
        }
    }

    /// The Job of this name.
    pub fn job(&self, namespace: &str, name: &str) -> Result<Option<Job>> {
        self.ask("looking for the Job", self.resources::<Job>(namespace)?.get_opt(name))
    }

    /// All objects with these labels, and the version that a watch can go on from. Without a version in the question
    /// the answer is the latest state.
    pub fn list<K>(&self, namespace: &str, labels: &str) -> Result<(Vec<K>, Option<String>)>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
        K::DynamicType: Default,
    {
        let resources = self.resources::<K>(namespace)?;
        let all = async {
            match pages(&resources, labels, Some(PAGE)).await {
                // What the next page goes on with is forgotten after a while.
                Err(kube::Error::Api(status)) if status.code == 410 => pages(&resources, labels, None).await,
                other => other,
            }
        };
        self.ask("listing Jobs and pods", all)
    }

    /// Deletes a Job and its pods; one that is gone is no error, nor is another of the same name, which stays.
    pub fn delete_job(&self, namespace: &str, name: &str, uid: &str, how: DeleteParams) -> Result<()> {
        let is_it = Preconditions { uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()), resource_version: None };
        let how = DeleteParams { preconditions: Some(is_it), ..how };
        let jobs = self.resources::<Job>(namespace)?;
        self.ask("deleting the Job", async { gone(jobs.delete(name, &how).await) })
    }

    /// Has a pod ended with hardly any grace.
    pub fn kill_pod(&self, namespace: &str, name: &str) -> Result<()> {
        // With 0 the API server forgets the pod without a word from its node.
        let how = DeleteParams::default().grace_period(1);
        let pods = self.resources::<Pod>(namespace)?;
        self.ask("deleting the pod", async { gone(pods.delete(name, &how).await) })
    }

    /// Opens the output of a container. `None`: there is none yet.
    pub fn log(&self, namespace: &str, pod: &str, how: &LogParams) -> Result<Opened> {
        let pods = self.resources::<Pod>(namespace)?;
        self.ask("reading the output", async {
            match pods.log_stream(pod, how).await {
                Ok(log) => Ok(Opened::Log(Box::pin(log))),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Opened::Gone),
                // The container is waiting to start.
                Err(kube::Error::Api(status)) if status.code == 400 => Ok(Opened::Nothing),
                Err(error) => Err(error),
            }
        })
    }

    /// A question may always be asked again.
    fn ask<T>(&self, what: &str, answer: impl Future<Output = kube::Result<T>>) -> Result<T> {
        let answer = self.call(what, answer).and_then(|answer| answer.map_err(|error| refusal(what, &error)));
        answer.map_err(|error| match error.kind() {
            Kind::Lost => Error::retry(error.to_string()),
            _ => error,
        })
    }

    fn call<T>(&self, what: &str, answer: impl Future<Output = T>) -> Result<T> {
        let late = |_| Error::lost(format!("{what}: no answer within {} s", self.limit.as_secs_f64()));
        runtime().block_on(async { tokio::time::timeout(self.limit, answer).await }).map_err(late)
    }
}

/// What came of opening a log.
pub enum Opened {
    /// It can be read.
    Log(Log),
    /// The container has not begun.
    Nothing,
    /// There is no such pod.
    Gone,
}

fn credentials(config: &Config, passing: &Runtime) -> Result<kube::Config> {
    let Some(path) = &config.kubeconfig else {
        return kube::Config::incluster().or_else(|error| {
            // The environment may be kept from this process.
            kube::Config::incluster_dns().map_err(|_| {
                Error::invalid(format!("Kubeconfig: is needed where jobmgr does not run in a pod ({error})"))
            })
        });
    };
    let wrong = |error: &dyn std::fmt::Display| Error::invalid(format!("Kubeconfig: {}: {error}", path.display()));
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    if let Some(context) = &config.context
        && !file.contexts.iter().any(|there| there.name == *context)
    {
        let names: Vec<_> = file.contexts.iter().map(|there| there.name.as_str()).collect();
        let (path, names) = (path.display(), names.join(", "));
        return Err(Error::invalid(format!("Context: there is no '{context}' in {path}, which has: {names}")));
    }
    let which = KubeConfigOptions { context: config.context.clone(), ..KubeConfigOptions::default() };
    passing.block_on(kube::Config::from_custom_kubeconfig(file, &which)).map_err(|error| wrong(&error))
}

/// It starts a task on that runtime.
fn connection(found: &kube::Config, runtime: &Handle) -> Result<Client> {
    let _entered = runtime.enter();
    Client::try_from(found.clone())
        .map_err(|error| Error::invalid(format!("no connection can be made with these credentials: {error}")))
}

async fn pages<K>(resources: &Resources<K>, labels: &str, page: Option<u32>) -> kube::Result<(Vec<K>, Option<String>)>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
    let mut how = ListParams { label_selector: Some(labels.to_owned()), limit: page, ..ListParams::default() };
    loop {
        let list = resources.list(&how).await?;
        all.extend(list.items);
        how.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
        if how.continue_token.is_none() {
            return Ok((all, list.metadata.resource_version.filter(|version| !version.is_empty())));
        }
    }
}

/// What is not there need not be deleted; a conflict says that it is another's.
fn gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}
