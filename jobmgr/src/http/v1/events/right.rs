//! That who reads an answer which goes on for long may still read it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::super::caller::Caller;
use super::super::super::gate::Gate;

/// How often that is looked at, at most.
const EVERY: Duration = Duration::from_secs(1);

/// A caller, and who knows whether its token still holds.
pub struct Right {
    gate: Arc<Gate>,
    caller: Caller,
    looked: Instant,
}

impl Right {
    /// That of a caller who has just been let in.
    pub fn of(gate: &Arc<Gate>, caller: Caller) -> Self {
        Self { gate: Arc::clone(gate), caller, looked: Instant::now() }
    }

    /// Whether the next thing may be told.
    pub async fn lasts(&mut self) -> bool {
        if self.looked.elapsed() < EVERY {
            return true;
        }
        self.looked = Instant::now();
        self.gate.holds(&self.caller).await
    }
}
