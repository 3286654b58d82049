//! Certificates: making them.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use secrecy::SecretString;
use std::time::{Duration, SystemTime};

/// Clocks of API servers may be behind ours.
const SKEW: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A serving certificate and its authority, PEM.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: SecretString,
}

impl Made {
    /// Makes both, for `days`. The authority can sign nothing more: its key is not kept.
    pub(super) fn new(name: &str, days: u32) -> Result<Self, rcgen::Error> {
        let now = SystemTime::now();
        let limits = |params: &mut CertificateParams| {
            params.not_before = (now - SKEW).into();
            params.not_after = (now + DAY * days).into();
        };
        let mut params = CertificateParams::default();
        // The time tells authorities apart whose certificates are trusted together.
        let title = format!("{name}, made {}", Timestamp::now().strftime("%F %T"));
        params.distinguished_name.push(DnType::CommonName, title);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        limits(&mut params);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "boathouse-webhook");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        limits(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        Ok(Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn what_is_shown_of_it_is_without_the_key() {
        let made = Made::new("hook.ns.svc", 30).unwrap();
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }
}
