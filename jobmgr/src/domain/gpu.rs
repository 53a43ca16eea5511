//! GPUs.

use serde::{Deserialize, Serialize};

/// A GPU of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Unique over all machines: `GPU-...`.
    pub id: String,
    /// Its model.
    pub name: String,
    /// How much memory it has, in bytes; 0 where it does not say.
    pub memory_bytes: u64,
}
