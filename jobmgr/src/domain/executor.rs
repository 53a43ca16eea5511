//! What is to be known of an executor before it runs anything.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// An executor that a jobspec may select.
#[derive(Debug, Clone, PartialEq)]
pub struct Executor {
    /// The name by which jobspecs select it.
    pub name: String,
    /// Whether it is built in; otherwise it is in a library.
    pub built_in: bool,
    /// Its own version, where it could be asked.
    pub version: Option<String>,
    /// Of the interface that its library was built with.
    pub abi: Option<(u16, u16)>,
    /// SHA-256 of the library's file, in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// Its jobs outlive the process that began them.
    pub recovers: bool,
    /// It removes what jobs left behind.
    pub cleans_up: bool,
    /// It runs several jobs at once.
    pub concurrent: bool,
    /// The JSON Schema of its options.
    pub options: Option<Value>,
    /// Why it can't be used now; `None`: it can.
    pub error: Option<String>,
}

/// Tells which executors there are at the moment, by name.
#[derive(Clone)]
pub struct Executors(Arc<dyn Fn() -> Vec<Executor> + Send + Sync>);

impl Executors {
    /// Asks `tell` each time.
    pub fn new(tell: impl Fn() -> Vec<Executor> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Those that there are.
    pub fn list(&self) -> Vec<Executor> {
        (self.0)()
    }
}

impl fmt::Debug for Executors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executors").finish_non_exhaustive()
    }
}
