//! Executors for systems that run jobs elsewhere: a batch system, a container cluster.
//!
//! An author implements [`Cluster`], the few questions and orders that such a system understands. [`Clustered`] makes a
//! whole executor of it: submit once, follow, stop, detach, recover, clean up.
//!
//! ```ignore
//! export_executor!(Clustered<Slurm>, recover, concurrent);
//! ```

/// Passes on to jobmgr, and counts the output.
mod counted;
/// One job from its submission to its end.
mod follow;
/// How long to wait after a failure.
mod patience;
/// The thread that asks for all jobs at once.
mod poller;
/// What the poller and the follower of one job share.
mod watched;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Context, Error, Executor, Job, Kind, Logged, Outcome, Recover, Result, Stop};
use follow::Follow;
use patience::Patience;
use poller::Poller;

/// A system that runs jobs elsewhere. Every function may be called from several threads.
pub trait Cluster: Sized + Send + Sync + 'static {
    /// As [`Executor::Config`].
    type Config: DeserializeOwned + JsonSchema;
    /// As [`Executor::Options`].
    type Options: DeserializeOwned + JsonSchema;
    /// What the system calls a job. It is kept as JSON, and later versions read what earlier ones wrote: fields are
    /// only added, with defaults.
    type Handle: Serialize + DeserializeOwned + Clone + Send + Sync + 'static;
    /// As [`Executor::NAME`].
    const NAME: &'static str;
    /// How often the system is asked about its jobs.
    const POLL: Duration = Duration::from_secs(5);
    /// How long the system may know nothing of a job before it counts as lost. Batch systems forget for a while.
    const UNSEEN: Duration = Duration::from_secs(300);
    /// How often [`logs`](Self::logs) and [`news`](Self::news) are called for each job.
    const LOOK: Duration = Duration::from_secs(1);

    /// As [`Executor::new`].
    ///
    /// # Errors
    /// When the configuration can't serve.
    fn new(config: Self::Config) -> Result<Self>;

    /// As [`Executor::validate`].
    ///
    /// # Errors
    /// [`Kind::Invalid`] with a text that names the option.
    fn validate(&self, _options: &Self::Options) -> Result<()> {
        Ok(())
    }

    /// How often the system is asked, where the configuration says so.
    fn poll_every(&self) -> Duration {
        Self::POLL
    }

    /// How long it may know nothing of a job, where the configuration says so.
    fn unseen_limit(&self) -> Duration {
        Self::UNSEEN
    }

    /// Gives the job to the system, under a name that [`find`](Self::find) finds.
    ///
    /// # Errors
    /// An error says that the system does not have the job. Where that is not sure, because the answer was lost, it is
    /// [`Error::lost`]: the job is then looked for.
    fn submit(&self, job: &Job<Self::Options>, ctx: &Context<'_>) -> Result<Self::Handle>;

    /// Looks for a job by its key, also one that has ended. `None`: the system has answered, and has no such job.
    ///
    /// # Errors
    /// When the system gives no answer.
    fn find(&self, job: &Job<Self::Options>) -> Result<Option<Self::Handle>>;

    /// Asks about all these jobs in one question; the answers are in the same order. It must not block for ever.
    ///
    /// # Errors
    /// When the system gives no answer. It is asked again, for as long as it takes.
    fn poll(&self, handles: &[Self::Handle]) -> Result<Vec<Poll>>;

    /// Whether something can be seen, without a question to the system, that makes one worth while at once; `seen` is
    /// the last answer.
    fn news(&self, _job: &Job<Self::Options>, _handle: &Self::Handle, _seen: Option<&Poll>) -> bool {
        false
    }

    /// Appends to standard output and standard error what is new after `from`, and returns; called again and again
    /// unless the job is queued, and once more when it has ended. What it appends is counted by [`Clustered`].
    ///
    /// # Errors
    /// When it can't be read; it is tried again, and after the end for a while.
    fn logs(
        &self,
        job: &Job<Self::Options>,
        handle: &Self::Handle,
        from: &[Logged; 2],
        ctx: &Context<'_>,
    ) -> Result<()>;

    /// Brings what the job left where jobmgr looks for it, its artifacts above all; called after the end and the last
    /// `logs`, and again where it failed.
    ///
    /// # Errors
    /// When it can't be brought. It is tried again for a while; then a job that ended by itself fails with this.
    fn collect(&self, _job: &Job<Self::Options>, _handle: &Self::Handle, _ctx: &Context<'_>) -> Result<()> {
        Ok(())
    }

    /// How a job has ended, from what the system says and from what `collect` has brought, which may say more: a
    /// cluster knows the exit status of a wrapper, for example, and the wrapper that of the command.
    ///
    /// # Errors
    /// When the job did not end as it looks to the system. It is not asked again.
    fn judge(&self, _job: &Job<Self::Options>, outcome: Outcome, _ctx: &Context<'_>) -> Result<Outcome> {
        Ok(outcome)
    }

    /// Asks the system to end a job; one that has ended already is no error. May be called again.
    ///
    /// # Errors
    /// When the system gives no answer; it is tried again.
    fn cancel(&self, handle: &Self::Handle) -> Result<()>;

    /// Ends a job that did not end within its grace after [`cancel`](Self::cancel).
    ///
    /// # Errors
    /// As for `cancel`.
    fn kill(&self, handle: &Self::Handle) -> Result<()> {
        self.cancel(handle)
    }

    /// Ends the job where it still runs, and removes what it left. May be called twice.
    ///
    /// # Errors
    /// When something is left; it is tried again later.
    fn cleanup(&self, job: &Job<Self::Options>, handle: Option<&Self::Handle>) -> Result<()>;
}

/// What the system says about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Poll {
    /// It waits, for this reason.
    Queued(String),
    /// It runs.
    Running,
    /// It has ended.
    Ended(Outcome),
    /// The system has answered, and does not know it (now).
    Unknown,
}

/// The executor of a [`Cluster`].
pub struct Clustered<C: Cluster> {
    cluster: Arc<C>,
    poller: Poller<C>,
}

impl<C: Cluster> Clustered<C> {
    /// Around a cluster that was made already.
    pub fn of(cluster: C) -> Self {
        let cluster = Arc::new(cluster);
        Self { poller: Poller::new(Arc::clone(&cluster)), cluster }
    }

    /// The cluster.
    pub fn cluster(&self) -> &C {
        &self.cluster
    }

    /// Gives the job to the system, unless it has it.
    fn begin(&self, job: &Job<C::Options>, ctx: &Context<'_>) -> Result<Option<C::Handle>> {
        if let Some(handle) = self.cluster.find(job)? {
            return Ok(Some(handle));
        }
        match self.cluster.submit(job, ctx) {
            Ok(handle) => Ok(Some(handle)),
            Err(error) if error.kind() == Kind::Lost => match self.find(job, ctx)? {
                Found::Job(handle) => Ok(Some(handle)),
                Found::Nothing => Err(Error::retry(error.to_string())),
                Found::Stopped => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    /// Looks for the job until the system answers.
    fn find(&self, job: &Job<C::Options>, ctx: &Context<'_>) -> Result<Found<C::Handle>> {
        let mut patience = Patience::new(self.cluster.poll_every());
        loop {
            match self.cluster.find(job) {
                Ok(Some(handle)) => return Ok(Found::Job(handle)),
                Ok(None) => return Ok(Found::Nothing),
                Err(error) => say(ctx, &format!("looking for the job: {error}"))?,
            }
            if ctx.wait_stop(patience.failed()).is_some() {
                return Ok(Found::Stopped);
            }
        }
    }

    /// Keeps the handle, and goes on until the job has ended.
    fn follow(&self, job: &Job<C::Options>, handle: C::Handle, is_kept: bool, ctx: &Context<'_>) -> Result<Outcome> {
        let shown = serde_json::to_string(&handle).unwrap_or_default();
        say(ctx, &format!("{} {} {shown}", if is_kept { "going on with" } else { "following" }, C::NAME))?;
        if !is_kept {
            let json = serde_json::to_vec(&handle).map_err(|error| Error::failed(error.to_string()))?;
            ctx.checkpoint(json)?;
        }
        Follow::new(self.cluster(), &self.poller, job, handle, ctx)?.until_end()
    }
}

enum Found<H> {
    Job(H),
    Nothing,
    Stopped,
}

impl<C: Cluster> Executor for Clustered<C> {
    type Config = C::Config;
    type Options = C::Options;
    const NAME: &'static str = C::NAME;

    fn new(config: C::Config) -> Result<Self> {
        C::new(config).map(Self::of)
    }

    fn validate(&self, options: &C::Options) -> Result<()> {
        self.cluster.validate(options)
    }

    fn run(&self, job: &Job<C::Options>, ctx: &Context<'_>) -> Result<Outcome> {
        if let Some(why) = ctx.stop() {
            return follow::stopped(why);
        }
        match self.begin(job, ctx)? {
            Some(handle) => self.follow(job, handle, false, ctx),
            None => follow::stopped(ctx.stop().unwrap_or(Stop::Detach)),
        }
    }
}

impl<C: Cluster> Recover for Clustered<C> {
    fn recover(&self, job: &Job<C::Options>, handle: Option<&[u8]>, ctx: &Context<'_>) -> Result<Outcome> {
        if let Some(handle) = handle {
            return self.follow(job, read::<C>(handle)?, true, ctx);
        }
        match self.find(job, ctx)? {
            Found::Job(handle) => self.follow(job, handle, false, ctx),
            Found::Nothing => Err(Error::never_started()),
            // Whether it runs is not known: `cleanup` ends it.
            Found::Stopped => follow::stopped(ctx.stop().unwrap_or(Stop::Detach)),
        }
    }

    fn cleanup(&self, job: &Job<C::Options>, handle: Option<&[u8]>, _ctx: &Context<'_>) -> Result<()> {
        let handle = match handle {
            Some(handle) => Some(read::<C>(handle)?),
            None => self.cluster.find(job)?,
        };
        self.cluster.cleanup(job, handle.as_ref())
    }
}

fn read<C: Cluster>(handle: &[u8]) -> Result<C::Handle> {
    serde_json::from_slice(handle).map_err(|error| {
        let handle = String::from_utf8_lossy(handle);
        Error::lost(format!("'{handle}' is no handle of the executor '{}': {error}", C::NAME))
    })
}

/// A line for who runs jobmgr.
fn say(ctx: &Context<'_>, line: &str) -> Result<()> {
    ctx.log(crate::Stream::Executor, format!("{line}\n").as_bytes())
}
