//! The taint that keeps pods away from a node whose driver cannot serve yet.
//!
//! An operator may start nodes with `boathouse.statcan.gc.ca/not-ready`; it is removed when kubelet has registered the
//! driver. Two requests to the API server are all we ever make, so they are written out here over the client that
//! Vault and S3 use: the `kube` crate would bring a second HTTP stack and some MiB into a process of twelve.

use boathouse_http::{Authorities, cause, one_line};
use boathouse_service::DRIVER_NAME;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use url::Url;

/// Where every pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const TIMEOUT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// Why the taint is still there.
#[derive(Debug, thiserror::Error)]
pub enum TaintError {
    /// The address in the environment is none.
    #[error("API server at {address}: {source}")]
    Address {
        /// What the environment says.
        address: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// No client could be made.
    #[error("API server: {0}")]
    Client(#[from] boathouse_http::ClientError),
    /// The service account's token cannot be read.
    #[error("read {path}: {source}; the pod needs its service-account token")]
    Token {
        /// Its file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No answer.
    #[error("{operation} node {node}: {reason}")]
    Call {
        /// The request.
        operation: &'static str,
        /// The node.
        node: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer that is none.
    #[error("{operation} node {node}: HTTP {status}: {message}{hint}")]
    Refused {
        /// The request.
        operation: &'static str,
        /// The node.
        node: String,
        /// The status code.
        status: u16,
        /// The API server's words.
        message: String,
        /// What to do about it.
        hint: &'static str,
    },
}

/// Removes the startup taint from this node.
#[derive(Debug)]
pub struct TaintRemover {
    url: Url,
    node: String,
    account: PathBuf,
}

impl TaintRemover {
    /// For the cluster this pod runs in; `None` outside of one.
    ///
    /// # Errors
    /// When the environment names an API server that cannot be one.
    pub fn in_cluster(node: &str) -> Result<Option<Self>, TaintError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        match (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) {
            (Some(host), Some(port)) => Self::new("https", &host, &port, node, Path::new(ACCOUNT)).map(Some),
            _ => Ok(None),
        }
    }

    fn new(scheme: &str, host: &str, port: &str, node: &str, account: &Path) -> Result<Self, TaintError> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let address = format!("{scheme}://{host}:{port}/api/v1/nodes/");
        let url = Url::parse(&address).and_then(|url| url.join(node));
        let url = url.map_err(|source| TaintError::Address { address, source })?;
        Ok(Self { url, node: node.to_owned(), account: account.to_owned() })
    }

    /// Removes the taint each time the driver is registered, trying until it is gone.
    pub async fn follow(self, registered: Arc<Notify>) {
        loop {
            registered.notified().await;
            let mut pause = RETRY;
            while let Err(error) = self.remove().await {
                tracing::warn!(%error, again_in = ?pause, "remove the startup taint; pods stay away from this node");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_AT_MOST);
            }
        }
    }

    async fn remove(&self) -> Result<(), TaintError> {
        let certificates = self.account.join("ca.crt");
        let authorities = match self.url.scheme() {
            "https" => Authorities::Only(&certificates),
            _ => Authorities::None,
        };
        // A client of its own: it is needed once, and its connections go with it.
        let client = boathouse_http::client(authorities, TIMEOUT, TIMEOUT)?;
        let node = self.send("get", client.get(self.url.clone())).await?;
        let Some(patch) = patch(&node) else { return Ok(()) };
        let request = client.patch(self.url.clone()).header("content-type", "application/json-patch+json");
        self.send("patch", request.body(patch.to_string())).await?;
        tracing::info!(node = self.node, "removed the startup taint");
        Ok(())
    }

    async fn send(&self, operation: &'static str, request: RequestBuilder) -> Result<Value, TaintError> {
        let path = self.account.join("token");
        let token = std::fs::read_to_string(&path).map_err(|source| TaintError::Token { path, source })?;
        let token = SecretString::from(token.trim());
        let failed = |error: reqwest::Error| TaintError::Call {
            operation,
            node: self.node.clone(),
            reason: cause(&error),
        };
        let answer = request.bearer_auth(token.expose_secret()).send().await.map_err(failed)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(failed);
        }
        let document: Value = answer.json().await.unwrap_or_default();
        Err(TaintError::Refused {
            operation,
            node: self.node.clone(),
            status: status.as_u16(),
            message: one_line(document["message"].as_str().unwrap_or("it says no more")),
            hint: if status.as_u16() == 403 {
                "; the ClusterRole must allow get and patch of nodes"
            } else {
                ""
            },
        })
    }
}

/// The JSON patch that takes the taint from a node, if it has it. It applies only to the taints that were read: a
/// change by somebody else makes it fail, and it is made anew.
fn patch(node: &Value) -> Option<Value> {
    let key = format!("{DRIVER_NAME}/not-ready");
    let taints = node["spec"]["taints"].as_array()?;
    let others: Vec<&Value> = taints.iter().filter(|taint| taint["key"] != key.as_str()).collect();
    (others.len() < taints.len()).then(|| {
        json!([
            { "op": "test", "path": "/spec/taints", "value": taints },
            { "op": "replace", "path": "/spec/taints", "value": others },
        ])
    })
}

#[cfg(test)]
#[path = "taint_tests.rs"]
mod tests;
