//! What must always hold, and what must be possible.

use stateright::{Model, Property};

use super::Protocol;
use super::row::{Answer, CRASH_LIMIT, Status};
use super::state::{Mode, Stage, State, Worker};

pub const ONE_HOLDER: &str = "an epoch is given to one worker only";
pub const END_STAYS: &str = "an ended job never changes";
pub const ATTEMPT: &str = "the attempt rises by one at each claim and else never";
pub const STALE: &str = "a write of an earlier epoch or attempt changes nothing";
pub const ALONE: &str = "the job of a worker that is not paused is over before the next attempt is claimed";
pub const WHOLE: &str = "a completed job has the result and the objects of its last attempt";
pub const LIMIT: &str = "a job that died as often as it may has ended";
pub const CANCEL: &str = "a job that is to be canceled ends canceled and is not queued again";

impl Protocol {
    pub fn promises() -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HOLDER, |_, state: &State| one_holder(state)),
            Property::always(END_STAYS, |_, state: &State| !state.changed_end),
            Property::always(ATTEMPT, |_, state: &State| state.row.attempt == state.claims),
            Property::always(STALE, |_, state: &State| !state.stale_write),
            Property::always(ALONE, |_, state: &State| state.workers.iter().all(|worker| alone(state, worker))),
            Property::always(WHOLE, |_, state: &State| whole(state)),
            Property::always(LIMIT, |_, state: &State| state.row.crashes < CRASH_LIMIT || state.row.is_over()),
            Property::always(CANCEL, |_, state: &State| {
                !state.row.cancel_requested || matches!(state.row.status, Status::Started | Status::Canceled)
            }),
            Property::sometimes("completed at once", |_, state: &State| {
                state.row.status == Status::Completed && state.claims == 1
            }),
            Property::sometimes(
                "completed after a crash, while the first worker still believes it holds it",
                |_, state: &State| {
                    let zombie = |worker: &Worker| worker.hand.is_some_and(|hand| hand.attempt == 1);
                    state.row.result == Some(2) && state.row.crashes > 0 && state.workers.iter().any(zombie)
                },
            ),
            Property::sometimes("failed at the crash limit", |_, state: &State| {
                state.row.status == Status::Failed && state.row.crashes == CRASH_LIMIT
            }),
            Property::sometimes("failed at the retry limit", |_, state: &State| {
                state.row.status == Status::Failed && state.row.crashes == 0
            }),
            Property::sometimes("canceled before it started", |_, state: &State| {
                state.row.status == Status::Canceled && state.claims == 0
            }),
            Property::sometimes("canceled after it started", |_, state: &State| {
                state.row.status == Status::Canceled && state.claims == 1
            }),
        ]
    }
}

/// What a worker believes, or will when it hears the answer.
fn epochs(worker: &Worker) -> impl Iterator<Item = u8> {
    let told = worker.call.and_then(|call| match call.answer {
        Some(Answer::Claimed { epoch, .. }) => Some(epoch),
        _ => None,
    });
    worker.hand.map(|hand| hand.epoch).into_iter().chain(told)
}

fn one_holder(state: &State) -> bool {
    let mut seen = 0u16;
    state.workers.iter().flat_map(epochs).all(|epoch| {
        let new = seen & (1 << epoch) == 0;
        seen |= 1 << epoch;
        new
    })
}

fn alone(state: &State, worker: &Worker) -> bool {
    let process = worker.hand.filter(|hand| worker.mode == Mode::Running && hand.stage == Stage::Process);
    process.is_none_or(|hand| state.row.attempt <= hand.attempt)
}

fn whole(state: &State) -> bool {
    let row = &state.row;
    row.status != Status::Completed || row.result == Some(row.attempt) && state.has_objects(row.attempt)
}

impl Model for Protocol {
    type State = State;
    type Action = super::actions::Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::submitted()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Self::Action>) {
        super::actions::possible(state, self.rules, actions);
    }

    fn next_state(&self, state: &State, action: Self::Action) -> Option<State> {
        Some(super::effects::next(state, action, self.rules))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Self::promises()
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.claims <= self.claims
    }
}
