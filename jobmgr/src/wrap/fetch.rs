use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Method};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::put::{Failed, STALLED, client, refused, told, tried};

/// The variable that names the folder with the input files.
const FOLDER: &str = "JOBMGR_INPUTS_DIR";
/// Downloads at once.
const PARALLEL: usize = 4;

/// An address at which one of the job's input files can be had.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Input {
    name: String,
    #[serde(default = "get")]
    method: String,
    url: String,
    size: u64,
    sha256: String,
}

fn get() -> String {
    "GET".to_owned()
}

/// Fetches the input files into `folder`; gives the variables that name them there instead of in the job's directory.
/// Where that is seen from this machine, the files are in it.
///
/// # Errors
/// One line: which file could not be had, and why.
pub(super) async fn fetch(
    inputs: Option<&[Input]>,
    folder: &Path,
    patience: Duration,
) -> Result<Vec<(OsString, OsString)>, String> {
    let Some(there) = std::env::var_os(FOLDER).filter(|value| !value.is_empty()).map(PathBuf::from) else {
        return Ok(Vec::new());
    };
    if there.is_dir() {
        return Ok(Vec::new());
    }
    let inputs = inputs.ok_or_else(|| {
        format!(
            "the job has input files, in {}, which is not seen from here, and there are no addresses for them among \
             the grants",
            there.display()
        )
    })?;
    std::fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let client = client()?;
    let mut fetched = stream::iter(inputs)
        .map(|input| {
            let client = &client;
            async move {
                let fetched = tried(patience, || one(client, input, folder)).await;
                fetched.map_err(|why| format!("the input file '{}' can't be had: {why}", input.name))
            }
        })
        .buffered(PARALLEL);
    while fetched.try_next().await?.is_some() {}
    Ok(moved(std::env::vars_os(), &there, folder))
}

async fn one(client: &Client, input: &Input, folder: &Path) -> Result<(), Failed> {
    if Path::new(&input.name).file_name() != Some(input.name.as_ref()) {
        return Err(Failed::Always("that is no name of a file".to_owned()));
    }
    let local = |error: std::io::Error| Failed::Always(error.to_string());
    let method = Method::from_bytes(input.method.as_bytes()).map_err(|error| Failed::Always(error.to_string()))?;
    let stalled = || Failed::Now(format!("nothing of it came for {STALLED:?}"));
    // The address is a secret: it is in the error's text otherwise.
    let away = |error: reqwest::Error| Failed::Now(told(&error.without_url()));
    let answer = tokio::time::timeout(STALLED, client.request(method, &input.url).send()).await;
    let answer = answer.map_err(|_| stalled())?.map_err(away)?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let mut file = tokio::fs::File::create(folder.join(&input.name)).await.map_err(local)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut bytes = answer.bytes_stream();
    while let Some(piece) = tokio::time::timeout(STALLED, bytes.next()).await.map_err(|_| stalled())? {
        let piece = piece.map_err(away)?;
        size += piece.len() as u64;
        if size > input.size {
            return Err(Failed::Always(format!("it has more than its {} bytes", input.size)));
        }
        hash.update(&piece);
        file.write_all(&piece).await.map_err(local)?;
    }
    file.flush().await.map_err(local)?;
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if size < input.size {
        return Err(Failed::Now(format!("only {size} of its {} bytes came", input.size)));
    }
    if (size, &sha256) != (input.size, &input.sha256) {
        return Err(Failed::Always(format!(
            "it has {size} bytes and the SHA-256 {sha256}, not {} and {}",
            input.size, input.sha256
        )));
    }
    Ok(())
}

/// The variables whose values are the folder or a path in it, with its new place.
fn moved(variables: impl Iterator<Item = (OsString, OsString)>, from: &Path, to: &Path) -> Vec<(OsString, OsString)> {
    let place = |value: &OsString| {
        let rest = Path::new(value).strip_prefix(from).ok()?;
        Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) }.into_os_string())
    };
    variables.filter_map(|(name, value)| Some((name, place(&value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_folder_or_a_file_in_it_is_moved() {
        let variables = [
            (FOLDER, "/jobs/7/inputs"),
            ("JOBMGR_PARAMETER_DATA", "/jobs/7/inputs/a b.csv"),
            ("OTHER", "/jobs/7/inputs2/x"),
            ("WORDS", "see /jobs/7/inputs/x"),
            ("JOBMGR_ARTIFACTS_DIR", "/jobs/7/artifacts"),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let (from, to) = (Path::new("/jobs/7/inputs"), Path::new("/scratch/inputs"));
        let file = to.join("a b.csv").into_os_string();
        let expected = [(FOLDER.into(), to.as_os_str().to_owned()), ("JOBMGR_PARAMETER_DATA".into(), file)];
        assert_eq!(moved(variables, from, to), expected);
    }
}
