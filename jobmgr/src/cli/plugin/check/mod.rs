//! `jobmgr plugin check`: what executors have to keep to, tried one by one.
//!
//! The library is opened in runners, as for jobs; nothing that it does can end the check.

/// What a library does with one call.
mod drive;
/// The library's file.
mod file;
/// Jobs: one, several, stopped ones.
mod jobs;
/// What jobmgr may be: older, newer; and what many calls leave.
mod lasting;
/// Options that no executor takes.
mod options;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "elsewhere.rs")]
mod platform;
/// Jobs whose process goes away.
mod recovery;
/// What is tried on, and how.
mod subject;
/// What it tells of itself, and how it is opened.
mod telling;

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{BAD_CONFIG, complain, run, say};
use subject::Subject;

/// What to check.
#[derive(Args)]
pub(in crate::cli) struct Check {
    /// The library
    library: PathBuf,
    /// What [Executors.NAME.Config] would say, as JSON or TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A jobspec for the points that need a job: one that prints the same each time, and runs for about two seconds
    #[arg(long, value_name = "FILE")]
    job: Option<PathBuf>,
    /// A parameter of the job; may be given many times
    #[arg(short, long = "parameter", value_name = "KEY=VALUE", value_parser = run::pair)]
    parameter: Vec<(String, String)>,
    /// It is wrong if the executor can't recover jobs, or if that is not tried for want of a job
    #[arg(long)]
    recover: bool,
}

/// How one point came out.
#[derive(Debug)]
enum Verdict {
    /// As it should be.
    Good(String),
    /// To be known; nothing is wrong.
    Note(String),
    /// To be mended.
    Wrong(String),
    /// Not tried, for this reason.
    Skipped(String),
}

/// The points that need an open library, with their names.
const POINTS: [&str; 16] = [
    "opens",
    "exports",
    "describes itself",
    "opens quietly",
    "odd options",
    "a job",
    "cancel",
    "detach, recover",
    "killed before the checkpoint, recover",
    "killed in the middle, recover",
    "recover of what is not there",
    "cleanup, twice",
    "eight jobs at once",
    "a thousand calls",
    "older and newer jobmgr",
    "build",
];

/// The lines that were told.
#[derive(Default)]
struct Report {
    told: usize,
    wrong: usize,
}

impl Report {
    fn tell(&mut self, verdict: Verdict) {
        let name = POINTS.get(self.told).copied().unwrap_or_default();
        self.told += 1;
        let (word, why) = match verdict {
            Verdict::Good(why) => ("ok     ", why),
            Verdict::Note(why) => ("note   ", why),
            Verdict::Skipped(why) => ("skipped", why),
            Verdict::Wrong(why) => {
                self.wrong += 1;
                ("WRONG  ", why)
            }
        };
        say(stdout(), format_args!("{word} {:>2} {name}: {why}", self.told));
    }
}

/// Tries everything; exit status 1 when something is wrong, 2 when it could not be tried.
pub(super) async fn check(what: Check) -> ExitCode {
    let subject = match Subject::new(&what) {
        Ok(subject) => subject,
        Err(why) => return complain(&why, BAD_CONFIG),
    };
    crate::worker::platform::adopt_orphans();
    let mut report = Report::default();
    points(&subject, &mut report).await;
    if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn points(subject: &Subject, report: &mut Report) {
    let about = match telling::opens(subject).await {
        Ok((verdict, about)) => {
            report.tell(verdict);
            about
        }
        Err(why) => {
            report.tell(Verdict::Wrong(why));
            report.tell(file::exports(&subject.path));
            for _ in 2..POINTS.len() {
                report.tell(Verdict::Skipped("it can't be opened".into()));
            }
            return;
        }
    };
    report.tell(file::exports(&subject.path));
    report.tell(telling::same(subject, &about).await);
    report.tell(telling::quiet(subject).await);
    report.tell(options::odd(subject, &about).await);
    let (verdict, reference) = jobs::one(subject, &about).await;
    report.tell(verdict);
    report.tell(jobs::cancel(subject, &about).await);
    report.tell(recovery::detach(subject, &about, reference.as_ref()).await);
    report.tell(recovery::before_checkpoint(subject, &about, reference.as_ref()).await);
    report.tell(recovery::middle(subject, &about, reference.as_ref()).await);
    report.tell(recovery::foreign(subject, &about).await);
    report.tell(jobs::cleanup(subject, &about).await);
    report.tell(jobs::eight(subject, &about, reference.as_ref()).await);
    report.tell(lasting::calls(subject).await);
    report.tell(lasting::tables(subject, reference.as_ref()).await);
    report.tell(telling::build(&about));
}
