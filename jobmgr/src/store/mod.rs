//! The queue and everything that is remembered; the only room that names sqlx. (Skeleton.)

use crate::config;
use crate::domain::job::{Artifact, Job, JobId, NewJob};

/// A handle to the database; cheap to clone. Every call may be dropped at any time: the work goes on.
#[derive(Clone)]
pub struct Store {}

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is full, or is locked by somebody else: trying again may help.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Its content or the statement is wrong.
    #[error("the database failed: {0}")]
    Failed(String),
    /// The configuration or the database can't serve.
    #[error("{0}")]
    Unusable(String),
}

impl Store {
    /// Opens the database, and brings its tables up to date.
    ///
    /// # Errors
    /// When it can't serve; the text says what to do.
    pub async fn open(_config: &config::Database) -> Result<Store, StoreError> {
        unimplemented!()
    }

    /// Queues a job; it is durable when this returns.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submit(&self, _job: NewJob) -> Result<JobId, StoreError> {
        unimplemented!()
    }

    /// A job with all that it left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job(&self, _id: JobId) -> Result<Option<Job>, StoreError> {
        unimplemented!()
    }

    /// One artifact.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifact(&self, _id: i64) -> Result<Option<Artifact>, StoreError> {
        unimplemented!()
    }

    /// The key that signs local download URLs; made once per database.
    pub fn signing_key(&self) -> &[u8] {
        unimplemented!()
    }

    /// Answers whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
