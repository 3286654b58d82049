//! The engine on storage in memory, with a fake MinIO that can fail on request.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod config;
mod fake_minio;
mod keys;
mod legacy_storage;
mod roles;

use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Error, Response, Result};

use fake_minio::FakeMinio;

/// A mount whose config points to `minio`, with role `r` (policy `readwrite`, prefix `p-`).
async fn mount_on(minio: &FakeMinio) -> Mount {
    let mount = Mount::new(vault_plugin_secrets_minio::backend());
    configure(&mount, minio).await;
    mount.write("roles/r", json!({ "policy": "readwrite", "user_name_prefix": "p-" })).await.unwrap();
    mount
}

async fn configure(mount: &Mount, minio: &FakeMinio) {
    let config =
        json!({ "endpoint": minio.endpoint(), "accessKeyId": "root", "secretAccessKey": "rootroot123" });
    mount.write("config", config).await.unwrap();
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
