use std::time::{Duration, Instant};

use jobmgr_plugin_api::{Ending, Job, Outcome, Stop};
use serde_json::Value;

use super::drive::{Heard, Moment, listen};
use super::subject::{Subject, call, quote};
use super::{Verdict, platform};
use crate::runner::Failure;
use crate::runner::plugin::{Loaded, Runner, Work};

/// How long a stopped job may take beyond its grace.
const OVERTIME: Duration = Duration::from_secs(2);
/// How long what a job started may take to be gone when it has ended.
const GONE: Duration = Duration::from_secs(3);

/// What a job does that nobody disturbs.
pub(super) struct Reference {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) ending: Ending,
}

impl Reference {
    /// How a run differs, if it does.
    pub(super) fn differs(&self, stdout: &[u8], stderr: &[u8], outcome: &Outcome) -> Option<String> {
        for (name, expected, found) in
            [("output", &self.stdout[..], stdout), ("standard error", &self.stderr[..], stderr)]
        {
            if expected != found {
                let at = expected.iter().zip(found).take_while(|(one, other)| one == other).count();
                let (few, many) = (found.len(), expected.len());
                return Some(format!("its {name} has {few} bytes, undisturbed {many}; they differ from byte {at} on"));
            }
        }
        (self.ending != outcome.ending)
            .then(|| format!("it ends with {:?}, undisturbed with {:?}", outcome.ending, self.ending))
    }
}

/// Runs a job to its end in this runner.
pub(super) async fn run(
    subject: &Subject,
    runner: &Runner,
    work: Work,
    job: &Job<Value>,
) -> (Heard, Result<Outcome, String>) {
    let mut heard = Heard::default();
    let result = match call(runner, work, job).await {
        Ok(mut call) => {
            let limit = subject.limit();
            if listen(&mut call, job, &mut heard, Moment::End, limit).await {
                match &heard.result {
                    Some(Ok(outcome)) => Ok(outcome.clone()),
                    Some(Err(failure)) => Err(failure.to_string()),
                    None => Err("it said nothing".into()),
                }
            } else {
                Err(format!("it has not ended after {limit:?}, the jobspec's Timeout"))
            }
        }
        Err(failure) => Err(failure.to_string()),
    };
    (heard, result)
}

/// Removes what a job may have left, where the executor can.
pub(super) async fn tidy(
    subject: &Subject,
    about: &Loaded,
    job: &Job<Value>,
    handle: Option<Vec<u8>>,
) -> Result<(), String> {
    if !about.capabilities.cleanup {
        return Ok(());
    }
    let runner = subject.open().await?;
    let mut call = call(&runner, Work::Cleanup { handle }, job).await.map_err(|failure| failure.to_string())?;
    let mut heard = Heard::default();
    let ended = listen(&mut call, job, &mut heard, Moment::End, Duration::from_secs(60)).await;
    match heard.result {
        Some(Err(failure)) => Err(failure.to_string()),
        Some(Ok(_)) => Ok(()),
        None if ended => Ok(()),
        None => Err("it has not ended after 60 s".into()),
    }
}

/// 6: the job runs, its outcome can be read, and its output is all there: twice the same.
pub(super) async fn one(subject: &Subject, about: &Loaded) -> (Verdict, Option<Reference>) {
    let mut reference: Option<Reference> = None;
    for _ in 0..2 {
        let job = match subject.job() {
            Ok(job) => job,
            Err(skipped) => return (skipped, None),
        };
        let runner = match subject.open().await {
            Ok(runner) => runner,
            Err(why) => return (Verdict::Wrong(why), None),
        };
        let (heard, result) = run(subject, &runner, Work::Run, &job).await;
        let printed = runner.end().await;
        let handle = heard.handle.clone();
        // The point that is about it says what is wrong with it.
        drop(tidy(subject, about, &job, handle).await);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(why) => return (Verdict::Wrong(format!("{why}{}", quote(&printed))), None),
        };
        match &reference {
            None => {
                let Heard { stdout, stderr, .. } = heard;
                reference = Some(Reference { stdout, stderr, ending: outcome.ending });
            }
            Some(first) => {
                if let Some(why) = first.differs(&heard.stdout, &heard.stderr, &outcome) {
                    let why = format!("run a second time, {why}; is it a job that does the same each time?");
                    return (Verdict::Wrong(why), None);
                }
            }
        }
    }
    match reference {
        Some(first) if matches!(first.ending, Ending::Other(_)) => {
            (Verdict::Wrong(format!("no jobmgr knows the ending {:?}", first.ending)), None)
        }
        Some(first) => {
            let bytes = first.stdout.len() + first.stderr.len();
            (Verdict::Good(format!("{:?}, {bytes} bytes of output, twice the same", first.ending)), Some(first))
        }
        None => (Verdict::Wrong("it did not run".into()), None),
    }
}

/// 7: a stop ends the job within its grace, with all that it started.
pub(super) async fn cancel(subject: &Subject, about: &Loaded) -> Verdict {
    let job = match subject.job() {
        Ok(job) => job,
        Err(skipped) => return skipped,
    };
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    let verdict = cancelled(subject, &runner, &job).await;
    runner.end().await;
    drop(tidy(subject, about, &job, None).await);
    verdict
}

async fn cancelled(subject: &Subject, runner: &Runner, job: &Job<Value>) -> Verdict {
    let mut heard = Heard::default();
    let mut call = match call(runner, Work::Run, job).await {
        Ok(call) => call,
        Err(failure) => return Verdict::Wrong(failure.to_string()),
    };
    listen(&mut call, job, &mut heard, Moment::Middle, subject.limit()).await;
    if heard.result.is_some() {
        return Verdict::Skipped(
            "the job ended before it could be stopped; --job needs one that runs for seconds".into(),
        );
    }
    let since = Instant::now();
    let asked = call.stop(Stop::Cancel).await.is_ok();
    let grace = subject.grace();
    if !asked || !listen(&mut call, job, &mut heard, Moment::End, grace + OVERTIME).await {
        return Verdict::Wrong(format!("the job goes on {:.1?} after it was asked to stop", since.elapsed()));
    }
    let took = since.elapsed();
    match &heard.result {
        Some(Ok(_) | Err(Failure::Stopped(_))) => {}
        Some(Err(failure)) => return Verdict::Wrong(format!("asked to stop, it fails: {failure}")),
        None => return Verdict::Wrong("asked to stop, it says nothing".into()),
    }
    match left(runner).await {
        Some(count) => Verdict::Wrong(format!("{count} processes of the job are left after its end")),
        None => Verdict::Good(format!("it ended {took:.1?} later and left no process")),
    }
}

/// How many processes are still below the runner a while after a job's end; `None`: none.
async fn left(runner: &Runner) -> Option<usize> {
    let until = Instant::now() + GONE;
    loop {
        let below = platform::below(runner.pid()?);
        if below.is_empty() {
            return None;
        }
        if Instant::now() > until {
            return Some(below.len());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// 12: what a job left can be removed, and then once more.
pub(super) async fn cleanup(subject: &Subject, about: &Loaded) -> Verdict {
    if !about.capabilities.cleanup {
        return Verdict::Skipped("it has no cleanup".into());
    }
    let job = match subject.job() {
        Ok(job) => job,
        Err(skipped) => return skipped,
    };
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    let (heard, _) = run(subject, &runner, Work::Run, &job).await;
    runner.end().await;
    for (time, handle) in
        [("the first", heard.handle.clone()), ("the second", heard.handle), ("without a handle, the", None)]
    {
        if let Err(why) = tidy(subject, about, &job, handle).await {
            return Verdict::Wrong(format!("{time} time: {why}"));
        }
    }
    Verdict::Good("with its handle, again, and without it".into())
}

/// 13: an executor that says so runs eight jobs in one process.
pub(super) async fn eight(subject: &Subject, about: &Loaded, reference: Option<&Reference>) -> Verdict {
    if !about.capabilities.concurrent {
        return Verdict::Skipped("it runs one job at a time".into());
    }
    let Some(reference) = reference else { return Verdict::Skipped("needs a job that runs: --job FILE".into()) };
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    let mut jobs = Vec::new();
    for _ in 0..8 {
        match subject.job() {
            Ok(job) => jobs.push(job),
            Err(skipped) => return skipped,
        }
    }
    let runs = jobs.iter().map(|job| run(subject, &runner, Work::Run, job));
    let came = futures_util::future::join_all(runs).await;
    for (job, (heard, _)) in jobs.iter().zip(&came) {
        drop(tidy(subject, about, job, heard.handle.clone()).await);
    }
    for (heard, result) in came {
        let wrong = match result {
            Ok(outcome) => reference.differs(&heard.stdout, &heard.stderr, &outcome),
            Err(why) => Some(why),
        };
        if let Some(why) = wrong {
            return Verdict::Wrong(format!("one of eight: {why}"));
        }
    }
    Verdict::Good("each as if it were alone".into())
}
