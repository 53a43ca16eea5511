//! Everything that is remembered somewhere: the row, the objects, the workers, what is under way between them.

use super::row::{Answer, Op, Request, Row, Status};
use super::rules::{Rule, Rules};

pub const WORKERS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mode {
    Running,
    /// SIGSTOP: does nothing, but its job's processes and its requests go on.
    Paused,
    /// Goes on, and has not looked at its fence yet.
    Waking,
    /// kill -9: its job's processes are gone too.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The job's processes run.
    Process,
    Ended,
    Uploaded,
}

/// The attempt that a worker believes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hand {
    pub epoch: u8,
    pub attempt: u8,
    /// Ticks since the lease that it knows of was asked for; counted while the processes run.
    pub age: u8,
    pub stage: Stage,
}

/// A request for a lease, or for more of it, that its worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    pub request: Request,
    /// Ticks since it was sent.
    pub age: u8,
    /// What the database did; not yet heard.
    pub answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub mode: Mode,
    pub hand: Option<Hand>,
    pub call: Option<Call>,
    /// The row names it as the holder.
    pub named: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub row: Row,
    /// A bit for each attempt whose objects are in the store.
    pub objects: u8,
    pub workers: [Worker; WORKERS],
    /// A request that nobody waits for any more, and that may still be done.
    pub late: Option<Request>,
    /// What a sweep that saw the lease expired is about to send.
    pub expired: Option<Request>,
    /// The attempt that an orphan sweep read in the row.
    pub spared: Option<u8>,
    /// How often a claim took the job.
    pub claims: u8,
    /// A write of an earlier epoch or attempt changed the row.
    pub stale_write: bool,
    /// An ended job changed.
    pub changed_end: bool,
}

impl Worker {
    /// Its job's processes run, as far as it knows.
    pub fn runs(&self) -> bool {
        self.hand.is_some_and(|hand| hand.stage == Stage::Process)
    }

    /// What makes no difference is made the same, so that there are fewer states.
    fn settle(&mut self, over: bool) {
        if let Some(hand) = &mut self.hand
            && hand.stage != Stage::Process
        {
            hand.age = 0;
        }
        if over {
            self.call = None;
        }
        // A pause is seen by running processes only; anyone else just does nothing for a while.
        let alike = match self.mode {
            Mode::Running => true,
            Mode::Paused | Mode::Waking => !self.runs(),
            Mode::Dead => !self.named,
        };
        if alike {
            self.mode = Mode::Running;
        }
    }
}

impl State {
    pub fn submitted() -> Self {
        let worker = Worker { mode: Mode::Running, hand: None, call: None, named: false };
        State {
            row: Row::submitted(),
            objects: 0,
            workers: [worker; WORKERS],
            late: None,
            expired: None,
            spared: None,
            claims: 0,
            stale_write: false,
            changed_end: false,
        }
    }

    /// The database does what `request` says; `by`: the worker that asks.
    pub fn write(&mut self, request: Request, by: Option<usize>, rules: Rules) -> Answer {
        let before = self.row;
        let answer = self.row.apply(request, rules);
        let changed = answer != Answer::Refused;
        self.changed_end |= changed && before.is_over();
        let own = (request.epoch, request.attempt) == (before.epoch, before.attempt);
        self.stale_write |= changed && request.op != Op::Claim && !own;
        if let Answer::Claimed { .. } = answer {
            self.claims += 1;
            for (index, worker) in self.workers.iter_mut().enumerate() {
                worker.named = by == Some(index);
            }
        }
        answer
    }

    pub fn has_objects(&self, attempt: u8) -> bool {
        self.objects & (1 << attempt) != 0
    }

    pub fn upload(&mut self, attempt: u8, rules: Rules) {
        if !rules.hold(Rule::KeysPerAttempt) {
            self.objects = 0;
        }
        self.objects |= 1 << attempt;
    }

    pub fn remove_objects(&mut self, which: impl Fn(u8) -> bool) {
        for attempt in 0..8 {
            if which(attempt) {
                self.objects &= !(1 << attempt);
            }
        }
    }

    /// What `op` names when it is about the row as it is now.
    pub fn about_row(&self, op: Op) -> Request {
        Request { op, epoch: self.row.epoch, attempt: self.row.attempt }
    }

    /// Workers are alike: states that differ only in which is which are one.
    pub fn settle(&mut self) {
        let over = self.row.is_over();
        if over && self.row.status != Status::Completed {
            self.objects = 0;
            self.spared = None;
        }
        for worker in &mut self.workers {
            worker.named &= self.row.status == Status::Started;
            worker.settle(over);
        }
        self.workers.sort_unstable();
    }
}
