//! Encrypted connections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jobmgr::config;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::client::{DEADLINE, Server};

/// Writes a certificate for localhost and its key; gives the certificate.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn start(folder: &Path) -> Server {
    let files = config::TlsFiles { certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
    Server::with(config::Server { tls: Some(files), ..Default::default() }).await
}

/// Asks over an encrypted connection to whoever has this certificate; the answer, or why there is none.
async fn ask(
    server: &Server,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, server.connect().await).await;
    let mut stream = stream.map_err(|error| error.to_string())?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().map_err(|error| error.to_string())?;
    Ok(answer)
}

#[tokio::test]
async fn connections_are_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certify(folder.path());
    let server = start(folder.path()).await;
    for version in [&TLS12, &TLS13] {
        let answer = ask(&server, &certificate, &[version]).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    }
    // Who knows another certificate does not talk to this one, and plain text gets no answer in plain text.
    let stranger = certify(tempfile::tempdir().unwrap().path());
    assert!(ask(&server, &stranger, &[&TLS13]).await.is_err());
    let mut plain = server.connect().await;
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(timeout(DEADLINE, plain.read_to_end(&mut answer)).await.unwrap());
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_new_certificate_serves_without_a_restart_and_a_broken_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = certify(folder.path());
    let server = start(folder.path()).await;
    assert!(ask(&server, &first, &[&TLS13]).await.is_ok());
    std::fs::write(folder.path().join("cert.pem"), "half a certif").unwrap();
    // Longer than it takes to look twice.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(ask(&server, &first, &[&TLS13]).await.is_ok(), "what was there before serves on");
    let second = certify(folder.path());
    let until = Instant::now() + DEADLINE;
    while let Err(why) = ask(&server, &second, &[&TLS13]).await {
        assert!(Instant::now() < until, "{why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ask(&server, &first, &[&TLS13]).await.is_err());
}

#[tokio::test]
async fn row_19_a_handshake_must_come_to_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certify(folder.path());
    let server = start(folder.path()).await;
    let begun = Instant::now();
    let (mut silent, mut half) = (server.connect().await, server.connect().await);
    // The beginning of a record of 512 bytes.
    half.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    assert!(ask(&server, &certificate, &[&TLS13]).await.is_ok());
    for stream in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        drop(timeout(DEADLINE, stream.read_to_end(&mut rest)).await.unwrap());
        assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    }
    assert!(ask(&server, &certificate, &[&TLS13]).await.is_ok());
}

#[tokio::test]
async fn files_that_can_not_serve_are_told_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let files = config::TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    assert!(jobmgr::http::check_tls(&files).unwrap_err().contains("cert.pem: "));
    certify(folder.path());
    assert_eq!(jobmgr::http::check_tls(&files), Ok(()));
    let stale = std::fs::read(&files.key).unwrap();
    certify(folder.path());
    std::fs::write(&files.key, stale).unwrap();
    let why = jobmgr::http::check_tls(&files).unwrap_err();
    assert!(why.contains("key.pem: is not the key of the certificate in"), "{why}");
    assert!(CertificateDer::from_pem_file(&files.certificate).is_ok());
}
