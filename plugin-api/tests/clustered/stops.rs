use std::thread;

use jobmgr_plugin_api::clustered::Poll;
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Executor, Job, KillReason, Kind, Logged, NoOptions, Outcome, Recover, Result, Stop};

use crate::memory::{Memory, State, job};

/// Runs a job, and stops it when it is so.
fn run_until(
    memory: &Memory,
    job: &Job<NoOptions>,
    why: Stop,
    is_so: impl Fn(&mut State) -> bool,
) -> (Result<Outcome>, Host) {
    let (executor, host) = (memory.executor(), Host::default());
    let result = thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(job, &host.context()));
        memory.until("ready to stop", is_so);
        host.stop(why);
        run.join().unwrap()
    });
    (result, host)
}

fn is_polled(state: &mut State) -> bool {
    !state.polls.is_empty()
}

#[test]
fn a_cancelled_job_is_ended_there_and_its_own_words_are_kept() {
    for (why, reason) in [(Stop::Cancel, KillReason::Cancelled), (Stop::Timeout, KillReason::Timeout)] {
        let memory = Memory::default();
        let (result, _) = run_until(&memory, &job("a"), why, is_polled);
        let outcome = result.unwrap();
        assert_eq!(outcome.ending, Ending::Killed(reason));
        assert_eq!((outcome.exit_code, outcome.message.as_deref()), (Some(143), Some("it heard")));
        assert_eq!(memory.state().count("cancel"), 1);
        assert_eq!(memory.state().count("kill"), 0);
    }
}

#[test]
fn a_job_that_ignores_it_is_killed_after_its_grace() {
    let memory = Memory::default();
    memory.state().ignores_cancel = true;
    let mut job = job("a");
    job.limits.kill_grace_ms = 1_000;
    let (result, _) = run_until(&memory, &job, Stop::Cancel, is_polled);
    assert_eq!(result.unwrap().ending, Ending::Killed(KillReason::Cancelled));
    let state = memory.state();
    assert_eq!((state.count("cancel"), state.count("kill")), (1, 1));
    assert!(state.jobs.is_empty(), "it is not known any more, and so it is gone");
}

#[test]
fn what_is_stopped_before_it_began_is_not_submitted() {
    let memory = Memory::default();
    let (executor, host) = (memory.executor(), Host::default());
    host.stop(Stop::Cancel);
    let outcome = executor.run(&job("a"), &host.context()).unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Cancelled));
    assert!(memory.state().calls.is_empty());
}

#[test]
fn a_detached_job_goes_on_and_the_joined_output_is_whole() {
    for by_handle in [true, false] {
        let (memory, mut first) = (Memory::default(), job("a"));
        let (result, before) = run_until(&memory, &first, Stop::Detach, |state| {
            let Some(remote) = state.jobs.get_mut("a") else { return false };
            remote.state = Poll::Running;
            remote.output = [b"one\ntw".to_vec(), b"e1".to_vec()];
            state.count("logs") > 1
        });
        assert_eq!(result.unwrap_err().kind(), Kind::Stopped);
        assert_eq!(memory.state().count("cancel"), 0, "it was left alone");

        let mut state = memory.state();
        state.job("a").output[0].extend_from_slice(b"o\nthree\n");
        state.job("a").output[1].extend_from_slice(b"e2");
        state.job("a").state = Poll::Ended(Outcome::exited(3));
        drop(state);
        first.logged = [Logged::bytes(before.stdout().len() as u64), Logged::bytes(before.stderr().len() as u64)];
        let (executor, after) = (memory.executor(), Host::default());
        let handle = before.checkpoints().pop().unwrap();
        let handle = by_handle.then_some(handle.as_slice());
        assert_eq!(executor.recover(&first, handle, &after.context()).unwrap(), Outcome::exited(3));
        assert_eq!([before.stdout(), after.stdout()].concat(), b"one\ntwo\nthree\n");
        assert_eq!([before.stderr(), after.stderr()].concat(), b"e1e2");
        assert_eq!(memory.state().count("submit"), 1);
        assert_eq!(after.checkpoints().len(), usize::from(!by_handle), "a handle that was found is kept");
    }
}

#[test]
fn what_never_began_may_be_run_and_a_strange_handle_is_lost() {
    let (memory, host) = (Memory::default(), Host::default());
    let executor = memory.executor();
    let error = executor.recover(&job("a"), None, &host.context()).unwrap_err();
    assert_eq!(error.kind(), Kind::NeverStarted);
    let error = executor.recover(&job("a"), Some(b"{5"), &host.context()).unwrap_err();
    assert_eq!(error.kind(), Kind::Lost);
    assert!(error.to_string().starts_with("'{5' is no handle of the executor 'memory'"), "{error}");
}

#[test]
fn cleanup_may_be_called_twice_with_a_handle_and_without() {
    let (memory, host) = (Memory::default(), Host::default());
    let (result, before) = run_until(&memory, &job("a"), Stop::Detach, is_polled);
    result.unwrap_err();
    let executor = memory.executor();
    executor.cleanup(&job("a"), None, &host.context()).unwrap();
    assert!(memory.state().jobs.is_empty());
    executor.cleanup(&job("a"), None, &host.context()).unwrap();
    executor.cleanup(&job("a"), before.checkpoints().last().map(Vec::as_slice), &host.context()).unwrap();
    assert_eq!(memory.state().count("cleanup"), 3);
}
