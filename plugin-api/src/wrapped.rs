//! Jobs whose command runs under `jobmgr wrap` on another machine: addresses to which it uploads what the job left, and
//! what arrived there.
//!
//! ```no_run
//! use jobmgr_plugin_api::{Context, Error, Job, NoOptions, Outcome, Result, wrapped};
//!
//! fn begin(job: &Job<NoOptions>, ctx: &Context) -> Result<()> {
//!     // Up to 100 files. The text goes to the other machine, which runs
//!     // `jobmgr wrap --grants FILE --exit-file FILE -- COMMAND`.
//!     let grants = wrapped::grants(ctx, 100)?;
//!     std::fs::write("/shared/job.grants", grants)?;
//!     Ok(())
//! }
//!
//! // When the exit file is there, or the cluster says that the command has ended.
//! fn end(job: &Job<NoOptions>, ctx: &Context) -> Result<Outcome> {
//!     match wrapped::collect(ctx, job)? {
//!         Some(ended) => ended.outcome(),
//!         None => Err(Error::lost("the command was ended before it could say how it went")),
//!     }
//! }
//! ```
//!
//! Nothing of this has to be in a handle: jobmgr remembers the addresses that it gave, and [`collect`] may be called
//! again in another process.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Context, Error, Job, Kind, Outcome, Result, Stream};

/// The grant with which [`Report`] is uploaded.
pub const RESULT: &str = ".result";
/// How much of an upload is asked for at once, in bytes.
const PIECE: u64 = 256 << 10;
/// The largest report, in bytes.
const MAX_REPORT: u64 = 64 << 20;
/// So many grants are asked for at once.
const BATCH: u32 = 1000;

/// What `jobmgr wrap` tells of its command when that has ended, as JSON in the upload [`RESULT`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Report {
    /// Of a command that ended by itself.
    pub exit_code: Option<i32>,
    /// Of a command that was ended by a signal.
    pub signal: Option<i32>,
    /// The files of its folder of artifacts.
    pub files: Vec<File>,
    /// All of its standard output, with `--log`.
    pub stdout: Option<File>,
    /// All of its standard error, with `--log`.
    pub stderr: Option<File>,
    /// What it wrote to `JOBMGR_OUTPUT`.
    pub output: Option<File>,
    /// What is in the folder and was left out on purpose, and why: links, for example.
    pub skipped: Vec<String>,
    /// What should have been uploaded and was not, and why.
    pub problems: Vec<String>,
}

/// A file that was uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct File {
    /// Its path below the folder of artifacts, with `/` between the parts.
    pub name: String,
    /// The number of the grant that it was uploaded with.
    pub slot: u32,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl File {
    /// A file that was uploaded with a grant.
    pub fn new(name: impl Into<String>, slot: u32, size: u64, sha256: impl Into<String>) -> Self {
        Self { name: name.into(), slot, size, sha256: sha256.into() }
    }
}

impl Report {
    /// How the command ended.
    ///
    /// # Errors
    /// When it ended well, but not all that it left has arrived.
    pub fn outcome(&self) -> Result<Outcome> {
        match (self.exit_code, self.signal) {
            (Some(0), None) if !self.problems.is_empty() => {
                Err(Error::failed(format!("the command ended well, but {}", self.problems.join("; "))))
            }
            (Some(code), _) => Ok(Outcome::exited(code)),
            (None, Some(signal)) => Ok(Outcome::signaled(signal)),
            (None, None) => Err(Error::failed(format!("the command did not run: {}", self.problems.join("; ")))),
        }
    }
}

/// Asks for addresses for a report, for at most `files` artifacts, both streams of output and the structured result; as
/// the JSON that `jobmgr wrap --grants` reads: `{"grants": [{"slot", "name", "method", "url", "headers", "expires",
/// "max_bytes"}, ...], "inputs": [{"name", "method", "url", "size", "sha256", "expires"}, ...]}`. Who has the text may
/// upload, and read the job's input files, until it expires after a week; it is no artifact. `jobmgr wrap` fetches the
/// input files, and puts their paths into the variables that named them in the job's directory.
///
/// # Errors
/// [`Kind::Unsupported`] where neither the store nor the server can take uploads.
pub fn grants(ctx: &Context<'_>, files: u32) -> Result<String> {
    let mut result = ctx.request("artifact.grant", &json!({"name": RESULT}))?;
    result["name"] = RESULT.into();
    let mut all = vec![result];
    let mut left = files.saturating_add(3);
    while left > 0 {
        let count = left.min(BATCH);
        left -= count;
        let mut answer = ctx.request("artifact.grant", &json!({"count": count}))?;
        match answer.get_mut("grants").map(Value::take) {
            Some(Value::Array(grants)) => all.extend(grants),
            _ => return Err(Error::failed("artifact.grant: there are no grants in the answer")),
        }
    }
    match ctx.request("input.grant", &json!({})) {
        Ok(answer) => Ok(json!({"grants": all, "inputs": answer["inputs"]}).to_string()),
        // A host that is older than that: `jobmgr wrap` says so where there are such files.
        Err(error) if error.kind() == Kind::Unsupported => Ok(json!({"grants": all}).to_string()),
        Err(error) => Err(error),
    }
}

/// Takes what a wrapped command has uploaded: its artifacts are the job's, its structured result too, its output (with
/// `--log`) is logged from where the job's log ends, and what was left out is a warning. `None`: it has not reported.
///
/// # Errors
/// When an upload is not what the report says, or jobmgr can't take it; [`Kind::Retry`] where the
/// store is only away: return it, and the job is gone on with later. No artifact is taken twice.
pub fn collect<O>(ctx: &Context<'_>, job: &Job<O>) -> Result<Option<Report>> {
    let Some(report) = report(ctx)? else { return Ok(None) };
    for file in &report.files {
        let File { name, slot, size, sha256 } = file;
        let commit = json!({"name": name, "slot": slot, "size": size, "sha256": sha256});
        ctx.request("artifact.commit", &commit)?;
    }
    // Of what was logged before it failed the last time nothing is logged again.
    let logged = ctx.host().logged().unwrap_or(job.logged);
    for (stream, file, logged) in
        [(Stream::Stdout, &report.stdout, logged[0]), (Stream::Stderr, &report.stderr, logged[1])]
    {
        if let Some(file) = file {
            read(ctx, &json!(file.slot), logged.bytes, &mut |piece| ctx.log(stream, piece))?;
        }
    }
    if let (Some(file), Some(path)) = (&report.output, job.env.get("JOBMGR_OUTPUT")) {
        let mut output = Vec::new();
        read(ctx, &json!(file.slot), 0, &mut |piece| {
            output.extend_from_slice(piece);
            Ok(())
        })?;
        std::fs::write(path, output)?;
    }
    for left_out in report.skipped.iter().chain(&report.problems) {
        ctx.warn(left_out.as_str());
    }
    Ok(Some(report))
}

fn report(ctx: &Context<'_>) -> Result<Option<Report>> {
    let mut text = Vec::new();
    let found = read(ctx, &Value::Null, 0, &mut |piece| {
        text.extend_from_slice(piece);
        if text.len() as u64 > MAX_REPORT {
            return Err(Error::failed(format!("the report of jobmgr wrap is larger than {MAX_REPORT} bytes")));
        }
        Ok(())
    })?;
    if !found {
        return Ok(None);
    }
    let report = serde_json::from_slice(&text);
    report.map(Some).map_err(|error| Error::failed(format!("the report of jobmgr wrap can't be read: {error}")))
}

/// Reads an upload from `offset`; `slot` null: the report. `false`: there is none.
fn read(ctx: &Context<'_>, slot: &Value, mut offset: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
    loop {
        let which = if slot.is_null() { json!({"name": RESULT}) } else { json!({"slot": slot}) };
        let mut asked = which;
        asked["offset"] = offset.into();
        asked["length"] = PIECE.into();
        let answer = ctx.request("artifact.read", &asked)?;
        let (Some(size), Some(text)) = (answer["size"].as_u64(), answer["base64"].as_str()) else {
            return Ok(false);
        };
        let piece = BASE64.decode(text).map_err(|error| Error::failed(format!("artifact.read: {error}")))?;
        take(&piece)?;
        offset = offset.saturating_add(piece.len() as u64);
        if piece.is_empty() || offset >= size {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::Host;

    /// A host with uploads of these grants; 7 is the report's.
    fn host(uploads: &'static [(u64, &'static str)]) -> Host {
        let host = Host::default();
        host.answer("artifact.read", move |asked| {
            let slot = asked["slot"].as_u64().unwrap_or(7);
            let Some((_, text)) = uploads.iter().find(|(n, _)| *n == slot) else { return Ok(Value::Null) };
            let from = usize::try_from(asked["offset"].as_u64().unwrap()).unwrap().min(text.len());
            Ok(json!({"size": text.len(), "base64": BASE64.encode(&text[from..])}))
        });
        host.answer("artifact.commit", |asked| Ok(asked.clone()));
        host
    }

    fn job() -> Job<()> {
        let mut job = Job::new("1", 1, "key", ());
        job.logged[0].bytes = 3;
        job
    }

    #[test]
    fn what_was_uploaded_is_taken() {
        let report = r#"{"exit_code": 3, "files": [{"name": "a/b", "slot": 1, "size": 2, "sha256": "ff"}],
            "stdout": {"slot": 2}, "skipped": ["l: a link"]}"#;
        let host = host(Box::leak(Box::new([(7, report), (2, "abcdef")])));
        let ended = collect(&host.context(), &job()).unwrap().unwrap();
        assert_eq!(ended.outcome().unwrap(), Outcome::exited(3));
        assert_eq!(host.stdout(), b"def", "what is logged already is not logged again");
        let commit = ("artifact.commit".to_owned(), json!({"name": "a/b", "slot": 1, "size": 2, "sha256": "ff"}));
        assert!(host.requests().contains(&commit), "{:?}", host.requests());
        assert_eq!(host.events(), [crate::Event::Warning("l: a link".into())]);
    }

    #[test]
    fn one_that_has_not_reported_is_none() {
        assert_eq!(collect(&host(&[]).context(), &job()).unwrap(), None);
    }

    #[test]
    fn what_did_not_arrive_is_no_success() {
        let ended = Report { exit_code: Some(0), problems: vec!["'x' is lost".into()], ..Report::default() };
        assert_eq!(ended.outcome().unwrap_err().to_string(), "the command ended well, but 'x' is lost");
        let ended = Report { exit_code: Some(4), ..ended };
        assert_eq!(ended.outcome().unwrap(), Outcome::exited(4));
        assert_eq!(Report { signal: Some(9), ..Report::default() }.outcome().unwrap(), Outcome::signaled(9));
        assert!(Report::default().outcome().is_err());
    }

    #[test]
    fn grants_are_asked_for_in_batches() {
        let host = Host::default();
        host.answer("artifact.grant", |asked| {
            Ok(match asked["count"].as_u64() {
                Some(count) => json!({"grants": vec![json!({"slot": 1}); usize::try_from(count).unwrap()]}),
                None => json!({"slot": 0}),
            })
        });
        let text = grants(&host.context(), 1500).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["grants"].as_array().unwrap().len(), 1 + 1500 + 3);
        assert_eq!(json["grants"][0], json!({"slot": 0, "name": ".result"}));
        assert_eq!(json.get("inputs"), None, "this host knows no such request");
        host.answer("input.grant", |_| Ok(json!({"inputs": [{"name": "a"}]})));
        let json: Value = serde_json::from_str(&grants(&host.context(), 1).unwrap()).unwrap();
        assert_eq!(json["inputs"], json!([{"name": "a"}]));
        host.answer("input.grant", |_| Err(Error::retry("away")));
        assert_eq!(grants(&host.context(), 1).unwrap_err().kind(), Kind::Retry);
    }
}
