//! The rules of the protocol, each of which can be switched off.

/// What keeps the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Only a queued job is claimed.
    ClaimTakesQueuedOnly,
    /// A claim raises the epoch.
    ClaimRaisesEpoch,
    /// Nothing but a claim raises the attempt.
    OnlyClaimRaisesAttempt,
    /// A renewal changes the row of its epoch only.
    RenewNamesEpoch,
    /// A renewal changes a started job only.
    RenewNamesStatus,
    /// A finish changes the row of its epoch only.
    FinishNamesEpoch,
    /// A finish changes a started job only.
    FinishNamesStatus,
    /// What takes a job back raises the epoch too. Spare as long as claims do: a queued job takes no writes anyway.
    TakingBackRaisesEpoch,
    /// The sweep's UPDATE asks for the lease again: it may have been renewed since the sweep looked.
    SweepAsksForLease,
    /// A job that died as often as it may is ended.
    CrashLimitEnds,
    /// A job that is to be canceled is not queued again.
    RequeueHeedsCancel,
    /// A worker ends its job before the lease can run out.
    FenceBeforeLease,
    /// A renewed lease is trusted from when the renewal was sent, not from when it was answered.
    RenewalCountsFromSending,
    /// So is that of a claim.
    ClaimCountsFromSending,
    /// What was claimed too long ago is not started.
    OldClaimIsLeft,
    /// A job's processes are gone before it is given back.
    EndBeforeRelease,
    /// Objects are in the store before the job is finished.
    UploadBeforeFinish,
    /// Each attempt has its own keys.
    KeysPerAttempt,
    /// Who may not finish asks whether an earlier try of its own did, before it removes what it uploaded.
    RefusedFinisherAsks,
    /// The orphan sweep spares the current attempt.
    OrphanSweepSparesCurrent,
    /// The orphan sweep spares attempts that began after it read the row.
    OrphanSweepSparesLater,
}

/// The rules that don't hold.
#[derive(Clone, Copy, Debug)]
pub struct Rules(pub &'static [Rule]);

impl Rules {
    pub fn hold(self, rule: Rule) -> bool {
        !self.0.contains(&rule)
    }

    /// Nothing comes of an answer that is older than the fence: it may as well be lost.
    pub fn old_answers_are_no_use(self) -> bool {
        [Rule::RenewalCountsFromSending, Rule::ClaimCountsFromSending, Rule::OldClaimIsLeft]
            .into_iter()
            .all(|rule| self.hold(rule))
    }

    /// How old a lease is, in ticks since it was asked for, when its worker may give it up.
    pub fn fence(self) -> u8 {
        if self.hold(Rule::FenceBeforeLease) { 2 } else { 4 }
    }

    /// How old it is when a worker that is not stopped has given it up: the loop that looks is a third of a lease late.
    pub fn latest(self) -> u8 {
        if self.hold(Rule::FenceBeforeLease) { 3 } else { 4 }
    }
}
