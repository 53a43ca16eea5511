use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Event, Executor, KillReason, Kind, Stop};
use serde_json::json;

use crate::server::Server;
use crate::{StopOnPanic, created, executor, job, run};

#[test]
fn a_cancelled_job_is_deleted_and_its_exit_is_known() {
    for (why, reason) in [(Stop::Cancel, KillReason::Cancelled), (Stop::Timeout, KillReason::Timeout)] {
        let server = Server::start();
        let (result, host) = run(&server, &job("k"), |host| {
            created(&server, "k");
            server.objects().run("k");
            server.objects().print("k", 1, "last words");
            server.until("it runs", |_| !host.stdout().is_empty());
            host.stop(why);
        });
        let outcome = result.unwrap();
        assert_eq!((outcome.ending, outcome.exit_code), (Ending::Killed(reason), Some(143)));
        assert_eq!(outcome.message, None, "it was jobmgr who deleted it");
        assert_eq!(host.stdout(), b"last words\n");
        assert_eq!(server.objects().count("DELETE pods"), 0);
    }
}

#[test]
fn a_job_that_does_not_listen_is_killed_after_its_grace() {
    let server = Server::start();
    server.objects().are_stubborn = true;
    let mut job = job("k");
    job.limits.kill_grace_ms = 300;
    let (result, _) = run(&server, &job, |host| {
        created(&server, "k");
        server.objects().run("k");
        server.until("it is seen", |objects| objects.count("GET pods/log") > 0);
        host.stop(Stop::Cancel);
    });
    let outcome = result.unwrap();
    assert_eq!((outcome.ending, outcome.exit_code), (Ending::Killed(KillReason::Cancelled), Some(137)));
    assert!(server.objects().count("DELETE pods") > 0);
}

#[test]
fn a_job_that_is_gone_at_once_is_cancelled_all_the_same() {
    let server = Server::start();
    server.objects().vanish = true;
    let (result, host) = run(&server, &job("k"), |host| {
        created(&server, "k");
        server.objects().run("k");
        server.objects().print("k", 1, "words");
        server.until("it runs", |_| !host.stdout().is_empty());
        host.stop(Stop::Cancel);
    });
    assert_eq!(result.unwrap().ending, Ending::Killed(KillReason::Cancelled));
    assert_eq!(host.stdout(), b"words\n");
}

#[test]
fn a_job_that_somebody_removed_is_lost() {
    let server = Server::start();
    let (result, _) = run(&server, &job("k"), |_| {
        created(&server, "k");
        server.objects().run("k");
        server.until("it is seen", |objects| objects.count("GET pods/log") > 0);
        server.objects().remove("k");
    });
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Lost);
    assert_eq!(error.to_string(), "kubernetes does not know the job 'k' any more");
}

#[test]
fn an_image_that_can_not_be_pulled_is_tried_for_a_while() {
    let server = Server::start();
    let state = |reason: &str| json!({"waiting": {"reason": reason, "message": "no such image"}});
    let (result, host) = run(&server, &job("k"), |_| {
        created(&server, "k");
        server.objects().container("k", "Pending", state("ErrImagePull"));
    });
    let outcome = result.unwrap();
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Other));
    let text = "Kubernetes can't start the container 'job': ErrImagePull: no such image";
    assert_eq!(outcome.message.as_deref(), Some(text));
    assert!(!host.events().is_empty(), "it was said before");
}

#[test]
fn an_image_that_comes_after_all_is_run() {
    let (server, host, job) = (Server::start(), Host::default(), job("k"));
    let config = json!({"Kubeconfig": server.kubeconfig(), "PollEvery": 0.05, "StartPatience": 3600});
    let executor = executor(config).unwrap();
    let outcome = std::thread::scope(|scope| {
        let run = scope.spawn(|| executor.run(&job, &host.context()));
        let _stop = StopOnPanic(&host);
        created(&server, "k");
        let state = json!({"waiting": {"reason": "ImagePullBackOff", "message": "busy"}});
        server.objects().container("k", "Pending", state);
        let queued = Event::Progress { percent: 0.0, message: "queued: ImagePullBackOff: busy".into() };
        server.until("it is told", |_| host.events().contains(&queued));
        server.objects().exit("k", 0);
        run.join().unwrap().unwrap()
    });
    assert_eq!(outcome.exit_code, Some(0));
}
