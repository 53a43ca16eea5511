//! What can happen next.

use super::row::{Op, Status};
use super::rules::{Rule, Rules};
use super::state::{Hand, Mode, Stage, State, Worker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes.
    Tick,
    /// The worker asks for a lease, or for more of it.
    Send(usize, Op),
    /// The database does what was asked.
    Do(usize),
    /// The worker hears of it.
    Hear(usize),
    /// The worker waits no longer.
    GiveUp(usize, Fate),
    /// The worker writes what became of its attempt.
    Write(usize, Op, Fate),
    /// The database does what nobody waits for any more.
    DoLate,
    JobEnds(usize),
    Upload(usize),
    /// The worker ends the attempt's processes and leaves it.
    Leave(usize),
    Pause(usize),
    GoOn(usize),
    /// The worker has looked at its fence after it was paused.
    Look(usize),
    Die(usize, Fate),
    /// First the worker takes back what its last life held.
    Restart(usize, Fate),
    Cancel,
    SweepLooks,
    SweepTakes,
    OrphanSweepLooks,
    OrphanSweepRemoves,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Done, and the worker hears of it.
    Heard,
    /// Done, and the answer is lost.
    Unheard,
    /// The worker hears nothing, and it is done later or never.
    Late,
    /// Never done.
    Lost,
}

/// Adds what may happen.
pub fn possible(state: &State, rules: Rules, actions: &mut Vec<Action>) {
    let mut may = |allowed: bool, action| {
        if allowed {
            actions.push(action);
        }
    };
    may(may_tick(state, rules), Action::Tick);
    may(state.late.is_some(), Action::DoLate);
    may(!state.row.cancel_requested && !state.row.is_over(), Action::Cancel);
    may(state.row.has_expired() && state.expired.is_none(), Action::SweepLooks);
    may(state.expired.is_some(), Action::SweepTakes);
    may(state.spared.is_none() && may_look_for_orphans(state, rules), Action::OrphanSweepLooks);
    may(state.spared.is_some(), Action::OrphanSweepRemoves);
    for (index, worker) in state.workers.iter().enumerate() {
        match worker.mode {
            Mode::Dead => of_dead(state, index, actions),
            mode => {
                of_call(state, index, worker, rules, actions);
                of_death(state, index, worker, actions);
                match mode {
                    Mode::Paused => actions.push(Action::GoOn(index)),
                    _ => of_hand(state, index, worker, rules, actions),
                }
            }
        }
    }
}

/// Not while one runs that must have left its attempt by then. An ended job has no time.
fn may_tick(state: &State, rules: Rules) -> bool {
    let ready = |worker: &Worker| match worker.mode {
        Mode::Waking => false,
        Mode::Running if worker.runs() => worker.hand.is_none_or(|hand| hand.age < rules.latest()),
        _ => true,
    };
    !state.row.is_over() && state.workers.iter().all(ready)
}

/// When it finds something, or will with a rule switched off.
fn may_look_for_orphans(state: &State, rules: Rules) -> bool {
    let orphans = (0..state.row.attempt).any(|attempt| state.has_objects(attempt));
    orphans || !rules.hold(Rule::OrphanSweepSparesCurrent) || !rules.hold(Rule::OrphanSweepSparesLater)
}

fn of_dead(state: &State, index: usize, actions: &mut Vec<Action>) {
    actions.push(Action::Restart(index, Fate::Heard));
    actions.push(Action::Restart(index, Fate::Lost));
    if state.late.is_none() {
        actions.push(Action::Restart(index, Fate::Late));
    }
}

fn of_death(state: &State, index: usize, worker: &Worker, actions: &mut Vec<Action>) {
    if worker.hand.is_some() || worker.named {
        actions.push(Action::Die(index, Fate::Lost));
        if state.late.is_none() && is_renewal_under_way(worker) {
            actions.push(Action::Die(index, Fate::Late));
        }
    }
}

fn is_renewal_under_way(worker: &Worker) -> bool {
    worker.call.is_some_and(|call| call.request.op == Op::Renew && call.answer.is_none())
}

fn of_call(state: &State, index: usize, worker: &Worker, rules: Rules, actions: &mut Vec<Action>) {
    let Some(call) = worker.call else { return };
    let paused = worker.mode == Mode::Paused;
    // A claim that finds nothing is as good as one that is sent later.
    let finds =
        call.request.op != Op::Claim || state.row.status == Status::Queued || !rules.hold(Rule::ClaimTakesQueuedOnly);
    match call.answer {
        None if finds => actions.push(Action::Do(index)),
        Some(_) if !paused => actions.push(Action::Hear(index)),
        _ => {}
    }
    if !paused {
        actions.push(Action::GiveUp(index, Fate::Lost));
        if state.late.is_none() && is_renewal_under_way(worker) {
            actions.push(Action::GiveUp(index, Fate::Late));
        }
    }
}

fn of_hand(state: &State, index: usize, worker: &Worker, rules: Rules, actions: &mut Vec<Action>) {
    let idle = worker.call.is_none();
    let over = state.row.is_over();
    let Some(hand) = worker.hand else {
        if idle && !over {
            actions.push(Action::Send(index, Op::Claim));
        }
        return;
    };
    let ops: &[Op] = match hand.stage {
        Stage::Process if rules.hold(Rule::EndBeforeRelease) => &[],
        Stage::Process => &[Op::Release],
        Stage::Ended if rules.hold(Rule::UploadBeforeFinish) => &[Op::Release, Op::Retry, Op::Crashed],
        Stage::Ended | Stage::Uploaded => &[Op::Finish],
    };
    for op in ops {
        of_write(state, index, *op, actions);
    }
    if hand.stage == Stage::Process {
        of_process(index, worker, hand, over, rules, actions);
    } else {
        actions.extend([Action::Write(index, Op::Renew, Fate::Heard), Action::Leave(index)]);
    }
    if hand.stage == Stage::Ended {
        actions.push(Action::Upload(index));
    }
}

fn of_write(state: &State, index: usize, op: Op, actions: &mut Vec<Action>) {
    actions.push(Action::Write(index, op, Fate::Heard));
    if op == Op::Finish {
        actions.push(Action::Write(index, op, Fate::Unheard));
    }
    if state.late.is_none() {
        actions.push(Action::Write(index, op, Fate::Late));
    }
}

fn of_process(index: usize, worker: &Worker, hand: Hand, over: bool, rules: Rules, actions: &mut Vec<Action>) {
    actions.push(Action::JobEnds(index));
    if worker.call.is_none() && !over {
        actions.push(Action::Send(index, Op::Renew));
    }
    let stale = hand.age >= rules.fence();
    if stale || over {
        actions.push(Action::Leave(index));
    }
    match worker.mode {
        Mode::Waking if !stale => actions.push(Action::Look(index)),
        Mode::Running if !over => actions.push(Action::Pause(index)),
        _ => {}
    }
}
