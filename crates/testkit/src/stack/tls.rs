//! A certificate for a server on loopback, and the authority behind it.

use super::{StackError, io};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::path::{Path, PathBuf};

/// The files a server is given, and what its clients trust.
pub(super) struct Tls {
    pub(super) authority: CertificateDer<'static>,
    /// All three are PEM.
    pub(super) authority_file: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Tls {
    /// Makes an authority and a certificate for 127.0.0.1, and writes them to `directory`.
    pub(super) fn make(directory: &Path) -> Result<Self, StackError> {
        let failed =
            |error: rcgen::Error| StackError::Make { what: "a certificate", detail: error.to_string() };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the host's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).map_err(failed)?;
        let certificate = params.signed_by(&key, &authority).map_err(failed)?;
        let write = |name: &str, pem: String| -> Result<PathBuf, StackError> {
            let path = directory.join(name);
            fs::write(&path, pem).map_err(io("write", &path))?;
            Ok(path)
        };
        Ok(Self {
            authority: authority.der().clone(),
            authority_file: write("ca.pem", authority.pem())?,
            certificate: write("certificate.pem", certificate.pem())?,
            key: write("key.pem", key.serialize_pem())?,
        })
    }
}
