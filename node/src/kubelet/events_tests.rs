#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::kubelet::fake_api_server;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// A fake API server that takes events.
#[derive(Clone, Default)]
pub(crate) struct FakeApiServer(Arc<Mutex<Written>>);

#[derive(Default)]
pub(crate) struct Written {
    /// Namespace and object of each event.
    pub(crate) events: Vec<(String, Value)>,
    /// How many requests there were.
    requests: usize,
    /// Whether RBAC says no.
    forbid: bool,
}

impl FakeApiServer {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap()
    }

    pub(crate) async fn start() -> (Self, PodEvents, tempfile::TempDir) {
        let server = Self::default();
        let routes = axum::Router::new()
            .route("/api/v1/namespaces/{namespace}/events", post(take))
            .with_state(server.clone());
        let (api, account) = fake_api_server::serve(routes).await;
        (server, PodEvents::new(api, "n1"), account)
    }

    /// Waits for as many requests as there should have been by now.
    pub(crate) async fn wait(&self, requests: usize) {
        tokio::time::timeout(Duration::from_secs(20), async {
            while self.lock().requests < requests {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }
}

async fn take(
    State(server): State<FakeApiServer>,
    Path(namespace): Path<String>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    fake_api_server::must_be_authorized(&headers);
    let mut written = server.lock();
    written.requests += 1;
    if written.forbid {
        return (StatusCode::FORBIDDEN, r#"{"message":"not so"}"#.to_owned());
    }
    written.events.push((namespace, serde_json::from_str(&body).unwrap()));
    (StatusCode::CREATED, body)
}

pub(crate) fn pod() -> PodInfo {
    PodInfo {
        name: "nb-0".to_owned(),
        namespace: "alice".to_owned(),
        uid: "u-1".to_owned(),
        service_account: "default".to_owned(),
        ephemeral: true,
    }
}

fn event(message: &str) -> PodEvent {
    PodEvent { warning: true, reason: "BoathouseVolumeUnavailable", message: message.to_owned() }
}

#[tokio::test]
async fn an_event_names_the_pod_and_the_cause() {
    let (server, events, _account) = FakeApiServer::start().await;
    events.send(pod(), event("no bucket"));
    server.wait(1).await;
    let (namespace, event) = server.lock().events[0].clone();
    assert_eq!(namespace, "alice");
    assert_eq!(event["metadata"], json!({ "namespace": "alice", "generateName": "nb-0." }));
    assert_eq!(event["involvedObject"]["uid"], "u-1");
    assert_eq!((&event["type"], &event["message"]), (&json!("Warning"), &json!("no bucket")));
    assert_eq!(event["source"], json!({ "component": DRIVER_NAME, "host": "n1" }));
}

#[test]
fn moments_and_messages_are_as_the_api_server_takes_them() {
    let long = object(&pod(), &event(&"é".repeat(1000)), "n1", jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(long["message"].as_str().unwrap().len(), MAX_MESSAGE);
    assert_eq!(long["firstTimestamp"], "1970-01-01T00:00:00Z");
}

#[tokio::test]
async fn a_refusal_is_remembered_until_it_works_again() {
    let (server, events, _account) = FakeApiServer::start().await;
    server.lock().forbid = true;
    let error = events.write(&pod(), &event("m")).await.unwrap_err().to_string();
    assert!(error.contains("HTTP 403") && error.contains("Role"), "{error}");
    assert!(!error.contains("secret-token"), "{error}");
    for (forbid, failing) in [(true, true), (true, true), (false, false)] {
        server.lock().forbid = forbid;
        let before = server.lock().requests;
        events.send(pod(), event("m"));
        server.wait(before + 1).await;
        tokio::time::timeout(Duration::from_secs(20), async {
            while events.failing.load(Ordering::SeqCst) != failing {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    }
}
