//! What comes of an action.

use super::actions::{Action, Fate};
use super::row::{Answer, Op, Request, Status};
use super::rules::{Rule, Rules};
use super::state::{Call, Hand, Mode, Stage, State, Worker};

/// The state after `action`.
pub fn next(state: &State, action: Action, rules: Rules) -> State {
    let mut state = state.clone();
    match action {
        Action::Tick => tick(&mut state, rules),
        Action::DoLate => {
            if let Some(request) = state.late.take() {
                state.write(request, None, rules);
            }
        }
        Action::Cancel => state.row.cancel(),
        Action::SweepLooks => state.expired = Some(state.about_row(Op::Sweep)),
        Action::SweepTakes => {
            if let Some(request) = state.expired.take() {
                state.write(request, None, rules);
            }
        }
        Action::OrphanSweepLooks => state.spared = Some(state.row.attempt),
        Action::OrphanSweepRemoves => remove_orphans(&mut state, rules),
        Action::Send(index, op) => {
            let request = request(&state.workers[index], op);
            state.workers[index].call = Some(Call { request, age: 0, answer: None });
        }
        Action::Do(index) => {
            if let Some(mut call) = state.workers[index].call {
                call.answer = Some(state.write(call.request, Some(index), rules));
                state.workers[index].call = Some(call);
            }
        }
        Action::Hear(index) => hear_call(&mut state, index, rules),
        Action::GiveUp(index, fate) => give_up(&mut state, index, fate),
        Action::Write(index, op, fate) => write(&mut state, index, op, fate, rules),
        Action::Upload(index) => upload(&mut state, index, rules),
        Action::Die(index, fate) => {
            give_up(&mut state, index, fate);
            state.workers[index].hand = None;
            state.workers[index].mode = Mode::Dead;
        }
        Action::Restart(index, fate) => restart(&mut state, index, fate, rules),
        Action::JobEnds(index) => {
            if let Some(hand) = &mut state.workers[index].hand {
                hand.stage = Stage::Ended;
            }
        }
        Action::Leave(index) => {
            state.workers[index].hand = None;
            give_up(&mut state, index, Fate::Lost);
        }
        Action::Pause(index) => state.workers[index].mode = Mode::Paused,
        Action::GoOn(index) => state.workers[index].mode = Mode::Waking,
        Action::Look(index) => state.workers[index].mode = Mode::Running,
    }
    state.settle();
    state
}

fn tick(state: &mut State, rules: Rules) {
    // Older than this is all the same.
    let older = |age: u8| (age + 1).min(rules.latest());
    if state.row.status == Status::Started {
        state.row.lease = (state.row.lease - 1).max(-1);
    }
    for worker in &mut state.workers {
        if let Some(hand) = &mut worker.hand {
            hand.age = older(hand.age);
        }
        if let Some(call) = &mut worker.call {
            call.age = older(call.age);
            if call.age >= rules.fence() && rules.old_answers_are_no_use() {
                worker.call = None;
            }
        }
    }
}

fn remove_orphans(state: &mut State, rules: Rules) {
    let Some(spared) = state.spared.take() else { return };
    state.remove_objects(|attempt| {
        attempt < spared
            || attempt == spared && !rules.hold(Rule::OrphanSweepSparesCurrent)
            || attempt > spared && !rules.hold(Rule::OrphanSweepSparesLater)
    });
}

fn request(worker: &Worker, op: Op) -> Request {
    let (epoch, attempt) = worker.hand.map_or((0, 0), |hand| (hand.epoch, hand.attempt));
    Request { op, epoch, attempt }
}

fn hear_call(state: &mut State, index: usize, rules: Rules) {
    let worker = &mut state.workers[index];
    let Some(Call { request, age, answer: Some(answer) }) = worker.call.take() else { return };
    let known = |rule| if rules.hold(rule) { age } else { 0 };
    match answer {
        Answer::Claimed { epoch, attempt } => {
            let age = known(Rule::ClaimCountsFromSending);
            if age < rules.fence() || !rules.hold(Rule::OldClaimIsLeft) {
                worker.hand = Some(Hand { epoch, attempt, age, stage: Stage::Process });
            }
        }
        Answer::Done => {
            let age = known(Rule::RenewalCountsFromSending);
            worker.hand = worker.hand.map(|hand| Hand { age, ..hand });
        }
        Answer::Refused if request.op == Op::Renew => worker.hand = None,
        Answer::Refused => {}
    }
}

fn give_up(state: &mut State, index: usize, fate: Fate) {
    if let Some(call) = state.workers[index].call.take()
        && fate == Fate::Late
    {
        state.late = Some(call.request);
    }
}

fn write(state: &mut State, index: usize, op: Op, fate: Fate, rules: Rules) {
    let request = request(&state.workers[index], op);
    let runs = state.workers[index].runs();
    let answer = match fate {
        Fate::Late => {
            state.late = Some(request);
            None
        }
        Fate::Lost => None,
        Fate::Unheard => {
            state.write(request, Some(index), rules);
            None
        }
        Fate::Heard => Some(state.write(request, Some(index), rules)),
    };
    // A finish is tried again until it is answered; of the others one late write stands for all tries.
    if answer.is_none() && (op == Op::Finish || runs) || (op, answer) == (Op::Renew, Some(Answer::Done)) {
        return;
    }
    state.workers[index].hand = None;
    let own = state.row.result == Some(request.attempt) && rules.hold(Rule::RefusedFinisherAsks);
    if (op, answer) == (Op::Finish, Some(Answer::Refused)) && !own {
        state.remove_objects(|attempt| attempt == request.attempt);
    }
}

fn upload(state: &mut State, index: usize, rules: Rules) {
    if let Some(hand) = &mut state.workers[index].hand {
        hand.stage = Stage::Uploaded;
        let attempt = hand.attempt;
        state.upload(attempt, rules);
    }
}

/// The row is read now; the write may be late.
fn restart(state: &mut State, index: usize, fate: Fate, rules: Rules) {
    state.workers[index].mode = Mode::Running;
    let request = state.about_row(Op::Crashed);
    match fate {
        Fate::Heard | Fate::Unheard => {
            state.write(request, Some(index), rules);
        }
        Fate::Late => state.late = Some(request),
        Fate::Lost => {}
    }
    state.workers[index].named = false;
}
