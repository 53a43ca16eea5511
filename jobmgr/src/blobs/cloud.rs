use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::options::{self, Names};
use super::{BlobError, Kind, Signing};

/// A store and how it signs.
pub(super) struct Cloud {
    pub store: Arc<dyn ObjectStore>,
    pub kind: Kind,
    /// The server, where it is not the provider's own.
    pub endpoint: Option<String>,
}

type Options = BTreeMap<String, String>;

const S3: Names = Names {
    scheme: "s3",
    variables: "AWS_",
    others: &[],
    credentials: &["access_key_id", "secret_access_key", "session_token", "token"],
    examples: &[
        "access_key_id",
        "secret_access_key",
        "session_token",
        "region",
        "endpoint",
        "allow_http",
        "virtual_hosted_style_request",
        "unsigned_payload",
        "skip_signature",
        "server_side_encryption",
        "sse_kms_key_id",
        "checksum_algorithm",
        "timeout",
        "connect_timeout",
        "proxy_url",
    ],
};

const GCS: Names = Names {
    scheme: "gs",
    variables: "GOOGLE_",
    others: &[("SERVICE_ACCOUNT", "service_account")],
    credentials: &[
        "service_account",
        "service_account_path",
        "service_account_key",
        "application_credentials",
        "bearer_token",
    ],
    examples: &[
        "service_account",
        "service_account_key",
        "application_credentials",
        "bearer_token",
        "base_url",
        "skip_signature",
        "timeout",
        "connect_timeout",
        "proxy_url",
    ],
};

const AZURE: Names = Names {
    scheme: "az",
    variables: "AZURE_",
    others: &[("IDENTITY_ENDPOINT", "msi_endpoint")],
    credentials: &["account_key", "access_key", "master_key", "sas_key", "sas_token", "bearer_token", "token"],
    examples: &[
        "account_name",
        "account_key",
        "client_id",
        "client_secret",
        "tenant_id",
        "sas_token",
        "endpoint",
        "allow_http",
        "use_emulator",
        "timeout",
        "connect_timeout",
        "proxy_url",
    ],
};

/// Amazon S3, or a server that speaks like it.
pub(super) fn s3(bucket: &str, options: &Options) -> Result<Cloud, BlobError> {
    let mut builder = AmazonS3Builder::new().with_client_options(client()).with_retry(retry());
    for (key, value) in options::settings::<AmazonS3ConfigKey>(&S3, options)? {
        builder = builder.with_config(key, value);
    }
    builder = builder.with_bucket_name(bucket);
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    if says_http(endpoint.as_deref()) && !names(options, "allow_http") {
        builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    let unsigned = is_true(builder.get_config_value(&AmazonS3ConfigKey::SkipSignature));
    let store = Arc::new(builder.build().map_err(|e| wrong("s3", &e))?);
    Ok(Cloud { kind: remote(store.clone(), !unsigned, true), store, endpoint })
}

/// Google Cloud Storage.
pub(super) fn gcs(bucket: &str, options: &Options) -> Result<Cloud, BlobError> {
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client()).with_retry(retry());
    for (key, value) in options::settings::<GoogleConfigKey>(&GCS, options)? {
        builder = builder.with_config(key, value);
    }
    builder = builder.with_bucket_name(bucket);
    let endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    if says_http(endpoint.as_deref()) && !names(options, "allow_http") {
        builder = builder.with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    let unsigned = is_true(builder.get_config_value(&GoogleConfigKey::SkipSignature));
    let store = Arc::new(builder.build().map_err(|e| wrong("gs", &e))?);
    Ok(Cloud { kind: remote(store.clone(), !unsigned, true), store, endpoint })
}

/// Azure Blob Storage.
pub(super) fn azure(container: &str, options: &Options) -> Result<Cloud, BlobError> {
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client()).with_retry(retry());
    for (key, value) in options::settings::<AzureConfigKey>(&AZURE, options)? {
        builder = builder.with_config(key, value);
    }
    builder = builder.with_container_name(container);
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    if says_http(endpoint.as_deref()) && !names(options, "allow_http") {
        builder = builder.with_config(AzureConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    if builder.get_config_value(&AzureConfigKey::AccountName).is_none()
        && !is_true(builder.get_config_value(&AzureConfigKey::UseEmulator))
    {
        return Err(BlobError::Unusable(
            "[Storage] Options.account_name (or AZURE_STORAGE_ACCOUNT_NAME) is missing: az: URLs need it".to_owned(),
        ));
    }
    let unsigned = is_true(builder.get_config_value(&AzureConfigKey::SkipSignature));
    let store = Arc::new(builder.build().map_err(|e| wrong("az", &e))?);
    Ok(Cloud { kind: remote(store.clone(), !unsigned, false), store, endpoint })
}

fn remote<S: Signer>(signer: Arc<S>, signs: bool, overrides: bool) -> Kind {
    Kind::Remote(signs.then_some(Signing { signer, overrides }))
}

/// A request ends after a minute (an upload of 8 MiB at 140 KB/s); what answers at all, answers within ten seconds.
fn client() -> ClientOptions {
    ClientOptions::new()
        .with_timeout(Duration::from_secs(60))
        .with_connect_timeout(Duration::from_secs(5))
        .with_read_timeout(Duration::from_secs(30))
}

/// Half a minute of trying, so that a caller whose lease runs hears of it in time.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 10,
        retry_timeout: Duration::from_secs(30),
    }
}

/// An endpoint that is written with `http://` is meant so.
fn says_http(endpoint: Option<&str>) -> bool {
    endpoint.is_some_and(|url| url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")))
}

fn names(options: &Options, option: &str) -> bool {
    options.keys().any(|name| name.to_ascii_lowercase().ends_with(option))
}

fn is_true(value: Option<String>) -> bool {
    value.is_some_and(|value| ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str()))
}

fn wrong(scheme: &str, error: &object_store::Error) -> BlobError {
    BlobError::Unusable(format!("[Storage] Options of the {scheme}: store: {error}"))
}
