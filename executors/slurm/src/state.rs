use jobmgr_plugin_api::serde_json::json;
use jobmgr_plugin_api::{Ending, KillReason, Outcome, Poll};

use crate::folder::Exit;

/// What Slurm says of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Such as `RUNNING` or `NODE_FAIL`.
    pub state: String,
    /// As from wait(2).
    pub status: Option<i32>,
    /// Why it waits, or why it ended.
    pub reason: String,
    /// Where it runs or ran.
    pub nodes: String,
}

/// What the record means, with what the script left about its end.
pub fn poll(id: u64, record: &Record, exit: Option<Exit>) -> Poll {
    let outcome = match record.state.as_str() {
        "PENDING" => return Poll::Queued(record.reason.clone()),
        state @ ("CONFIGURING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "RESV_DEL_HOLD" | "SPECIAL_EXIT") => {
            return Poll::Queued(state.to_owned());
        }
        "COMPLETED" | "FAILED" => by_itself(record, exit),
        state => match killed(state) {
            // A node may fail, or a restarted controller give up, what has ended well already.
            Some((why, _)) if why != KillReason::OutOfMemory && exit.as_ref().is_some_and(was_over) => {
                by_itself(record, exit)
            }
            Some((why, text)) => from_outside(why, format!("Slurm: {state} ({text})"), exit),
            // RUNNING, SUSPENDED, COMPLETING, STAGE_OUT, and what later versions may have.
            None => return Poll::Running,
        },
    };
    Poll::Ended(detailed(id, record, outcome))
}

fn was_over(exit: &Exit) -> bool {
    !exit.was_stopped && matches!(exit.outcome.ending, Ending::Exited(_))
}

fn from_outside(why: KillReason, message: String, exit: Option<Exit>) -> Outcome {
    let mut outcome = Outcome::killed(why).with_message(message);
    if let Some(Exit { outcome: own, .. }) = exit {
        (outcome.exit_code, outcome.signal) = (own.exit_code, own.signal);
    }
    outcome
}

fn killed(state: &str) -> Option<(KillReason, &'static str)> {
    Some(match state {
        "CANCELLED" => (KillReason::Cancelled, "ended with scancel, not by jobmgr"),
        "TIMEOUT" => (KillReason::Timeout, "it ran longer than Slurm lets it: --time, or the partition's limit"),
        "DEADLINE" => (KillReason::Timeout, "its --deadline is over"),
        "OUT_OF_MEMORY" => (KillReason::OutOfMemory, "it needed more memory than --mem gives it"),
        "PREEMPTED" => (KillReason::Preempted, "another job got its place"),
        "NODE_FAIL" => (KillReason::NodeLost, "a node failed under it"),
        "BOOT_FAIL" => (KillReason::NodeLost, "its node did not boot"),
        "REVOKED" => (KillReason::Other, "it runs on another cluster of the federation"),
        _ => return None,
    })
}

/// The script knows best how the command ended; without its word there is only Slurm's.
fn by_itself(record: &Record, exit: Option<Exit>) -> Outcome {
    let status = record.status.unwrap_or_default();
    match (exit, status & 0x7f, status >> 8 & 0xff) {
        (Some(exit), _, _) => exit.outcome,
        (None, 0, code) if record.state == "COMPLETED" || code != 0 => Outcome::exited(code),
        // It ran, and something killed all of it.
        (None, signal, _) if signal > 1 => Outcome::signaled(signal),
        _ => Outcome::killed(KillReason::Other)
            .with_message(format!("Slurm: {} ({}): it never began", record.state, record.reason)),
    }
}

fn detailed(id: u64, record: &Record, mut outcome: Outcome) -> Outcome {
    let reason = (record.reason != "None").then_some(&record.reason);
    outcome.detail = json!({"slurm": {"job": id, "state": record.state, "reason": reason, "nodes": record.nodes}});
    outcome
}

#[cfg(test)]
mod tests {
    use jobmgr_plugin_api::{Ending, KillReason, Outcome, Poll};

    use super::{Exit, Record, poll};

    fn ended(state: &str, status: i32, exit: Option<Outcome>) -> Outcome {
        let exit = exit.map(|outcome| Exit { outcome, was_stopped: false });
        let record = Record { state: state.into(), status: Some(status), reason: "None".into(), nodes: "n1".into() };
        match poll(5, &record, exit) {
            Poll::Ended(outcome) => outcome,
            other => panic!("{state}: {other:?}"),
        }
    }

    #[test]
    fn the_kinds_of_end_are_told_apart() {
        let cases = [
            ("CANCELLED", KillReason::Cancelled),
            ("TIMEOUT", KillReason::Timeout),
            ("DEADLINE", KillReason::Timeout),
            ("OUT_OF_MEMORY", KillReason::OutOfMemory),
            ("PREEMPTED", KillReason::Preempted),
            ("NODE_FAIL", KillReason::NodeLost),
            ("BOOT_FAIL", KillReason::NodeLost),
        ];
        for (state, why) in cases {
            let outcome = ended(state, 15, Some(Outcome::signaled(15)));
            assert_eq!((outcome.ending, outcome.signal), (Ending::Killed(why), Some(15)), "{state}");
            assert!(outcome.message.unwrap().starts_with(&format!("Slurm: {state} (")));
            assert_eq!(outcome.detail["slurm"]["state"], state);
        }
    }

    #[test]
    fn the_scripts_word_counts_and_slurms_where_there_is_none() {
        assert_eq!(ended("FAILED", 137 << 8, Some(Outcome::signaled(9))).ending, Ending::Signaled(9));
        assert_eq!(ended("FAILED", 5 << 8, None).ending, Ending::Exited(5));
        assert_eq!(ended("FAILED", 9, None).ending, Ending::Signaled(9));
        assert_eq!(ended("COMPLETED", 0, None).ending, Ending::Exited(0));
        assert_eq!(ended("FAILED", 1, None).ending, Ending::Killed(KillReason::Other));
    }

    #[test]
    fn what_had_ended_by_itself_stays_so() {
        for state in ["CANCELLED", "NODE_FAIL", "PREEMPTED", "TIMEOUT"] {
            assert_eq!(ended(state, 15, Some(Outcome::exited(3))).ending, Ending::Exited(3), "{state}");
            let record = Record { state: state.into(), status: None, reason: "None".into(), nodes: String::new() };
            let stopped = Exit { outcome: Outcome::exited(3), was_stopped: true };
            let Poll::Ended(outcome) = poll(5, &record, Some(stopped)) else { panic!("{state}") };
            assert!(matches!(outcome.ending, Ending::Killed(_)) && outcome.exit_code == Some(3), "{state}");
        }
        let outcome = ended("OUT_OF_MEMORY", 0, Some(Outcome::exited(1)));
        assert_eq!(outcome.ending, Ending::Killed(KillReason::OutOfMemory));
    }

    #[test]
    fn what_has_not_ended_waits_or_runs() {
        let at = |state: &str| {
            let record =
                Record { state: state.into(), status: Some(0), reason: "Resources".into(), nodes: String::new() };
            poll(5, &record, None)
        };
        assert_eq!(at("PENDING"), Poll::Queued("Resources".into()));
        assert_eq!(at("REQUEUE_HOLD"), Poll::Queued("REQUEUE_HOLD".into()));
        for state in ["RUNNING", "COMPLETING", "SUSPENDED", "SOMETHING_NEW"] {
            assert_eq!(at(state), Poll::Running, "{state}");
        }
    }
}
