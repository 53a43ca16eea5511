//! A system that runs jobs in memory, as the test tells it to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use jobmgr_plugin_api::clustered::{Cluster, Clustered, Poll};
use jobmgr_plugin_api::{Context, Error, Job, Kind, Logged, NoConfig, NoOptions, Outcome, Result};

/// How often it is asked.
const POLL: Duration = Duration::from_millis(20);
/// How long it may know nothing of a job.
pub const UNSEEN: Duration = Duration::from_millis(300);

/// The system, and what it was asked.
#[derive(Default)]
pub struct State {
    pub jobs: BTreeMap<String, Remote>,
    /// The functions called, in order; of `poll` only the first of several.
    pub calls: Vec<&'static str>,
    /// How many jobs each question was about, and on which thread.
    pub polls: Vec<(usize, ThreadId)>,
    /// What `submit`, `poll`, `find`, `cancel` fail with.
    pub broken: BTreeMap<&'static str, Error>,
    /// `submit` takes the job all the same.
    pub loses_answers: bool,
    /// What panics.
    pub panics: bool,
    /// It may know nothing of a job for an hour.
    pub forgets: bool,
    /// `cancel` does nothing.
    pub ignores_cancel: bool,
}

/// A job there.
pub struct Remote {
    pub state: Poll,
    pub output: [Vec<u8>; 2],
}

impl State {
    fn called(&mut self, call: &'static str) -> Result<()> {
        if call != "poll" || self.calls.last() != Some(&"poll") {
            self.calls.push(call);
        }
        assert!(!(self.panics && call == "poll"), "a cluster that panics");
        self.broken.get(call).cloned().map_or(Ok(()), Err)
    }

    /// How often a function was called.
    pub fn count(&self, call: &str) -> usize {
        self.calls.iter().filter(|name| **name == call).count()
    }

    /// Changes a job, which is there.
    pub fn job(&mut self, key: &str) -> &mut Remote {
        self.jobs.get_mut(key).unwrap()
    }
}

/// The same system for several executors, as for several processes.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

impl Memory {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A new process that uses it.
    pub fn executor(&self) -> Clustered<Memory> {
        Clustered::of(self.clone())
    }

    /// Waits until it is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&mut State) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(&mut self.state()) {
            assert!(Instant::now() < deadline, "it never came to: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Cluster for Memory {
    type Config = NoConfig;
    type Options = NoOptions;
    type Handle = String;
    const NAME: &'static str = "memory";
    const POLL: Duration = POLL;
    const UNSEEN: Duration = UNSEEN;
    const LOOK: Duration = Duration::from_millis(20);

    fn new(_config: NoConfig) -> Result<Self> {
        Ok(Memory::default())
    }

    fn unseen_limit(&self) -> Duration {
        if self.state().forgets { Duration::from_secs(3600) } else { UNSEEN }
    }

    fn submit(&self, job: &Job<NoOptions>, _ctx: &Context<'_>) -> Result<String> {
        let mut state = self.state();
        let result = state.called("submit");
        if result.is_ok() || state.loses_answers {
            let remote = Remote { state: Poll::Queued("Priority".into()), output: Default::default() };
            assert!(state.jobs.insert(job.key.clone(), remote).is_none(), "{} was submitted twice", job.key);
        }
        result.map(|()| job.key.clone())
    }

    fn find(&self, job: &Job<NoOptions>) -> Result<Option<String>> {
        let mut state = self.state();
        state.called("find")?;
        Ok(state.jobs.contains_key(&job.key).then(|| job.key.clone()))
    }

    fn poll(&self, handles: &[String]) -> Result<Vec<Poll>> {
        let mut state = self.state();
        state.polls.push((handles.len(), std::thread::current().id()));
        state.called("poll")?;
        Ok(handles.iter().map(|key| state.jobs.get(key).map_or(Poll::Unknown, |job| job.state.clone())).collect())
    }

    fn logs(&self, _job: &Job<NoOptions>, key: &String, from: &[Logged; 2], ctx: &Context<'_>) -> Result<()> {
        let mut state = self.state();
        state.called("logs")?;
        let Some(remote) = state.jobs.get(key) else { return Ok(()) };
        let output = remote.output.clone();
        drop(state);
        ctx.stdout(&output[0][from[0].bytes as usize..])?;
        ctx.stderr(&output[1][from[1].bytes as usize..])
    }

    fn collect(&self, _job: &Job<NoOptions>, _key: &String, _ctx: &Context<'_>) -> Result<()> {
        self.state().called("collect")
    }

    fn cancel(&self, key: &String) -> Result<()> {
        let mut state = self.state();
        state.called("cancel")?;
        if !state.ignores_cancel {
            let mut outcome = Outcome::exited(143);
            outcome.message = Some("it heard".into());
            state.job(key).state = Poll::Ended(outcome);
        }
        Ok(())
    }

    fn kill(&self, key: &String) -> Result<()> {
        let mut state = self.state();
        state.called("kill")?;
        state.jobs.remove(key);
        Ok(())
    }

    fn cleanup(&self, _job: &Job<NoOptions>, handle: Option<&String>) -> Result<()> {
        let mut state = self.state();
        state.called("cleanup")?;
        if let Some(key) = handle {
            state.jobs.remove(key);
        }
        Ok(())
    }
}

/// A job with this key.
pub fn job(key: &str) -> Job<NoOptions> {
    Job::new("1", 1, key, NoOptions {})
}

/// A failure that passes.
pub fn down() -> Error {
    Error::new(Kind::Retry, "connection refused")
}
