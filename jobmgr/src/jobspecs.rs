//! The folder of jobspecs. (Skeleton.)

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::jobspec::Jobspec;

/// The folder; cheap to clone.
#[derive(Debug, Clone)]
pub struct Jobspecs {
    #[allow(dead_code)]
    dir: PathBuf,
}

impl Jobspecs {
    /// The jobspecs in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The jobspec of this name, as the file says now.
    ///
    /// # Errors
    /// One line for the job's result: `job does not exist`, `invalid job name`, or what is wrong in the file.
    pub fn get(&self, _name: &str) -> Result<Arc<Jobspec>, String> {
        unimplemented!()
    }
}
