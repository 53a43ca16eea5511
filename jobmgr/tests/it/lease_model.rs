//! The lease protocol of the queue, every order of events of a small world.
//!
//! Modelled: one job, two workers, the row with its guarded UPDATEs, the objects in the store, and time in ticks (a
//! lease is three). Workers claim, renew, upload, finish, give back, retry; they are paused and go on, die and come
//! back, stop waiting for the database. A request is done, done without its answer, done when nobody waits for it any
//! more, or never done. Sweeps, of leases and of objects, look first and act later. Anyone cancels. An ended attempt
//! whose worker still holds it has no time: it may write now or much later, which is as good as a paused worker.
//!
//! Bounded: two claims, two crashes, one retry, one request at a time that nobody waits for. Claims nobody waits for
//! are those whose answer is lost.
//!
//! Not modelled: several jobs and their order, taking over a running attempt, a name of a worker used twice at the same
//! time, a database that loses commits, how long it takes to end processes, that a job ends at all. The runner of a
//! killed worker ends with it. Clocks only differ in where they begin. The SQL is not run: that the statements do what
//! is said here is for the tests of the store.
//!
//! Each rule of the protocol can be switched off, and then a promise must break: so the model can see it kept.

mod actions;
mod effects;
mod promises;
mod row;
mod rules;
mod state;

use stateright::{Checker, HasDiscoveries, Model};

use promises::{ALONE, ATTEMPT, CANCEL, END_STAYS, LIMIT, ONE_HOLDER, STALE, WHOLE};
use rules::{Rule, Rules};

/// The protocol with some rules, followed until the job has been claimed `claims` times.
pub struct Protocol {
    rules: Rules,
    claims: u8,
}

impl Protocol {
    fn without(rules: &'static [Rule]) -> Self {
        Protocol { rules: Rules(rules), claims: 2 }
    }
}

#[test]
fn the_protocol_keeps_its_promises() {
    let checked = Protocol::without(&[]).checker().threads(2).spawn_bfs().join();
    assert!(checked.is_done());
    checked.assert_properties();
}

#[test]
fn claims_that_raise_the_epoch_are_enough() {
    let checked = Protocol::without(&[Rule::TakingBackRaisesEpoch]).checker().threads(2).spawn_bfs().join();
    assert!(checked.is_done());
    checked.assert_properties();
}

/// Follows the protocol without `rules` until `promise` breaks.
#[track_caller]
fn breaks(rules: &'static [Rule], promise: &'static str) {
    let until = HasDiscoveries::AllOf(std::iter::once(promise).collect());
    let checked = Protocol::without(rules).checker().finish_when(until).spawn_bfs().join();
    match checked.discovery(promise) {
        Some(path) => println!("without {rules:?}, not kept: {promise}\n    {:?}", path.into_actions()),
        None => panic!("without {rules:?} this is kept all the same: {promise}"),
    }
}

#[test]
fn without_its_guards_the_row_is_changed_by_others() {
    breaks(&[Rule::ClaimTakesQueuedOnly], ALONE);
    breaks(&[Rule::ClaimRaisesEpoch], STALE);
    breaks(&[Rule::ClaimRaisesEpoch, Rule::TakingBackRaisesEpoch], ONE_HOLDER);
    breaks(&[Rule::RenewNamesEpoch], STALE);
    breaks(&[Rule::RenewNamesStatus], END_STAYS);
    breaks(&[Rule::FinishNamesEpoch], STALE);
    breaks(&[Rule::FinishNamesEpoch], WHOLE);
    breaks(&[Rule::FinishNamesStatus], END_STAYS);
}

#[test]
fn without_their_conditions_counters_and_cancels_are_lost() {
    breaks(&[Rule::OnlyClaimRaisesAttempt], ATTEMPT);
    breaks(&[Rule::CrashLimitEnds], LIMIT);
    breaks(&[Rule::RequeueHeedsCancel], CANCEL);
}

#[test]
fn without_its_timing_an_attempt_meets_the_next() {
    breaks(&[Rule::SweepAsksForLease], ALONE);
    breaks(&[Rule::FenceBeforeLease], ALONE);
    breaks(&[Rule::RenewalCountsFromSending], ALONE);
    breaks(&[Rule::ClaimCountsFromSending], ALONE);
    breaks(&[Rule::OldClaimIsLeft], ALONE);
    breaks(&[Rule::EndBeforeRelease], ALONE);
}

#[test]
fn without_care_for_objects_a_result_loses_them() {
    breaks(&[Rule::UploadBeforeFinish], WHOLE);
    breaks(&[Rule::KeysPerAttempt], WHOLE);
    breaks(&[Rule::RefusedFinisherAsks], WHOLE);
    breaks(&[Rule::OrphanSweepSparesCurrent], WHOLE);
    breaks(&[Rule::OrphanSweepSparesLater], WHOLE);
}
