//! A job's command on a machine that has no jobmgr but the program: fetches its input files and uploads what it left, by
//! the grants that its executor got, reports how it ended, and writes the exit file last, so that who sees that finds
//! everything else there.

/// The command while it runs.
mod command;
/// The files that it is given.
mod fetch;
/// What it left in its folder.
mod files;
/// From grants to uploads.
mod grants;
#[cfg_attr(unix, path = "platform/unix.rs")]
#[cfg_attr(windows, path = "platform/windows.rs")]
mod platform;
/// One file to one address.
mod put;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jobmgr_plugin_api::wrapped::{File, Report};

use self::command::Ended;
use self::files::Found;
use self::grants::{Grant, Grants};
use self::platform::Signals;
use self::put::{Put, Source};

/// The exit status when the command was not run because of what stands before it.
pub const NOT_RUN: u8 = 125;
/// The exit status when the command ended well, and something that it left could not be uploaded.
const NOT_UPLOADED: u8 = 74;
/// Uploads at once.
const PARALLEL: usize = 4;
/// Larger ones are no structured result.
const MAX_OUTPUT: u64 = 1 << 20;

/// What to run, and where what it leaves goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// JSON, or the path of a file with it; `None`: nothing is fetched or uploaded.
    pub grants: Option<String>,
    /// Where the exit status is written.
    pub exit_file: Option<PathBuf>,
    /// Whether its output is uploaded too.
    pub log: bool,
    /// How long a file that does not go over is tried again.
    pub patience: Duration,
    /// The command and its arguments; at least the one.
    pub command: Vec<OsString>,
}

/// Where the command finds what it may write to, and where its output is kept.
struct Places {
    /// Removed with all that is in it.
    scratch: tempfile::TempDir,
    artifacts: PathBuf,
    output: PathBuf,
    /// Whether the artifacts stay when this ends.
    stay: bool,
}

/// Runs the command to its end; gives the exit status.
pub async fn run(options: Options) -> u8 {
    let status = match begin(&options).await {
        Ok(status) => status,
        Err(why) => {
            tell(&why);
            NOT_RUN
        }
    };
    if let Some(path) = &options.exit_file
        && let Err(error) = write_whole(path, &format!("{status}\n"))
    {
        tell(&format!("the exit file {}: {error}", path.display()));
    }
    status
}

async fn begin(options: &Options) -> Result<u8, String> {
    let grants = options.grants.as_deref().map(Grants::read).transpose()?;
    let places = Places::make()?;
    // Before anything is fetched or run, so that no signal ends this program and leaves something behind.
    let mut signals = Signals::new().map_err(|error| format!("can't listen for signals: {error}"))?;
    let given = match &grants {
        None => Vec::new(),
        Some(grants) => match fetch(grants, &places, options, &mut signals).await {
            Ok(given) => given,
            Err(why) => {
                // Who waits for the job's end reads no standard error of this machine.
                let mut report = Report::default();
                report.problems.push(why.clone());
                drop(grants.report(&report, options.patience).await);
                return Err(why);
            }
        },
    };
    let ended = command::run(options, &places, given, signals).await?;
    let Some(grants) = grants else {
        warn_of_loss(&places);
        return Ok(ended.status);
    };
    let report = upload(&grants, &places, &ended, options).await;
    report.problems.iter().chain(&report.skipped).for_each(|text| tell(text));
    let reported = grants.report(&report, options.patience).await;
    if let Err(why) = &reported {
        tell(&format!("the report can't be uploaded: {why}"));
    }
    let lost = reported.is_err() || !report.problems.is_empty();
    Ok(if lost && ended.status == 0 { NOT_UPLOADED } else { ended.status })
}

/// The variables for the input files, once these are there.
async fn fetch(
    grants: &Grants,
    places: &Places,
    options: &Options,
    signals: &mut Signals,
) -> Result<Vec<(OsString, OsString)>, String> {
    let folder = places.scratch.path().join("inputs");
    tokio::select! {
        fetched = fetch::fetch(grants.inputs.as_deref(), &folder, options.patience) => fetched,
        _ = signals.next() => Err("it was asked to end before its input files were there".to_owned()),
    }
}

impl Places {
    fn make() -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let given = set("JOBMGR_ARTIFACTS_DIR");
        let stay = given.is_some();
        let artifacts = given.unwrap_or_else(|| scratch.path().join("artifacts"));
        std::fs::create_dir_all(&artifacts)
            .map_err(|error| format!("JOBMGR_ARTIFACTS_DIR: {}: {error}", artifacts.display()))?;
        let output = set("JOBMGR_OUTPUT").unwrap_or_else(|| scratch.path().join("output.json"));
        Ok(Self { scratch, artifacts, output, stay })
    }

    fn log(&self, stream: &str) -> PathBuf {
        self.scratch.path().join(stream)
    }
}

fn warn_of_loss(places: &Places) {
    if !places.stay
        && let Ok(found) = files::list(&places.artifacts)
        && !found.files.is_empty()
    {
        let count = found.files.len();
        tell(&format!("{count} files in JOBMGR_ARTIFACTS_DIR go with it: there are no grants to upload them"));
    }
}

/// What is to be uploaded, and as what it is reported.
enum Item {
    Stdout,
    Stderr,
    Output,
    Artifact,
}

/// Uploads what the command left; says what became of it.
async fn upload(grants: &Grants, places: &Places, ended: &Ended, options: &Options) -> Report {
    let mut report = Report::default();
    report.exit_code = ended.exit_code;
    report.signal = ended.signal;
    report.problems.extend(ended.problem.clone());
    let mut items = Vec::new();
    if options.log {
        items.push((Item::Stdout, "stdout".to_owned(), places.log("stdout")));
        items.push((Item::Stderr, "stderr".to_owned(), places.log("stderr")));
    }
    match std::fs::metadata(&places.output) {
        Ok(found) if found.len() > MAX_OUTPUT => {
            report.skipped.push(format!("JOBMGR_OUTPUT was left out: it is larger than {MAX_OUTPUT} bytes"));
        }
        Ok(found) if found.is_file() => items.push((Item::Output, "output".to_owned(), places.output.clone())),
        _ => {}
    }
    match files::list(&places.artifacts) {
        Ok(Found { files, skipped }) => {
            report.skipped.extend(skipped);
            items.extend(files.into_iter().map(|(name, path)| (Item::Artifact, name, path)));
        }
        Err(error) => report.problems.push(format!("the folder of artifacts can't be read: {error}")),
    }
    let beyond = items.split_off(items.len().min(grants.files.len()));
    if let Some((_, first, _)) = beyond.first() {
        let (count, of) = (beyond.len(), items.len() + beyond.len());
        report.problems.push(format!(
            "{count} of {of} files were not uploaded, '{first}' and what follows: the job's executor got grants for {} files",
            grants.files.len()
        ));
    }
    send(grants, items, options.patience, &mut report).await;
    report
}

async fn send(grants: &Grants, items: Vec<(Item, String, PathBuf)>, patience: Duration, report: &mut Report) {
    let put = Put::new(patience);
    let mut sent = stream::iter(items.into_iter().zip(&grants.files))
        .map(|((item, name, path), grant)| {
            let put = &put;
            async move { (item, put.put(grant, &Source::File(path)).await, name, grant) }
        })
        .buffered(PARALLEL);
    while let Some((item, sent, name, grant)) = sent.next().await {
        match sent {
            Ok(sent) => note(report, item, file(name, grant, sent)),
            Err(why) => report.problems.push(format!("'{name}' was not uploaded: {why}")),
        }
    }
}

fn file(name: String, grant: &Grant, sent: put::Sent) -> File {
    File::new(name, grant.slot, sent.size, sent.sha256)
}

fn note(report: &mut Report, item: Item, file: File) {
    match item {
        Item::Stdout => report.stdout = Some(file),
        Item::Stderr => report.stderr = Some(file),
        Item::Output => report.output = Some(file),
        Item::Artifact => report.files.push(file),
    }
}

/// So that it is there with all of its text, or not at all.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let part = PathBuf::from(name);
    let mut file = std::fs::File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(part, path)
}

/// One line to standard error, whose reader may be gone.
fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "jobmgr wrap: {text}"));
}
