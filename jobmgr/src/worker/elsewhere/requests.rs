use std::path::{Component, Path};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::TryStreamExt;
use jobmgr_plugin_api::{Error, Job, Kind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::uploads::{self, Committed};
use crate::blobs::{BlobError, Granted};
use crate::domain::fetch::Fetch;
use crate::domain::input::file_names;
use crate::domain::keys;
use crate::domain::upload::Upload;
use crate::worker::collect::Limits;
use crate::worker::mime;
use crate::worker::running::Running;

/// For how long a grant holds unless it is said, and at most: no store signs for longer.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many grants one request may ask for.
const MOST_AT_ONCE: u32 = 1000;
/// How much one request reads, in bytes: what it says as text has to fit a frame.
const MOST_READ: u64 = 1 << 20;
/// The longest name of an artifact, in bytes; as the collector has it.
const LONGEST: usize = 4000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    name: String,
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    name: Option<String>,
    count: Option<u32>,
    max_bytes: Option<u64>,
    ttl_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    ttl_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Commit {
    name: String,
    slot: Option<u32>,
    size: u64,
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    name: Option<String>,
    slot: Option<u32>,
    #[serde(default)]
    offset: u64,
    length: Option<u64>,
}

/// What an executor asks for while it runs a job. `keeps`: what was granted and uploaded outlives this worker.
pub(in crate::worker) async fn request(
    running: &mut Running<'_>,
    job: &Job<Value>,
    keeps: bool,
    method: &str,
    json: &Value,
) -> Result<Value> {
    match method {
        "artifact.put" => put(running, job, asked(method, json)?).await,
        "artifact.grant" => grant(running, keeps, asked(method, json)?).await,
        "artifact.commit" => commit(running, job, keeps, asked(method, json)?).await,
        "input.grant" => inputs(running, asked(method, json)?).await,
        "artifact.read" => read(running, asked(method, json)?).await,
        _ => Err(Error::new(Kind::Unsupported, format!("there is no method '{method}'"))),
    }
}

fn asked<T: DeserializeOwned>(method: &str, json: &Value) -> Result<T> {
    T::deserialize(json).map_err(|error| Error::invalid(format!("{method}: {error}")))
}

/// A path below `artifacts/`, as every system takes it.
fn check_name(method: &str, name: &str) -> Result<()> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let parts = name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if plain && parts && !name.contains(['\0', '\\']) && name.len() <= LONGEST {
        return Ok(());
    }
    let name: String = name.chars().take(100).collect();
    Err(Error::invalid(format!(
        "{method}: '{}' is no name of an artifact: a path below artifacts/ with / between its parts, without .. and \\, \
         at most {LONGEST} bytes",
        name.escape_debug()
    )))
}

/// Takes a file of this machine among the job's artifacts.
async fn put(running: &Running<'_>, job: &Job<Value>, Put { name, path }: Put) -> Result<Value> {
    check_name("artifact.put", &name)?;
    if running.uploads.has(&name) {
        return Err(Error::invalid(format!("artifact.put: '{name}' was uploaded already")));
    }
    let most = limits(running).max_bytes;
    let mime = mime::of(&name);
    let to = Path::new(&job.dir).join("artifacts").join(&name);
    let copied = tokio::task::spawn_blocking(move || {
        let told = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{path}: {error}"));
        let found = std::fs::metadata(&path).map_err(told)?;
        if !found.is_file() {
            return Err(told(std::io::Error::other("this is not a plain file")));
        }
        if found.len() > most {
            let size = found.len();
            return Err(told(std::io::Error::other(format!("{size} bytes; artifacts may have {most} in all"))));
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(&path, &to).map_err(told)
    });
    let copied = copied.await.map_err(|error| Error::failed(error.to_string()))?;
    let size = copied.map_err(|error| Error::failed(format!("artifact.put: {error}")))?;
    Ok(json!({"size": size, "mime": mime}))
}

/// Gives addresses to which files can be uploaded.
async fn grant(running: &mut Running<'_>, keeps: bool, asked: Grant) -> Result<Value> {
    let count = match (asked.name.is_some(), asked.count) {
        (true, Some(_)) => return Err(Error::invalid("artifact.grant: either 'name' or 'count'")),
        (_, Some(count)) if count == 0 || count > MOST_AT_ONCE => {
            return Err(Error::invalid(format!("artifact.grant: 'count' must be 1 to {MOST_AT_ONCE}")));
        }
        (_, count) => count.unwrap_or(1),
    };
    if let Some(name) = &asked.name {
        check_name("artifact.grant", name)?;
    }
    let limits = limits(running);
    let max = asked.max_bytes.unwrap_or(limits.max_bytes).min(limits.max_bytes);
    let valid = lasting("artifact.grant", asked.ttl_s)?;
    let mut uploads = running.uploads.clone();
    let slots: Vec<u32> = (0..count).map(|_| uploads.grant(asked.name.clone(), max, &limits)).collect::<Result<_>>()?;
    let mut grants = Vec::with_capacity(slots.len());
    for slot in slots {
        grants.push(granted(running, slot, max, valid).await?);
    }
    keep(running, keeps, uploads).await?;
    Ok(if asked.count.is_some() { json!({"grants": grants}) } else { grants.pop().unwrap_or_default() })
}

fn lasting(method: &str, ttl_s: Option<u64>) -> Result<Duration> {
    let valid = ttl_s.map_or(WEEK, Duration::from_secs);
    if valid.is_zero() || valid > WEEK {
        return Err(Error::invalid(format!("{method}: 'ttl_s' must be 1 to {}", WEEK.as_secs())));
    }
    Ok(valid)
}

/// Gives addresses at which the job's input files can be had, each under the name that it has in `JOBMGR_INPUTS_DIR`.
async fn inputs(running: &Running<'_>, asked: Inputs) -> Result<Value> {
    const METHOD: &str = "input.grant";
    let (valid, parts, claim) = (lasting(METHOD, asked.ttl_s)?, &running.shared.parts, running.claim);
    let inputs = parts.store.inputs_of(claim.id).await.map_err(|error| Error::retry(format!("{METHOD}: {error}")))?;
    let names = file_names(inputs.iter().map(|input| input.name.as_str()));
    let expires = unix_seconds().saturating_add(valid.as_secs());
    let mut granted = Vec::with_capacity(inputs.len());
    for (input, name) in inputs.iter().zip(names) {
        let signed = parts.blobs.signed_url(&input.key, valid, "application/octet-stream", "attachment").await;
        let url = match (signed.map_err(|error| failed(METHOD, &error))?, &parts.public_url) {
            (Some(url), _) => url,
            (None, Some(server)) => {
                let fetch = Fetch { job: claim.id, attempt: claim.attempt, input: input.id, expires };
                format!("{}{}", server.trim_end_matches('/'), fetch.address(parts.store.signing_key()))
            }
            (None, None) => return Err(unsigned(METHOD, "give", &parts.blobs.describe())),
        };
        granted.push(json!({
            "name": name, "method": "GET", "url": url, "size": input.size, "sha256": input.sha256, "expires": expires,
        }));
    }
    Ok(json!({"inputs": granted}))
}

fn unsigned(method: &str, what: &str, store: &str) -> Error {
    let text = format!(
        "{method}: {store} can't sign addresses, and no server is known that could {what} files: set [Storage] URL to a \
         bucket (s3://, gs:// or az:// with a key), or [Server] PublicURL"
    );
    Error::new(Kind::Unsupported, text)
}

async fn granted(running: &Running<'_>, slot: u32, max: u64, valid: Duration) -> Result<Value> {
    let parts = &running.shared.parts;
    let key = key(running, slot);
    let expires = unix_seconds().saturating_add(valid.as_secs());
    let signed = parts.blobs.signed_upload(&key, valid).await.map_err(|error| failed("artifact.grant", &error))?;
    let Granted { url, headers } = match (signed, &parts.public_url) {
        (Some(signed), _) => signed,
        (None, Some(server)) => {
            let upload = Upload { job: running.claim.id, attempt: running.claim.attempt, slot, max, expires };
            let address = upload.address(parts.store.signing_key());
            Granted { url: format!("{}{address}", server.trim_end_matches('/')), headers: Vec::new() }
        }
        (None, None) => return Err(unsigned("artifact.grant", "take", &parts.blobs.describe())),
    };
    let headers: serde_json::Map<String, Value> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    Ok(json!({
        "slot": slot, "method": "PUT", "url": url, "headers": headers, "expires": expires, "max_bytes": max,
    }))
}

/// Takes what was uploaded among the job's artifacts, once it is what it is said to be.
async fn commit(running: &mut Running<'_>, job: &Job<Value>, keeps: bool, asked: Commit) -> Result<Value> {
    const METHOD: &str = "artifact.commit";
    check_name(METHOD, &asked.name)?;
    let sha256 = asked.sha256.map(|sha256| sha256.to_ascii_lowercase());
    if sha256.as_ref().is_some_and(|text| text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Error::invalid(format!("{METHOD}: 'sha256' must be 64 hexadecimal digits")));
    }
    let slot = running.uploads.slot(asked.slot, Some(&asked.name)).map_err(|why| invalid(METHOD, &why))?;
    let mut committed =
        Committed { slot, name: asked.name, size: asked.size, sha256: sha256.clone().unwrap_or_default() };
    let limits = limits(running);
    match running.uploads.may_commit(&committed, &limits).map_err(|why| invalid(METHOD, &why))? {
        uploads::Commit::Again(sha256) => return Ok(shown(&Committed { sha256, ..committed })),
        uploads::Commit::New => {}
    }
    let name = &committed.name;
    if std::fs::symlink_metadata(Path::new(&job.dir).join("artifacts").join(name)).is_ok() {
        return Err(Error::invalid(format!("{METHOD}: '{name}' is in artifacts/ already")));
    }
    let (blobs, key) = (&running.shared.parts.blobs, key(running, slot));
    let size = match blobs.size(&key).await {
        Ok(size) => size,
        Err(BlobError::Missing(_)) => {
            return Err(Error::failed(format!("{METHOD}: nothing was uploaded with grant {slot} for '{name}'")));
        }
        Err(error) => return Err(failed(METHOD, &error)),
    };
    let wrong = |what: String| Error::failed(format!("{METHOD}: '{name}', uploaded with grant {slot}, {what}"));
    if size != committed.size {
        return Err(wrong(format!("has {size} bytes, not {}", committed.size)));
    }
    let digest = blobs.digest(&key).await.map_err(|error| failed(METHOD, &error))?;
    if digest.size != size || sha256.as_ref().is_some_and(|sha256| *sha256 != digest.sha256) {
        return Err(wrong(format!("has {} bytes with the SHA-256 {}", digest.size, digest.sha256)));
    }
    committed.sha256 = digest.sha256;
    let answer = shown(&committed);
    let mut uploads = running.uploads.clone();
    uploads.commit(committed);
    keep(running, keeps, uploads).await?;
    Ok(answer)
}

fn shown(committed: &Committed) -> Value {
    json!({"size": committed.size, "sha256": committed.sha256, "mime": mime::of(&committed.name)})
}

/// Reads a part of what was uploaded; `null`: nothing was.
async fn read(running: &Running<'_>, asked: Read) -> Result<Value> {
    const METHOD: &str = "artifact.read";
    let slot = running.uploads.slot(asked.slot, asked.name.as_deref()).map_err(|why| invalid(METHOD, &why))?;
    let length = asked.length.unwrap_or(MOST_READ);
    if length == 0 || length > MOST_READ {
        return Err(Error::invalid(format!("{METHOD}: 'length' must be 1 to {MOST_READ}")));
    }
    let (blobs, key) = (&running.shared.parts.blobs, key(running, slot));
    let size = match blobs.size(&key).await {
        Ok(size) => size,
        Err(BlobError::Missing(_)) => return Ok(Value::Null),
        Err(error) => return Err(failed(METHOD, &error)),
    };
    let part = asked.offset.min(size)..asked.offset.saturating_add(length).min(size);
    let bytes = async { blobs.get(&key, Some(part)).await?.try_collect::<Vec<_>>().await };
    let bytes = bytes.await.map_err(|error| failed(METHOD, &error))?.concat();
    Ok(json!({"size": size, "base64": BASE64.encode(bytes)}))
}

/// Keeps what was granted and committed, on disk where another worker may go on with the job.
async fn keep(running: &mut Running<'_>, keeps: bool, uploads: uploads::Uploads) -> Result<()> {
    if keeps {
        let json = serde_json::to_string(&uploads).map_err(|error| Error::failed(error.to_string()))?;
        match running.shared.parts.store.keep_uploads(running.claim, json).await {
            Ok(true) => {}
            Ok(false) => return Err(Error::new(Kind::Stopped, "the job is not this worker's any more")),
            Err(error) => return Err(Error::retry(error.to_string())),
        }
    }
    running.uploads = uploads;
    Ok(())
}

fn key(running: &Running<'_>, slot: u32) -> String {
    keys::of_grant(running.shared.parts.store.installation(), running.claim.id, running.claim.attempt, slot)
}

fn limits(running: &Running<'_>) -> Limits {
    let config = &running.shared.parts.config;
    Limits { max_files: config.max_artifacts, max_bytes: config.max_artifact_bytes }
}

fn invalid(method: &str, why: &str) -> Error {
    Error::invalid(format!("{method}: {why}"))
}

/// A store that is only away now comes back.
fn failed(method: &str, error: &BlobError) -> Error {
    let text = format!("{method}: {error}");
    if matches!(error, BlobError::Unavailable(_)) { Error::retry(text) } else { Error::failed(text) }
}

fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_below_the_folder() {
        for good in ["a", "a/b.png", ".hidden", "ä ö", "..a"] {
            assert!(check_name("m", good).is_ok(), "{good}");
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\0b", &long] {
            assert!(check_name("m", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_asked_for_wrongly_is_told() {
        let text = |json: Value| asked::<Commit>("artifact.commit", &json).err().unwrap().to_string();
        assert_eq!(text(json!({"name": "a"})), "artifact.commit: missing field `size`");
        assert!(text(json!({"name": "a", "size": 1, "sha": ""})).contains("unknown field `sha`"));
        assert!(text(json!({"name": "a", "size": -1})).contains("-1"));
    }
}
