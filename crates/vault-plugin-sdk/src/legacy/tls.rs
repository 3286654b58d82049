//! TLS towards the host's API, as the options say.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;

use super::{Options, UnwrapError};

/// The TLS settings; without `tls`, for plain HTTP, they are empty and no option is looked at.
pub(super) fn config(options: &Options, tls: bool) -> Result<ClientConfig, UnwrapError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let setup = |error: rustls::Error| UnwrapError::Setup(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    if !tls {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let trusted: Arc<dyn ServerCertVerifier> = match authorities(options)? {
        None => Arc::new(Verifier::new(Arc::clone(&provider)).map_err(setup)?),
        Some(roots) => WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| UnwrapError::Setup(error.to_string()))?,
    };
    let name = options
        .tls_server_name
        .clone()
        .map(ServerName::try_from)
        .transpose()
        .map_err(|error| UnwrapError::Option { option: "-tls-server-name", reason: error.to_string() })?;
    let verifier = Chosen { trusted, name, any: options.tls_skip_verify };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    match (&options.client_cert, &options.client_key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates("-client-cert", cert)?;
            let key = PrivateKeyDer::from_pem_slice(&read("-client-key", key)?)
                .map_err(|error| UnwrapError::Option { option: "-client-key", reason: error.to_string() })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| UnwrapError::Option { option: "-client-cert", reason: error.to_string() })
        }
        (Some(_), None) => Err(alone("-client-cert", "-client-key")),
        (None, Some(_)) => Err(alone("-client-key", "-client-cert")),
    }
}

fn alone(option: &'static str, other: &str) -> UnwrapError {
    UnwrapError::Option { option, reason: format!("needs {other} beside it") }
}

/// The authorities of the options; `None` means the system's.
fn authorities(options: &Options) -> Result<Option<RootCertStore>, UnwrapError> {
    let (option, files): (_, Vec<PathBuf>) = match (&options.ca_cert, &options.ca_path) {
        (Some(file), _) => ("-ca-cert", vec![file.clone()]),
        (None, Some(directory)) => ("-ca-path", files(directory)?),
        (None, None) => return Ok(None),
    };
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in certificates(option, &file)? {
            roots.add(certificate).map_err(|error| UnwrapError::Option {
                option,
                reason: format!("{}: {error}", file.display()),
            })?;
        }
    }
    Ok(Some(roots))
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, UnwrapError> {
    let failed = |source| UnwrapError::File { option: "-ca-path", path: directory.to_owned(), source };
    let entries: Vec<_> =
        fs::read_dir(directory).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn read(option: &'static str, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, UnwrapError> {
    let content = fs::read(path);
    content.map(Into::into).map_err(|source| UnwrapError::File { option, path: path.to_owned(), source })
}

fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, UnwrapError> {
    let wrong =
        |reason: &str| UnwrapError::Option { option, reason: format!("{}: {reason}", path.display()) };
    let content = read(option, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error.to_string()))?;
    match found.is_empty() {
        true => Err(wrong("no certificate in PEM form in it")),
        false => Ok(found),
    }
}

/// Verifies as usual, but possibly under another name, or not at all. Signatures, which prove that the peer
/// holds its key, are always checked.
#[derive(Debug)]
struct Chosen {
    trusted: Arc<dyn ServerCertVerifier>,
    name: Option<ServerName<'static>>,
    any: bool,
}

impl ServerCertVerifier for Chosen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.any {
            return Ok(ServerCertVerified::assertion());
        }
        let name = self.name.as_ref().unwrap_or(server_name);
        self.trusted.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.supported_verify_schemes()
    }
}
