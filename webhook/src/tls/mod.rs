//! The serving certificate: read from files, changed without a restart.

use crate::reload::Live;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Why a pair of files cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file is missing, or is not PEM.
    #[error("{}: {}", path.display(), told(source))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The certificate cannot be read.
    #[error("{}: the first certificate is none: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// The key is of a kind TLS does not know, or not the certificate's.
    #[error("{} and {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// PEM errors in words; their own show an enum.
fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "nothing of the right kind in PEM form in it".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => format!("not PEM: {other}"),
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    /// When the certificate ends, as Unix time.
    pub expires: i64,
}

impl Pair {
    /// Reads a certificate with its chain, and its private key. One that has expired is not refused: the API server
    /// does that, and the metric tells.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, PairError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| PairError::File { path, source }
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .map_err(file(certificate))?;
        let first = chain.first().ok_or(pem::Error::NoItemsFound).map_err(file(certificate))?;
        let expires = expires(first)
            .map_err(|reason| PairError::Certificate { path: certificate.to_owned(), reason })?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
        let certified = CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider());
        let certified = certified.map_err(|source| PairError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })?;
        Ok(Self { certified: Arc::new(certified), expires })
    }
}

fn expires(certificate: &CertificateDer<'_>) -> Result<i64, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    Ok(parsed.validity().not_after.timestamp())
}

/// Settings that serve each new connection with the pair in use then, over HTTP/2 and 1.1. Clients need no
/// certificate: what is answered is no secret, and is decided by the question alone.
///
/// # Errors
/// When the TLS library has no protocol versions in common with itself.
pub fn server_config(pair: Live<Pair>) -> Result<rustls::ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(pair)));
    // An API server keeps its connection open: what resuming would save is not worth remembering sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Current(Live<Pair>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get().certified.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn a_pair_has_its_end_and_a_broken_one_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| directory.path().join(name));
        let secret = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2100, 1, 1);
        std::fs::write(&certificate, params.self_signed(&secret).unwrap().pem()).unwrap();
        let error = || Pair::read(&certificate, &key).unwrap_err().to_string();

        assert!(error().contains("tls.key: No such file"), "{}", error());
        std::fs::write(&key, "no key").unwrap();
        assert!(error().contains("tls.key: nothing of the right kind"), "{}", error());
        std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(error().contains("tls.crt and"), "{}", error());
        std::fs::write(&key, secret.serialize_pem()).unwrap();
        assert_eq!(Pair::read(&certificate, &key).unwrap().expires, 4_102_444_800);
        std::fs::write(&certificate, "").unwrap();
        assert!(error().contains("tls.crt: nothing of the right kind"), "{}", error());
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&certificate, garbage).unwrap();
        assert!(error().contains("tls.crt: the first certificate is none"), "{}", error());
    }
}
