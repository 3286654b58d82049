//! Certificates: making them, and judging those that are there.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use secrecy::SecretString;
use std::time::{Duration, SystemTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

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

/// Why a certificate that is there has to be replaced; `None` when it is good for a while.
pub(super) fn objection(certificate: &[u8], name: &str, now: Timestamp) -> Option<String> {
    let Ok(der) = CertificateDer::from_pem_slice(certificate) else {
        return Some("it is not PEM".to_owned());
    };
    let Ok((_, parsed)) = X509Certificate::from_der(&der) else {
        return Some("it is no certificate".to_owned());
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    if !names.iter().any(|given| matches!(given, GeneralName::DNSName(given) if *given == name)) {
        return Some(format!("it is not for {name}"));
    }
    let validity = parsed.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let left = to - now.as_second();
    (left <= (to - from) / 3).then(|| format!("it has {} days left", left.max(0) / 86_400))
}

/// The authorities of a bundle that have not ended, PEM: what of it is worth trusting further. At most `limit`, the
/// first ones. What is no certificate is left out.
pub(super) fn living(bundle: &[u8], limit: usize, now: Timestamp) -> String {
    let text = String::from_utf8_lossy(bundle);
    let alive = |pem: &&str| {
        let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
        X509Certificate::from_der(&der)
            .is_ok_and(|(_, parsed)| parsed.validity().not_after.timestamp() > now.as_second())
    };
    let blocks = text.split_inclusive("-----END CERTIFICATE-----").filter(alive).take(limit);
    blocks.fold(String::new(), |all, pem| all + pem.trim() + "\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn in_days(days: i64) -> Timestamp {
        Timestamp::from_second(Timestamp::now().as_second() + days * 86_400).unwrap()
    }

    #[test]
    fn a_certificate_is_good_for_two_thirds_of_its_life() {
        let made = Made::new("hook.ns.svc", 30).unwrap();
        let objection = |name, days| objection(made.certificate.as_bytes(), name, in_days(days));
        assert_eq!(objection("hook.ns.svc", 0), None);
        assert_eq!(objection("hook.ns.svc", 19), None);
        assert_eq!(objection("hook.ns.svc", 21).unwrap(), "it has 9 days left");
        assert_eq!(objection("hook.ns.svc", 40).unwrap(), "it has 0 days left");
        assert!(objection("other.ns.svc", 0).unwrap().contains("other.ns.svc"));
        assert!(super::objection(b"no", "x", in_days(0)).is_some());
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn ended_and_surplus_authorities_are_dropped() {
        let [a, b, c] = [10, 20, 30].map(|days| Made::new("hook.ns.svc", days).unwrap().authority);
        let bundle = format!("{a}{b}{c}-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        assert_eq!(living(bundle.as_bytes(), 3, in_days(15)), format!("{b}{c}"));
        assert_eq!(living(bundle.as_bytes(), 1, in_days(15)), b);
        assert_eq!(living(b"", 3, in_days(0)), "");
    }
}
