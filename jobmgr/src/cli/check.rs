//! `jobmgr check`: one line for each thing, and what is wrong with it.

use std::io::stdout;
use std::process::ExitCode;

use super::say;
use crate::blobs::Blobs;
use crate::config::Config;
use crate::jobspecs::Jobspecs;
use crate::runner::plugin::{Loaded, Plugins};
use crate::runner::{abilities, executors};
use crate::store::{Inspection, Original, Store};

/// Looks at everything; exit status 1 when something is wrong, 2 when it is the configuration.
pub(super) async fn check() -> ExitCode {
    let config = match super::config() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let file = if std::path::Path::new("config.toml").exists() { "config.toml" } else { "no config.toml: defaults" };
    let mut sound = tell("configuration", Ok(format!("{file}, listens on {}", config.server.listen)));
    if let Some(files) = &config.server.tls {
        let found = crate::http::check_tls(files);
        sound &= tell("TLS", found.map(|()| format!("certificate {}", files.certificate.display())));
    }
    sound &= tell("executor process", Ok(process()));
    let plugins = Plugins::new(&config.executors);
    for (name, found) in plugins.look().await {
        sound &= tell(&format!("executor {name}"), found.map(|loaded| in_short(&loaded)));
    }
    sound &= jobspecs(&config, &plugins).await;
    sound &= tell("database", database(&config).await);
    sound &= tell("store", store(&config).await);
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(what: &str, found: Result<String, String>) -> bool {
    match &found {
        Ok(fact) => say(stdout(), format_args!("ok     {what}: {fact}")),
        Err(why) => say(stdout(), format_args!("WRONG  {what}: {why}")),
    }
    found.is_ok()
}

/// An executor in one line.
pub(super) fn in_short(loaded: &Loaded) -> String {
    let description = &loaded.description;
    let can = loaded.capabilities;
    let abilities =
        [(can.recover, "can recover"), (can.cleanup, "cleans up"), (can.concurrent, "runs several at once")];
    let abilities: Vec<&str> = abilities.into_iter().filter(|(can, _)| *can).map(|(_, what)| what).collect();
    let abilities = if abilities.is_empty() { "runs one job at a time".to_owned() } else { abilities.join(", ") };
    format!("{} {}, ABI {}.{}, {abilities}", description.name, description.version, loaded.abi.0, loaded.abi.1)
}

async fn jobspecs(config: &Config, plugins: &Plugins) -> bool {
    let jobspecs = Jobspecs::checked(config.server.jobspecs.clone(), executors::check(plugins));
    // What executors know beyond their schemas they are asked when their options are read for the first time.
    jobspecs.list();
    plugins.answered().await;
    jobspecs.reread();
    let listed = jobspecs.list();
    if listed.is_empty() {
        let folder = jobspecs.folder().display();
        return tell("jobspecs", Ok(format!("none in {folder}/ yet")));
    }
    let mut sound = true;
    for (name, spec) in listed {
        let what = format!("jobspec {name}");
        let found = spec.as_ref().map_err(String::clone).map(|spec| {
            let about = spec.description.as_deref().unwrap_or("no description");
            format!("runs {} with executor {}: {about}", spec.command, spec.executor)
        });
        sound &= tell(&what, found);
        if let Ok(spec) = spec
            && let Some(why) = executors::lacking(&spec.executor, &spec.command, spec.working_directory.as_deref())
        {
            // Workers on other machines may well have it.
            say(stdout(), format_args!("WARN   {what}: its jobs can't be started on this machine: {why}"));
        }
    }
    sound
}

/// What of `User`, `Limits` and `Sandbox` can be had where this runs.
fn process() -> String {
    let (can, can_not): (Vec<_>, Vec<_>) = abilities().into_iter().partition(|(_, found)| found.is_ok());
    let can: Vec<_> = can.into_iter().map(|(option, _)| option).collect();
    let why = |(option, found): (&str, Result<(), String>)| format!("{option} ({})", found.err().unwrap_or_default());
    let can_not: Vec<_> = can_not.into_iter().map(why).collect();
    match (can.join(", "), can_not.join(", ")) {
        (can, can_not) if can_not.is_empty() => format!("can enforce {can}"),
        (can, can_not) if can.is_empty() => format!("cannot enforce {can_not}"),
        (can, can_not) => format!("can enforce {can}; not {can_not}"),
    }
}

/// Looks at the database without changing it.
async fn database(config: &Config) -> Result<String, String> {
    let found = Store::inspect(&config.database).await.map_err(|error| error.to_string())?;
    Ok(format!("{}, {}", config.database.describe(), in_words(&found)))
}

fn in_words(found: &Inspection) -> String {
    match found {
        Inspection::Empty => "nothing there yet: the server makes what it needs at its start".to_owned(),
        Inspection::Current { unfinished } => format!("{unfinished} jobs queued or started"),
        Inspection::Old { found, known } => {
            format!("tables of version {found}, which the server brings to version {known} at its start")
        }
        Inspection::Original(original) => adoption(original),
    }
}

fn adoption(found: &Original) -> String {
    let Original { begun, jobs, queued, started, artifacts } = found;
    let when = if *begun { "goes on with the adoption at its start" } else { "adopts it at its start" };
    format!(
        "a database of the original jobmgr with {jobs} jobs and {artifacts} artifacts. The server {when}: jobs, results \
         and artifacts keep their ids, {queued} queued jobs are run, {started} that were left started become failed \
         (worker_lost), and the original's tables are kept as original_jobs, original_results, original_artifacts and \
         original_users. Stop the original before"
    )
}

async fn store(config: &Config) -> Result<String, String> {
    let blobs = Blobs::open(&config.storage, config.aws.as_ref()).map_err(|error| error.to_string())?;
    let place = blobs.describe();
    blobs.check().await.map_err(|error| at(&place, error.to_string()))?;
    Ok(format!("{place} can be written, read and deleted from"))
}

/// Most errors of a store name the place themselves.
fn at(place: &str, error: String) -> String {
    if error.contains(place) { error } else { format!("{place}: {error}") }
}
