//! The files that a job is given, from the store to its directory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::attempt::{Ending, again, ended_early};
use super::leases::Hold;
use super::verdict::Verdict;
use super::workspace::Directory;
use super::{Shared, platform};
use crate::blobs::{BlobError, Blobs};
use crate::domain::input::{Input, InputId, file_names};
use crate::domain::job::{Claim, Reason};
use crate::domain::jobspec::{Jobspec, Parameter, ParameterType};

/// Why a file could not be brought.
enum Failed {
    /// It never will be.
    Gone(String),
    /// Later it may be.
    Now(String),
}

/// Brings what the job was given, and says where: the job's variables for it. The lease, a cancel or the worker's end
/// interrupt it.
pub(super) async fn inputs(
    shared: &Shared,
    claim: &Claim,
    spec: &Jobspec,
    directory: &Directory,
    hold: &Hold,
) -> Result<BTreeMap<String, String>, Ending> {
    let files: Vec<&Parameter> = spec.parameters.iter().filter(|one| one.kind == ParameterType::File).collect();
    if files.is_empty() {
        return Ok(BTreeMap::new());
    }
    let release = |why: &str| Ending::Release { delay: std::time::Duration::ZERO, why: why.into() };
    let folder = directory.inputs();
    let staged = tokio::select! {
        biased;
        () = hold.fence.cancelled() => return Err(Ending::Fenced),
        // What is given back and was canceled ends as canceled.
        () = hold.cancel.cancelled() => return Err(release("its end was asked for")),
        () = shared.ending.cancelled() => return Err(release("the worker ends")),
        staged = stage(shared, claim, &files, &folder) => staged,
    };
    staged.map_err(|failed| match failed {
        Failed::Gone(why) => ended_early(claim, Verdict::failed(Reason::InvalidJob, why)),
        Failed::Now(why) => again(claim, why),
    })
}

async fn stage(
    shared: &Shared,
    claim: &Claim,
    files: &[&Parameter],
    folder: &Path,
) -> Result<BTreeMap<String, String>, Failed> {
    platform::readable_dir(folder).map_err(|error| unwritten(folder, &error))?;
    let given = shared.parts.store.inputs_of(claim.id).await.map_err(|error| Failed::Now(error.to_string()))?;
    let names = file_names(given.iter().map(|input| input.name.as_str()));
    let mut paths: BTreeMap<InputId, PathBuf> = BTreeMap::new();
    let mut variables = BTreeMap::from([("JOBMGR_INPUTS_DIR".to_owned(), folder.display().to_string())]);
    let values = claim.parameters.as_ref().map_err(|why| Failed::Gone(why.clone()))?;
    for parameter in files {
        let Some(value) = values.get(&parameter.name) else { continue };
        let place = given.iter().position(|input| input.id.to_string() == *value).ok_or_else(|| {
            let text = "is not a file of this job: files are given to POST /v1/jobs and its like, not to /jobs/start";
            Failed::Gone(format!("the input {value} of parameter '{}' {text}", parameter.name))
        })?;
        let (input, path) = (&given[place], folder.join(&names[place]));
        if let Entry::Vacant(free) = paths.entry(input.id) {
            bring(&shared.parts.blobs, input, &path).await?;
            free.insert(path.clone());
        }
        variables.extend(parameter.variables.iter().map(|variable| (variable.clone(), path.display().to_string())));
    }
    Ok(variables)
}

/// Writes a file as it comes, and sees that it is the one that was uploaded.
async fn bring(blobs: &Blobs, input: &Input, path: &Path) -> Result<(), Failed> {
    let id = input.id;
    let away = |error: BlobError| match error {
        BlobError::Missing(_) => Failed::Gone(format!("the input file {id} is no longer in the store")),
        error => Failed::Now(format!("the input file {id} can't be read now: {error}")),
    };
    let mut bytes = blobs.get(&input.key, None).await.map_err(away)?;
    let mut file = tokio::fs::File::create_new(path).await.map_err(|error| unwritten(path, &error))?;
    let (mut size, mut hash) = (0, Sha256::new());
    while let Some(piece) = bytes.try_next().await.map_err(away)? {
        size += piece.len() as u64;
        hash.update(&piece);
        file.write_all(&piece).await.map_err(|error| unwritten(path, &error))?;
    }
    file.flush().await.map_err(|error| unwritten(path, &error))?;
    platform::readable_file(path).map_err(|error| unwritten(path, &error))?;
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if size == input.size && sha256 == input.sha256 {
        return Ok(());
    }
    let (was, known) = (input.size, &input.sha256);
    Err(Failed::Gone(format!(
        "the input file {id} in the store is not the one that was uploaded: it has {size} bytes and the SHA-256 {sha256}, \
         not {was} and {known}"
    )))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failed {
    Failed::Now(format!("the job's input {} can't be written: {error}", path.display()))
}
