//! Pulls from a registry that wants a login.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jobmgr_executor_docker::{Config, Pull, Registry};
use jobmgr_plugin_api::test::Host;
use jobmgr_plugin_api::{Ending, Kind as ErrorKind};
use sha2::{Digest, Sha256};

use crate::support::{Engine, Work, layer};

crate::on_both!(a_private_image_is_pulled_when_it_is_missing, a_login_that_is_wrong);

/// `user` and `secret`, as HTTP has them.
const LOGIN: &str = "Basic dXNlcjpzZWNyZXQ=";

/// A registry with one image, `tool:1`.
struct FakeRegistry {
    address: String,
    manifests: Arc<AtomicU32>,
}

type Objects = BTreeMap<String, (&'static str, Vec<u8>)>;

fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}")
}

fn objects() -> Objects {
    let layer = layer();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let image = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let image = image.to_string().into_bytes();
    let part = |kind: &str, bytes: &[u8]| serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part("config.v1+json", &image), "layers": [part("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    [
        ("/v2/".to_owned(), ("application/json", b"{}".to_vec())),
        ("/v2/tool/manifests/1".to_owned(), (kind, manifest.clone())),
        (format!("/v2/tool/manifests/{}", digest(&manifest)), (kind, manifest)),
        (format!("/v2/tool/blobs/{}", digest(&image)), ("application/octet-stream", image)),
        (format!("/v2/tool/blobs/{}", digest(&layer)), ("application/octet-stream", layer)),
    ]
    .into()
}

impl FakeRegistry {
    /// Serves until the process ends.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let manifests = Arc::new(AtomicU32::new(0));
        let (objects, count) = (Arc::new(objects()), manifests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (objects, count) = (objects.clone(), count.clone());
                // Engines try TLS first; what they make of our answer is their business.
                std::thread::spawn(move || drop(answer(stream, &objects, &count)));
            }
        });
        Self { address, manifests }
    }

    fn image(&self) -> String {
        format!("{}/tool:1", self.address)
    }
}

fn answer(mut stream: TcpStream, objects: &Objects, count: &AtomicU32) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let login = headers.iter().any(|line| line.to_lowercase().starts_with("authorization:") && line.ends_with(LOGIN));
    let (status, kind, body) = match objects.get(path) {
        _ if !login => ("401 Unauthorized", "application/json", &b"{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}"[..]),
        Some((kind, body)) => ("200 OK", *kind, &body[..]),
        None => ("404 Not Found", "application/json", &b"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"[..]),
    };
    if login && path.contains("/manifests/") {
        count.fetch_add(1, Ordering::Relaxed);
    }
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nDocker-Content-Digest: {}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nWWW-Authenticate: Basic realm=\"test\"\r\nConnection: close\r\n\r\n",
        digest(body)
    )?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    Ok(())
}

fn config(registry: &FakeRegistry, password: &str, dir: &tempfile::TempDir) -> Config {
    let file = dir.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let login = Registry { username: "user".into(), password_file: file.display().to_string() };
    Config { registries: [(registry.address.clone(), login)].into(), ..Config::default() }
}

fn a_private_image_is_pulled_when_it_is_missing(engine: &Engine) {
    let registry = FakeRegistry::start();
    let dir = tempfile::tempdir().unwrap();
    let docker = engine.executor_with(config(&registry, "secret", &dir));
    let run = |pull: Option<Pull>| {
        let work = Work::sh(&docker, "echo pulled").options(|options| {
            options.image = registry.image();
            options.pull = pull;
        });
        let host = Host::default();
        assert_eq!(work.run(&host).unwrap().ending, Ending::Exited(0));
        assert_eq!(host.stdout(), b"pulled\n");
        registry.manifests.load(Ordering::Relaxed)
    };
    let first = run(None);
    assert!(first > 0);
    assert_eq!(run(None), first, "it is there");
    assert_eq!(run(Some(Pull::Never)), first);
    assert!(run(Some(Pull::Always)) > first);
}

fn a_login_that_is_wrong(engine: &Engine) {
    let registry = FakeRegistry::start();
    let dir = tempfile::tempdir().unwrap();
    let docker = engine.executor_with(config(&registry, "guess", &dir));
    let work = Work::sh(&docker, "").options(|options| {
        options.image = registry.image();
        options.pull = None;
    });
    let error = work.run(&Host::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("can't be pulled"), "{error}");
    assert!(!error.to_string().contains("guess"));
}
