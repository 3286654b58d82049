#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::super::made::Made;
use super::*;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use secrecy::ExposeSecret as _;
use std::time::SystemTime;

const NAME: &str = "hook.ns.svc";
const DAY: Duration = Duration::from_secs(86_400);

fn in_days(days: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() + days * 86_400).unwrap()
}

fn objection(certificate: &str, key: &str, authorities: &str) -> Option<String> {
    let [certificate, key, authorities] = [certificate, key, authorities].map(str::as_bytes);
    Found { certificate, key, authorities }.objection(NAME, in_days(0))
}

#[test]
fn a_certificate_is_good_for_two_thirds_of_its_life() {
    let made = Made::new(NAME, 30).unwrap();
    let found = Found {
        certificate: made.certificate.as_bytes(),
        key: made.key.expose_secret().as_bytes(),
        authorities: made.authority.as_bytes(),
    };
    let objection = |days| found.objection(NAME, in_days(days));
    assert_eq!(objection(0), None);
    assert_eq!(objection(19), None);
    assert_eq!(objection(21).unwrap(), "it has 9 days left");
    assert_eq!(objection(40).unwrap(), "it has 0 days left");
    assert!(objection(-2).unwrap().starts_with("it is not valid before "));
    assert_eq!(found.objection("other.ns.svc", in_days(0)).unwrap(), "it is not for other.ns.svc");
}

#[test]
fn a_pair_that_would_not_work_is_objected_to() {
    let [made, other] = [(); 2].map(|()| Made::new(NAME, 30).unwrap());
    let ended = Made::new(NAME, 0).unwrap();
    let key = made.key.expose_secret();
    let both = format!("{}{}", other.authority, made.authority);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let refuses = "an API server that trusts ca.crt refuses it: ";
    let invalid = &format!("{refuses}none of the authorities is a valid one");
    for (certificate, key, authorities, expected) in [
        (made.certificate.as_str(), key, made.authority.as_str(), None),
        (&made.certificate, key, &both, None),
        (&made.certificate, other.key.expose_secret(), &both, Some("tls.key is not the key of tls.crt")),
        (&made.certificate, "SECRET", &both, Some("tls.key holds no private key in PEM form")),
        (
            &made.certificate,
            &key.replace("BEGIN", "BE"),
            &both,
            Some("tls.key holds no private key in PEM form"),
        ),
        (
            &made.certificate,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            &both,
            Some("tls.key is of no kind that TLS knows"),
        ),
        (&made.certificate, key, &other.authority, Some(refuses)),
        (&made.certificate, key, &ended.authority, Some(invalid)),
        (&made.certificate, key, &other.certificate, Some(invalid)),
        (&made.certificate, key, "no", Some(invalid)),
        ("no", key, &both, Some("tls.crt holds no certificate in PEM form")),
        (garbage, key, &both, Some("tls.crt is no certificate")),
        ("-----BEGIN CERTIFICATE-----\nA", key, &both, Some("tls.crt is not PEM")),
    ] {
        let reason = objection(certificate, key, authorities);
        match expected {
            // Then comes what the verifier says.
            Some(expected) if expected == refuses => assert!(reason.unwrap().starts_with(refuses)),
            _ => assert_eq!(reason.as_deref(), expected),
        }
    }
}

/// A key and the parameters of a certificate for the name that is valid from a day ago on, for 90 days.
fn params() -> (KeyPair, CertificateParams) {
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 90 * DAY).into();
    (KeyPair::generate().unwrap(), params)
}

#[test]
fn certificates_of_others_are_judged_by_what_clients_say() {
    // Its own authority, as cert-manager's issuer SelfSigned makes it.
    let (key, lone) = params();
    let lone = lone.self_signed(&key).unwrap().pem();
    assert_eq!(objection(&lone, &key.serialize_pem(), &lone), None);

    let (client_key, mut client) = params();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.self_signed(&client_key).unwrap().pem();
    let refused = objection(&client, &client_key.serialize_pem(), &client).unwrap();
    assert!(refused.contains("refuses it: "), "{refused}");

    // An authority between, which has to be served too.
    let (root_key, mut root) = params();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "root");
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let root = Issuer::new(root, root_key);
    let (middle_key, mut middle) = params();
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    middle.distinguished_name.push(rcgen::DnType::CommonName, "middle");
    let middle_pem = middle.signed_by(&middle_key, &root).unwrap().pem();
    let middle = Issuer::new(middle, middle_key);
    let (key, leaf) = params();
    let leaf = leaf.signed_by(&key, &middle).unwrap().pem();
    assert_eq!(objection(&format!("{leaf}{middle_pem}"), &key.serialize_pem(), &root_pem), None);
    assert!(objection(&leaf, &key.serialize_pem(), &root_pem).unwrap().ends_with("UnknownIssuer"));
}

#[test]
fn a_certificate_of_the_future_is_none_yet() {
    let (key, mut later) = params();
    later.not_before = (SystemTime::now() + DAY).into();
    let later = later.self_signed(&key).unwrap().pem();
    let reason = objection(&later, &key.serialize_pem(), &later).unwrap();
    assert!(reason.starts_with("it is not valid before "), "{reason}");
}
