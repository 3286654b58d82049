//! One certificate authority and everybody's certificates; keys for service-account tokens.

use super::API;
use crate::place::Place;
use crate::warden::NODE_ADDRESS;
use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Writes `pki/<name>.crt` and `pki/<name>.key`.
pub(super) struct Authority {
    place: Place,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes `pki/ca.crt` and the key pair of service accounts, `pki/sa.key` and `pki/sa.pub`.
    pub(super) fn create(place: &Place) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "boathouse-e2e");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params.self_signed(&key).context("sign the authority's certificate")?;
        place.write("pki/ca.crt", &certificate.pem())?;
        let tokens = KeyPair::generate().context("make the key of service accounts")?;
        let authority = Self { place: place.clone(), issuer: Issuer::new(params, key) };
        authority.place.write_secret("pki/sa.key", &tokens.serialize_pem())?;
        authority.place.write("pki/sa.pub", &tokens.public_key_pem())?;
        Ok(authority)
    }

    /// A certificate for a server with these names and addresses, or for a client without any.
    pub(super) fn issue(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
        names: &[&str],
    ) -> anyhow::Result<()> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).context("names of a certificate")?;
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign a certificate")?;
        self.place.write(&format!("pki/{name}.crt"), &certificate.pem())?;
        self.place.write_secret(&format!("pki/{name}.key"), &key.serialize_pem()).map(drop)
    }

    /// A client certificate and `pki/<name>.kubeconfig` that uses it.
    pub(super) fn client(&self, name: &str, user: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        self.issue(name, user, group, &[])?;
        let path = |kind: &str| self.place.path(&format!("pki/{name}.{kind}"));
        let user = json!({ "client-certificate": path("crt"), "client-key": path("key") });
        kubeconfig(&self.place, name, &user)
    }

    /// The API server's own certificate.
    pub(super) fn api_server(&self) -> anyhow::Result<()> {
        let names =
            ["kubernetes.default.svc", "kubernetes", "localhost", "127.0.0.1", NODE_ADDRESS, "10.96.0.1"];
        self.issue("apiserver", "kube-apiserver", None, &names)
    }
}

/// `pki/<name>.kubeconfig`, with which a user has these credentials at the API server.
pub(super) fn kubeconfig(place: &Place, name: &str, user: &Value) -> anyhow::Result<PathBuf> {
    // JSON is YAML.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "e2e", "cluster": {
            "server": API, "certificate-authority": place.path("pki/ca.crt"),
        }}],
        "users": [{ "name": name, "user": user }],
        "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": name } }],
        "current-context": "e2e",
    });
    place.write_secret(&format!("pki/{name}.kubeconfig"), &config.to_string())
}
