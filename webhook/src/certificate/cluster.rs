//! Secret and MutatingWebhookConfiguration, read and written.
//!
//! The Secret decides: two Jobs at once find out by its resource version which of them was first, and the
//! configuration always ends as what the Secret holds. The bundle of somebody else that is found there, such as one
//! that cert-manager has left, is trusted further until the Secret is good, and then goes.

use super::CertificateArgs;
use super::bundle::Bundle;
use super::configuration::{decoded, patch, trusted};
use super::judge::Found;
use super::made::Made;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boathouse_api_server::{ApiClient, ApiError, ApiServer};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// Rounds until it is given up: one writes, one finds it good, the others make room for somebody else's changes.
const ROUNDS: u32 = 6;
/// Authorities trusted beside the newest: that of the certificate that pods serve until they have read the new one,
/// or these, where it cannot be told.
const OLD_AUTHORITIES: usize = 2;
/// Authorities in a bundle that has been widened: those of runs that died are forgotten beyond that.
const WIDEST: usize = 8;

/// Why the certificate is not in place.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Not in a pod.
    #[error(
        "no KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT: run this in a pod with a service account"
    )]
    NoCluster,
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The certificate.
    #[error("make a certificate for {name}: {source}")]
    Make {
        /// Its name.
        name: String,
        /// Why not.
        source: rcgen::Error,
    },
    /// Something else keeps writing.
    #[error("not in place after {ROUNDS} rounds, because somebody else keeps writing: {0}; run this again")]
    Contended(String),
}

/// Where the certificate belongs.
#[derive(Debug)]
pub(super) struct Cluster {
    client: ApiClient,
    namespace: String,
    secret: String,
    configuration: String,
    name: String,
    days: u32,
}

impl Cluster {
    pub(super) fn of_this_pod(args: &CertificateArgs) -> Result<Self, ClusterError> {
        Self::at(&ApiServer::in_cluster()?.ok_or(ClusterError::NoCluster)?, args)
    }

    fn at(server: &ApiServer, args: &CertificateArgs) -> Result<Self, ClusterError> {
        let namespace = match &args.namespace {
            Some(namespace) => namespace.clone(),
            None => server.namespace()?,
        };
        Ok(Self {
            client: server.connect()?,
            name: format!("{}.{namespace}.svc", args.service),
            secret: args.secret.clone(),
            configuration: args.configuration.clone(),
            days: args.days,
            namespace,
        })
    }

    /// Goes round until the Secret is good and the configuration trusts it.
    pub(super) async fn ensure(&self) -> Result<(), ClusterError> {
        let mut last = String::new();
        for _ in 0..ROUNDS {
            match self.round().await? {
                None => return Ok(()),
                Some(reason) => last = reason,
            }
        }
        Err(ClusterError::Contended(last))
    }

    /// Looks at both and does what is next. Gives why another round is needed.
    ///
    /// The configuration is read first, so that a bundle is narrowed only if nobody has widened it since the Secret
    /// was found good: whoever has done so before had read the same Secret, or loses the race for it.
    async fn round(&self) -> Result<Option<String>, ClusterError> {
        let configuration = match self.client.get(&self.configuration_path()).await {
            // Nobody asks the webhook yet. The Secret is made all the same: pods wait for it.
            Err(error) if error.status() == Some(404) => Err(error),
            other => Ok(other?),
        };
        let secret = match self.client.get(&self.secret_path()).await {
            Err(error) if error.status() == Some(404) => None,
            other => Some(other?),
        };
        if let Some(reason) = self.objection(secret.as_ref()) {
            return self.renew(configuration.ok().as_ref(), secret.as_ref(), reason).await;
        }
        tracing::info!(secret = self.secret, "the certificate is good");
        let bundle = secret.map(|secret| entry_text(&secret, "ca.crt")).unwrap_or_default();
        self.change(&configuration?, |_| bundle.clone(), "caBundle is ca.crt of the Secret").await
    }

    /// Lets a new authority be trusted, then writes what it has signed.
    async fn renew(
        &self,
        configuration: Option<&Value>,
        found: Option<&Value>,
        reason: String,
    ) -> Result<Option<String>, ClusterError> {
        let now = Timestamp::now();
        let trusted = configuration.map(|all| trusted(all, now)).unwrap_or_default();
        let object = self.secret(found, trusted)?;
        if let Some(configuration) = configuration {
            let next = Bundle::living(&entry(&object, "ca.crt"), now);
            let widen = |bundle: &str| {
                let both = Bundle::living(&decoded(bundle), now).and(next.clone());
                STANDARD.encode(both.bounded(OLD_AUTHORITIES, WIDEST).pem())
            };
            let said = "caBundle trusts the next authority too";
            if let Some(conflict) = self.change(configuration, widen, said).await? {
                return Ok(Some(conflict));
            }
        }
        let written = match found {
            None => self.client.create(&self.secrets_path(), &object).await,
            Some(_) => self.client.replace(&self.secret_path(), &object).await,
        };
        if let Some(conflict) = conflict(written, &[409])? {
            return Ok(Some(conflict));
        }
        tracing::info!(
            secret = self.secret,
            name = self.name,
            days = self.days,
            reason,
            "made a certificate"
        );
        Ok(Some(format!("Secret {}: {reason}", self.secret)))
    }

    /// Why what the Secret holds cannot stay.
    fn objection(&self, secret: Option<&Value>) -> Option<String> {
        let Some(secret) = secret else { return Some("there is none".to_owned()) };
        let [certificate, key, authorities] =
            ["tls.crt", "tls.key", "ca.crt"].map(|name| entry(secret, name));
        for (name, held) in [("tls.crt", &certificate), ("tls.key", &key), ("ca.crt", &authorities)] {
            if held.is_empty() {
                return Some(format!("the Secret has no {name}"));
            }
        }
        let found = Found { certificate: &certificate, key: &key, authorities: &authorities };
        found.objection(&self.name, Timestamp::now())
    }

    /// The Secret with a new certificate; what else is in `old` stays. `trusted` is what the configuration trusts.
    fn secret(&self, old: Option<&Value>, trusted: Bundle) -> Result<Value, ClusterError> {
        let made = Made::new(&self.name, self.days)
            .map_err(|source| ClusterError::Make { name: self.name.clone(), source })?;
        let now = Timestamp::now();
        let held = |name| old.map(|old| entry(old, name)).unwrap_or_default();
        let known = Bundle::living(&held("ca.crt"), now).and(trusted);
        let kept = known.kept(&held("tls.crt"), &self.name, now, OLD_AUTHORITIES);
        let authorities = made.authority.clone() + &kept.pem();
        let mut secret = old.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": { "name": self.secret, "namespace": self.namespace },
            })
        });
        for (name, text) in [
            ("tls.crt", made.certificate.as_str()),
            ("tls.key", made.key.expose_secret()),
            ("ca.crt", &authorities),
        ] {
            secret["data"][name] = STANDARD.encode(text).into();
        }
        Ok(secret)
    }

    /// Changes the bundle of every webhook in the configuration, and says so in the log. Gives what was in the way.
    async fn change(
        &self,
        configuration: &Value,
        bundle: impl Fn(&str) -> String,
        said: &'static str,
    ) -> Result<Option<String>, ClusterError> {
        let Some(patch) = patch(configuration, bundle) else { return Ok(None) };
        // 422 is a test in the patch that fails.
        let answer = self.client.patch(&self.configuration_path(), &patch).await;
        let conflict = conflict(answer, &[409, 422])?;
        if conflict.is_none() {
            tracing::info!(configuration = self.configuration, "{said}");
        }
        Ok(conflict)
    }

    fn configuration_path(&self) -> String {
        let all = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        format!("{all}/{}", self.configuration)
    }

    fn secrets_path(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    fn secret_path(&self) -> String {
        format!("{}/{}", self.secrets_path(), self.secret)
    }
}

/// What the API server says when somebody else was faster: an answer of one of these statuses.
fn conflict(answer: Result<Value, ApiError>, statuses: &[u16]) -> Result<Option<String>, ApiError> {
    match answer {
        Ok(_) => Ok(None),
        Err(error) if error.status().is_some_and(|status| statuses.contains(&status)) => {
            Ok(Some(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

/// What a Secret holds under a name; nothing when it is not there or not base64.
fn entry(secret: &Value, name: &str) -> Vec<u8> {
    decoded(&entry_text(secret, name))
}

/// The same as it is written: base64.
fn entry_text(secret: &Value, name: &str) -> String {
    secret["data"][name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
