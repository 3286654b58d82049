//! Service-account tokens, signed by a key made for the run.

use super::StackError;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Issuer in every token: what a kubeadm cluster says.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A signer of service-account tokens.
pub struct Identities {
    key: EncodingKey,
    public_key: String,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

/// The pod a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// The pod, if the token is bound to one.
    pub pod: Option<Pod>,
    /// Audience; `vault` unless a test wants a wrong one.
    pub audience: String,
    /// From now; negative for a token that has expired, in seconds.
    pub lifetime: i64,
    /// How far the clock of whoever signs is ahead of this machine's, in seconds.
    pub clock: i64,
}

impl Claims {
    /// A token for the audience `vault`, bound to no pod.
    pub fn new(namespace: &str, service_account: &str, ttl: Duration) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: None,
            audience: "vault".to_owned(),
            lifetime: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
            clock: 0,
        }
    }

    /// Bound to this pod.
    #[must_use]
    pub fn for_pod(mut self, name: &str, uid: &str) -> Self {
        self.pod = Some(Pod { name: name.to_owned(), uid: uid.to_owned() });
        self
    }

    /// The claims as the API server writes them (Kubernetes 1.36, bound service-account tokens).
    fn to_json(&self, now: i64) -> Value {
        let now = now.saturating_add(self.clock);
        let mut kubernetes = json!({
            "namespace": self.namespace,
            "serviceaccount": { "name": self.service_account, "uid": format!("sa-{}", self.service_account) },
        });
        if let Some(pod) = &self.pod {
            kubernetes["pod"] = json!({ "name": pod.name, "uid": pod.uid });
        }
        json!({
            "iss": ISSUER,
            "aud": [self.audience],
            "sub": format!("system:serviceaccount:{}:{}", self.namespace, self.service_account),
            "iat": now.min(now.saturating_add(self.lifetime)),
            "nbf": now.min(now.saturating_add(self.lifetime)),
            "exp": now.saturating_add(self.lifetime),
            "jti": crate::random_hex(16),
            "kubernetes.io": kubernetes,
        })
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Identities {
    /// Makes a key. A second one is somebody whose tokens OpenBao must refuse.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, StackError> {
        let make = |detail: String| StackError::Make { what: "a signing key", detail };
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| make(error.to_string()))?;
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes())
            .map_err(|error| make(error.to_string()))?;
        Ok(Self { key, public_key: pair.public_key_pem() })
    }

    /// The public key in PEM, for `jwt_validation_pubkeys`.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Signs a token.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, claims: &Claims) -> Result<SecretString, StackError> {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims.to_json(now()), &self.key)
            .map(SecretString::from)
            .map_err(|error| StackError::Make { what: "a token", detail: error.to_string() })
    }

    /// Signs a token and wraps it as kubelet hands it to a driver with `tokenRequests`: the value of
    /// `csi.storage.k8s.io/serviceAccount.tokens`.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign_for_kubelet(&self, claims: &Claims) -> Result<SecretString, StackError> {
        use secrecy::ExposeSecret as _;
        let token = self.sign(claims)?;
        let expires = jiff::Timestamp::from_second(now().saturating_add(claims.lifetime))
            .map_err(|error| StackError::Make { what: "an expiry", detail: error.to_string() })?;
        let mut tokens = serde_json::Map::new();
        tokens.insert(
            claims.audience.clone(),
            json!({ "token": token.expose_secret(), "expirationTimestamp": expires.to_string() }),
        );
        Ok(Value::Object(tokens).to_string().into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_token_is_what_the_api_server_would_sign() {
        let identities = Identities::generate().unwrap();
        let claims = Claims::new("team-a", "default", Duration::from_secs(600)).for_pod("web-0", "u-1");
        let token = identities.sign(&claims).unwrap();
        let key = DecodingKey::from_ec_pem(identities.public_key().as_bytes()).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["vault"]);
        let said = decode::<Value>(token.expose_secret(), &key, &validation).unwrap().claims;
        assert_eq!(said["sub"], "system:serviceaccount:team-a:default");
        assert_eq!(said["kubernetes.io"]["namespace"], "team-a");
        assert_eq!(said["kubernetes.io"]["pod"]["uid"], "u-1");
        let stranger = Identities::generate().unwrap().sign(&claims).unwrap();
        assert!(decode::<Value>(stranger.expose_secret(), &key, &validation).is_err());
    }
}
