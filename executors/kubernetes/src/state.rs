use jobmgr_plugin_api::{KillReason, Outcome, Poll};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use serde_json::json;

use crate::manifest::CONTAINER;

/// What Kubernetes says of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// This.
    Is(Poll),
    /// For now this; where it stays so for long, that is the end.
    Stuck(Poll, Outcome),
}

/// Reasons for which a container does not start, and may yet.
const STUCK: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];
/// Reasons for which it never will.
const HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];
/// Reasons of an end that is none of the program's.
const NOT_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// What a Job and its pod mean; `is_ours`: jobmgr has deleted the Job.
pub fn seen(job: Option<&Job>, pod: Option<&Pod>, is_ours: bool) -> Seen {
    let Some(pod) = pod else {
        return Seen::Is(job.map_or(Poll::Unknown, without_pod));
    };
    if let Some(ended) = terminated(pod, CONTAINER) {
        let is_deleted = !is_ours && is_being_deleted(job, pod);
        return Seen::Is(Poll::Ended(detailed(pod, ended.reason.as_deref(), by_container(pod, ended, is_deleted))));
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if phase == "Failed" || phase == "Succeeded" {
        return Seen::Is(Poll::Ended(detailed(pod, None, without_container(pod, phase))));
    }
    if disruption(pod).is_some_and(|(reason, _)| reason == "DeletionByTaintManager") {
        let text = "Kubernetes: its node does not answer any more";
        let end = Outcome::killed(KillReason::NodeLost).with_message(text);
        return Seen::Stuck(Poll::Running, detailed(pod, None, end));
    }
    if state(pod, CONTAINER).is_some_and(|state| state.running.is_some()) {
        return Seen::Is(Poll::Running);
    }
    waiting(pod)
}

/// The pod waits: in the queue, for its image, for a volume.
fn waiting(pod: &Pod) -> Seen {
    for status in containers(pod) {
        let Some(waiting) = status.state.as_ref().and_then(|state| state.waiting.as_ref()) else { continue };
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let words = match waiting.message.as_deref() {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        };
        let end = || {
            let text = format!("Kubernetes can't start the container '{}': {words}", status.name);
            detailed(pod, Some(reason), Outcome::killed(KillReason::Other).with_message(text))
        };
        if HOPELESS.contains(&reason) {
            return Seen::Is(Poll::Ended(end()));
        }
        if STUCK.contains(&reason) {
            return Seen::Stuck(Poll::Queued(words.clone()), end());
        }
    }
    Seen::Is(Poll::Queued(why_waiting(pod)))
}

fn why_waiting(pod: &Pod) -> String {
    let scheduled = condition(pod, "PodScheduled").filter(|(status, ..)| *status == "False");
    if let Some((_, reason, message)) = scheduled {
        return if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    }
    let waiting = state(pod, CONTAINER).and_then(|state| state.waiting.as_ref()?.reason.clone());
    waiting.unwrap_or_else(|| "Pending".into())
}

/// What the Job says by itself.
fn without_pod(job: &Job) -> Poll {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let holds = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True");
    if holds("Complete").is_some() {
        return Poll::Ended(Outcome::exited(0).with_message("Kubernetes: its pod is gone"));
    }
    if let Some(failed) = holds("Failed") {
        let (reason, message) = (failed.reason.as_deref().unwrap_or_default(), failed.message.as_deref());
        let why = if reason == "DeadlineExceeded" { KillReason::Timeout } else { KillReason::Other };
        let text = format!("Kubernetes: {reason}: {}; its pod is gone", message.unwrap_or_default());
        let mut outcome = Outcome::killed(why).with_message(text);
        outcome.detail = json!({"kubernetes": {"reason": reason}});
        return Poll::Ended(outcome);
    }
    let is_suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default();
    Poll::Queued(if is_suspended { "Suspended" } else { "no pod yet" }.into())
}

/// The container has ended, by itself or not.
fn by_container(pod: &Pod, ended: &ContainerStateTerminated, is_deleted: bool) -> Outcome {
    let reason = ended.reason.as_deref().unwrap_or_default();
    let own = match ended.signal {
        Some(signal) if signal > 0 => Outcome::signaled(signal),
        _ => Outcome::exited(ended.exit_code),
    };
    let mut outcome = if reason == "OOMKilled" {
        let text = "Kubernetes: OOMKilled: it needed more memory than its limit";
        Outcome::killed(KillReason::OutOfMemory).with_message(text)
    } else if NOT_STARTED.contains(&reason) {
        let words = ended.message.as_deref().unwrap_or_default();
        Outcome::killed(KillReason::Other).with_message(format!("Kubernetes: {reason}: {words}"))
    } else if ended.exit_code == 0 {
        return own;
    } else if let Some(outcome) = by_system(pod) {
        outcome
    } else if is_deleted {
        let text = "Kubernetes: its Job or pod was deleted, not by jobmgr";
        Outcome::killed(KillReason::Cancelled).with_message(text)
    } else {
        return own;
    };
    (outcome.exit_code, outcome.signal) = (own.exit_code, own.signal);
    outcome
}

/// The pod has ended, and nothing is known of its container.
fn without_container(pod: &Pod, phase: &str) -> Outcome {
    if phase == "Succeeded" {
        return Outcome::exited(0);
    }
    if let Some(outcome) = by_system(pod) {
        return outcome;
    }
    let init = pod.status.as_ref().and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    for status in init {
        let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        if let Some(ended) = ended.filter(|ended| ended.exit_code != 0) {
            let words = ended.message.as_deref().unwrap_or_default();
            let text = format!("Kubernetes: the init container '{}' exited with {}", status.name, ended.exit_code);
            let text = format!("{text}: {words}");
            return Outcome::killed(KillReason::Other).with_message(text.trim_end_matches(": "));
        }
    }
    let (reason, message) = reason(pod);
    Outcome::killed(KillReason::Other).with_message(format!("Kubernetes: the pod failed: {reason}: {message}"))
}

/// An end that Kubernetes itself brought about.
fn by_system(pod: &Pod) -> Option<Outcome> {
    let (reason, message) = reason(pod);
    let why = match reason {
        "DeadlineExceeded" => Some(KillReason::Timeout),
        "Evicted" | "Preempting" => Some(KillReason::Preempted),
        "NodeLost" | "NodeShutdown" | "Shutdown" | "Terminated" => Some(KillReason::NodeLost),
        _ => None,
    };
    if let Some(why) = why {
        return Some(Outcome::killed(why).with_message(format!("Kubernetes: {reason}: {message}")));
    }
    let (reason, message) = disruption(pod)?;
    let why = match reason {
        "DeletionByTaintManager" | "DeletionByPodGC" => KillReason::NodeLost,
        _ => KillReason::Preempted,
    };
    Some(Outcome::killed(why).with_message(format!("Kubernetes: {reason}: {message}")))
}

fn reason(pod: &Pod) -> (&str, &str) {
    let status = pod.status.as_ref();
    (
        status.and_then(|status| status.reason.as_deref()).unwrap_or_default(),
        status.and_then(|status| status.message.as_deref()).unwrap_or_default().trim(),
    )
}

/// Why Kubernetes takes the pod away, with its words.
fn disruption(pod: &Pod) -> Option<(&str, &str)> {
    let (_, reason, message) = condition(pod, "DisruptionTarget").filter(|(status, ..)| *status == "True")?;
    Some((reason, message))
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)?;
    let (reason, message) = (condition.reason.as_deref(), condition.message.as_deref());
    Some((&condition.status, reason.unwrap_or_default(), message.unwrap_or_default()))
}

fn is_being_deleted(job: Option<&Job>, pod: &Pod) -> bool {
    let job = job.is_none_or(|job| job.metadata.deletion_timestamp.is_some());
    job || pod.metadata.deletion_timestamp.is_some()
}

/// The statuses of all containers, those that come first first.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    init.iter().chain(status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default())
}

fn state<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerState> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == name)?.state.as_ref()
}

fn terminated<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStateTerminated> {
    state(pod, name)?.terminated.as_ref()
}

/// What the job left in `$JOBMGR_OUTPUT`, where its container ended by itself.
pub fn message(pod: &Pod) -> Option<&str> {
    let ended = terminated(pod, CONTAINER)?;
    let is_theirs = !ended.reason.as_deref().is_some_and(|reason| NOT_STARTED.contains(&reason));
    ended.message.as_deref().filter(|message| is_theirs && !message.is_empty())
}

fn detailed(pod: &Pod, reason: Option<&str>, mut outcome: Outcome) -> Outcome {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let namespace = pod.metadata.namespace.as_deref();
    outcome.detail = json!({"kubernetes": {
        "namespace": namespace, "pod": pod.metadata.name, "node": node, "reason": reason,
    }});
    outcome
}

#[cfg(test)]
mod tests;
