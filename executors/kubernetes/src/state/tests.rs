#![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

use jobmgr_plugin_api::{Ending, KillReason, Outcome, Poll};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Seen, message, seen};

fn pod(status: Value) -> Pod {
    let metadata = json!({"name": "p", "namespace": "n"});
    serde_json::from_value(
        json!({"metadata": metadata, "spec": {"nodeName": "n1", "containers": []}, "status": status}),
    )
    .unwrap()
}

fn job(status: Value) -> Job {
    serde_json::from_value(json!({"metadata": {"name": "j"}, "status": status})).unwrap()
}

fn container(state: Value) -> Value {
    json!([{"name": "job", "state": state, "image": "i", "imageID": "", "ready": false, "restartCount": 0}])
}

fn terminated(phase: &str, state: Value) -> Value {
    json!({"phase": phase, "containerStatuses": container(json!({"terminated": state}))})
}

fn waiting(reason: &str, message: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    json!({"phase": "Pending", "containerStatuses": container(state)})
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!([{"type": kind, "status": status, "reason": reason, "message": message}])
}

fn ended(pod: &Pod) -> Outcome {
    match seen(Some(&job(json!({}))), Some(pod), false) {
        Seen::Is(Poll::Ended(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_container_says_how_it_ended() {
    let cases = [
        (json!({"exitCode": 0, "reason": "Completed"}), Ending::Exited(0)),
        (json!({"exitCode": 3, "reason": "Error"}), Ending::Exited(3)),
        // Whether a signal or `exit 137` was it is nowhere to be had.
        (json!({"exitCode": 137, "reason": "Error"}), Ending::Exited(137)),
        (json!({"exitCode": 139, "signal": 11, "reason": "Error"}), Ending::Signaled(11)),
        (json!({"exitCode": 137, "reason": "OOMKilled"}), Ending::Killed(KillReason::OutOfMemory)),
        (
            json!({"exitCode": 128, "reason": "StartError", "message": "no such file"}),
            Ending::Killed(KillReason::Other),
        ),
    ];
    for (state, want) in cases {
        let outcome = ended(&pod(terminated("Failed", state.clone())));
        assert_eq!(outcome.ending, want, "{state}");
        assert_eq!(outcome.detail["kubernetes"]["node"], "n1");
    }
    let outcome = ended(&pod(terminated("Failed", json!({"exitCode": 128, "reason": "StartError", "message": "why"}))));
    assert_eq!(outcome.message.as_deref(), Some("Kubernetes: StartError: why"));
}

#[test]
fn ends_that_kubernetes_brings_about_are_told_apart() {
    let cases = [
        ("DeadlineExceeded", KillReason::Timeout),
        ("Evicted", KillReason::Preempted),
        ("NodeLost", KillReason::NodeLost),
        ("Terminated", KillReason::NodeLost),
    ];
    for (reason, why) in cases {
        for status in [json!({"phase": "Failed"}), terminated("Failed", json!({"exitCode": 143, "reason": "Error"}))] {
            let mut status = status;
            status["reason"] = reason.into();
            status["message"] = "the node was low on memory.".into();
            let outcome = ended(&pod(status));
            assert_eq!(outcome.ending, Ending::Killed(why), "{reason}");
            assert_eq!(outcome.message, Some(format!("Kubernetes: {reason}: the node was low on memory.")));
        }
    }
    let cases = [
        ("PreemptionByScheduler", KillReason::Preempted),
        ("EvictionByEvictionAPI", KillReason::Preempted),
        ("DeletionByTaintManager", KillReason::NodeLost),
        ("DeletionByPodGC", KillReason::NodeLost),
    ];
    for (reason, why) in cases {
        let mut status = terminated("Failed", json!({"exitCode": 143, "reason": "Error"}));
        status["conditions"] = condition("DisruptionTarget", "True", reason, "words");
        let outcome = ended(&pod(status));
        assert_eq!((outcome.ending, outcome.exit_code), (Ending::Killed(why), Some(143)), "{reason}");
        // It ended well before its time was over.
        let mut status = terminated("Succeeded", json!({"exitCode": 0, "reason": "Completed"}));
        status["conditions"] = condition("DisruptionTarget", "True", reason, "words");
        assert_eq!(ended(&pod(status)), with_detail(Outcome::exited(0)));
    }
}

fn with_detail(mut outcome: Outcome) -> Outcome {
    outcome.detail = json!({"kubernetes": {"namespace": "n", "pod": "p", "node": "n1", "reason": "Completed"}});
    outcome
}

#[test]
fn a_node_that_does_not_answer_is_waited_for() {
    let mut status = json!({"phase": "Running", "containerStatuses": container(json!({"running": {}}))});
    status["conditions"] = condition("DisruptionTarget", "True", "DeletionByTaintManager", "");
    match seen(None, Some(&pod(status)), false) {
        Seen::Stuck(Poll::Running, end) => assert_eq!(end.ending, Ending::Killed(KillReason::NodeLost)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_waits_says_why() {
    let queued = |status: Value| match seen(None, Some(&pod(status)), false) {
        Seen::Is(Poll::Queued(why)) => why,
        other => panic!("{other:?}"),
    };
    let mut status = json!({"phase": "Pending"});
    status["conditions"] = condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available.");
    assert_eq!(queued(status), "Unschedulable: 0/3 nodes are available.");
    assert_eq!(queued(waiting("ContainerCreating", "")), "ContainerCreating");
    assert_eq!(queued(json!({"phase": "Pending"})), "Pending");

    match seen(None, Some(&pod(waiting("ImagePullBackOff", "Back-off pulling image \"x\""))), false) {
        Seen::Stuck(Poll::Queued(why), end) => {
            assert_eq!(why, "ImagePullBackOff: Back-off pulling image \"x\"");
            let text = "Kubernetes can't start the container 'job': ImagePullBackOff: Back-off pulling image \"x\"";
            assert_eq!(end.message.as_deref(), Some(text));
        }
        other => panic!("{other:?}"),
    }
    let outcome = ended(&pod(waiting("InvalidImageName", "couldn't parse image reference")));
    assert_eq!(outcome.ending, Ending::Killed(KillReason::Other));
    assert!(outcome.message.unwrap().ends_with("couldn't parse image reference"));
}

#[test]
fn an_init_container_that_failed_is_named() {
    let mut status = json!({"phase": "Failed"});
    status["initContainerStatuses"] = container(json!({"terminated": {"exitCode": 2}}));
    status["initContainerStatuses"][0]["name"] = "fetch".into();
    let text = "Kubernetes: the init container 'fetch' exited with 2";
    assert_eq!(ended(&pod(status)).message.as_deref(), Some(text));
}

#[test]
fn without_a_pod_the_job_says_what_it_knows() {
    let of = |conditions: Value| seen(Some(&job(json!({ "conditions": conditions }))), None, false);
    assert_eq!(of(json!([])), Seen::Is(Poll::Queued("no pod yet".into())));
    let cases = [
        (condition("Complete", "True", "", ""), Ending::Exited(0)),
        (condition("Failed", "True", "DeadlineExceeded", "x"), Ending::Killed(KillReason::Timeout)),
        (condition("Failed", "True", "BackoffLimitExceeded", "x"), Ending::Killed(KillReason::Other)),
    ];
    for (conditions, want) in cases {
        match of(conditions) {
            Seen::Is(Poll::Ended(outcome)) => assert_eq!(outcome.ending, want),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen(None, None, false), Seen::Is(Poll::Unknown));
}

#[test]
fn a_job_that_somebody_deleted_was_not_ended_by_us() {
    let mut pod = pod(terminated("Failed", json!({"exitCode": 143, "reason": "Error"})));
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let outcome = ended(&pod);
    assert_eq!((outcome.ending, outcome.exit_code), (Ending::Killed(KillReason::Cancelled), Some(143)));
    assert_eq!(outcome.message.as_deref(), Some("Kubernetes: its Job or pod was deleted, not by jobmgr"));
    match seen(None, Some(&pod), true) {
        Seen::Is(Poll::Ended(outcome)) => assert_eq!((outcome.ending, outcome.message), (Ending::Exited(143), None)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_termination_message_is_the_jobs_unless_it_never_ran() {
    let of = |reason: &str| pod(terminated("Failed", json!({"exitCode": 1, "reason": reason, "message": "{}"})));
    assert_eq!(message(&of("Error")), Some("{}"));
    assert_eq!(message(&of("StartError")), None);
}
