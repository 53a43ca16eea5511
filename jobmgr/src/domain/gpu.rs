//! GPUs.

use serde::{Deserialize, Serialize};

/// The variables by which a job learns which GPUs it was given: CUDA obeys the first, the container toolkit of NVIDIA
/// the second, executors read the third. Each has their ids, with commas between them.
pub const GIVEN: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "JOBMGR_GPUS"];

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
