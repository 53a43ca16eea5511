use std::collections::HashSet;

use jobmgr_plugin_api::{Error, Result};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::blobs::Blobs;
use crate::domain::job::{Artifact, Claim, Skipped};
use crate::domain::keys;
use crate::worker::collect::{CollectError, Collected, Limits};
use crate::worker::{Shared, mime};

/// What may be uploaded for an attempt from elsewhere, and what was. Grants are numbered; the numbers name their objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::worker) struct Uploads {
    grants: Vec<Grant>,
    committed: Vec<Committed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Grant {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    max: u64,
}

/// An upload that is one of the job's artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Committed {
    pub(super) slot: u32,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// What a commit comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Commit {
    New,
    /// It was committed before, with this hash.
    Again(String),
}

impl Uploads {
    /// From what the database kept.
    pub(in crate::worker) fn from_json(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    pub(in crate::worker) fn any(&self) -> bool {
        !self.grants.is_empty()
    }

    /// Whether an upload of this name was committed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.committed.iter().any(|committed| committed.name == name)
    }

    /// A new grant, or again the one of this name.
    pub(super) fn grant(&mut self, name: Option<String>, max: u64, limits: &Limits) -> Result<u32> {
        let named =
            name.as_ref().and_then(|name| self.grants.iter().position(|grant| grant.name.as_ref() == Some(name)));
        if let Some(slot) = named {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            if self.committed.iter().any(|committed| committed.slot == slot) {
                let name = name.unwrap_or_default();
                return Err(Error::invalid(format!("artifact.grant: '{name}' was committed already")));
            }
            self.grants[slot as usize].max = max;
            return Ok(slot);
        }
        // One that is begun again asks for all of them again; beside the files there are logs and the like.
        let most = limits.max_files.saturating_mul(2).saturating_add(64).min(100_000);
        if self.grants.len() as u64 >= most {
            return Err(Error::failed(format!("artifact.grant: {most} grants are enough for one job")));
        }
        self.grants.push(Grant { name, max });
        Ok(u32::try_from(self.grants.len() - 1).unwrap_or(u32::MAX))
    }

    /// The grant of this number, or of this name.
    pub(super) fn slot(&self, slot: Option<u32>, name: Option<&str>) -> Result<u32, String> {
        let known = match (slot, name) {
            (Some(slot), _) => self.grants.get(slot as usize).map(|_| slot),
            (None, Some(name)) => {
                let found = self.grants.iter().position(|grant| grant.name.as_deref() == Some(name));
                found.and_then(|found| u32::try_from(found).ok())
            }
            (None, None) => return Err("'slot' or 'name' is missing".to_owned()),
        };
        known.ok_or_else(|| match slot {
            Some(slot) => format!("there is no grant {slot}"),
            None => format!("there is no grant for '{}'", name.unwrap_or_default()),
        })
    }

    pub(super) fn may_commit(&self, new: &Committed, limits: &Limits) -> Result<Commit, String> {
        let Committed { slot, name, size, sha256 } = new;
        if let Some(old) = self.committed.iter().find(|old| old.slot == *slot) {
            let same = old.name == *name && old.size == *size && (sha256.is_empty() || *sha256 == old.sha256);
            if same {
                return Ok(Commit::Again(old.sha256.clone()));
            }
            return Err(format!("grant {slot} was committed already, as '{}' with {} bytes", old.name, old.size));
        }
        if self.has(name) {
            return Err(format!("there is an artifact '{name}' already"));
        }
        let max = self.grants.get(*slot as usize).map_or(0, |grant| grant.max);
        if *size > max {
            return Err(format!("'{name}' has {size} bytes; grant {slot} was for at most {max}"));
        }
        let bytes = self.committed.iter().map(|committed| committed.size).fold(*size, u64::saturating_add);
        check(limits, self.committed.len() as u64 + 1, bytes).map(|()| Commit::New)
    }

    pub(super) fn commit(&mut self, committed: Committed) {
        self.committed.push(committed);
    }

    /// Lists what was uploaded beside what was collected on this machine, in the order of the names.
    pub(in crate::worker) fn join(
        &self,
        collected: &mut Collected,
        claim: &Claim,
        installation: &str,
        limits: &Limits,
    ) -> Result<(), CollectError> {
        let here: HashSet<String> = collected.artifacts.iter().map(|artifact| artifact.name.clone()).collect();
        for committed in &self.committed {
            if here.contains(&committed.name) {
                let reason = "it was uploaded, and a file of the same name is in artifacts/".to_owned();
                collected.skipped.push(Skipped { name: committed.name.clone(), reason });
                continue;
            }
            collected.artifacts.push(Artifact {
                id: 0,
                job_id: claim.id,
                name: committed.name.clone(),
                mime: mime::of(&committed.name).to_owned(),
                size: committed.size,
                uuid: uuid::Uuid::new_v4().to_string(),
                sha256: committed.sha256.clone(),
                key: keys::of_grant(installation, claim.id, claim.attempt, committed.slot),
                created_ms: 0,
            });
        }
        let bytes = collected.artifacts.iter().map(|artifact| artifact.size).fold(0, u64::saturating_add);
        check(limits, collected.artifacts.len() as u64, bytes).map_err(CollectError::Limit)?;
        collected.artifacts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }
}

fn check(limits: &Limits, files: u64, bytes: u64) -> Result<(), String> {
    let Limits { max_files, max_bytes } = limits;
    if files > *max_files {
        return Err(format!("too many artifacts: {files} files; the limit is {max_files}"));
    }
    if bytes > *max_bytes {
        return Err(format!(
            "the artifacts are too large: {bytes} bytes in {files} files; the limit is {max_bytes} bytes"
        ));
    }
    Ok(())
}

/// Removes what was uploaded for an attempt that has ended, and is none of its artifacts.
pub(in crate::worker) async fn forget_uploads(shared: &Shared, claim: &Claim, artifacts: &[Artifact]) {
    let used: HashSet<&str> = artifacts.iter().map(|artifact| artifact.key.as_str()).collect();
    let (store, blobs): (_, &Blobs) = (&shared.parts.store, &shared.parts.blobs);
    let below = keys::of_grants(store.installation(), claim.id, claim.attempt);
    let removed = async {
        let unused = futures_util::TryStreamExt::try_filter_map(blobs.list(&below), |object| {
            let used = used.contains(object.key.as_str());
            async move { Ok((!used).then_some(object.key)) }
        });
        let unused: Vec<String> = futures_util::TryStreamExt::try_collect(unused).await?;
        blobs.delete_all(&unused).await
    };
    if let Err(error) = removed.await {
        warn!(job = claim.id, attempt = claim.attempt, %error, "uploads that are no artifacts stay for now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_files: 2, max_bytes: 100 };

    fn committed(slot: u32, name: &str, size: u64) -> Committed {
        Committed { slot, name: name.into(), size, sha256: "ab".into() }
    }

    #[test]
    fn a_name_has_one_grant() {
        let mut uploads = Uploads::default();
        assert_eq!(uploads.grant(Some("a".into()), 10, &LIMITS).unwrap(), 0);
        assert_eq!(uploads.grant(None, 10, &LIMITS).unwrap(), 1);
        assert_eq!(uploads.grant(Some("a".into()), 20, &LIMITS).unwrap(), 0);
        assert_eq!(uploads.slot(None, Some("a")), Ok(0));
        assert_eq!(uploads.slot(Some(1), Some("a")), Ok(1));
        assert_eq!(uploads.slot(Some(2), None).unwrap_err(), "there is no grant 2");
        assert!(uploads.slot(None, None).is_err());
        uploads.commit(committed(0, "a", 1));
        assert!(uploads.grant(Some("a".into()), 20, &LIMITS).is_err());
    }

    #[test]
    fn what_is_committed_again_stays_what_it_was() {
        let mut uploads = Uploads::default();
        for _ in 0..4 {
            uploads.grant(None, 60, &LIMITS).unwrap();
        }
        let may = |uploads: &Uploads, new: &Committed| uploads.may_commit(new, &LIMITS);
        assert_eq!(may(&uploads, &committed(0, "a", 60)), Ok(Commit::New));
        assert!(may(&uploads, &committed(0, "a", 61)).unwrap_err().contains("at most 60"));
        uploads.commit(committed(0, "a", 60));
        let json = serde_json::to_string(&uploads).unwrap();
        assert_eq!(Uploads::from_json(Some(&json)), uploads);
        assert_eq!(may(&uploads, &committed(0, "a", 60)), Ok(Commit::Again("ab".into())));
        assert!(may(&uploads, &committed(0, "b", 60)).is_err());
        assert!(may(&uploads, &committed(1, "a", 1)).unwrap_err().contains("already"));
        assert!(may(&uploads, &committed(1, "b", 41)).unwrap_err().contains("the limit is 100 bytes"));
        uploads.commit(committed(1, "b", 1));
        assert!(may(&uploads, &committed(2, "c", 1)).unwrap_err().contains("the limit is 2"));
    }
}
