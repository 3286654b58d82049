//! The engine on storage in memory, with a fake MinIO that can fail on request.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod broken_minio;
mod clusters;
mod config;
mod every_field;
mod fake_minio;
mod keys;
mod legacy_storage;
mod parents;
mod policies;
mod roles;
mod rotate_root;
mod statics;
mod values;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Error, Response, Result};

use fake_minio::{FakeMinio, ROOT, ROOT_SECRET};

/// A mount whose config points to `minio`, with role `r` (policy `readwrite`, prefix `p-`).
async fn mount_on(minio: &FakeMinio) -> Mount {
    let mount = Mount::new(vault_plugin_secrets_minio::backend());
    configure(&mount, minio).await;
    mount.write("roles/r", json!({ "policy": "readwrite", "user_name_prefix": "p-" })).await.unwrap();
    mount
}

async fn configure(mount: &Mount, minio: &FakeMinio) {
    mount.write("config", access(minio)).await.unwrap();
}

/// Ids of the log entries that a rollback would undo once they are old. Those of issued keys are dated to the end of their
/// leases, and are left out.
async fn due(mount: &Mount) -> Vec<String> {
    let now = SystemTime::now();
    let mut due = Vec::new();
    for id in mount.storage.list("wal/").await.unwrap() {
        let entry: Value = mount.storage.get(&format!("wal/{id}")).await.unwrap().unwrap();
        if UNIX_EPOCH + Duration::from_secs(entry["created_at"].as_u64().unwrap()) <= now {
            due.push(id);
        }
    }
    due
}

/// Dates all log entries back, so that the next tick undoes them.
async fn make_log_old(mount: &Mount) {
    for id in mount.storage.list("wal/").await.unwrap() {
        let key = format!("wal/{id}");
        let mut entry: Value = mount.storage.get(&key).await.unwrap().unwrap();
        entry["created_at"] = json!(1_600_000_000);
        mount.storage.put(&key, &entry).await.unwrap();
    }
}

/// A config for `minio`, as its root.
fn access(minio: &FakeMinio) -> Value {
    json!({ "endpoint": minio.endpoint(), "accessKeyId": ROOT, "secretAccessKey": ROOT_SECRET })
}

/// An address where nobody listens, and nobody will while the socket lives.
fn vacant() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn content(answer: Result<Option<Response>>) -> Response {
    answer.unwrap().expect("the answer has content")
}

fn data(answer: Result<Option<Response>>) -> Value {
    Value::Object(content(answer).data)
}

/// The text of an HTTP 400.
fn bad_request(answer: Result<Option<Response>>) -> String {
    match answer {
        Err(Error::BadRequest(text)) => text,
        other => panic!("not a bad request: {other:?}"),
    }
}

/// The text of an HTTP 500.
fn internal(answer: Result<Option<Response>>) -> String {
    match answer {
        Err(Error::Internal(text)) => text,
        other => panic!("not an internal error: {other:?}"),
    }
}
