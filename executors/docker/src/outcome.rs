//! How a container ended.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status};
use jobmgr_plugin_api::{KillReason, Outcome, Stop, serde_json};

use crate::stop;

/// Exit codes of containers whose process a signal ended that engines stop containers with: SIGTERM, SIGKILL.
const STOPPED: [i64; 2] = [143, 137];

/// What is known beside the container's state.
pub struct Circumstances {
    /// The stop whose signal the engine has passed on.
    pub signalled: Option<Stop>,
    /// The engine was away when it ended: whether its containers go on meanwhile, if it said so.
    pub away: Option<Option<bool>>,
}

/// Whether it has ended, or never will begin.
pub fn has_ended(found: &ContainerInspectResponse) -> bool {
    let state = found.state.as_ref();
    let ended = matches!(state.and_then(|state| state.status), Some(Status::EXITED | Status::DEAD | Status::REMOVING));
    // Podman has words that Docker has not.
    ended || (state.is_some_and(|state| state.running == Some(false)) && !is_new(found) && finished(state))
}

/// Whether it was made and not started.
pub fn is_new(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().is_some_and(|state| state.status == Some(Status::CREATED))
}

fn finished(state: Option<&ContainerState>) -> bool {
    state.and_then(|state| state.finished_at.as_ref()).is_some_and(|time| !time.starts_with("0001"))
}

/// Whether something killed it and it is not told that this was for the memory that it needed.
pub fn may_lack_its_cause(found: &ContainerInspectResponse) -> bool {
    found.state.as_ref().is_some_and(|state| state.exit_code == Some(137) && state.oom_killed != Some(true))
}

/// The outcome of one that has ended.
pub fn outcome(found: &ContainerInspectResponse, circumstances: &Circumstances) -> Outcome {
    let state = found.state.clone().unwrap_or_default();
    let code = state.exit_code.unwrap_or(-1);
    let mut outcome = judge(&state, code, circumstances);
    outcome.exit_code = i32::try_from(code).ok();
    outcome.detail = serde_json::json!({ "container": found.id, "state": state });
    outcome
}

fn judge(state: &ContainerState, code: i64, circumstances: &Circumstances) -> Outcome {
    if let Some(why) = circumstances.signalled {
        return Outcome::killed(stop::reason(why));
    }
    // The engine says it as well when a child of a process that then ended well was killed.
    if state.oom_killed == Some(true) && code != 0 {
        let text =
            format!("out of memory: the engine killed the container's process at its Memory limit (exit code {code})");
        return Outcome::killed(KillReason::OutOfMemory).with_message(text);
    }
    let exited = Outcome::exited(i32::try_from(code).unwrap_or(-1));
    match circumstances.away {
        Some(Some(false)) if STOPPED.contains(&code) => Outcome::killed(KillReason::NodeLost).with_message(format!(
            "the container was ended by a restart of the engine, which keeps none of its containers when it is restarted \
             (exit code {code}; Docker has `live-restore` against it)"
        )),
        Some(Some(false)) if code != 0 => exited.with_message(format!(
            "the container ended with exit code {code} while the engine was restarted, which asks its containers to end"
        )),
        _ => match state.error.as_ref().filter(|text| !text.is_empty()) {
            Some(text) => exited.with_message(text.clone()),
            None => exited,
        },
    }
}

#[cfg(test)]
mod tests {
    use jobmgr_plugin_api::Ending;

    use super::*;

    fn ending(state: ContainerState, signalled: Option<Stop>, away: Option<Option<bool>>) -> Ending {
        let found = ContainerInspectResponse { state: Some(state), ..Default::default() };
        outcome(&found, &Circumstances { signalled, away }).ending
    }

    fn exited(code: i64, oom: bool) -> ContainerState {
        ContainerState { exit_code: Some(code), oom_killed: Some(oom), ..Default::default() }
    }

    #[test]
    fn an_exit_code_alone_accuses_nobody() {
        assert_eq!(ending(exited(137, false), None, None), Ending::Exited(137));
        assert_eq!(ending(exited(137, false), None, Some(Some(true))), Ending::Exited(137));
        assert_eq!(ending(exited(137, false), None, Some(None)), Ending::Exited(137));
        assert_eq!(ending(exited(137, true), None, None), Ending::Killed(KillReason::OutOfMemory));
        assert_eq!(ending(exited(0, true), None, None), Ending::Exited(0));
    }

    #[test]
    fn a_restart_that_keeps_nothing_is_told() {
        assert_eq!(ending(exited(137, false), None, Some(Some(false))), Ending::Killed(KillReason::NodeLost));
        assert_eq!(ending(exited(3, false), None, Some(Some(false))), Ending::Exited(3));
        assert_eq!(ending(exited(0, false), None, Some(Some(false))), Ending::Exited(0));
    }

    #[test]
    fn who_asked_for_the_end_gets_it() {
        let killed = ending(exited(137, true), Some(Stop::Timeout), None);
        assert_eq!(killed, Ending::Killed(KillReason::Timeout));
    }
}
