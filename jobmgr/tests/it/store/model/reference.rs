//! The queue as it ought to be, in memory.

use super::*;

/// How often a job may be running when its holder dies.
const CRASH_LIMIT: i64 = 3;

#[derive(Debug, Clone)]
pub enum Op {
    /// `impatient`: its time in the queue is over at once.
    Submit {
        name: usize,
        priority: i64,
        impatient: bool,
    },
    /// `holds`: its lease does not run out; else it has.
    Claim {
        worker: usize,
        limit: u32,
        holds: bool,
        only_a: bool,
    },
    Finish(usize),
    Retry {
        claim: usize,
        later: bool,
    },
    Release {
        claim: usize,
        later: bool,
    },
    Crashed(usize),
    OnlyOnce(usize),
    Renew {
        worker: usize,
        holds: bool,
    },
    Cancel(usize),
    Sweep,
    Bury(usize),
}

/// What an operation came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Nothing,
    /// Which jobs, in which attempt.
    Claimed(Vec<(usize, i64)>),
    Held(bool),
    /// How many were queued, which were ended, which had waited for too long.
    Swept(u64, Vec<usize>, Vec<usize>),
    /// Which are held, and whether their end was asked for.
    Renewed(Vec<(usize, bool)>),
    Canceled(Cancel),
}

#[derive(Debug, Clone)]
pub struct Row {
    name: usize,
    priority: i64,
    impatient: bool,
    pub status: Status,
    pub reason: Option<Reason>,
    pub attempt: i64,
    pub cancel_asked: bool,
    pub attempts_before: usize,
    /// Which claim holds it, or ended it.
    claim: Option<usize>,
    worker: usize,
    holds: bool,
    later: bool,
    crashes: i64,
    crash_limit: i64,
}

#[derive(Debug, Clone)]
pub struct Model {
    pub jobs: Vec<Row>,
    /// Of which job each claim is.
    claims: Vec<usize>,
    pub told: Told,
}

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model { jobs: Vec::new(), claims: Vec::new(), told: Told::Nothing }).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Op> {
        let submit = (0..2_usize, prop_oneof![Just(10_i64), Just(50)], prop::bool::weighted(0.1))
            .prop_map(|(name, priority, impatient)| Op::Submit { name, priority, impatient });
        let claim = (0..3_usize, 1..4_u32, prop::bool::weighted(0.6), prop::bool::weighted(0.2))
            .prop_map(|(worker, limit, holds, only_a)| Op::Claim { worker, limit, holds, only_a });
        let renew = (0..3_usize, any::<bool>()).prop_map(|(worker, holds)| Op::Renew { worker, holds });
        let mut ops = vec![
            (4, submit.boxed()),
            (5, claim.boxed()),
            (1, renew.boxed()),
            (2, Just(Op::Sweep).boxed()),
            (1, (0..3_usize).prop_map(Op::Bury).boxed()),
        ];
        if !model.claims.is_empty() {
            // Mostly a late one: the early ones are over.
            let claims = model.claims.len();
            let which = prop_oneof![3 => claims.saturating_sub(4)..claims, 1 => 0..claims];
            let delayed = (which.clone(), prop::bool::weighted(0.2));
            ops.push((4, which.clone().prop_map(Op::Finish).boxed()));
            ops.push((2, delayed.clone().prop_map(|(claim, later)| Op::Retry { claim, later }).boxed()));
            ops.push((2, delayed.prop_map(|(claim, later)| Op::Release { claim, later }).boxed()));
            ops.push((1, which.clone().prop_map(Op::Crashed).boxed()));
            ops.push((1, which.prop_map(Op::OnlyOnce).boxed()));
        }
        if !model.jobs.is_empty() {
            ops.push((2, (0..model.jobs.len()).prop_map(Op::Cancel).boxed()));
        }
        proptest::strategy::Union::new_weighted(ops).boxed()
    }

    fn preconditions(model: &Model, op: &Op) -> bool {
        match op {
            Op::Finish(claim) | Op::Crashed(claim) | Op::OnlyOnce(claim) => *claim < model.claims.len(),
            Op::Retry { claim, .. } | Op::Release { claim, .. } => *claim < model.claims.len(),
            Op::Cancel(job) => *job < model.jobs.len(),
            _ => true,
        }
    }

    fn apply(mut model: Model, op: &Op) -> Model {
        model.told = model.tell(op);
        model
    }
}

impl Model {
    fn tell(&mut self, op: &Op) -> Told {
        match *op {
            Op::Submit { name, priority, impatient } => {
                self.jobs.push(Row::new(name, priority, impatient));
                Told::Nothing
            }
            Op::Claim { worker, limit, holds, only_a } => self.claim(worker, limit as usize, holds, only_a),
            Op::Finish(claim) => match self.held(claim) {
                Some(row) => {
                    row.end(Status::Completed, None);
                    Told::Held(true)
                }
                None => Told::Held(self.was_moved_by(claim)),
            },
            Op::Retry { claim, later } | Op::Release { claim, later } => match self.held(claim) {
                Some(row) => {
                    row.go_back(later);
                    Told::Held(true)
                }
                None => Told::Held(self.was_moved_by(claim)),
            },
            Op::Crashed(claim) => {
                let job = self.claims[claim];
                let lost: Vec<usize> = self.held(claim).is_some().then_some(job).into_iter().collect();
                self.take_back(lost, Vec::new())
            }
            Op::OnlyOnce(claim) => {
                let held = self.held(claim);
                Told::Held(held.map(|row| row.crash_limit = 1).is_some())
            }
            Op::Renew { worker, holds } => {
                let mine = |row: &&mut Row| row.status == Status::Started && row.worker == worker;
                self.jobs.iter_mut().filter(mine).for_each(|row| row.holds = holds);
                let rows = self.jobs.iter().enumerate();
                let mine = rows.filter(|(_, row)| row.status == Status::Started && row.worker == worker);
                Told::Renewed(mine.map(|(place, row)| (place, row.cancel_asked)).collect())
            }
            Op::Cancel(job) => Told::Canceled(self.jobs[job].cancel()),
            Op::Sweep => {
                let lost = self.started(|row| !row.holds);
                let late = |row: &Row| row.status == Status::Queued && row.impatient && row.attempt == 0;
                let overdue = (0..self.jobs.len()).filter(|place| late(&self.jobs[*place])).collect();
                self.take_back(lost, overdue)
            }
            Op::Bury(worker) => {
                let lost = self.started(|row| row.worker == worker);
                self.take_back(lost, Vec::new())
            }
        }
    }

    fn claim(&mut self, worker: usize, limit: usize, holds: bool, only_a: bool) -> Told {
        let runnable = |row: &Row| row.status == Status::Queued && !row.later && (!only_a || row.name == 0);
        let mut best: Vec<usize> = (0..self.jobs.len()).filter(|place| runnable(&self.jobs[*place])).collect();
        best.sort_by_key(|place| (self.jobs[*place].priority, *place));
        best.truncate(limit);
        let mut told = Vec::new();
        for place in best {
            let row = &mut self.jobs[place];
            row.status = Status::Started;
            row.attempt += 1;
            (row.worker, row.holds, row.claim) = (worker, holds, Some(self.claims.len()));
            told.push((place, row.attempt));
            self.claims.push(place);
        }
        Told::Claimed(told)
    }

    fn held(&mut self, claim: usize) -> Option<&mut Row> {
        let row = &mut self.jobs[self.claims[claim]];
        (row.status == Status::Started && row.claim == Some(claim)).then_some(row)
    }

    /// Whoever ended or gave back a job is told so again when it asks again.
    fn was_moved_by(&self, claim: usize) -> bool {
        let row = &self.jobs[self.claims[claim]];
        row.status != Status::Started && row.claim == Some(claim)
    }

    fn started(&self, which: impl Fn(&Row) -> bool) -> Vec<usize> {
        let rows = self.jobs.iter().enumerate();
        rows.filter(|(_, row)| row.status == Status::Started && which(row)).map(|(place, _)| place).collect()
    }

    fn take_back(&mut self, lost: Vec<usize>, overdue: Vec<usize>) -> Told {
        let mut queued = 0;
        let mut ended = Vec::new();
        for place in lost {
            let row = &mut self.jobs[place];
            row.lose();
            if row.status == Status::Queued { queued += 1 } else { ended.push(place) }
        }
        for place in &overdue {
            self.jobs[*place].end(Status::Failed, Some(Reason::QueueTimeout));
            self.jobs[*place].claim = None;
        }
        Told::Swept(queued, ended, overdue)
    }
}

impl Row {
    fn new(name: usize, priority: i64, impatient: bool) -> Self {
        Row {
            name,
            priority,
            impatient,
            status: Status::Queued,
            reason: None,
            attempt: 0,
            cancel_asked: false,
            attempts_before: 0,
            claim: None,
            worker: 0,
            holds: false,
            later: false,
            crashes: 0,
            crash_limit: CRASH_LIMIT,
        }
    }

    fn end(&mut self, status: Status, reason: Option<Reason>) {
        (self.status, self.reason) =
            if self.cancel_asked { (Status::Canceled, Some(Reason::Canceled)) } else { (status, reason) };
    }

    fn go_back(&mut self, later: bool) {
        self.attempts_before += 1;
        // Whoever canceled it has the row now, so that asking again is too late.
        if self.cancel_asked {
            self.end(Status::Canceled, None);
            self.claim = None;
        } else {
            self.status = Status::Queued;
            self.later = later;
        }
    }

    fn lose(&mut self) {
        self.attempts_before += 1;
        self.claim = None;
        if self.cancel_asked {
            return self.end(Status::Canceled, None);
        }
        self.crashes += 1;
        if self.crashes < self.crash_limit {
            self.status = Status::Queued;
        } else {
            let reason = if self.crash_limit > 1 { Reason::CrashLimit } else { Reason::WorkerLost };
            self.end(Status::Failed, Some(reason));
        }
    }

    fn cancel(&mut self) -> Cancel {
        match self.status {
            Status::Queued => {
                (self.status, self.reason, self.claim) = (Status::Canceled, Some(Reason::Canceled), None);
                Cancel::Asked
            }
            Status::Started => {
                self.cancel_asked = true;
                Cancel::Asked
            }
            ended => Cancel::TooLate(ended),
        }
    }
}
