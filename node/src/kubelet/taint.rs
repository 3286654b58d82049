//! The taint that keeps pods away from a node whose driver cannot serve yet.
//!
//! An operator may start nodes with `boathouse.statcan.gc.ca/not-ready`; it is removed when kubelet has registered the
//! driver.

use boathouse_api_server::{ApiError, ApiServer};
use boathouse_service::DRIVER_NAME;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const RETRY: Duration = Duration::from_secs(1);
const RETRY_AT_MOST: Duration = Duration::from_secs(60);

/// Removes the startup taint from this node.
#[derive(Debug)]
pub struct TaintRemover {
    server: ApiServer,
    node: String,
}

impl TaintRemover {
    /// For the cluster this pod runs in; `None` outside of one.
    ///
    /// # Errors
    /// When the environment names an API server that cannot be one.
    pub fn in_cluster(node: &str) -> Result<Option<Self>, ApiError> {
        let remover = |server| Self { server, node: node.to_owned() };
        Ok(ApiServer::in_cluster()?.map(remover))
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

    async fn remove(&self) -> Result<(), ApiError> {
        // A client of its own: it is needed once, and its connections go with it.
        let client = self.server.connect()?;
        let path = format!("/api/v1/nodes/{}", self.node);
        let Some(patch) = patch(&client.get(&path).await?) else { return Ok(()) };
        client.patch(&path, &patch).await?;
        tracing::info!(node = self.node, "removed the startup taint");
        Ok(())
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
