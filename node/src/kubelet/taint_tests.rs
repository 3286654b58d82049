#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::kubelet::fake_api_server;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use std::sync::{Mutex, MutexGuard};

/// A fake API server with one node, which understands the patches made here: `test` and `replace` of the taints.
#[derive(Clone, Default)]
struct FakeApiServer(Arc<Mutex<FakeNode>>);

#[derive(Default)]
struct FakeNode {
    taints: Value,
    requests: Vec<&'static str>,
    /// Statuses to answer patches with before they are looked at.
    refuse: Vec<u16>,
    /// Taints that somebody adds between a get and the patch.
    race: Vec<Value>,
}

impl FakeApiServer {
    fn lock(&self) -> MutexGuard<'_, FakeNode> {
        self.0.lock().unwrap()
    }

    async fn start(taints: Value) -> (Self, TaintRemover, tempfile::TempDir) {
        let server = Self::default();
        server.lock().taints = taints;
        let routes =
            axum::Router::new().route("/api/v1/nodes/n1", get(read).patch(change)).with_state(server.clone());
        let (api, account) = fake_api_server::serve(routes).await;
        let remover = TaintRemover { server: api, node: "n1".to_owned() };
        (server, remover, account)
    }
}

async fn read(State(server): State<FakeApiServer>, headers: HeaderMap) -> (StatusCode, String) {
    fake_api_server::must_be_authorized(&headers);
    let mut node = server.lock();
    node.requests.push("get");
    let document = json!({ "kind": "Node", "spec": { "taints": node.taints } }).to_string();
    if let Some(taint) = node.race.pop() {
        node.taints.as_array_mut().unwrap().push(taint);
    }
    (StatusCode::OK, document)
}

async fn change(
    State(server): State<FakeApiServer>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    fake_api_server::must_be_authorized(&headers);
    assert_eq!(headers["content-type"], "application/json-patch+json");
    let mut node = server.lock();
    node.requests.push("patch");
    if let Some(status) = node.refuse.pop() {
        return (StatusCode::from_u16(status).unwrap(), json!({ "message": "not so" }).to_string());
    }
    let patch: Value = serde_json::from_str(&body).unwrap();
    for step in patch.as_array().unwrap() {
        assert_eq!(step["path"], "/spec/taints");
        match step["op"].as_str().unwrap() {
            "test" if step["value"] != node.taints => {
                let message = json!({ "message": "testing value failed" }).to_string();
                return (StatusCode::UNPROCESSABLE_ENTITY, message);
            }
            "test" => {}
            "replace" => node.taints = step["value"].clone(),
            other => panic!("{other}"),
        }
    }
    (StatusCode::OK, "{}".to_owned())
}

fn ours(effect: &str) -> Value {
    json!({ "key": "boathouse.statcan.gc.ca/not-ready", "effect": effect })
}

fn other() -> Value {
    json!({ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" })
}

#[tokio::test]
async fn only_the_startup_taint_goes() {
    let (server, remover, _account) =
        FakeApiServer::start(json!([ours("NoSchedule"), other(), ours("NoExecute")])).await;
    remover.remove().await.unwrap();
    assert_eq!(server.lock().taints, json!([other()]));
    remover.remove().await.unwrap();
    assert_eq!(server.lock().requests, ["get", "patch", "get"]);
}

#[tokio::test]
async fn a_node_without_taints_is_left_alone() {
    let (server, remover, _account) = FakeApiServer::start(Value::Null).await;
    remover.remove().await.unwrap();
    assert_eq!(server.lock().requests, ["get"]);
}

#[tokio::test]
async fn a_taint_that_comes_meanwhile_is_not_lost() {
    let (server, remover, _account) = FakeApiServer::start(json!([ours("NoSchedule")])).await;
    server.lock().race.push(other());
    let error = remover.remove().await.unwrap_err().to_string();
    assert!(error.contains("422") && error.contains("testing value failed"), "{error}");
    remover.remove().await.unwrap();
    assert_eq!(server.lock().taints, json!([other()]));
}

#[tokio::test]
async fn it_is_tried_again_after_each_registration_until_it_works() {
    let (server, remover, _account) = FakeApiServer::start(json!([ours("NoSchedule")])).await;
    server.lock().refuse.push(500);
    let registered = Arc::new(Notify::new());
    let follower = tokio::spawn(remover.follow(registered.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.lock().requests.is_empty(), "kubelet has not registered us yet");
    registered.notify_one();
    tokio::time::timeout(Duration::from_secs(20), async {
        while server.lock().taints != json!([]) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(server.lock().requests, ["get", "patch", "get", "patch"]);
    follower.abort();
}
