//! What goes, for people and for logs.

use std::fmt;
use std::time::Duration;

use super::orphans::Orphan;
use super::rules::Rule;
use crate::blobs::Object;
use crate::domain::duration::GoDuration;
use crate::domain::input::Input;
use crate::store::{Aging, HeldArtifacts};

/// Something that goes, in a line.
#[derive(Debug)]
pub enum Gone<'a> {
    /// A job with all that it left.
    Job(&'a Aging, HeldArtifacts, Rule),
    /// The artifacts of a job that stays.
    Artifacts(&'a Aging, HeldArtifacts, Rule),
    /// An object that belongs to nothing.
    Object(&'a Object, Orphan),
    /// An uploaded file that no job has.
    Input(&'a Input),
}

impl fmt::Display for Gone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gone::Job(job, held, rule) => {
                write!(f, "job {}", About(job))?;
                if held.count > 0 {
                    write!(f, ", with {}", Files(held))?;
                }
                write!(f, ": {rule}")
            }
            Gone::Artifacts(job, held, rule) => write!(f, "artifacts of job {}, {}: {rule}", About(job), Files(held)),
            Gone::Input(input) => {
                write!(f, "input {} of {} bytes: no job has used it in time", input.id, input.size)
            }
            Gone::Object(object, why) => write!(f, "object {}, {} bytes: {}", object.key, object.size, why.as_str()),
        }
    }
}

struct About<'a>(&'a Aging);

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0.status.map_or("", |status| status.as_str());
        // Whole seconds are enough for people.
        let seconds = u64::try_from(self.0.age_ms.unwrap_or_default()).unwrap_or_default() / 1000;
        let age = GoDuration::from(Duration::from_secs(seconds));
        write!(f, "{} ('{}', {status} {age} ago)", self.0.id, self.0.name.escape_debug())
    }
}

struct Files<'a>(&'a HeldArtifacts);

impl fmt::Display for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} artifacts of {} bytes", self.0.count, self.0.bytes)
    }
}

/// How much went, or would go.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Jobs.
    pub jobs: u64,
    /// Artifacts, those of jobs that went included.
    pub artifacts: HeldArtifacts,
    /// Objects that belonged to nothing, uploaded files that no job had, and uploads that were never finished.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// What could not be done.
    pub troubles: Vec<String>,
}

impl Totals {
    pub(super) fn add(&mut self, gone: &Gone<'_>) {
        match gone {
            Gone::Job(_, held, _) | Gone::Artifacts(_, held, _) => {
                self.jobs += u64::from(matches!(gone, Gone::Job(..)));
                self.artifacts.count += held.count;
                self.artifacts.bytes += held.bytes;
            }
            Gone::Object(object, _) => {
                self.objects += 1;
                self.object_bytes += object.size;
            }
            Gone::Input(input) => {
                self.objects += 1;
                self.object_bytes += input.size;
            }
        }
    }

    /// Whether nothing went.
    pub fn is_empty(&self) -> bool {
        self.jobs + self.artifacts.count + self.objects == 0
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (jobs, artifacts, bytes) = (self.jobs, self.artifacts.count, self.artifacts.bytes);
        write!(f, "{jobs} jobs, {artifacts} artifacts of {bytes} bytes, ")?;
        write!(f, "{} objects of {} bytes that belong to nothing", self.objects, self.object_bytes)
    }
}
