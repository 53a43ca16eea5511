//! A jobmgr executor that runs jobs on a Slurm cluster, with Slurm's own commands.
//!
//! The README has what an administrator needs to know. Here is [`Slurm`], the few orders and questions that
//! [`Clustered`] makes an executor of.

/// Slurm's commands, and what their failures mean.
mod command;
/// `[Executors.slurm.Config]`.
mod config;
/// A job's folder on the disk that the nodes see.
mod folder;
/// How many commands run at once.
mod gate;
/// `[Options]` of a jobspec.
mod options;
/// What Slurm knows of jobs.
mod queue;
/// The script that the nodes run.
mod script;
/// What Slurm's job states mean.
mod state;

use std::time::Duration;

use jobmgr_plugin_api::{Cluster, Clustered, Context, Error, Job, Kind, Logged, Poll, Result, export_executor};
use serde::{Deserialize, Serialize};

use command::{Commands, refusal};
pub use config::Config;
use folder::Folder;
pub use options::Options;
use queue::Queue;

/// A Slurm cluster.
pub struct Slurm {
    config: Config,
    queue: Queue,
}

/// What is kept of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// Slurm's number of it.
    pub job: u64,
    /// Its folder on the disk that the nodes see.
    pub folder: String,
}

export_executor!(Clustered<Slurm>, recover, concurrent);

impl Cluster for Slurm {
    type Config = Config;
    type Options = Options;
    type Handle = Handle;
    const NAME: &'static str = "slurm";

    fn new(config: Config) -> Result<Self> {
        config.check()?;
        let queue = Queue::new(Commands::new(&config), config.accounting);
        Ok(Self { config, queue })
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

    fn submit(&self, job: &Job<Options>, _ctx: &Context<'_>) -> Result<Handle> {
        if job.command.is_empty() {
            return Err(Error::invalid("there is no command to run"));
        }
        let folder = self.folder(job);
        let at = |error: std::io::Error| Error::retry(format!("{}: {error}", folder.name()));
        let directory = folder.prepare(job, self.config.shared_dir.is_some()).map_err(at)?;
        let mut arguments = job.options.arguments();
        arguments.extend([
            "--parsable".to_owned(),
            "--export=ALL".to_owned(),
            "--open-mode=append".to_owned(),
            "--input=/dev/null".to_owned(),
            format!("--job-name={}", job.key),
            format!("--comment={}", comment(job)),
            format!("--chdir={directory}"),
            format!("--output={}", folder.pattern("stdout")?),
            format!("--error={}", folder.pattern("stderr")?),
        ]);
        let said = self.queue.commands().call("sbatch", &arguments, &script::launcher(&folder.name()))?;
        if !said.ok {
            return Err(refusal("sbatch", &said));
        }
        // `5`, or `5;cluster`.
        let number = said.stdout.trim().split(';').next().and_then(|number| number.parse().ok());
        let unread = || Error::lost(format!("sbatch: '{}' is no job's number", said.stdout.trim()));
        Ok(Handle { job: number.ok_or_else(unread)?, folder: folder.name() })
    }

    fn find(&self, job: &Job<Options>) -> Result<Option<Handle>> {
        let folder = self.folder(job);
        let (name, comment) = (&job.key, comment(job));
        // Slurm may have forgotten what ended long ago. Who has no folder was not submitted then: every new job comes
        // here, and accounting is slow.
        let found = match self.queue.find(name, &comment)?.or_else(|| folder.id()) {
            None if folder.has("job.sh") => self.queue.find_forgotten(name, &comment)?,
            found => found,
        };
        Ok(found.map(|job| Handle { job, folder: folder.name() }))
    }

    fn poll(&self, handles: &[Handle]) -> Result<Vec<Poll>> {
        let ids: Vec<_> = handles.iter().map(|handle| handle.job).collect();
        let records = self.queue.records(&ids)?;
        let answer = |handle: &Handle| {
            let exit = Folder::at(&handle.folder).exit();
            match (records.get(&handle.job), exit) {
                (Some(record), exit) => state::poll(handle.job, record, exit),
                (None, Some(exit)) => Poll::Ended(exit.outcome),
                (None, None) => Poll::Unknown,
            }
        };
        Ok(handles.iter().map(answer).collect())
    }

    fn news(&self, _job: &Job<Options>, handle: &Handle, seen: Option<&Poll>) -> bool {
        let folder = Folder::at(&handle.folder);
        match seen {
            Some(Poll::Queued(_)) => folder.has("id"),
            Some(Poll::Running) => folder.has("exit"),
            _ => false,
        }
    }

    fn logs(&self, _job: &Job<Options>, handle: &Handle, from: &[Logged; 2], ctx: &Context<'_>) -> Result<()> {
        Folder::at(&handle.folder).output([from[0].bytes, from[1].bytes], ctx)
    }

    fn collect(&self, job: &Job<Options>, handle: &Handle, _ctx: &Context<'_>) -> Result<()> {
        Ok(Folder::at(&handle.folder).bring_home(job)?)
    }

    fn cancel(&self, handle: &Handle) -> Result<()> {
        self.scancel(handle, &[])
    }

    fn kill(&self, handle: &Handle) -> Result<()> {
        self.scancel(handle, &["--signal=KILL", "--full"])
    }

    fn cleanup(&self, job: &Job<Options>, handle: Option<&Handle>) -> Result<()> {
        let folder = handle.map_or_else(|| self.folder(job), |handle| Folder::at(&handle.folder));
        if let Some(handle) = handle
            && folder.exit().is_none()
        {
            self.cancel(handle)?;
        }
        folder.remove().map_err(|error| Error::retry(format!("{}: {error}", folder.name())))
    }
}

impl Slurm {
    fn folder(&self, job: &Job<Options>) -> Folder {
        Folder::of(job, self.config.shared_dir.as_deref())
    }

    fn scancel(&self, handle: &Handle, how: &[&str]) -> Result<()> {
        let mut arguments: Vec<String> = how.iter().map(|&word| word.into()).collect();
        arguments.push(handle.job.to_string());
        let said = self.queue.commands().call("scancel", &arguments, "");
        let said = said.map_err(|error| Error::new(Kind::Retry, error.to_string()))?;
        let has_ended = ["Invalid job id", "already completing or completed"];
        if said.ok || has_ended.iter().any(|text| said.stderr.contains(text)) {
            return Ok(());
        }
        Err(refusal("scancel", &said))
    }
}

/// Marks our jobs: others may have the same name.
fn comment(job: &Job<Options>) -> String {
    format!("jobmgr:{}", job.key)
}
