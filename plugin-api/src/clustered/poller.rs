use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clustered::patience::Patience;
use crate::clustered::watched::Watched;
use crate::clustered::{Cluster, Poll};
use crate::{Error, Result};

/// Asks the system about all jobs that are watched, in one question per turn, on one thread.
pub struct Poller<C: Cluster> {
    cluster: Arc<C>,
    shared: Arc<Shared<C::Handle>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and the followers share.
struct Shared<H> {
    state: Mutex<State<H>>,
    changed: Condvar,
}

struct State<H> {
    jobs: Vec<Arc<Watched<H>>>,
    /// Somebody would like an answer earlier.
    asked: bool,
    closing: bool,
}

impl<H> Shared<H> {
    fn state(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State<H>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl<C: Cluster> Poller<C> {
    pub fn new(cluster: Arc<C>) -> Self {
        let state = State { jobs: Vec::new(), asked: false, closing: false };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
        Self { cluster, shared: Arc::new(shared), thread: Mutex::default() }
    }

    /// Asks about this job too, soon and then at every turn, until what is returned is dropped.
    pub fn watch(&self, handle: C::Handle) -> Result<Watch<C::Handle>> {
        self.start()?;
        let job = Arc::new(Watched::new(handle));
        self.shared.change(|state| {
            state.jobs.push(Arc::clone(&job));
            state.asked = true;
        });
        Ok(Watch { job, shared: Arc::clone(&self.shared) })
    }

    /// The thread lives as long as this does once there was a job.
    fn start(&self) -> Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (cluster, shared) = (Arc::clone(&self.cluster), Arc::clone(&self.shared));
            let name = format!("{} poller", C::NAME);
            let started = std::thread::Builder::new().name(name).spawn(move || turns(cluster.as_ref(), &shared));
            *thread = Some(started.map_err(|error| Error::retry(format!("no thread can be started: {error}")))?);
        }
        Ok(())
    }
}

impl<C: Cluster> Drop for Poller<C> {
    fn drop(&mut self) {
        self.shared.change(|state| state.closing = true);
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // Its panics are caught where they come from.
            let _ = thread.join();
        }
    }
}

/// A job that is asked about while this lives.
pub struct Watch<H> {
    pub job: Arc<Watched<H>>,
    shared: Arc<Shared<H>>,
}

impl<H> Watch<H> {
    /// Has the next question asked earlier.
    pub fn hurry(&self) {
        self.shared.change(|state| state.asked = true);
    }
}

impl<H> Drop for Watch<H> {
    fn drop(&mut self) {
        self.shared.state().jobs.retain(|job| !Arc::ptr_eq(job, &self.job));
    }
}

fn turns<C: Cluster>(cluster: &C, shared: &Shared<C::Handle>) {
    let every = cluster.poll_every();
    let mut patience = Patience::new(every);
    let (mut earliest, mut latest) = (Instant::now(), Instant::now());
    while let Some(jobs) = next(shared, earliest, latest) {
        let wait = match ask(cluster, &jobs) {
            Ok(answers) => {
                patience.worked();
                jobs.iter().zip(answers).for_each(|(job, poll)| job.answer(poll));
                every
            }
            Err(error) => {
                let why = error.to_string();
                jobs.iter().for_each(|job| job.no_answer(&why));
                patience.failed()
            }
        };
        let now = Instant::now();
        // Who hurries gets an answer soon, but a thousand who hurry do not get a question each.
        (earliest, latest) = (now + wait / 10, now + wait);
    }
}

/// Waits for the next turn: at `latest`, or at `earliest` where somebody asked for it. Gives the jobs, at least one;
/// `None`: it is over.
fn next<H>(shared: &Shared<H>, earliest: Instant, latest: Instant) -> Option<Vec<Arc<Watched<H>>>> {
    let mut state = shared.state();
    loop {
        if state.closing {
            return None;
        }
        let due = if state.asked { earliest } else { latest };
        let left = if state.jobs.is_empty() {
            Duration::from_secs(3600)
        } else {
            due.saturating_duration_since(Instant::now())
        };
        if left.is_zero() {
            state.asked = false;
            return Some(state.jobs.clone());
        }
        state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// One question for all. A panic is no answer, and does not end the thread.
fn ask<C: Cluster>(cluster: &C, jobs: &[Arc<Watched<C::Handle>>]) -> Result<Vec<Poll>> {
    let handles: Vec<_> = jobs.iter().map(|job| job.handle.clone()).collect();
    let answers =
        catch_unwind(AssertUnwindSafe(|| cluster.poll(&handles))).unwrap_or_else(|panic| Err(caught(panic)))?;
    if answers.len() != jobs.len() {
        return Err(Error::failed(format!("{} answers about {} jobs", answers.len(), jobs.len())));
    }
    Ok(answers)
}

fn caught(panic: Box<dyn Any + Send>) -> Error {
    // Its own Drop may panic.
    std::mem::forget(panic);
    Error::failed("asking for the jobs panicked")
}
