//! The HTTP client of the admin helpers, for servers on loopback.

use super::StackError;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

/// No proxy, no redirects, and no authority but this one.
pub(super) fn client(authority: Option<CertificateDer<'static>>) -> Result<reqwest::Client, StackError> {
    let make = |detail: String| StackError::Make { what: "an HTTP client", detail };
    let mut roots = RootCertStore::empty();
    if let Some(authority) = authority {
        roots.add(authority).map_err(|error| make(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| make(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .map_err(|error| make(causes(&error)))
}

/// An error and its causes on one line, without the URL, which may be signed.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The answer's body when the status is a success.
pub(super) async fn send(operation: String, request: reqwest::RequestBuilder) -> Result<Vec<u8>, StackError> {
    let http =
        |error: &reqwest::Error| StackError::Http { operation: operation.clone(), detail: causes(error) };
    let answer = request.send().await.map_err(|error| http(&error))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| http(&error))?;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    let message = String::from_utf8_lossy(&body).trim().to_owned();
    Err(StackError::Refused { operation, status: status.as_u16(), message })
}
