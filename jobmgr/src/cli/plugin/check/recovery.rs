use jobmgr_plugin_api::{Job, Stop};
use serde_json::Value;

use super::drive::{Heard, Moment, listen};
use super::jobs::{Reference, run, tidy};
use super::subject::{Subject, call};
use super::{Verdict, platform};
use crate::runner::Failure;
use crate::runner::plugin::{Call, Loaded, Runner, Work};

/// How a job's first process goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Detached,
    BeforeCheckpoint,
    InTheMiddle,
}

/// 8: jobmgr goes away in order, and comes back.
pub(super) async fn detach(subject: &Subject, about: &Loaded, reference: Option<&Reference>) -> Verdict {
    tried(subject, about, reference, Way::Detached).await
}

/// 9: the process dies before it has kept a handle.
pub(super) async fn before_checkpoint(subject: &Subject, about: &Loaded, reference: Option<&Reference>) -> Verdict {
    tried(subject, about, reference, Way::BeforeCheckpoint).await
}

/// 10: the process dies while the job runs.
pub(super) async fn middle(subject: &Subject, about: &Loaded, reference: Option<&Reference>) -> Verdict {
    tried(subject, about, reference, Way::InTheMiddle).await
}

/// Why it can't be tried, if so.
fn untried(subject: &Subject, about: &Loaded) -> Option<Verdict> {
    match (about.capabilities.recover, subject.recover) {
        (true, _) => None,
        (false, true) => {
            Some(Verdict::Wrong("it can't recover: export_executor!(..., recover) says that it can".into()))
        }
        (false, false) => Some(Verdict::Skipped("it can't recover".into())),
    }
}

async fn tried(subject: &Subject, about: &Loaded, reference: Option<&Reference>, way: Way) -> Verdict {
    if let Some(verdict) = untried(subject, about) {
        return verdict;
    }
    let Some(reference) = reference else {
        let why = "needs a job that runs: --job FILE".to_owned();
        return if subject.recover { Verdict::Wrong(why) } else { Verdict::Skipped(why) };
    };
    let job = match subject.job() {
        Ok(job) => job,
        Err(skipped) => return skipped,
    };
    let mut heard = Heard::default();
    let verdict = match left_alone(subject, &job, &mut heard, way).await {
        Ok(()) => gone_on_with(subject, reference, job.clone(), &heard).await,
        Err(verdict) => verdict,
    };
    drop(tidy(subject, about, &job, heard.handle).await);
    verdict
}

/// Begins the job, and takes its process away.
async fn left_alone(subject: &Subject, job: &Job<Value>, heard: &mut Heard, way: Way) -> Result<(), Verdict> {
    let runner = subject.open().await.map_err(Verdict::Wrong)?;
    let failed = |failure: Failure| Verdict::Wrong(failure.to_string());
    let mut first = call(&runner, Work::Run, job).await.map_err(failed)?;
    let moment = if way == Way::BeforeCheckpoint { Moment::Checkpoint } else { Moment::Middle };
    listen(&mut first, job, heard, moment, subject.limit()).await;
    if heard.result.is_some() {
        return Err(Verdict::Skipped(match way {
            Way::BeforeCheckpoint => "it kept no handle before the job's end".into(),
            _ => "the job ended before that; --job needs one that runs for seconds".into(),
        }));
    }
    if way == Way::Detached {
        detached(subject, &mut first, job, heard).await?;
    } else if let Some(pid) = runner.pid() {
        platform::kill(pid);
    }
    runner.end().await;
    Ok(())
}

/// Asks for it; the executor leaves the job to itself.
async fn detached(subject: &Subject, call: &mut Call, job: &Job<Value>, heard: &mut Heard) -> Result<(), Verdict> {
    let grace = subject.grace();
    let asked = call.stop(Stop::Detach).await.is_ok();
    if !asked || !listen(call, job, heard, Moment::End, grace).await {
        return Err(Verdict::Wrong(format!("asked to leave the job, it is still there after {grace:?}")));
    }
    match heard.result.take() {
        Some(Err(Failure::Stopped(_))) => Ok(()),
        Some(Ok(outcome)) => {
            let ending = outcome.ending;
            Err(Verdict::Wrong(format!(
                "asked to leave the job, it ends it: {ending:?}; Err(Error::stopped()) is right"
            )))
        }
        Some(Err(failure)) => Err(Verdict::Wrong(format!("asked to leave the job, it fails: {failure}"))),
        None => Err(Verdict::Wrong("asked to leave the job, it says nothing".into())),
    }
}

/// A new process goes on with the job; what both have said is what one would have said.
async fn gone_on_with(subject: &Subject, reference: &Reference, mut job: Job<Value>, heard: &Heard) -> Verdict {
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    job.logged = heard.logged;
    let (more, result) = run(subject, &runner, Work::Recover { handle: heard.handle.clone() }, &job).await;
    runner.end().await;
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(why) => return Verdict::Wrong(format!("recover: {why}")),
    };
    let [stdout, stderr] = [[&heard.stdout[..], &more.stdout].concat(), [&heard.stderr[..], &more.stderr].concat()];
    match reference.differs(&stdout, &stderr, &outcome) {
        Some(why) => Verdict::Wrong(format!("taken together, {why}")),
        None => {
            let how = if heard.handle.is_some() { "by its handle" } else { "by its key" };
            let (before, after) = (heard.bytes(), more.bytes());
            Verdict::Good(format!("{how}; {before} bytes of output before and {after} after, as undisturbed"))
        }
    }
}

/// 11: a handle that it did not make, of a job that never was.
pub(super) async fn foreign(subject: &Subject, about: &Loaded) -> Verdict {
    if let Some(verdict) = untried(subject, about) {
        return verdict;
    }
    let job = match subject.job() {
        Ok(job) => job,
        Err(skipped) => return skipped,
    };
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    let verdict = lost(subject, &runner, &job).await;
    runner.end().await;
    drop(tidy(subject, about, &job, None).await);
    verdict
}

async fn lost(subject: &Subject, runner: &Runner, job: &Job<Value>) -> Verdict {
    let handle = Some(b"\0not a handle of yours\xff".to_vec());
    let mut heard = Heard::default();
    match call(runner, Work::Recover { handle }, job).await {
        Ok(mut call) => drop(listen(&mut call, job, &mut heard, Moment::End, subject.limit()).await),
        Err(failure) => return Verdict::Wrong(failure.to_string()),
    }
    match heard.result {
        Some(Err(Failure::Lost(why))) => Verdict::Good(format!("LOST: {why}")),
        Some(Ok(outcome)) => {
            let ending = outcome.ending;
            Verdict::Wrong(format!("with a handle that is not its own it gives {ending:?}; LOST is right"))
        }
        Some(Err(failure)) => Verdict::Wrong(format!("with a handle that is not its own: {failure}; LOST is right")),
        None => Verdict::Wrong(format!("with a handle that is not its own, no answer after {:?}", subject.limit())),
    }
}
