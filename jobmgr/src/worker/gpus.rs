//! The GPUs that this worker gives to jobs, each to one at a time.
//!
//! They are chosen before a job is claimed, so that none is claimed that would have to wait for them here while another
//! worker has some; the database has the last word, as other workers of this machine may have given one away, and jobs
//! that run elsewhere keep theirs while nobody holds them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::domain::gpu::Gpu;
use crate::domain::job::Claim;
use crate::store::{Scope, Store};

/// The GPUs of a worker.
pub(super) struct Pool {
    all: Vec<String>,
    state: Mutex<State>,
    /// Whoever claims what may need GPUs has this: what it may need is not chosen by another meanwhile.
    turn: Arc<tokio::sync::Mutex<()>>,
    store: Store,
}

#[derive(Default)]
struct State {
    /// Jobs of this worker have them, or will.
    given: BTreeSet<String>,
    /// Jobs of others have them, as far as is known.
    elsewhere: BTreeSet<String>,
    /// Somebody left jobs to wait, since there were too few.
    short: bool,
}

/// The GPUs of a job; free again when this is dropped.
pub(super) struct Share {
    pool: Arc<Pool>,
    ids: Vec<String>,
}

/// GPUs at hand for whatever a claim gives.
pub(super) struct Choice {
    share: Share,
    /// How many of them the job had whose end is written with the claim.
    had: usize,
    _turn: Option<OwnedMutexGuard<()>>,
}

/// Those of the machine's GPUs that the configuration names, by id or number; all where it names none.
///
/// # Errors
/// One line: which one is not there.
pub(super) fn chosen(there: Vec<Gpu>, named: Option<&Vec<String>>) -> Result<Vec<Gpu>, String> {
    let Some(named) = named else { return Ok(there) };
    let mut chosen: Vec<Gpu> = Vec::with_capacity(named.len());
    for name in named {
        let found = there.iter().enumerate().find(|(number, gpu)| gpu.id == *name || number.to_string() == *name);
        let Some((_, gpu)) = found else {
            let ids: Vec<&str> = there.iter().map(|gpu| gpu.id.as_str()).collect();
            let has = if ids.is_empty() { "none that its driver tells of".to_owned() } else { ids.join(", ") };
            return Err(format!("[Worker] Gpus: '{}' is not a GPU of this machine; it has {has}", name.escape_debug()));
        };
        if chosen.contains(gpu) {
            return Err(format!("[Worker] Gpus: '{}' is there twice; remove one of them", name.escape_debug()));
        }
        chosen.push(gpu.clone());
    }
    Ok(chosen)
}

impl Pool {
    /// With these, by their ids.
    pub(super) fn of(gpus: &[Gpu], store: Store) -> Arc<Self> {
        let all = gpus.iter().map(|gpu| gpu.id.clone()).collect();
        Arc::new(Self { all, state: Mutex::default(), turn: Arc::default(), store })
    }

    /// No GPUs, for now.
    pub(super) fn none(self: &Arc<Self>) -> Share {
        Share { pool: Arc::clone(self), ids: Vec::new() }
    }

    /// What a job has that was taken over.
    pub(super) fn held(self: &Arc<Self>, ids: Vec<String>) -> Share {
        let mut state = self.lock();
        for id in &ids {
            state.elsewhere.remove(id);
            state.given.insert(id.clone());
        }
        Share { pool: Arc::clone(self), ids }
    }

    /// Puts at hand what a claim may need, and takes out of the scope what there are too few for. `had`: what the job has
    /// whose end is written with the claim.
    pub(super) async fn choose(self: &Arc<Self>, scope: &mut Arc<Scope>, had: Share) -> Choice {
        let mut choice = Choice { had: had.ids.len(), share: had, _turn: None };
        if scope.gpus.is_empty() {
            return choice;
        }
        choice._turn = Some(Arc::clone(&self.turn).lock_owned().await);
        let mut state = self.lock();
        let free: Vec<String> = self.free(&state).cloned().collect();
        let room = free.len() + choice.share.ids.len();
        let most = scope.gpus.values().copied().filter(|count| *count <= room).max().unwrap_or_default();
        let more = most.saturating_sub(choice.share.ids.len());
        choice.share.take(&mut state, free.into_iter().take(more));
        if scope.gpus.values().any(|count| *count > most) {
            state.short = true;
            let Scope { names, except, gpus, .. } = Arc::make_mut(scope);
            for (name, _) in gpus.iter().filter(|(_, count)| **count > most) {
                except.insert(name.clone());
                names.iter_mut().for_each(|names| names.retain(|other| other != name));
            }
        }
        choice
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a String> {
        self.all.iter().filter(|id| !state.given.contains(*id) && !state.elsewhere.contains(*id))
    }

    /// Others have these, and no more than these.
    pub(super) fn others_have(&self, ids: BTreeSet<String>) {
        let mut state = self.lock();
        let fewer = state.elsewhere.iter().any(|id| !ids.contains(id));
        state.elsewhere = ids;
        self.tell(&mut state, fewer);
    }

    /// Whether it has any.
    pub(super) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Has everybody look who left jobs to wait.
    fn tell(&self, state: &mut State, more: bool) {
        if more && std::mem::take(&mut state.short) {
            self.store.look_again();
        }
    }
}

impl Choice {
    /// Keeps what the job needs that was claimed, and puts the rest back.
    pub(super) fn keep(mut self, claim: Option<&Claim>, scope: &Scope) -> Share {
        let count = claim.and_then(|claim| scope.gpus.get(&claim.name)).copied().unwrap_or_default();
        let more = self.had > count;
        self.share.put_back(count, more);
        self.share
    }
}

impl Share {
    /// Their ids.
    pub(super) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Makes it this many; `false`: there are not so many.
    pub(super) fn fit(&mut self, count: usize) -> bool {
        let pool = Arc::clone(&self.pool);
        let mut state = pool.lock();
        let missing = count.saturating_sub(self.ids.len());
        let free: Vec<String> = pool.free(&state).take(missing).cloned().collect();
        if free.len() < missing {
            state.short = true;
            return false;
        }
        self.take(&mut state, free.into_iter());
        drop(state);
        self.put_back(count, true);
        true
    }

    /// Its job goes on without this worker, and keeps them.
    pub(super) fn leave(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        let mut state = self.pool.lock();
        state.given.retain(|id| !ids.contains(id));
        state.elsewhere.extend(ids);
    }

    /// Others have these of them.
    pub(super) fn lose(&mut self, in_use: &[String]) {
        let mut state = self.pool.lock();
        state.elsewhere.extend(in_use.iter().cloned());
    }

    fn take(&mut self, state: &mut State, ids: impl Iterator<Item = String>) {
        for id in ids {
            state.given.insert(id.clone());
            self.ids.push(id);
        }
    }

    /// Keeps `count` of them; `tell`: who waits for some is told.
    fn put_back(&mut self, count: usize, tell: bool) {
        if self.ids.len() <= count {
            return;
        }
        let mut state = self.pool.lock();
        let back: Vec<String> = self.ids.drain(count..).collect();
        state.given.retain(|id| !back.contains(id));
        self.pool.tell(&mut state, tell);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.put_back(0, true);
    }
}
