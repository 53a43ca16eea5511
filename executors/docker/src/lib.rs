//! The executor `docker`: runs each job in a container of Docker Engine or podman.
//!
//! The container is named after [`Job::key`], so it is found again by whoever comes later: `recover` goes on with it,
//! `cleanup` removes it. What the job writes is read from the engine's log of the container, from the byte on that
//! jobmgr does not have yet.

/// What config.toml says.
mod config;
/// A job and its options as the engine wants them.
mod container;
/// The connection to the engine, and which one it is.
mod engine;
/// What the engine's answers mean.
mod failure;
/// From a started container to its outcome.
mod follow;
/// The image, and how it gets there.
mod image;
/// The container's output from a byte on.
mod logs;
/// What a jobspec says in `[Options]`.
mod options;
/// How a container ended.
mod outcome;
/// The end that is asked for from outside.
mod stop;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as platform;

use jobmgr_plugin_api::{Context, Error, Executor, Job, Outcome, Recover, Result, Stop, export_executor, runtime};

pub use config::{Config, Registry};
use engine::Connection;
use failure::Failure;
use follow::Following;
pub use jobmgr_plugin_api::Size;
pub use options::{Gpus, Mount, Options, Pull, Ulimit};

/// Runs each job in a container.
pub struct Docker {
    config: Config,
    connection: Connection,
}

export_executor!(Docker, recover, concurrent);

impl Executor for Docker {
    type Config = Config;
    type Options = Options;
    const NAME: &'static str = "docker";

    fn new(config: Config) -> Result<Self> {
        config.check()?;
        Ok(Self { connection: Connection::new(config.host())?, config })
    }

    fn validate(&self, options: &Options) -> Result<()> {
        options.check()
    }

    fn run(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<Outcome> {
        job.options.check()?;
        stop::attend(ctx, |stops| async move {
            let made = stops.unless(self.make(job, ctx)).await;
            let (id, fresh) = match made {
                Ok(made) => made?,
                Err(Stop::Detach) => return Err(Error::stopped()),
                // Whatever is there by now was never started; `cleanup` removes it.
                Err(why) => return Ok(Outcome::killed(stop::reason(why))),
            };
            ctx.checkpoint(&id)?;
            Following::new(self, job, ctx, id).to_the_end(&stops, fresh).await
        })
    }
}

impl Recover for Docker {
    fn recover(&self, job: &Job<Options>, handle: Option<&[u8]>, ctx: &Context<'_>) -> Result<Outcome> {
        stop::attend(ctx, |stops| async move {
            let id = match handle {
                Some(handle) => String::from_utf8_lossy(handle).into_owned(),
                None => {
                    let found = match stops.unless(self.find(job)).await {
                        Ok(found) => found?,
                        Err(Stop::Detach) => return Err(Error::stopped()),
                        // `cleanup` ends and removes what there is.
                        Err(why) => return Ok(Outcome::killed(stop::reason(why))),
                    };
                    let id = found.ok_or_else(Error::never_started)?;
                    ctx.checkpoint(&id)?;
                    id
                }
            };
            Following::new(self, job, ctx, id).to_the_end(&stops, false).await
        })
    }

    fn cleanup(&self, job: &Job<Options>, _handle: Option<&[u8]>, _ctx: &Context<'_>) -> Result<()> {
        runtime::runtime().block_on(async {
            let engine = self.connection.engine().await.map_err(|failure| self.error(failure))?;
            engine.remove(&job.key).await.map_err(|failure| self.error(failure))
        })
    }
}

impl Docker {
    /// A container for the job; gives its id, and whether it was made now and not before.
    async fn make(&self, job: &Job<Options>, ctx: &Context<'_>) -> Result<(String, bool)> {
        let engine = self.connection.engine().await.map_err(|failure| self.error(failure))?;
        let body = container::body(job, &self.config, engine)?;
        container::share_directory(job, ctx);
        image::create(engine, &self.config, job, ctx, body).await.map_err(|failure| match failure {
            // Podman has 500 for whatever it does not like.
            Failure::Refused { status, message }
                if status < 500 || (engine.podman.is_some() && !failure::is_shortage(&message)) =>
            {
                Error::invalid(format!("the engine refuses the container: {message}"))
            }
            other => self.error(other),
        })
    }

    /// The container that is the job's, by its name; waits for an engine that is away.
    async fn find(&self, job: &Job<Options>) -> Result<Option<String>> {
        let mut away = engine::Away::new(self.config.patience());
        loop {
            let found = match self.connection.engine().await {
                Ok(engine) => engine.find(&job.key).await,
                Err(failure) => Err(failure),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(Failure::Away(why)) => away.pause(&self.connection, &why).await?,
                Err(other) => return Err(self.error(other)),
            }
        }
    }

    /// A failure as jobmgr is told it, where the job was not started yet or has ended.
    fn error(&self, failure: Failure) -> Error {
        match failure {
            Failure::Away(why) => Error::retry(self.connection.unreachable(&why)),
            Failure::Refused { status, message } => {
                let text = format!("the engine at {} answers {status}: {message}", self.connection.host);
                if failure::is_shortage(&message) { Error::retry(text) } else { Error::failed(text) }
            }
            Failure::Other(error) => error,
        }
    }
}
