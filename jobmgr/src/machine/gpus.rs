//! The machine's GPUs, as NVIDIA's library tells of them; the only file that names its crate.

use std::time::Duration;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::domain::gpu::Gpu;

/// How long the driver may take: one that hangs must not hold up a start.
const PATIENCE: Duration = Duration::from_secs(5);

/// Those that there are; none where there is no driver.
pub async fn gpus() -> Vec<Gpu> {
    let found = tokio::task::spawn_blocking(read);
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Ok(Ok(gpus))) => gpus,
        Ok(Ok(Err(NvmlError::LibloadingError(_)))) => Vec::new(),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, "the GPUs of this machine can't be listed");
            Vec::new()
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("the driver of this machine's GPUs does not answer");
            Vec::new()
        }
    }
}

fn read() -> Result<Vec<Gpu>, NvmlError> {
    let driver = Nvml::init()?;
    let one = |index| {
        let device = driver.device_by_index(index)?;
        // Some have no memory of their own.
        let memory_bytes = device.memory_info().map(|memory| memory.total).unwrap_or_default();
        Ok(Gpu { id: device.uuid()?, name: device.name()?, memory_bytes })
    };
    (0..driver.device_count()?).map(one).collect()
}
