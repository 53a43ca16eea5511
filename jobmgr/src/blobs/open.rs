use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use url::Url;

use super::cloud::{self, Cloud};
use super::folder::make_private;
use super::{BlobError, Blobs, Inner, Kind, options};
use crate::config;

/// Where objects go when nobody says.
const DEFAULT_FOLDER: &str = "artifacts-store";

impl Blobs {
    /// Opens the store of `[Storage]`, or the bucket of `[AWS]`, or the folder `artifacts-store`.
    ///
    /// # Errors
    /// [`BlobError::Unusable`] with the key that is wrong and what would be right.
    pub fn open(storage: &config::Storage, aws: Option<&config::Aws>) -> Result<Blobs, BlobError> {
        // An error says that somebody else was first, with a provider that serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let inner = match (&storage.url, aws) {
            (Some(url), _) => by_url(url.trim(), &storage.options)?,
            (None, Some(aws)) => by_aws(aws, &storage.options)?,
            (None, None) => {
                options::none("file", &storage.options)?;
                folder(DEFAULT_FOLDER.into(), "the default of [Storage] URL")?
            }
        };
        Ok(Blobs(Arc::new(inner)))
    }
}

fn by_url(url: &str, options: &BTreeMap<String, String>) -> Result<Inner, BlobError> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| unknown(url))?;
    match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            options::none("file", options)?;
            folder(folder_path(rest)?, "[Storage] URL")
        }
        "memory" => {
            options::none("memory", options)?;
            Ok(Inner {
                store: Arc::new(InMemory::new()),
                kind: Kind::Memory,
                prefix: Path::default(),
                place: "memory (lost when the server ends)".to_owned(),
            })
        }
        "s3" => bucket(url, rest, |name| cloud::s3(name, options)),
        "gs" => bucket(url, rest, |name| cloud::gcs(name, options)),
        "az" => bucket(url, rest, |name| cloud::azure(name, options)),
        _ => Err(unknown(url)),
    }
}

fn unknown(url: &str) -> BlobError {
    BlobError::Unusable(format!(
        "[Storage] URL '{url}' is none of file:DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
         memory:"
    ))
}

/// The original's keys; `[Storage] Options` may add to them (an endpoint, say).
fn by_aws(aws: &config::Aws, options: &BTreeMap<String, String>) -> Result<Inner, BlobError> {
    if aws.artifacts_bucket.is_empty() {
        return Err(BlobError::Unusable(
            "[AWS] ArtifactsBucket is empty: it must name the bucket for artifacts; without the section [AWS], they go \
             to a folder"
                .to_owned(),
        ));
    }
    let keys =
        [("access_key_id", &aws.access_key_id), ("secret_access_key", &aws.secret_access_key), ("region", &aws.region)];
    let mut all = options.clone();
    for (name, value) in keys.into_iter().filter(|(_, value)| !value.is_empty()) {
        all.entry(name.to_owned()).or_insert_with(|| value.clone());
    }
    let url = format!("s3://{}", aws.artifacts_bucket);
    bucket(&url, url.trim_start_matches("s3:"), |name| cloud::s3(name, &all))
}

/// `//BUCKET/PREFIX`, and what opens the bucket.
fn bucket(url: &str, rest: &str, open: impl FnOnce(&str) -> Result<Cloud, BlobError>) -> Result<Inner, BlobError> {
    let wrong = |why: &str| {
        BlobError::Unusable(format!(
            "[Storage] URL '{url}': {why}; it is written like s3://BUCKET or s3://BUCKET/PREFIX"
        ))
    };
    let rest = rest.strip_prefix("//").ok_or_else(|| wrong("there must be // after the scheme"))?;
    if rest.contains(['?', '#', '@']) {
        return Err(wrong("options and credentials go to [Storage] Options, not into the URL"));
    }
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(wrong("the name of the bucket is missing"));
    }
    let prefix = Path::parse(prefix.trim_matches('/')).map_err(|e| wrong(&e.to_string()))?;
    let cloud = open(name)?;
    let at = cloud.endpoint.map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    Ok(Inner { store: cloud.store, kind: cloud.kind, prefix, place: format!("{}{at}", url.trim_end_matches('/')) })
}

/// `DIR`, `/DIR`, `C:\DIR`, or the `///DIR` of a proper URL.
fn folder_path(rest: &str) -> Result<PathBuf, BlobError> {
    let wrong = |why: &str| {
        BlobError::Unusable(format!(
            "[Storage] URL 'file:{rest}': {why}; it is written like file:artifacts-store or file:///srv/artifacts"
        ))
    };
    if rest.is_empty() {
        return Err(wrong("the folder is missing"));
    }
    if !rest.starts_with("//") {
        return Ok(rest.into());
    }
    let url = Url::parse(&format!("file:{rest}")).map_err(|e| wrong(&e.to_string()))?;
    if url.host_str().is_some() {
        return Err(wrong("after two slashes comes a host, which a folder does not have"));
    }
    url.to_file_path().map_err(|()| wrong("this is no path of this system"))
}

fn folder(path: PathBuf, source: &str) -> Result<Inner, BlobError> {
    let wrong = |e: &dyn std::fmt::Display| {
        BlobError::Unusable(format!("the folder {} ({source}) can't hold artifacts: {e}", path.display()))
    };
    make_private(&path).map_err(|e| wrong(&e))?;
    let root = fs::canonicalize(&path).map_err(|e| wrong(&e))?;
    let store = LocalFileSystem::new_with_prefix(&root).map_err(|e| wrong(&e))?;
    // Synced to disk before a row says that it is there. Folders that are empty are removed by `folder`.
    let store = Arc::new(store.with_fsync(true));
    // Without the prefix of Windows' verbatim paths, which people don't write.
    let place = format!("folder {}", root.display()).replacen(r"\\?\", "", 1);
    Ok(Inner { store, kind: Kind::Folder(root), prefix: Path::default(), place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, options: &[(&str, &str)]) -> Result<Blobs, BlobError> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Blobs::open(&config::Storage { url: Some(url.to_owned()), options }, None)
    }

    fn refusal(url: &str, options: &[(&str, &str)]) -> String {
        match open(url, options) {
            Ok(blobs) => panic!("{url} opened {}", blobs.describe()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn folders_are_written_as_paths_or_urls() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b").join("store");
        let forward = path.to_str().unwrap().replace('\\', "/");
        let plain = open(&format!("file:{}", path.display()), &[]).unwrap();
        let url = format!("file:///{}", forward.trim_start_matches('/').replace(' ', "%20"));
        assert_eq!(plain.describe(), open(&url, &[]).unwrap().describe());
        assert!(path.is_dir());
        assert_eq!(folder_path("artifacts-store").unwrap(), PathBuf::from("artifacts-store"));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_private_and_an_old_one_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (new, old) = (dir.path().join("new"), dir.path().join("old"));
        fs::create_dir(&old).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o750)).unwrap();
        for path in [&new, &old] {
            open(&format!("file:{}", path.display()), &[]).unwrap();
        }
        assert_eq!((mode(&new), mode(&old)), (0o700, 0o750));
    }

    #[test]
    fn wrong_urls_are_told_what_would_be_right() {
        assert!(refusal("/srv/store", &[]).contains("file:DIR"));
        assert!(refusal("ftp://host/x", &[]).contains("s3://BUCKET/PREFIX"));
        assert!(refusal("file:", &[]).contains("file:artifacts-store"));
        assert!(refusal("file://store/x", &[]).contains("a host"));
        assert!(refusal("s3:bucket", &[]).contains("s3://BUCKET"));
        assert!(refusal("s3://", &[]).contains("name of the bucket"));
        assert!(refusal("s3://b?region=x", &[]).contains("[Storage] Options"));
        assert!(refusal("az://container", &[]).contains("Options.account_name"));
    }

    #[test]
    fn the_configuration_takes_the_schemes_that_open() {
        let dir = tempfile::tempdir().unwrap();
        let schemes = ["file", "s3", "S3", "gs", "az", "memory", "s3a", "azure", "adl", "abfs", "abfss", "http", "ftp"];
        for scheme in schemes {
            // None of them opens; the question is why.
            let url = format!("{scheme}://host.example/?");
            let opens = !open(&url, &[("x", "y")]).is_err_and(|error| error.to_string().contains("is none of"));
            let variable = ("JOBMGR_STORAGE__URL".to_owned(), url);
            let taken = config::Config::load(dir.path(), std::iter::once(variable)).is_ok();
            assert_eq!(taken, opens, "{scheme}");
        }
    }

    #[test]
    fn wrong_options_are_named_with_the_nearest() {
        let text = refusal("s3://b", &[("acces_key_id", "x")]);
        assert!(
            text.contains("[Storage] Options.acces_key_id") && text.contains("did you mean access_key_id?"),
            "{text}"
        );
        assert!(refusal("file:x", &[("region", "x")]).contains("Options.region"));
        assert!(refusal("s3://b", &[("allow_http", "perhaps")]).contains("[Storage] Options"));
    }

    #[test]
    fn the_place_names_the_endpoint_and_no_secret() {
        let options = [("endpoint", "http://127.0.0.1:1"), ("access_key_id", "AK"), ("Secret_Access_Key", "hidden")];
        let place = open("s3://bucket/some/prefix/", &options).unwrap().describe();
        assert_eq!(place, "s3://bucket/some/prefix at http://127.0.0.1:1");
    }

    #[test]
    fn the_original_section_names_a_bucket() {
        let aws = config::Aws {
            access_key_id: "AK".to_owned(),
            secret_access_key: "SK".to_owned(),
            region: "us-east-2".to_owned(),
            artifacts_bucket: "bucket-name-here".to_owned(),
        };
        let open = |aws: &config::Aws| Blobs::open(&config::Storage::default(), Some(aws));
        assert_eq!(open(&aws).unwrap().describe(), "s3://bucket-name-here");
        let empty = config::Aws { artifacts_bucket: String::new(), ..aws };
        assert!(open(&empty).err().unwrap().to_string().contains("[AWS] ArtifactsBucket"));
    }
}
