//! The TLS settings, with the crypto provider named here: a process default set by somebody else,
//! or by nobody, changes nothing.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::{Endpoint, Error};

/// TLS for `endpoint`: the system's root certificates, or none at all for plain HTTP, so that a
/// client that never speaks TLS does not hold a hundred and forty certificates.
pub(crate) fn config(endpoint: &Endpoint) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let setup = |error: rustls::Error| Error::Setup(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(setup)?;
    if !endpoint.is_tls() {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let verifier = Verifier::new(provider).map_err(setup)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}
