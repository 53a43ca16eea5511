use super::Verdict;
use super::jobs::{Reference, run, tidy};
use super::options::validate;
use super::platform;
use super::subject::Subject;
use crate::runner::Failure;
use crate::runner::plugin::{Loaded, Runner, Work};

/// How much a process may grow by a thousand calls, in bytes.
const GROWTH: u64 = 2 << 20;

/// 14: many calls leave nothing in memory.
pub(super) async fn calls(subject: &Subject) -> Verdict {
    let runner = match subject.open().await {
        Ok(runner) => runner,
        Err(why) => return Verdict::Wrong(why),
    };
    // The first ones fill what is kept for good.
    let first = many(subject, &runner, 300).await;
    let before = runner.pid().and_then(platform::memory);
    let rest = many(subject, &runner, 1000).await;
    let after = runner.pid().and_then(platform::memory);
    runner.end().await;
    if let Err(why) = first.and(rest) {
        return Verdict::Wrong(why);
    }
    let (Some(before), Some(after)) = (before, after) else {
        return Verdict::Skipped("this system does not tell how much memory a process has".into());
    };
    let grown = after.saturating_sub(before);
    if grown > GROWTH {
        return Verdict::Wrong(format!("its process grew by {} KiB, from {} KiB", grown >> 10, before >> 10));
    }
    Verdict::Good(format!("its process grew by {} KiB, from {} KiB", grown >> 10, before >> 10))
}

async fn many(subject: &Subject, runner: &Runner, count: usize) -> Result<(), String> {
    let options = subject.options();
    for _ in 0..count {
        match validate(runner, &options).await {
            // An executor with options that must be given is asked about none where there is no job.
            Ok(()) | Err(Failure::Invalid(_)) => {}
            Err(failure) => return Err(failure.to_string()),
        }
    }
    Ok(())
}

/// 15: it works with the first jobmgr, and with one that can do more than today's.
pub(super) async fn tables(subject: &Subject, about: &Loaded, reference: Option<&Reference>) -> Verdict {
    for (shown, what) in [("first", "the first jobmgr's table"), ("larger", "a table with unknown fields")] {
        let wrong = |why: String| Verdict::Wrong(format!("with {what}: {why}"));
        let runner = match subject.open_as(Some(shown)).await {
            Ok(runner) => runner,
            Err(why) => return wrong(why),
        };
        if let Err(why) = many(subject, &runner, 1).await {
            return wrong(why);
        }
        if let (Some(reference), Ok(job)) = (reference, subject.job()) {
            let (heard, result) = run(subject, &runner, Work::Run, &job).await;
            drop(tidy(subject, about, &job, heard.handle.clone()).await);
            let differs = match result {
                Ok(outcome) => reference.differs(&heard.stdout, &heard.stderr, &outcome),
                Err(why) => Some(why),
            };
            if let Some(why) = differs {
                return wrong(why);
            }
        }
        runner.end().await;
    }
    Verdict::Good("both work".into())
}
