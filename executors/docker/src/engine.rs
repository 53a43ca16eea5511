//! The connection to the engine, and which one it is.

use std::time::{Duration, Instant};

use bollard::API_DEFAULT_VERSION;
use bollard::errors::Error as Answer;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, RemoveContainerOptions,
    StartContainerOptions,
};
use jobmgr_plugin_api::{Error, Result};
use tokio::sync::OnceCell;

use crate::container::KEY;
use crate::failure::Failure;

/// How long an engine may take to begin its answer, in seconds.
const ANSWER: u64 = 120;
/// The pauses between attempts to reach an engine that is away.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How many times in a row a container may be in a state that has no name here.
const UNKNOWN: u32 = 200;

/// Where the engine is, and the engine once it was reached.
pub struct Connection {
    /// Its address, for people.
    pub host: String,
    engine: OnceCell<Engine>,
}

/// An engine that was reached.
pub struct Engine {
    /// Each call has a connection of its own.
    pub client: bollard::Docker,
    /// Podman's version, if it is podman.
    pub podman: Option<String>,
}

impl Connection {
    /// For an address; nothing is opened yet.
    pub fn new(host: String) -> Result<Self> {
        let known: &[&str] =
            if cfg!(windows) { &["npipe://", "tcp://", "http://"] } else { &["unix://", "tcp://", "http://"] };
        if !known.iter().any(|scheme| host.starts_with(scheme)) {
            let known = known.join(", ");
            return Err(Error::invalid(format!("Host: {host:?} does not begin with one of {known}")));
        }
        Ok(Self { host, engine: OnceCell::new() })
    }

    /// The engine; the first call finds out what it is.
    pub async fn engine(&self) -> Result<&Engine, Failure> {
        self.engine.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Engine, Failure> {
        let client = if self.host.starts_with("tcp://") || self.host.starts_with("http://") {
            bollard::Docker::connect_with_http(&self.host, ANSWER, API_DEFAULT_VERSION)?
        } else {
            bollard::Docker::connect_with_local(&self.host, ANSWER, API_DEFAULT_VERSION)?
        };
        let client = client.negotiate_version().await?;
        let version = client.version().await?;
        let podman = version.components.unwrap_or_default().into_iter().find(|part| part.name.starts_with("Podman"));
        Ok(Engine { client, podman: podman.map(|part| part.version) })
    }

    /// What is said when nobody answers.
    pub fn unreachable(&self, why: &str) -> String {
        format!("the container engine at {} can't be reached: {why}", self.host)
    }
}

impl Engine {
    /// Makes a container; gives its id and what the engine has to say about it.
    pub async fn create(
        &self,
        key: &str,
        platform: Option<&str>,
        body: ContainerCreateBody,
    ) -> Result<(String, Vec<String>), Failure> {
        let options =
            CreateContainerOptions { name: Some(key.to_owned()), platform: platform.unwrap_or_default().to_owned() };
        let made = self.client.create_container(Some(options), body).await?;
        Ok((made.id, made.warnings))
    }

    /// Starts a container; one that was started already is not started again.
    pub async fn start(&self, id: &str) -> Result<(), Failure> {
        match self.client.start_container(id, None::<StartContainerOptions>).await.map_err(Failure::from) {
            Err(Failure::Refused { status: 304, .. }) => Ok(()),
            other => other,
        }
    }

    /// What there is of a container, by id or name.
    pub async fn inspect(&self, container: &str) -> Result<Option<ContainerInspectResponse>, Failure> {
        let mut tries = 0;
        loop {
            match self.client.inspect_container(container, None::<InspectContainerOptions>).await {
                Ok(found) => return Ok(Some(found)),
                Err(Answer::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
                // Podman has a state `stopped`, between the end of the process and `exited`, which Docker has not.
                Err(Answer::JsonDataError { message, .. }) if message.contains("unknown variant") => {
                    tries += 1;
                    if tries == UNKNOWN {
                        return Err(Failure::Away(format!("the container stays in an unknown state: {message}")));
                    }
                    tokio::time::sleep(PAUSES.0).await;
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// The id of the container that is named `key`, if it is there and a job's.
    pub async fn find(&self, key: &str) -> Result<Option<String>, Failure> {
        let Some(found) = self.inspect(key).await? else { return Ok(None) };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        if labels.get(KEY).is_none_or(|label| label != key) {
            let why = format!("a container that is not jobmgr's has the name {key}: rename or remove it");
            return Err(Failure::Other(Error::failed(why)));
        }
        Ok(found.id)
    }

    /// Sends a signal; `false`: the container does not run.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<bool, Failure> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match self.client.kill_container(id, Some(options)).await.map_err(Failure::from) {
            Ok(()) => Ok(true),
            // Podman has 409 and 500 for it, Docker 409.
            Err(Failure::Refused { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Ends and removes the job's container, with its nameless volumes, if there is one.
    pub async fn remove(&self, key: &str) -> Result<(), Failure> {
        let Some(id) = self.find(key).await? else { return Ok(()) };
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.client.remove_container(&id, Some(options)).await.map_err(Failure::from) {
            // 409: somebody else is at it.
            Err(Failure::Refused { status: 404 | 409, .. }) => Ok(()),
            other => other,
        }
    }

    /// Whether the engine's containers go on while it is away; `None`: it does not say.
    pub async fn keeps_containers(&self) -> Option<bool> {
        if self.podman.is_some() {
            return Some(true);
        }
        self.client.info().await.ok()?.live_restore_enabled
    }
}

/// An engine that may be away for a while.
pub struct Away {
    patience: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Away {
    /// One that is there, and may be away for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, since: None, pause: PAUSES.0 }
    }

    /// It is there.
    pub fn back(&mut self) {
        *self = Self::new(self.patience);
    }

    /// Waits until it is time to ask again.
    ///
    /// # Errors
    /// When it has been away for too long.
    pub async fn pause(&mut self, connection: &Connection, why: &str) -> Result<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.patience {
            let seconds = self.patience.as_secs();
            let what = connection.unreachable(why);
            return Err(Error::failed(format!(
                "{what}; it was waited for {seconds} s. The job's container may still run: it is removed when the engine is back"
            )));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }
}
