//! The GPUs that this worker gives to jobs, each to one at a time.
//!
//! They are chosen before a job is claimed, so that none is claimed that would have to wait for them here while another
//! worker has some; the database has the last word, as other workers of this machine may have given one away, and jobs
//! that run elsewhere keep theirs while nobody holds them.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Jobs of this worker have them, or will; and how many do: one that is taken over may have what a claim has chosen,
    /// until the database says so.
    given: BTreeMap<String, usize>,
    /// Jobs of others have them, as far as is known.
    elsewhere: BTreeSet<String>,
    /// Somebody left jobs to wait, since there were too few.
    short: bool,
}

impl State {
    fn give(&mut self, id: &str) {
        *self.given.entry(id.to_owned()).or_default() += 1;
    }

    fn take_back(&mut self, id: &str) {
        if let Some(count) = self.given.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.given.remove(id);
            }
        }
    }
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
            state.give(id);
        }
        Share { pool: Arc::clone(self), ids }
    }

    /// Puts at hand what a claim may need, once it is its turn, and takes out of the scope what there are too few for.
    /// `scope`: what may be claimed by then; `None`: nothing any more.
    pub(super) async fn choose(
        self: &Arc<Self>,
        scope: impl Fn() -> Option<Arc<Scope>>,
    ) -> Option<(Choice, Arc<Scope>)> {
        let mut turn = None;
        if !scope()?.gpus.is_empty() {
            turn = Some(Arc::clone(&self.turn).lock_owned().await);
        }
        let mut scope = scope()?;
        let choice = self.chosen(&mut scope, self.none(), turn);
        Some((choice, scope))
    }

    /// The same for a claim that is made with the end of a job, which waits for nobody; the job's own are free from the
    /// moment that its end is written.
    pub(super) fn choose_now(self: &Arc<Self>, scope: &mut Arc<Scope>, had: Share) -> Choice {
        let turn = if scope.gpus.is_empty() { None } else { Arc::clone(&self.turn).try_lock_owned().ok() };
        self.chosen(scope, had, turn)
    }

    fn chosen(self: &Arc<Self>, scope: &mut Arc<Scope>, had: Share, turn: Option<OwnedMutexGuard<()>>) -> Choice {
        let mut choice = Choice { had: had.ids.len(), share: had, _turn: None };
        if scope.gpus.is_empty() {
            return choice;
        }
        let mut state = self.lock();
        // Without the turn, what the job has is all.
        let free = if turn.is_some() { self.free(&state) } else { Vec::new() };
        choice._turn = turn;
        let room = free.len() + choice.had;
        let most = scope.gpus.values().copied().filter(|count| *count <= room).max().unwrap_or_default();
        let more = most.saturating_sub(choice.had);
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

    /// In any order: two workers of a machine choose the same ones rarely.
    fn free(&self, state: &State) -> Vec<String> {
        let is_free = |id: &&String| !state.given.contains_key(*id) && !state.elsewhere.contains(*id);
        let mut free: Vec<String> = self.all.iter().filter(is_free).cloned().collect();
        fastrand::shuffle(&mut free);
        free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Jobs have these, each with the id of the worker that has it: `me` is this one. What it holds itself is given; the
    /// rest of its own has not been taken over yet, or is not any more, and stays as it was.
    pub(super) fn jobs_have(&self, all: &[(String, Vec<String>)], me: &str) {
        let mut state = self.lock();
        let ids = |of_me: bool| all.iter().filter(move |(worker, _)| (worker == me) == of_me).flat_map(|(_, ids)| ids);
        let mine = ids(true).filter(|id| state.elsewhere.contains(*id));
        let now: BTreeSet<String> = ids(false).chain(mine).cloned().collect();
        let fewer = state.elsewhere.difference(&now).count();
        state.elsewhere = now;
        self.tell(&mut state, fewer);
    }

    /// Whether it has any.
    pub(super) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// So many are free again: has those look who left jobs to wait.
    fn tell(&self, state: &mut State, count: usize) {
        if count > 0 && std::mem::take(&mut state.short) {
            self.store.look_again(count);
        }
    }
}

impl Choice {
    /// Keeps what the job needs that was claimed, and puts the rest back.
    pub(super) fn keep(mut self, claim: Option<&Claim>, scope: &Scope) -> Share {
        let count = claim.and_then(|claim| scope.gpus.get(&claim.name)).copied().unwrap_or_default();
        let freed = self.had.saturating_sub(count);
        self.share.put_back(count, freed);
        self.share
    }

    /// Puts back all but so many as the job had.
    pub(super) fn keep_own(mut self) -> Share {
        self.share.put_back(self.had, 0);
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
        let free = if missing > 0 { pool.free(&state) } else { Vec::new() };
        if free.len() < missing {
            state.short = true;
            return false;
        }
        self.take(&mut state, free.into_iter().take(missing));
        drop(state);
        let freed = self.ids.len() - count;
        self.put_back(count, freed);
        true
    }

    /// Its job goes on without this worker, and keeps them.
    pub(super) fn leave(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        let mut state = self.pool.lock();
        ids.iter().for_each(|id| state.take_back(id));
        state.elsewhere.extend(ids);
    }

    /// Others have these of them.
    pub(super) fn lose(&mut self, in_use: &[String]) {
        let mut state = self.pool.lock();
        for id in in_use {
            state.take_back(id);
            state.elsewhere.insert(id.clone());
        }
        self.ids.retain(|id| !in_use.contains(id));
    }

    fn take(&mut self, state: &mut State, ids: impl Iterator<Item = String>) {
        for id in ids {
            state.give(&id);
            self.ids.push(id);
        }
        let all = &self.pool.all;
        self.ids.sort_by_key(|id| all.iter().position(|other| other == id));
    }

    /// Keeps `count` of them; who waits for some is told of `freed`.
    fn put_back(&mut self, count: usize, freed: usize) {
        if self.ids.len() <= count {
            return;
        }
        let mut state = self.pool.lock();
        self.ids.drain(count..).for_each(|id| state.take_back(&id));
        self.pool.tell(&mut state, freed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let freed = self.ids.len();
        self.put_back(0, freed);
    }
}
