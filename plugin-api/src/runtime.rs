use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::{Context, Error, Result};

/// The runtime of this library, with one thread; it is made when it is needed first and lives as long as the process.
///
/// # Panics
/// When no thread can be started.
#[allow(clippy::expect_used)]
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a thread for tokio can be started")
    })
}

impl Context<'_> {
    /// Runs a future to its end, on [`runtime`]; drops it when a stop is asked for.
    ///
    /// # Errors
    /// [`Kind::Stopped`](crate::Kind::Stopped) when a stop was asked for.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        let (ask, asked) = tokio::sync::oneshot::channel();
        let mut ask = Some(ask);
        let _guard = self.on_stop(move |why| {
            if let Some(ask) = ask.take() {
                // Nobody listens any more when the future has just ended.
                let _ = ask.send(why);
            }
        });
        runtime().block_on(async {
            tokio::select! {
                biased;
                Ok(_) = asked => Err(Error::stopped()),
                output = future => Ok(output),
            }
        })
    }
}
