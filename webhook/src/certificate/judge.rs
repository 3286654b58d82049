//! Judging a pair that is there, the way the webhook and the API server will.

use super::bundle::Bundle;
use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What a Secret holds, PEM.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) certificate: &'a [u8],
    pub(super) key: &'a [u8],
    pub(super) authorities: &'a [u8],
}

impl Found<'_> {
    /// Why it has to be replaced; `None` when it is good for a while. Nothing of the key is in it.
    pub(super) fn objection(self, name: &str, now: Timestamp) -> Option<String> {
        self.check(name, now).err()
    }

    fn check(self, name: &str, now: Timestamp) -> Result<(), String> {
        let chain = chain(self.certificate)?;
        let first = chain.first().ok_or("tls.crt holds no certificate in PEM form")?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|_| "tls.crt is no certificate")?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        if !names.iter().any(|given| matches!(given, GeneralName::DNSName(given) if *given == name)) {
            return Err(format!("it is not for {name}"));
        }
        let validity = parsed.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if now.as_second() < from {
            return Err(format!("it is not valid before {}", validity.not_before));
        }
        let left = to - now.as_second();
        if left <= (to - from) / 3 {
            return Err(format!("it has {} days left", left.max(0) / 86_400));
        }
        let authorities = Bundle::living(self.authorities, now);
        vouched(self.certificate, authorities.certificates(), name, now)
            .map_err(|reason| format!("an API server that trusts ca.crt refuses it: {reason}"))?;
        belongs(chain, self.key)
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
    all.map_err(|_| "tls.crt is not PEM")
}

/// Checks that the key is that of the first certificate. PEM errors quote what they stumble over, so they are not
/// passed on.
fn belongs(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> Result<(), String> {
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key holds no private key in PEM form")?;
    match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("tls.key is not the key of tls.crt".to_owned())
        }
        Err(_) => Err("tls.key is of no kind that TLS knows".to_owned()),
    }
}

/// Checks a certificate with its chain as a client does that asks for `name` and trusts these authorities.
///
/// # Errors
/// Why the client refuses it.
pub(super) fn vouched<'a>(
    certificate: &[u8],
    authorities: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    name: &str,
    now: Timestamp,
) -> Result<(), String> {
    let chain = chain(certificate)?;
    let (first, between) = chain.split_first().ok_or("there is none")?;
    // Go, unlike rustls, wants an authority to be one. The certificate itself may stand for it.
    let signs = |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok_and(|(_, one)| one.is_ca());
    let mut roots = RootCertStore::empty();
    for authority in authorities.into_iter().filter(|der| *der == first || signs(der)) {
        // One that cannot be used vouches for nothing.
        let _ = roots.add(authority.clone());
    }
    if roots.is_empty() {
        return Err("none of the authorities is a valid one".to_owned());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let seconds = now.as_second().try_into().unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier
        .verify_server_cert(first, between, &name, &[], now)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
