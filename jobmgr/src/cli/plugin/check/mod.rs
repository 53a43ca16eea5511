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
    /// Try this point only, 1 to 16; may be given many times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    point: Vec<u8>,
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

/// The lines that are told.
struct Report {
    /// Empty: all.
    points: Vec<u8>,
    wrong: usize,
}

impl Report {
    fn wants(&self, point: u8) -> bool {
        self.points.is_empty() || self.points.contains(&point)
    }

    fn tell(&mut self, point: u8, verdict: Verdict) {
        let name = POINTS.get(usize::from(point) - 1).copied().unwrap_or_default();
        let (word, why) = match verdict {
            Verdict::Good(why) => ("ok     ", why),
            Verdict::Note(why) => ("note   ", why),
            Verdict::Skipped(why) => ("skipped", why),
            Verdict::Wrong(why) => {
                self.wrong += 1;
                ("WRONG  ", why)
            }
        };
        say(stdout(), format_args!("{word} {point:>2} {name}: {why}"));
    }
}

/// Tries everything; exit status 1 when something is wrong, 2 when it could not be tried.
pub(super) async fn check(what: Check) -> ExitCode {
    let subject = match Subject::new(&what) {
        Ok(subject) => subject,
        Err(why) => return complain(&why, BAD_CONFIG),
    };
    crate::worker::platform::adopt_orphans();
    let mut report = Report { points: what.point, wrong: 0 };
    points(&subject, &mut report).await;
    if report.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries one point and tells how it came out, where it is wanted.
macro_rules! point {
    ($report:ident, $number:literal, $verdict:expr) => {
        if $report.wants($number) {
            let verdict = $verdict;
            $report.tell($number, verdict);
        }
    };
}

async fn points(subject: &Subject, report: &mut Report) {
    let about = match telling::opens(subject).await {
        Ok((verdict, about)) => {
            point!(report, 1, verdict);
            about
        }
        Err(why) => {
            // Without this there is no other one.
            report.tell(1, Verdict::Wrong(why));
            point!(report, 2, file::exports(&subject.path));
            for number in (3..=16).filter(|number| report.wants(*number)).collect::<Vec<u8>>() {
                report.tell(number, Verdict::Skipped("it can't be opened".into()));
            }
            return;
        }
    };
    point!(report, 2, file::exports(&subject.path));
    point!(report, 3, telling::same(subject, &about).await);
    point!(report, 4, telling::quiet(subject).await);
    point!(report, 5, options::odd(subject, &about).await);
    let mut reference = None;
    if [6, 8, 9, 10, 13, 15].into_iter().any(|number| report.wants(number)) {
        let (verdict, ran) = jobs::one(subject, &about).await;
        reference = ran;
        point!(report, 6, verdict);
    }
    let reference = reference.as_ref();
    point!(report, 7, jobs::cancel(subject, &about).await);
    point!(report, 8, recovery::detach(subject, &about, reference).await);
    point!(report, 9, recovery::before_checkpoint(subject, &about, reference).await);
    point!(report, 10, recovery::middle(subject, &about, reference).await);
    point!(report, 11, recovery::foreign(subject, &about).await);
    point!(report, 12, jobs::cleanup(subject, &about).await);
    point!(report, 13, jobs::eight(subject, &about, reference).await);
    point!(report, 14, lasting::calls(subject).await);
    point!(report, 15, lasting::tables(subject, &about, reference).await);
    point!(report, 16, telling::build(&about));
}
