use std::thread;
use std::time::{Duration, Instant};

use jobmgr_plugin_api::clustered::Poll;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{
    Context, Ending, Error, Event, Executor, KillReason, Kind, OnStop, Outcome, Recover, Result, Stop, Stream,
};

use crate::memory::{Memory, UNSEEN, down, job};

/// A host that keeps no handles.
#[derive(Default)]
struct Full(Host);

impl jobmgr_plugin_api::Host for Full {
    fn log(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()> {
        self.0.log(stream, time_ns, data)
    }
    fn event(&self, event: Event) {
        self.0.event(event);
    }
    fn checkpoint(&self, _handle: &[u8]) -> Result<()> {
        Err(Error::stopped())
    }
    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        self.0.wait_stop(limit)
    }
    fn on_stop(&self, call: OnStop) -> u64 {
        self.0.on_stop(call)
    }
    fn no_stop(&self, id: u64) {
        self.0.no_stop(id);
    }
    fn request(&self, method: &str, json: &serde_json::Value) -> Result<serde_json::Value> {
        self.0.request(method, json)
    }
}

#[test]
fn a_death_between_submit_and_checkpoint_starts_nothing_twice() {
    let memory = Memory::default();
    let full = Full::default();
    let error = memory.executor().run(&job("a"), &Context::new(&full)).unwrap_err();
    assert_eq!(error.kind(), Kind::Stopped);
    assert_eq!(memory.state().count("poll"), 0, "a job is followed when its handle is kept");

    memory.state().job("a").state = Poll::Ended(Outcome::exited(0));
    let host = Host::default();
    assert_eq!(memory.executor().recover(&job("a"), None, &host.context()).unwrap(), Outcome::exited(0));
    // Where the server believes that it never began.
    assert_eq!(memory.executor().run(&job("a"), &host.context()).unwrap(), Outcome::exited(0));
    assert_eq!(memory.state().count("submit"), 1);
}

#[test]
fn the_lost_answer_of_a_submission_is_looked_for() {
    let (memory, host) = (Memory::default(), Host::default());
    memory.state().broken.insert("submit", Error::lost("timed out"));
    let error = memory.executor().run(&job("a"), &host.context()).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Retry, "timed out".into()), "it was not taken");

    memory.state().loses_answers = true;
    let executor = memory.executor();
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job("a"), &host.context()));
        memory.until("followed", |state| !state.polls.is_empty());
        memory.state().job("a").state = Poll::Ended(Outcome::exited(0));
        run.join().unwrap()
    });
    assert_eq!(outcome.unwrap(), Outcome::exited(0));
    assert_eq!(memory.state().count("submit"), 2);
}

#[test]
fn what_the_system_refuses_is_said_as_it_says_it() {
    let (memory, host) = (Memory::default(), Host::default());
    memory.state().broken.insert("submit", Error::invalid("no such partition"));
    let error = memory.executor().run(&job("a"), &host.context()).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Invalid, "no such partition".into()));
    assert!(host.checkpoints().is_empty());
}

#[test]
fn a_job_that_is_not_seen_for_a_while_is_not_lost() {
    let (memory, host) = (Memory::default(), Host::default());
    memory.state().forgets = true;
    let executor = memory.executor();
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job("a"), &host.context()));
        memory.until("followed", |state| !state.polls.is_empty());
        let forgotten = memory.state().jobs.remove("a").unwrap();
        memory.state().polls.clear();
        memory.until("asked without an answer", |state| state.polls.len() > 3);
        memory.state().jobs.insert("a".into(), forgotten);
        memory.state().job("a").state = Poll::Ended(Outcome::exited(0));
        run.join().unwrap()
    });
    assert_eq!(result.unwrap(), Outcome::exited(0));
}

#[test]
fn a_job_that_is_never_seen_again_is_lost() {
    let (memory, host) = (Memory::default(), Host::default());
    let begun = Instant::now();
    let error = memory.executor().recover(&job("gone"), Some(br#""gone""#), &host.context()).unwrap_err();
    assert_eq!(error.kind(), Kind::Lost);
    assert_eq!(error.to_string(), "memory does not know the job 'gone' any more");
    assert!(begun.elapsed() >= UNSEEN);
}

#[test]
fn no_answer_is_no_end() {
    for panics in [false, true] {
        let (memory, host) = (Memory::default(), Host::default());
        let executor = memory.executor();
        let result = thread::scope(|scope| {
            let run = scope.spawn(|| executor.run(&job("a"), &host.context()));
            memory.until("followed", |state| !state.polls.is_empty());
            match panics {
                true => memory.state().panics = true,
                false => drop(memory.state().broken.insert("poll", down())),
            }
            // Longer than a job may be unknown to a system that answers.
            let until = Instant::now() + UNSEEN * 2;
            memory.until("long without an answer", |_| Instant::now() > until);
            let mut state = memory.state();
            state.job("a").state = Poll::Ended(Outcome::exited(0));
            state.panics = false;
            state.broken.clear();
            drop(state);
            run.join().unwrap()
        });
        assert_eq!(result.unwrap(), Outcome::exited(0));
        let said = String::from_utf8(host.executor_log()).unwrap();
        let why = if panics { "asking for the jobs panicked" } else { "connection refused" };
        assert!(said.contains(&format!("\nmemory does not answer: {why}\n")), "{said}");
        assert_eq!(said.matches("does not answer").count(), 1, "{said}");
    }
}

#[test]
fn a_cancel_that_fails_is_tried_again() {
    let (memory, host) = (Memory::default(), Host::default());
    memory.state().broken.insert("cancel", down());
    let executor = memory.executor();
    let mut job = job("a");
    job.limits.kill_grace_ms = 60_000;
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job, &host.context()));
        memory.until("followed", |state| !state.polls.is_empty());
        host.stop(Stop::Cancel);
        memory.until("refused", |state| state.count("cancel") > 0);
        memory.state().broken.clear();
        run.join().unwrap()
    });
    assert_eq!(result.unwrap().ending, Ending::Killed(KillReason::Cancelled));
    assert_eq!(memory.state().count("kill"), 0);
    let said = String::from_utf8(host.executor_log()).unwrap();
    assert_eq!(said.matches("ending the job: connection refused\n").count(), 1, "{said}");
}

#[test]
fn recovery_waits_for_a_system_that_is_down() {
    let (memory, host) = (Memory::default(), Host::default());
    memory.state().broken.insert("find", down());
    let executor = memory.executor();
    let error = thread::scope(|scope| {
        let recover = scope.spawn(|| executor.recover(&job("a"), None, &host.context()));
        memory.until("asked twice", |state| state.count("find") >= 2);
        memory.state().broken.clear();
        recover.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), Kind::NeverStarted);
}

#[test]
fn output_that_can_not_be_read_now_is_read_later() {
    let (memory, host) = (Memory::default(), Host::default());
    memory.state().broken.insert("logs", down());
    memory.state().broken.insert("collect", down());
    let executor = memory.executor();
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job("a"), &host.context()));
        memory.until("followed", |state| !state.polls.is_empty());
        memory.state().job("a").output[0] = b"late\n".to_vec();
        memory.state().job("a").state = Poll::Ended(Outcome::exited(0));
        memory.until("tried", |state| state.count("logs") >= 2);
        assert_eq!(memory.state().count("collect"), 0, "the output comes first");
        memory.state().broken.remove("logs");
        memory.until("the rest is tried", |state| state.count("collect") >= 2);
        memory.state().broken.clear();
        run.join().unwrap()
    });
    assert_eq!(result.unwrap(), Outcome::exited(0));
    assert_eq!(host.stdout(), b"late\n");
    assert!(host.events().iter().all(|event| !matches!(event, Event::Warning(_))));
}
