//! What the types of the configuration can't say.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Config, Limits, Retention, Secrets, Server, Telemetry, Webhooks, Worker, database};
use crate::domain::duration::GoDuration;
use crate::domain::jobspec::DEFAULT_EXECUTOR;
use crate::domain::labels;
use crate::domain::settings::{Document, Mistake};

/// The schemes of `[Storage] URL`.
const STORES: [&str; 5] = ["file", "s3", "gs", "az", "memory"];

/// A path of the configuration, and what is wrong there.
pub(super) type Wrong = (&'static str, String);

/// The first value that can't serve.
pub(super) fn config(config: &Config, document: &Document<'_>) -> Result<(), Mistake> {
    let checks = [
        server(&config.server),
        database::check(&config.database),
        storage(config),
        worker(&config.worker),
        retention(&config.retention),
        webhooks(&config.webhooks),
        secrets(&config.secrets),
        limits(&config.limits),
        telemetry(&config.telemetry),
    ];
    let wrong = checks.into_iter().find_map(Result::err);
    wrong.map_or(Ok(()), |(path, text)| Err(document.mistake(path, text)))?;
    executors(config).map_err(|(path, text)| document.mistake(&path, text))
}

fn executors(config: &Config) -> Result<(), (String, String)> {
    for (name, executor) in &config.executors {
        let at = |key: &str| format!("Executors.{name}{key}");
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
            return Err((
                at(""),
                format!("'{}' can't be an executor's name; use letters, digits, - and _", name.escape_debug()),
            ));
        }
        if name == DEFAULT_EXECUTOR {
            return Err((at(""), format!("'{name}' is the executor that is built in; give yours another name")));
        }
        if executor.plugin.as_os_str().is_empty() {
            return Err((at(".Plugin"), "'Plugin' is empty; it names the library's file".to_owned()));
        }
        if executor.concurrency.is_some_and(|count| !(1..=10_000).contains(&count)) {
            return Err((at(".Concurrency"), "'Concurrency' must be 1 to 10000".to_owned()));
        }
    }
    Ok(())
}

fn server(server: &Server) -> Result<(), Wrong> {
    if server.auth.is_none() && !is_loopback(server.listen) {
        let text = format!(
            "'Listen': other machines can reach {}, and 'Auth' does not say who may call; set Auth = \"token\" in \
             [Server] so that who calls needs a token, or Auth = \"none\" to let everybody who can reach it run jobs, \
             or use 127.0.0.1",
            server.listen
        );
        return Err(("Server.Listen", text));
    }
    let bad =
        |host: &&String| host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    if let Some(host) = server.hosts.iter().find(bad) {
        let text =
            format!("'Hosts': '{}' is not a host's name; use names such as \"jobs.example.org\"", host.escape_debug());
        return Err(("Server.Hosts", text));
    }
    if let Some(url) = server.public_url.as_ref().filter(|url| !is_server(url)) {
        let text = format!(
            "'PublicURL': '{}' is not the address of a server; use one such as \"http://jobs.example.org:9845\"",
            url.escape_debug()
        );
        return Err(("Server.PublicURL", text));
    }
    if let Some(files) = &server.tls {
        for (path, key, file) in
            [("Server.TLS.Certificate", "Certificate", &files.certificate), ("Server.TLS.Key", "Key", &files.key)]
        {
            if file.as_os_str().is_empty() {
                return Err((path, format!("'{key}' is empty; it names a PEM file")));
            }
        }
    }
    if server.jobspecs.as_os_str().is_empty() {
        return Err(("Server.Jobspecs", "'Jobspecs' is empty; it names a folder".to_owned()));
    }
    within("Server.MaxInputs", server.max_inputs as u64, 1..=10_000)?;
    within("Server.MaxConnections", server.max_connections as u64, 1..=1_000_000)?;
    // A result is built in memory.
    within("Server.MaxResultBytes", server.max_result_bytes, 0..=1 << 30)
}

/// `http://HOST:PORT`, also of a proxy that speaks TLS or serves it below a path.
fn is_server(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    matches!(url.scheme(), "http" | "https") && url.has_host() && plain && url.password().is_none()
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn storage(config: &Config) -> Result<(), Wrong> {
    if config.aws.is_some() && config.storage.url.is_some() {
        let text = "'URL': [AWS] names a place for artifacts too; remove [AWS], or URL in [Storage]";
        return Err(("Storage.URL", text.to_owned()));
    }
    let Some(url) = &config.storage.url else { return Ok(()) };
    match url.trim().split_once(':') {
        // Those that `blobs` opens.
        Some((scheme, _)) if STORES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) => Ok(()),
        _ => Err(("Storage.URL", "'URL': is not a store's URL; use file:, s3:, gs:, az: or memory:".to_owned())),
    }
}

fn worker(worker: &Worker) -> Result<(), Wrong> {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    if let Some(name) = worker.name.as_ref().filter(|name| !is_name(name)) {
        let text = format!(
            "'Name': '{}' can't be a worker's name; use 1 to 100 printable characters without spaces",
            name.escape_debug()
        );
        return Err(("Worker.Name", text));
    }
    labels::check(&worker.labels).map_err(|(_, text)| ("Worker.Labels", format!("'Labels': {text}")))?;
    within("Worker.Concurrency", worker.concurrency as u64, 1..=1024)?;
    if worker.temp_dir.as_ref().is_some_and(|dir| dir.as_os_str().is_empty()) {
        return Err(("Worker.TempDir", "'TempDir' is empty; leave it out, or name a folder".to_owned()));
    }
    lasting("Worker.Lease", worker.lease, second..=day)?;
    lasting("Worker.Poll", worker.poll, Duration::from_millis(10)..=day)
}

/// Whether a worker may have this name.
fn is_name(name: &str) -> bool {
    let printable = |c: char| matches!(c, '\\' | '"' | '\'') || !c.is_whitespace() && c.escape_debug().len() == 1;
    (1..=100).contains(&name.chars().count()) && name.chars().all(printable)
}

fn retention(retention: &Retention) -> Result<(), Wrong> {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    if retention.max_artifact_bytes == Some(0) {
        let text = "'MaxArtifactBytes': must be more than 0, and is 0; leave it out for no limit";
        return Err(("Retention.MaxArtifactBytes", text.to_owned()));
    }
    lasting("Retention.Events", retention.events, 600 * second..=366 * day)?;
    lasting("Retention.Every", retention.every, second..=7 * day)?;
    if retention.grace < second {
        let grace = GoDuration::from(retention.grace);
        return Err(("Retention.Grace", format!("'Grace': must be at least 1s, and is {grace}")));
    }
    if retention.unused_inputs < second {
        let unused = GoDuration::from(retention.unused_inputs);
        return Err(("Retention.UnusedInputs", format!("'UnusedInputs': must be at least 1s, and is {unused}")));
    }
    Ok(())
}

fn secrets(secrets: &Secrets) -> Result<(), Wrong> {
    if secrets.key.is_some() && secrets.key_file.is_some() {
        return Err(("Secrets.Key", "'Key': KeyFile names a key too; remove one of them".to_owned()));
    }
    if secrets.key_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        return Err(("Secrets.KeyFile", "'KeyFile' is empty; it names a file".to_owned()));
    }
    Ok(())
}

/// The most that a limit may be.
const MOST: u64 = 1_000_000_000;

fn limits(limits: &Limits) -> Result<(), Wrong> {
    within("Limits.MaxQueued", limits.max_queued, 1..=MOST)?;
    within("Limits.RequestsPerMinute", limits.requests_per_minute, 1..=MOST)?;
    within("Limits.BadTokensPerMinute", limits.bad_tokens_per_minute, 1..=MOST)
}

fn webhooks(webhooks: &Webhooks) -> Result<(), Wrong> {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let bad = |host: &&String| host.parse::<IpAddr>().is_err() && url::Host::parse(host).is_err();
    if let Some(host) = webhooks.allowed_hosts.iter().find(bad) {
        let text = format!(
            "'AllowedHosts': '{}' is neither a host's name nor an IP address; use such as \"hooks.example.org\" or \
             \"127.0.0.1\", without a port",
            host.escape_debug()
        );
        return Err(("Webhooks.AllowedHosts", text));
    }
    let bad = |network: &&String| network.parse::<ipnet::IpNet>().is_err();
    if let Some(network) = webhooks.allowed_networks.iter().find(bad) {
        let text =
            format!("'AllowedNetworks': '{}' is not a network; use such as \"10.0.0.0/8\"", network.escape_debug());
        return Err(("Webhooks.AllowedNetworks", text));
    }
    if webhooks.retry_after.len() > 100 {
        let text = format!("'RetryAfter': may have 100 pauses at most, and has {}", webhooks.retry_after.len());
        return Err(("Webhooks.RetryAfter", text));
    }
    webhooks.retry_after.iter().try_for_each(|pause| lasting("Webhooks.RetryAfter", *pause, second / 10..=30 * day))?;
    lasting("Webhooks.Timeout", webhooks.timeout, second / 10..=60 * second)
}

fn telemetry(telemetry: &Telemetry) -> Result<(), Wrong> {
    let Some(url) = &telemetry.otlp else { return Ok(()) };
    if !is_server(url) {
        let text = format!(
            "'OTLP': '{}' is not the address of a server; use one such as \"http://127.0.0.1:4318\"",
            url.escape_debug()
        );
        return Err(("Telemetry.OTLP", text));
    }
    if !cfg!(feature = "otel") {
        let text = "'OTLP': this jobmgr sends no traces; build it with: cargo build --release --features otel";
        return Err(("Telemetry.OTLP", text.to_owned()));
    }
    Ok(())
}

pub(super) fn within(path: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), Wrong> {
    if range.contains(&value) {
        return Ok(());
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    Err((path, format!("'{key}': must be {} to {}, and is {value}", range.start(), range.end())))
}

fn lasting(path: &'static str, value: Duration, range: RangeInclusive<Duration>) -> Result<(), Wrong> {
    if range.contains(&value) {
        return Ok(());
    }
    let key = path.rsplit('.').next().unwrap_or(path);
    let [least, most, value] = [*range.start(), *range.end(), value].map(GoDuration::from);
    Err((path, format!("'{key}': must be {least} to {most}, and is {value}")))
}
