//! The TLS settings, with the crypto provider named here: a process default set by somebody else,
//! or by nobody, changes nothing.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};

use crate::{Endpoint, Error};

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// What a caller wants of TLS; PEM texts as they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// `None`: the system's.
    pub(crate) authorities: Option<Vec<u8>>,
    /// Certificate chain and key.
    pub(crate) identity: Option<(Vec<u8>, SecretString)>,
    pub(crate) min_version: TlsVersion,
}

impl Tls {
    /// The configuration for `endpoint`. Without TLS there are no root certificates in it, so that a client
    /// that never speaks TLS does not hold a hundred and forty of them.
    pub(crate) fn config(&self, endpoint: &Endpoint) -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[_] = match self.min_version {
            TlsVersion::V1_2 => &[&TLS12, &TLS13],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| setup("TLS", error))?;
        if !endpoint.is_tls() {
            if self.authorities.is_some() || self.identity.is_some() {
                return Err(setup("TLS", format!("certificates are given, but {endpoint} is without TLS")));
            }
            return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        }
        let builder = match &self.authorities {
            Some(pem) => builder.with_root_certificates(roots(pem)?),
            None => {
                let verifier = Verifier::new(provider).map_err(|error| setup("the system's CAs", error))?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let Some((chain, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates("client certificate", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| setup("client key", "no unencrypted private key in PEM form"))?;
        builder.with_client_auth_cert(chain, key).map_err(|error| setup("client certificate and key", error))
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificates", pem)? {
        roots.add(certificate).map_err(|error| setup("CA certificates", error))?;
    }
    Ok(roots)
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let list = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| setup(what, format!("malformed PEM: {error}")))?;
    if list.is_empty() {
        return Err(setup(what, "no certificate in PEM form"));
    }
    Ok(list)
}

fn setup(what: &str, reason: impl std::fmt::Display) -> Error {
    Error::Setup(format!("{what}: {reason}"))
}
