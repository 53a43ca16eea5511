//! A jobmgr executor that runs jobs on a Slurm cluster, with Slurm's own commands.
//!
//! The README has what an administrator needs to know. Here is [`Slurm`], the few orders and questions that
//! [`Clustered`] makes an executor of.

/// What a job left, moved to where jobmgr looks for it.
mod bring;
/// Slurm's commands.
mod command;
/// The file of completed jobs.
mod completions;
/// `[Executors.slurm.Config]`.
mod config;
/// A job's folder on the disk that the nodes see.
mod folder;
/// How many commands run at once.
mod gate;
/// What this process knows of the jobs that it follows.
mod memory;
/// `[Options]` of a jobspec.
mod options;
/// Output from files that grow.
mod output;
/// What Slurm knows of jobs.
mod queue;
/// What failures of Slurm's commands mean.
mod refusal;
/// What Slurm says of one job, in the lines of four sources.
mod row;
/// The script that the nodes run.
mod script;
/// What Slurm's job states mean.
mod state;
/// Jobs under `jobmgr wrap`, on nodes that share no folder with jobmgr.
mod wrap;

use std::time::Duration;

use jobmgr_plugin_api::progress::Progress;
use jobmgr_plugin_api::{
    Cluster, Clustered, Context, Error, Job, Kind, Logged, Outcome, Poll, Result, Stream, export_executor, wrapped,
};
use serde::{Deserialize, Serialize};

use command::Commands;
pub use config::Config;
use folder::Folder;
use memory::Memory;
pub use options::Options;
use queue::{Queue, Wanted};
use refusal::refusal;
use row::comment;
pub use wrap::Wrap;

/// A Slurm cluster.
pub struct Slurm {
    config: Config,
    queue: Queue,
    memory: Memory,
}

/// What is kept of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// Slurm's number of it.
    pub job: u64,
    /// Its folder on the disk that the nodes see; under `jobmgr wrap` only jobmgr sees it.
    pub folder: String,
    /// The attempt's key, by which the job is told from another one that was given its number. Empty in what earlier
    /// versions kept.
    #[serde(default)]
    pub key: String,
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
        Ok(Self { config, queue, memory: Memory::default() })
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
        if job.command.is_empty() {
            return Err(Error::invalid("there is no command to run"));
        }
        let folder = self.folder(job);
        let (mut arguments, script) = self.prepare(job, &folder, ctx)?;
        arguments.extend([
            "--parsable".to_owned(),
            "--export=ALL".to_owned(),
            "--open-mode=append".to_owned(),
            "--input=/dev/null".to_owned(),
            format!("--job-name={}", job.key),
            format!("--comment={}", comment(&job.key)),
        ]);
        ctx.log(Stream::Executor, format!("sbatch {}\n", arguments.join(" ")).as_bytes())?;
        let said = self.queue.commands().call("sbatch", &arguments, &script)?;
        if !said.ok {
            return Err(refusal("sbatch", &said));
        }
        // `5`, or `5;cluster`.
        let number = said.stdout.trim().split(';').next().and_then(|number| number.parse().ok());
        let unread = || Error::lost(format!("sbatch: '{}' is no job's number", said.stdout.trim()));
        Ok(self.handle(job, number.ok_or_else(unread)?))
    }

    fn find(&self, job: &Job<Options>) -> Result<Option<Handle>> {
        let folder = self.folder(job);
        // Slurm may have forgotten what ended long ago. Who has no folder was not submitted then: every new job comes
        // here, and accounting is slow.
        let found = match self.queue.find(&job.key)?.or_else(|| folder.id()) {
            None if folder.has("job.sh") => self.queue.find_forgotten(&job.key)?,
            found => found,
        };
        Ok(found.map(|number| self.handle(job, number)))
    }

    fn poll(&self, handles: &[Handle]) -> Result<Vec<Poll>> {
        let jobs: Vec<_> = handles.iter().map(|handle| Wanted { id: handle.job, key: &handle.key }).collect();
        let records = self.queue.records(&jobs)?;
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

    fn logs(&self, job: &Job<Options>, handle: &Handle, from: &[Logged; 2], ctx: &Context<'_>) -> Result<()> {
        if job.options.wrap.is_some() {
            // All of it comes with the report.
            return Ok(());
        }
        let folder = Folder::at(&handle.folder);
        self.progress(job, &folder, ctx);
        folder.output([from[0].bytes, from[1].bytes], ctx)
    }

    fn collect(&self, job: &Job<Options>, handle: &Handle, ctx: &Context<'_>) -> Result<()> {
        if job.options.wrap.is_some() {
            let report = wrapped::collect(ctx, job)?;
            self.memory.of(&job.key, |known| known.report = report);
            return Ok(());
        }
        Ok(Folder::at(&handle.folder).bring_home(job)?)
    }

    fn judge(&self, job: &Job<Options>, outcome: Outcome, ctx: &Context<'_>) -> Result<Outcome> {
        if job.options.wrap.is_none() {
            return Ok(outcome);
        }
        let report = self.memory.of(&job.key, |known| known.report.clone());
        wrap::judge(outcome, report.as_ref(), ctx)
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
        self.memory.forget(&job.key);
        folder.remove().map_err(|error| Error::retry(format!("{}: {error}", folder.name())))
    }
}

impl Slurm {
    fn folder(&self, job: &Job<Options>) -> Folder {
        Folder::of(job, self.config.shared_dir.as_deref())
    }

    fn handle(&self, job: &Job<Options>, number: u64) -> Handle {
        Handle { job: number, folder: self.folder(job).name(), key: job.key.clone() }
    }

    /// Makes what the job needs on the disk. Gives what `sbatch` is to be told of it, and the script for it.
    fn prepare(&self, job: &Job<Options>, folder: &Folder, ctx: &Context<'_>) -> Result<(Vec<String>, String)> {
        let at = |error: std::io::Error| Error::retry(format!("{}: {error}", folder.name()));
        let mut arguments = job.options.arguments();
        if let Some(wrap) = &job.options.wrap {
            let script = folder.prepare_wrapped(job, wrap, &wrap::grants(wrap, ctx)?).map_err(at)?;
            arguments.extend(["--chdir=/", "--output=/dev/null", "--error=/dev/null"].map(String::from));
            return Ok((arguments, script));
        }
        let directory = folder.prepare(job, self.is_shared()).map_err(at)?;
        arguments.push(format!("--chdir={directory}"));
        arguments.push(format!("--output={}", folder.pattern("stdout")?));
        arguments.push(format!("--error={}", folder.pattern("stderr")?));
        Ok((arguments, script::launcher(&folder.name())))
    }

    /// Whether the job's temporary directory on the nodes is another than here.
    fn is_shared(&self) -> bool {
        self.config.shared_dir.is_some()
    }

    /// Tells how far the job says that it is.
    fn progress(&self, job: &Job<Options>, folder: &Folder, ctx: &Context<'_>) {
        let known = self.memory.of(&job.key, |known| known.progress.take());
        let mut progress = known.or_else(|| folder.progress(job, self.is_shared()).map(Progress::at));
        if let Some(progress) = &mut progress {
            progress.look(ctx);
        }
        self.memory.of(&job.key, |known| known.progress = progress);
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
