//! Secret and MutatingWebhookConfiguration, read and written.
//!
//! The Secret decides: two Jobs at once find out by its resource version which of them was first, and the
//! configuration is always set to what the Secret holds.

use super::CertificateArgs;
use super::made::{Made, living, objection};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boathouse_api_server::{ApiClient, ApiError, ApiServer};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// How often another's change is made room for.
const ATTEMPTS: u32 = 5;
/// Authorities trusted beside the newest: that of the certificate that pods serve until they have read the new one.
const OLD_AUTHORITIES: usize = 1;

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
    #[error("{0} was changed by somebody else {ATTEMPTS} times; run this again")]
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

    /// Secret first, then configuration.
    pub(super) async fn ensure(&self) -> Result<(), ClusterError> {
        let bundle = self.ensure_secret().await?;
        self.trust(&bundle).await
    }

    /// Gives `ca.crt` of the Secret, base64, once the Secret is as it should be.
    async fn ensure_secret(&self) -> Result<String, ClusterError> {
        let all = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        let one = format!("{all}/{}", self.secret);
        for _ in 0..ATTEMPTS {
            let found = match self.client.get(&one).await {
                Ok(found) => Some(found),
                Err(error) if error.status() == Some(404) => None,
                Err(error) => return Err(error.into()),
            };
            let reason = match &found {
                None => "there is none".to_owned(),
                Some(secret) => match self.objection(secret) {
                    None => {
                        tracing::info!(secret = self.secret, "the certificate stays");
                        return Ok(entry_text(secret, "ca.crt"));
                    }
                    Some(reason) => reason,
                },
            };
            let object = self.secret(found.as_ref())?;
            let written = match &found {
                None => self.client.create(&all, &object).await,
                Some(_) => self.client.replace(&one, &object).await,
            };
            match written {
                Ok(_) => {
                    tracing::info!(
                        secret = self.secret,
                        name = self.name,
                        days = self.days,
                        reason,
                        "made a certificate"
                    );
                    return Ok(entry_text(&object, "ca.crt"));
                }
                // Somebody was faster.
                Err(error) if error.status() == Some(409) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClusterError::Contended(format!("Secret {}", self.secret)))
    }

    /// Why the certificate in the Secret cannot stay.
    fn objection(&self, secret: &Value) -> Option<String> {
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            if entry(secret, name).is_empty() {
                return Some(format!("the Secret has no {name}"));
            }
        }
        objection(&entry(secret, "tls.crt"), &self.name, Timestamp::now())
    }

    /// The Secret with a new certificate; what else is in `old` stays.
    fn secret(&self, old: Option<&Value>) -> Result<Value, ClusterError> {
        let made = Made::new(&self.name, self.days)
            .map_err(|source| ClusterError::Make { name: self.name.clone(), source })?;
        let trusted = old.map(|old| living(&entry(old, "ca.crt"), OLD_AUTHORITIES, Timestamp::now()));
        let authorities = made.authority.clone() + &trusted.unwrap_or_default();
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

    /// Sets the bundle of every webhook in the configuration.
    async fn trust(&self, bundle: &str) -> Result<(), ClusterError> {
        let path = format!(
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}",
            self.configuration
        );
        for _ in 0..ATTEMPTS {
            let Some(patch) = patch(&self.client.get(&path).await?, bundle) else { return Ok(()) };
            match self.client.patch(&path, &patch).await {
                Ok(_) => {
                    tracing::info!(configuration = self.configuration, "set caBundle");
                    return Ok(());
                }
                // A webhook is at another place, or the object has changed meanwhile.
                Err(error) if matches!(error.status(), Some(409 | 422)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClusterError::Contended(format!("MutatingWebhookConfiguration {}", self.configuration)))
    }
}

/// What a Secret holds under a name; nothing when it is not there or not base64.
fn entry(secret: &Value, name: &str) -> Vec<u8> {
    STANDARD.decode(entry_text(secret, name)).unwrap_or_default()
}

/// The same as it is written: base64.
fn entry_text(secret: &Value, name: &str) -> String {
    secret["data"][name].as_str().unwrap_or_default().to_owned()
}

/// The JSON patch that sets the bundle of each webhook that has another. It applies only to the webhooks that were
/// read.
fn patch(configuration: &Value, bundle: &str) -> Option<Value> {
    let webhooks = configuration["webhooks"].as_array()?;
    let others = webhooks.iter().enumerate().filter(|(_, hook)| hook["clientConfig"]["caBundle"] != bundle);
    let steps: Vec<Value> = others
        .flat_map(|(index, hook)| {
            [
                json!({ "op": "test", "path": format!("/webhooks/{index}/name"), "value": hook["name"] }),
                json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle }),
            ]
        })
        .collect();
    (!steps.is_empty()).then_some(Value::Array(steps))
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
