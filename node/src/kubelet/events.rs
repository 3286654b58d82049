//! Events on a pod: what whoever runs `kubectl describe pod` should know and kubelet does not.

use boathouse_api_server::{ApiError, ApiServer};
use boathouse_service::DRIVER_NAME;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use volume_spec::PodInfo;

/// The most bytes of a message: what the API server takes in an event.
const MAX_MESSAGE: usize = 1024;

/// Something that happened to a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEvent {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// One word in camel case, for programs.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Writes events. Clones share what has been said about failures.
#[derive(Debug, Clone)]
pub struct PodEvents {
    server: ApiServer,
    node: String,
    failing: Arc<AtomicBool>,
}

impl PodEvents {
    /// For the cluster this pod runs in; `None` outside of one.
    ///
    /// # Errors
    /// When the environment names an API server that cannot be one.
    pub fn in_cluster(node: &str) -> Result<Option<Self>, ApiError> {
        Ok(ApiServer::in_cluster()?.map(|server| Self::new(server, node)))
    }

    /// Through this API server.
    pub(crate) fn new(server: ApiServer, node: &str) -> Self {
        Self { server, node: node.to_owned(), failing: Arc::default() }
    }

    /// Writes an event in the background: nobody waits for it, and one that cannot be written is a line in the log.
    /// So is only the first of several in a row.
    pub fn send(&self, pod: PodInfo, event: PodEvent) {
        let this = self.clone();
        tokio::spawn(async move {
            let failed = this.write(&pod, &event).await.err();
            let known = this.failing.swap(failed.is_some(), Ordering::SeqCst);
            if let Some(error) = failed
                && !known
            {
                tracing::warn!(
                    %error,
                    "write an event on a pod; it needs the right to create events, or --pod-events=false"
                );
            }
        });
    }

    async fn write(&self, pod: &PodInfo, event: &PodEvent) -> Result<(), ApiError> {
        // A client of its own: events are rare, and its connections go with it.
        let client = self.server.connect()?;
        let path = format!("/api/v1/namespaces/{}/events", pod.namespace);
        client.create(&path, &object(pod, event, &self.node, jiff::Timestamp::now())).await?;
        Ok(())
    }
}

/// A core/v1 Event.
fn object(pod: &PodInfo, event: &PodEvent, node: &str, now: jiff::Timestamp) -> Value {
    let now = now.to_string();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        // The server shortens it where it is too long, and adds what makes it unique.
        "metadata": { "namespace": pod.namespace, "generateName": format!("{}.", pod.name) },
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "message": event.message[..event.message.floor_char_boundary(MAX_MESSAGE)],
        "source": { "component": DRIVER_NAME, "host": node },
        "reportingComponent": DRIVER_NAME,
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

#[cfg(test)]
#[path = "events_tests.rs"]
pub(crate) mod tests;
