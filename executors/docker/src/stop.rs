//! The end that is asked for from outside.

use std::future::Future;

use jobmgr_plugin_api::{Context, KillReason, Result, Stop, runtime};
use tokio::sync::watch;

/// The stop of one call.
pub struct Stops {
    asked: watch::Receiver<Option<Stop>>,
}

/// Runs `work` to its end on this thread, and lets it know of a stop.
pub fn attend<T, F: Future<Output = Result<T>>>(ctx: &Context<'_>, work: impl FnOnce(Stops) -> F) -> Result<T> {
    let (ask, asked) = watch::channel(ctx.stop());
    let _guard = ctx.on_stop(move |why| {
        // Nobody listens any more when the work has just ended.
        let _ = ask.send(Some(why));
    });
    runtime::runtime().block_on(work(Stops { asked }))
}

impl Stops {
    /// Whether one was asked for.
    pub fn now(&self) -> Option<Stop> {
        *self.asked.borrow()
    }

    /// Waits for one, for ever.
    pub async fn asked(&self) -> Stop {
        let mut asked = self.asked.clone();
        match asked.wait_for(Option::is_some).await.ok().and_then(|why| *why) {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Runs `work`, and drops it when a stop is asked for.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            why = self.asked() => Err(why),
            done = work => Ok(done),
        }
    }
}

/// What a stop is called when the job has ended by it.
pub fn reason(why: Stop) -> KillReason {
    match why {
        Stop::Cancel => KillReason::Cancelled,
        Stop::Timeout => KillReason::Timeout,
        _ => KillReason::Other,
    }
}
