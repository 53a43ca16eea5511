//! What `Clustered` makes of a system that runs jobs elsewhere.

#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

/// The system.
mod memory;
/// Stops, and what comes after a death.
mod stops;
/// Systems that do not answer.
mod trouble;

use std::sync::Arc;
use std::thread;

use jobmgr_plugin_api::abi::{CAP_CLEANUP, CAP_CONCURRENT, CAP_RECOVER};
use jobmgr_plugin_api::clustered::{Clustered, Poll};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Event, Executor, Outcome, export, export_executor};

use memory::{Memory, job};

export_executor!(Clustered<Memory>, recover, concurrent);

#[test]
fn it_is_a_whole_executor() {
    let table = export::recovering::<Clustered<Memory>>(CAP_CONCURRENT);
    assert_eq!(table.capabilities, CAP_RECOVER | CAP_CLEANUP | CAP_CONCURRENT);
    assert!(table.run.is_some() && table.recover.is_some() && table.cleanup.is_some());
}

#[test]
fn a_job_is_submitted_followed_and_its_output_is_whole() {
    let (memory, host) = (Memory::default(), Host::default());
    let executor = memory.executor();
    let outcome = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job("a"), &host.context()));
        memory.until("queued and told", |_| !host.events().is_empty());
        let mut state = memory.state();
        state.job("a").state = Poll::Running;
        state.job("a").output = [b"one\n".to_vec(), b"warning\n".to_vec()];
        drop(state);
        memory.until("the output is live", |_| host.stdout() == b"one\n" && host.stderr() == b"warning\n");
        // The last words come with the end.
        let mut state = memory.state();
        state.job("a").output[0].extend_from_slice(b"two\n");
        state.job("a").state = Poll::Ended(Outcome::exited(7));
        drop(state);
        run.join().unwrap().unwrap()
    });
    assert_eq!(outcome, Outcome::exited(7));
    assert_eq!(host.stdout(), b"one\ntwo\n");
    assert_eq!(host.checkpoints(), [br#""a""#]);
    let progress = |message: &str| Event::Progress { percent: 0.0, message: message.into() };
    assert_eq!(host.events(), [progress("queued: Priority"), progress("running")]);
    assert_eq!(memory.state().calls[..2], ["find", "submit"], "it is looked for first");
}

#[test]
fn one_question_is_for_all_jobs() {
    const JOBS: usize = 50;
    let memory = Memory::default();
    let executor = Arc::new(memory.executor());
    let run = |number: usize| {
        let executor = Arc::clone(&executor);
        thread::spawn(move || {
            let host = Host::default();
            let outcome = executor.run(&job(&format!("job-{number}")), &host.context()).unwrap();
            (outcome, host.stdout())
        })
    };
    let jobs: Vec<_> = (0..JOBS).map(run).collect();
    memory.until("a question about all", |state| state.polls.last().is_some_and(|(count, _)| *count == JOBS));
    memory.state().polls.clear();
    memory.until("more questions", |state| state.polls.len() >= 5);
    assert!(memory.state().polls.iter().all(|(count, _)| *count == JOBS), "{:?}", memory.state().polls);

    for (number, remote) in memory.state().jobs.values_mut().enumerate() {
        remote.output[0] = b"done\n".to_vec();
        remote.state = Poll::Ended(Outcome::exited(number as i32));
    }
    for job in jobs {
        let (outcome, stdout) = job.join().unwrap();
        assert!(outcome.exit_code.is_some() && stdout == b"done\n");
    }
    let state = memory.state();
    assert!(state.polls.iter().all(|(_, thread)| *thread == state.polls[0].1), "one thread asks");
}

#[test]
fn nobody_asks_about_jobs_that_have_ended() {
    let (memory, host) = (Memory::default(), Host::default());
    let executor = memory.executor();
    thread::scope(|scope| {
        let run = |key| {
            let (executor, host) = (&executor, &host);
            scope.spawn(move || executor.run(&job(key), &host.context()).unwrap())
        };
        let (first, second) = (run("first"), run("second"));
        memory.until("both are asked about", |state| state.polls.last().is_some_and(|(count, _)| *count == 2));
        memory.state().job("first").state = Poll::Ended(Outcome::exited(0));
        first.join().unwrap();
        memory.state().polls.clear();
        memory.until("the rest goes on", |state| state.polls.len() >= 3);
        // One question may have been on its way.
        assert!(memory.state().polls[1..].iter().all(|(count, _)| *count == 1));
        memory.state().job("second").state = Poll::Ended(Outcome::exited(0));
        second.join().unwrap();
    });
    // The thread ends with it.
    drop(executor);
}
