//! Encrypted connections: a certificate and its key, read anew when their files change.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsFiles;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What connections are encrypted with.
pub struct Tls {
    files: TlsFiles,
    read: Pair,
    now: RwLock<Arc<ServerConfig>>,
}

/// What is in the two files.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file can't serve, and why.
    pub fn open(files: &TlsFiles) -> Result<Self, String> {
        let read = Pair::read(files)?;
        let now = RwLock::new(read.config(files)?);
        Ok(Self { files: files.clone(), read, now })
    }

    /// The handshake on a new connection.
    ///
    /// # Errors
    /// When it fails; the client has been told why.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Looks at the files now and then, for ever. What can't serve is told once, and what was there before serves on.
    pub async fn watch(&self) {
        let mut done = Ok(self.read.clone());
        let mut suspect = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let files = self.files.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || Pair::read(&files)).await else { continue };
            if found == done {
                continue;
            }
            match found.clone().and_then(|pair| pair.config(&self.files)) {
                Ok(config) => {
                    *self.now.write().unwrap_or_else(PoisonError::into_inner) = config;
                    let certificate = self.files.certificate.display();
                    tracing::info!(
                        "[Server] TLS: the certificate in {certificate} has changed, and serves from now on"
                    );
                }
                // The two files of a pair are not replaced in one moment: it gets another look.
                Err(_) if suspect.as_ref() != Some(&found) => {
                    suspect = Some(found);
                    continue;
                }
                Err(why) => tracing::error!("[Server] TLS: {why}; the certificate that was read before serves on"),
            }
            (done, suspect) = (found, None);
        }
    }
}

impl Pair {
    fn read(files: &TlsFiles) -> Result<Self, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| at(path, error));
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)? })
    }

    fn config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| at(&files.certificate, format!("is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err(at(&files.certificate, "has no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| at(&files.key, no_key(&self.key, &error)))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = files.certificate.display();
                at(&files.key, format!("is not the key of the certificate in {certificate}"))
            }
            error @ Error::InvalidCertificate(_) => at(&files.certificate, error),
            error => at(&files.key, error),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn at(path: &Path, what: impl Display) -> String {
    format!("{}: {what}", path.display())
}

fn no_key(text: &[u8], error: &PemError) -> String {
    let encrypted = text.windows(b"ENCRYPTED".len()).any(|part| part == b"ENCRYPTED");
    match error {
        PemError::NoItemsFound if encrypted => {
            "the key is encrypted with a password; write it without one (openssl pkey -in FILE -out NEW)".to_owned()
        }
        PemError::NoItemsFound => "has no private key (-----BEGIN PRIVATE KEY-----)".to_owned(),
        error => format!("is not PEM: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// PEM of a certificate and of its key.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn open(certificate: &str, key: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = TlsFiles { certificate: file("cert.pem", certificate), key: file("key.pem", key) };
        let shown = format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR);
        Tls::open(&files).map(drop).map_err(|why| why.replace(&shown, ""))
    }

    #[test]
    fn what_is_wrong_names_the_file() {
        let ((certificate, key), (other, _)) = (pair(), pair());
        assert_eq!(open(&certificate, &key), Ok(()));
        assert_eq!(open(&format!("{certificate}{other}"), &format!("{certificate}{key}")), Ok(()));
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        for (certificate, key, why) in [
            ("", key.as_str(), "cert.pem: has no certificate (-----BEGIN CERTIFICATE-----)"),
            (&key, &key, "cert.pem: has no certificate (-----BEGIN CERTIFICATE-----)"),
            (&certificate, "", "key.pem: has no private key (-----BEGIN PRIVATE KEY-----)"),
            (&certificate, &encrypted, "key.pem: the key is encrypted with a password; write it without one"),
            (&other, &key, "key.pem: is not the key of the certificate in cert.pem"),
            (&certificate[..100], &key, "cert.pem: is not PEM: "),
        ] {
            let found = open(certificate, key).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
        let absent = TlsFiles { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
        assert!(Tls::open(&absent).err().unwrap().starts_with("/nowhere/cert.pem: "));
    }
}
