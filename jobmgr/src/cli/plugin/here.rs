//! What a library sees of jobmgr that runs in this very process: output to the terminal, and no server.

use std::io::{Write, stderr, stdout};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use jobmgr_plugin_api::{Error, Event, Host, Kind, OnStop, Result, Stop, Stops, Stream};
use serde_json::{Value, json};

use crate::cli::say;

/// Shows what a job says, and keeps what it puts among its artifacts.
pub(super) struct Here {
    /// Where artifacts go.
    artifacts: PathBuf,
    stops: Stops,
}

impl Here {
    /// For a job in this directory.
    pub(super) fn new(dir: &Path) -> Self {
        Self { artifacts: dir.join("artifacts"), stops: Stops::default() }
    }
}

/// Copies a file among a job's artifacts, as the worker does.
pub(super) fn put(artifacts: &Path, json: &Value) -> Result<Value> {
    let text = |key: &str| {
        json[key].as_str().ok_or_else(|| Error::invalid(format!("artifact.put: '{key}' is missing"))).map(Path::new)
    };
    let (name, path) = (text("name")?, text("path")?);
    if name.as_os_str().is_empty() || !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::invalid(format!("artifact.put: '{}' is no path below artifacts/", name.display())));
    }
    let to = artifacts.join(name);
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let size = std::fs::copy(path, &to)
        .map_err(|error| Error::failed(format!("artifact.put: {}: {error}", path.display())))?;
    Ok(json!({"size": size}))
}

impl Host for Here {
    fn log(&self, stream: Stream, _time_ns: u64, data: &[u8]) -> Result<()> {
        // A reader that went away does not stop the job.
        match stream {
            Stream::Stdout => drop(stdout().write_all(data).and_then(|()| stdout().flush())),
            _ => drop(stderr().write_all(data)),
        }
        Ok(())
    }

    fn event(&self, event: Event) {
        say(stderr(), format_args!("jobmgr: event {}", event.to_json()));
    }

    fn checkpoint(&self, handle: &[u8]) -> Result<()> {
        say(stderr(), format_args!("jobmgr: checkpoint {:?}", String::from_utf8_lossy(handle)));
        Ok(())
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.stops.wait(limit)
    }

    fn on_stop(&self, call: OnStop) -> u64 {
        self.stops.add(call)
    }

    fn no_stop(&self, id: u64) {
        self.stops.remove(id);
    }

    fn request(&self, method: &str, json: &Value) -> Result<Value> {
        match method {
            "artifact.put" => put(&self.artifacts, json),
            _ => Err(Error::new(Kind::Unsupported, format!("there is no method '{method}' without a server"))),
        }
    }
}
