//! A jobmgr executor that runs jobs on a Kubernetes cluster, each attempt as one Job object.
//!
//! The README has what an administrator needs to know. Here is [`Kubernetes`], the few orders and questions that
//! [`Clustered`] makes an executor of.

/// The requests to the API server.
mod api;
/// What this process knows of the attempts that it follows.
mod attempts;
/// `[Executors.kubernetes.Config]`.
mod config;
/// What changes, as the API server tells it.
mod feed;
/// Lines of a container's output, with their times.
mod log;
/// The Job object of an attempt.
mod manifest;
/// Tables over tables.
mod merge;
/// `[Options]` of a jobspec.
mod options;
/// The output of an attempt, over one connection or several.
mod output;
/// Amounts of resources.
mod quantity;
/// What the API server's failures mean.
mod refusal;
/// What Jobs and pods say.
mod state;
/// Folders in the container.
mod volume;
/// Jobs under `jobmgr wrap`.
mod wrap;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Cluster, Clustered, Context, Error, Job, Logged, Poll, Result, export_executor};
use k8s_openapi::api::batch::v1::Job as JobObject;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde::{Deserialize, Serialize};

use api::Api;
use attempts::{Attempt, Attempts};
pub use config::Config;
use feed::{Due, Feed, Feeds};
pub use options::{Options, PullPolicy};
use output::Source;
pub use quantity::Quantity;
use state::Seen;
pub use volume::Volume;
pub use wrap::Wrap;

/// More keys than this are not named one by one in a question.
const NAMED: usize = 40;

/// A Kubernetes cluster.
pub struct Kubernetes {
    config: Config,
    api: Api,
    attempts: Attempts,
    feeds: Feeds,
}

/// What is kept of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// The namespace of its Job object.
    pub namespace: String,
    /// The name of that, which is the attempt's key.
    pub name: String,
    /// What tells it from another Job of the same name.
    pub uid: String,
}

export_executor!(Clustered<Kubernetes>, recover, concurrent);

impl Cluster for Kubernetes {
    type Config = Config;
    type Options = Options;
    type Handle = Handle;
    const NAME: &'static str = "kubernetes";

    fn new(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { api: Api::new(&config)?, config, attempts: Attempts::default(), feeds: Feeds::default() })
    }

    fn validate(&self, options: &Options) -> Result<()> {
        options.check()
    }

    fn poll_every(&self) -> Duration {
        Duration::from_secs_f64(self.config.poll_every)
    }

    fn unseen_limit(&self) -> Duration {
        Duration::from_secs_f64(self.config.unseen_limit)
    }

    fn submit(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Handle> {
        if job.env.contains_key("JOBMGR_INPUTS_DIR") && job.options.wrap.is_none() {
            let text = "a pod is given files only with [Options.Wrap]: it does not see jobmgr's disk";
            return Err(Error::invalid(text));
        }
        let grants = wrap::grants(job, ctx)?;
        let manifest = manifest::job(job, &self.config.gpu_resource, grants.as_deref());
        match self.api.create(self.namespace(job), &manifest)? {
            Some(object) => Ok(self.handle(job, &object)),
            // An earlier order of ours has arrived after all.
            None => self.find(job)?.ok_or_else(|| Error::retry(format!("the Job '{}' has just gone", job.key))),
        }
    }

    fn find(&self, job: &Job<Options>) -> Result<Option<Handle>> {
        let namespace = self.namespace(job);
        let Some(object) = self.api.job(namespace, &job.key)? else { return Ok(None) };
        if object.labels().get(manifest::KEY) != Some(&job.key) {
            let key = &job.key;
            return Err(Error::failed(format!("there is a Job '{key}' in '{namespace}' that is not jobmgr's")));
        }
        Ok(Some(self.handle(job, &object)))
    }

    fn poll(&self, handles: &[Handle]) -> Result<Vec<Poll>> {
        let mut by_namespace: BTreeMap<&str, Vec<&Handle>> = BTreeMap::new();
        for handle in handles {
            by_namespace.entry(&handle.namespace).or_default().push(handle);
        }
        let feeds = self.feeds.of(&self.api, &by_namespace)?;
        let mut polls = HashMap::new();
        let (mut failed, mut any) = (None, false);
        for (namespace, handles) in &by_namespace {
            match self.look(namespace, handles, &feeds[*namespace]) {
                Ok(answers) => {
                    polls.extend(answers);
                    any = true;
                }
                Err(error) => {
                    feeds[*namespace].missed();
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !any => Err(error),
            // One namespace that does not answer does not stop the others.
            failed => Ok(handles
                .iter()
                .map(|handle| polls.remove(&handle.name).unwrap_or_else(|| self.last(handle, failed.as_ref())))
                .collect()),
        }
    }

    fn news(&self, _job: &Job<Options>, handle: &Handle, seen: Option<&Poll>) -> bool {
        self.feeds.tell_of(handle) || seen == Some(&Poll::Running) && self.attempts.of(&handle.name).is_silent()
    }

    fn logs(&self, _job: &Job<Options>, handle: &Handle, from: &[Logged; 2], ctx: &Context<'_>) -> Result<()> {
        let attempt = self.attempts.of(&handle.name);
        let (pod, is_over) = {
            let known = attempt.known();
            (known.pod.clone(), known.is_over)
        };
        let Some(pod) = pod else { return Ok(()) };
        let source = Source { api: &self.api, namespace: &handle.namespace, pod: &pod };
        let mut output = attempt.output();
        if is_over {
            return output.finish(&source, from[0], ctx);
        }
        let is_silent = output.look(&source, from[0], ctx)?;
        attempt.is_silent.store(is_silent, Ordering::Relaxed);
        Ok(())
    }

    fn collect(&self, job: &Job<Options>, handle: &Handle, ctx: &Context<'_>) -> Result<()> {
        let attempt = self.attempts.of(&handle.name);
        let (message, poll) = {
            let known = attempt.known();
            (known.message.clone(), known.poll.clone())
        };
        if job.options.wrap.is_some() {
            return wrap::collect(job, poll.as_ref(), ctx);
        }
        if let (Some(message), Some(path)) = (message, job.env.get("JOBMGR_OUTPUT")) {
            std::fs::write(path, message).map_err(|error| Error::failed(format!("{path}: {error}")))?;
        }
        Ok(())
    }

    fn cancel(&self, handle: &Handle) -> Result<()> {
        self.attempts.of(&handle.name).known().is_ours = true;
        self.delete(handle, DeleteParams::foreground())
    }

    fn kill(&self, handle: &Handle) -> Result<()> {
        self.cancel(handle)?;
        let pod = self.attempts.of(&handle.name).known().pod.clone();
        pod.map_or(Ok(()), |pod| self.api.kill_pod(&handle.namespace, &pod))
    }

    fn cleanup(&self, job: &Job<Options>, handle: Option<&Handle>) -> Result<()> {
        if let Some(handle) = handle {
            self.delete(handle, DeleteParams::background())?;
        }
        if self.attempts.forget(&job.key) {
            self.feeds.close();
        }
        Ok(())
    }
}

impl Kubernetes {
    fn namespace<'a>(&'a self, job: &'a Job<Options>) -> &'a str {
        job.options.namespace.as_deref().unwrap_or(self.api.namespace())
    }

    fn handle(&self, job: &Job<Options>, object: &JobObject) -> Handle {
        Handle {
            namespace: self.namespace(job).to_owned(),
            name: job.key.clone(),
            uid: object.uid().unwrap_or_default(),
        }
    }

    fn delete(&self, handle: &Handle, how: DeleteParams) -> Result<()> {
        self.api.delete_job(&handle.namespace, &handle.name, &handle.uid, how)
    }

    /// What is known where there is no answer now.
    fn last(&self, handle: &Handle, why: Option<&Error>) -> Poll {
        let last = self.attempts.of(&handle.name).known().poll.clone();
        last.unwrap_or_else(|| Poll::Queued(why.map(Error::to_string).unwrap_or_default()))
    }

    /// Asks about those jobs of one namespace to which something has happened, in two questions.
    fn look(&self, namespace: &str, handles: &[&Handle], feed: &Feed) -> Result<Vec<(String, Poll)>> {
        let due = feed.due(handles, |handle| self.attempts.of(&handle.name).is_open());
        let some = match &due {
            Due::All => handles,
            Due::Some(some) if some.is_empty() => return Ok(Vec::new()),
            Due::Some(some) => some,
        };
        let labels = selector(some);
        // The pods come second: where the Job says that all is over, they are at least as new.
        let (jobs, jobs_version) = self.api.list::<JobObject>(namespace, &labels)?;
        let (listed, pods_version) = self.api.list::<Pod>(namespace, &labels)?;
        if matches!(due, Due::All) {
            feed.listed(jobs_version, pods_version);
        }
        let jobs: HashMap<_, _> = jobs.into_iter().map(|job| (job.name_any(), job)).collect();
        let mut pods: HashMap<String, Pod> = HashMap::new();
        for pod in listed {
            let Some(key) = pod.labels().get(manifest::KEY).cloned() else { continue };
            let is_older = pods.get(&key).is_some_and(|other| other.creation_timestamp() > pod.creation_timestamp());
            if !is_older {
                pods.insert(key, pod);
            }
        }
        let answer = |handle: &&Handle| {
            let is_it = |job: &&JobObject| handle.uid.is_empty() || job.uid().as_deref() == Some(&handle.uid);
            let (job, pod) = (jobs.get(&handle.name).filter(is_it), pods.get(&handle.name));
            (handle.name.clone(), self.judge(&self.attempts.of(&handle.name), job, pod))
        };
        Ok(some.iter().map(answer).collect())
    }

    fn judge(&self, attempt: &Attempt, job: Option<&JobObject>, pod: Option<&Pod>) -> Poll {
        let mut known = attempt.known();
        let poll = match state::seen(job, pod, known.is_ours) {
            Seen::Is(poll) => {
                known.stuck_since = None;
                poll
            }
            Seen::Stuck(poll, end) => {
                let since = *known.stuck_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.config.start_patience() { Poll::Ended(end) } else { poll }
            }
        };
        if let Some(pod) = pod {
            known.pod = Some(pod.name_any());
            known.message = state::message(pod).map(str::to_owned);
        }
        known.is_over = matches!(poll, Poll::Ended(_) | Poll::Unknown);
        known.poll = Some(poll.clone());
        poll
    }
}

/// Our labels: those of these jobs only, as long as they fit into a question.
fn selector(handles: &[&Handle]) -> String {
    if handles.len() > NAMED {
        return manifest::KEY.into();
    }
    let keys: Vec<_> = handles.iter().map(|handle| handle.name.as_str()).collect();
    format!("{} in ({})", manifest::KEY, keys.join(","))
}
