//! The job's row, and the guarded UPDATEs.

use super::rules::{Rule, Rules};

/// Ticks of a lease.
pub const LEASE: i8 = 3;
pub const CRASH_LIMIT: u8 = 2;
pub const RETRY_LIMIT: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Queued,
    Started,
    Completed,
    Failed,
    Canceled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub status: Status,
    pub epoch: u8,
    pub attempt: u8,
    pub crashes: u8,
    pub retries: u8,
    /// What is left of the lease by the database's clock; below 0 it has run out.
    pub lease: i8,
    pub cancel_requested: bool,
    /// The attempt that the result is from.
    pub result: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    Claim,
    Renew,
    Finish,
    /// Gives the job back; not counted.
    Release,
    /// The job failed, and is tried again or ends.
    Retry,
    /// The runner died, or the worker did and is back.
    Crashed,
    Sweep,
}

/// What is sent to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    pub op: Op,
    pub epoch: u8,
    pub attempt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    Claimed { epoch: u8, attempt: u8 },
    Done,
    Refused,
}

impl Row {
    pub fn submitted() -> Self {
        Row {
            status: Status::Queued,
            epoch: 0,
            attempt: 0,
            crashes: 0,
            retries: 0,
            lease: 0,
            cancel_requested: false,
            result: None,
        }
    }

    pub fn is_over(&self) -> bool {
        !matches!(self.status, Status::Queued | Status::Started)
    }

    pub fn has_expired(&self) -> bool {
        self.status == Status::Started && self.lease < 0
    }

    /// One UPDATE.
    pub fn apply(&mut self, request: Request, rules: Rules) -> Answer {
        let started = self.status == Status::Started;
        let same = self.epoch == request.epoch;
        let guard = match request.op {
            Op::Claim if rules.hold(Rule::ClaimTakesQueuedOnly) => self.status == Status::Queued,
            Op::Claim => !self.is_over(),
            Op::Renew => {
                (started || !rules.hold(Rule::RenewNamesStatus)) && (same || !rules.hold(Rule::RenewNamesEpoch))
            }
            Op::Finish => {
                (started || !rules.hold(Rule::FinishNamesStatus)) && (same || !rules.hold(Rule::FinishNamesEpoch))
            }
            Op::Sweep => started && same && (self.has_expired() || !rules.hold(Rule::SweepAsksForLease)),
            Op::Release | Op::Retry | Op::Crashed => started && same,
        };
        if !guard {
            return Answer::Refused;
        }
        match request.op {
            Op::Claim => return self.claim(rules),
            Op::Renew => self.lease = LEASE,
            Op::Finish => self.finish(request.attempt),
            Op::Release => self.queue(rules),
            Op::Retry => self.retry(rules),
            Op::Crashed | Op::Sweep => self.take_back(rules),
        }
        Answer::Done
    }

    fn claim(&mut self, rules: Rules) -> Answer {
        self.status = Status::Started;
        self.epoch += u8::from(rules.hold(Rule::ClaimRaisesEpoch));
        self.attempt += 1;
        self.lease = LEASE;
        Answer::Claimed { epoch: self.epoch, attempt: self.attempt }
    }

    fn finish(&mut self, attempt: u8) {
        match self.cancel_requested {
            true => self.end(Status::Canceled),
            false => {
                self.end(Status::Completed);
                self.result = Some(attempt);
            }
        }
    }

    fn retry(&mut self, rules: Rules) {
        match self.retries < RETRY_LIMIT {
            true => {
                self.retries += 1;
                self.queue(rules);
            }
            false => self.give_up(),
        }
    }

    fn take_back(&mut self, rules: Rules) {
        self.crashes += 1;
        self.epoch += u8::from(rules.hold(Rule::TakingBackRaisesEpoch));
        self.attempt += u8::from(!rules.hold(Rule::OnlyClaimRaisesAttempt));
        match self.crashes < CRASH_LIMIT || !rules.hold(Rule::CrashLimitEnds) {
            true => self.queue(rules),
            false => self.give_up(),
        }
    }

    fn queue(&mut self, rules: Rules) {
        let canceled = self.cancel_requested && rules.hold(Rule::RequeueHeedsCancel);
        self.end(if canceled { Status::Canceled } else { Status::Queued });
    }

    fn give_up(&mut self) {
        self.end(if self.cancel_requested { Status::Canceled } else { Status::Failed });
    }

    fn end(&mut self, status: Status) {
        self.status = status;
        self.lease = 0;
    }

    /// What the API does; no worker is asked.
    pub fn cancel(&mut self) {
        self.cancel_requested = true;
        if self.status == Status::Queued {
            self.end(Status::Canceled);
        }
    }
}
