//! A plugin served in this process to a host played by the test: handshake, AutoMTLS, broker,
//! storage, multiplexed mounts, shutdown. The transport is the real one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap fails the test")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/host.rs"]
mod host;
#[path = "support/tls.rs"]
mod tls;

use std::sync::Arc;
use std::time::Duration;

use csi_proto::plugin::pb;
use go_plugin::Stopped;
use host::{Host, Options};
use serde_json::{Value, json};
use vault_plugin_sdk::{
    Backend, Error, Field, Operation, Path, Plugin, Request, Response, Result, handler, pattern,
};

struct Kv;

impl Kv {
    async fn write(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        req.storage.put(req.fields.str("key"), req.fields.str("value")).await?;
        Ok(None)
    }

    async fn read(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let value: Option<String> = req.storage.get(req.fields.str("key")).await?;
        let max_ttl = req.system.max_lease_ttl().await?.as_secs();
        Ok(value.map(|value| Response::new().with("value", value).with("max_ttl", max_ttl)))
    }

    async fn exists(self: Arc<Self>, req: Request) -> Result<bool> {
        Ok(req.storage.get_bytes(req.fields.str("key")).await?.is_some())
    }

    async fn list(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list("").await?)))
    }

    async fn crash(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        if req.operation == Operation::Read {
            panic!("the test asked for it");
        }
        Err(Error::status(418, "no coffee"))
    }
}

fn plugin() -> Plugin {
    Plugin::new("kv", "v1.2.3", |_| {
        let kv = Arc::new(Kv);
        Backend::new("kv")
            .path(
                Path::new(format!("data/{}", pattern::name("key")))
                    .field(Field::string("key"))
                    .field(Field::string("value"))
                    .on(Operation::Read, handler(&kv, Kv::read))
                    .on_write(handler(&kv, Kv::write))
                    .exists(handler(&kv, Kv::exists)),
            )
            .path(Path::new("data/?").on(Operation::List, handler(&kv, Kv::list)))
            .path(
                Path::new("crash")
                    .on(Operation::Read, handler(&kv, Kv::crash))
                    .on(Operation::Delete, handler(&kv, Kv::crash)),
            )
    })
}

fn data(reply: &pb::HandleRequestReply) -> Value {
    assert_eq!(reply.err, None);
    serde_json::from_str(&reply.response.as_ref().unwrap().data).unwrap()
}

async fn whole_life(options: Options) {
    let mut host = Host::start(plugin(), options).await;
    assert_eq!(host.health("plugin").await, tonic_health::ServingStatus::Serving as i32);
    assert_eq!(host.version().await, "v1.2.3");
    assert!(host.supports_multiplexing().await);

    let first = host.mount("aaaaaaaaaa").await.unwrap();
    let second = host.mount("bbbbbbbbbb").await.unwrap();
    for mount in [&first, &second] {
        let exists = mount.exists("data/k").await;
        assert_eq!((exists.check_found, exists.exists, exists.err), (true, false, None));
    }
    let written = first.request("create", "data/k", json!({"value": "one"})).await;
    assert_eq!(written, pb::HandleRequestReply::default());
    assert_eq!(first.storage.get("k").as_deref(), Some(&br#""one""#[..]));
    assert_eq!(second.storage.get("k"), None);
    assert!(first.exists("data/k").await.exists);
    assert_eq!(
        data(&first.request("read", "data/k", Value::Null).await),
        json!({"value": "one", "max_ttl": 7200})
    );
    assert_eq!(second.request("read", "data/k", Value::Null).await, pb::HandleRequestReply::default());
    assert_eq!(data(&first.request("list", "data/", Value::Null).await), json!({"keys": ["k"]}));

    // A panic is that request's alone.
    let crashed = first.request("read", "crash", Value::Null).await.err.unwrap();
    assert_eq!(crashed.err_type, 0);
    assert!(crashed.err_msg.contains("panicked") && !crashed.err_msg.contains("asked for it"));
    let teapot = second.request("delete", "crash", Value::Null).await.err.unwrap();
    assert_eq!((teapot.err_type, teapot.err_code, teapot.err_msg.as_str()), (3, 418, "no coffee"));
    assert_eq!(first.exists("nope").await.err.unwrap().err_type, 6);

    // The minute tick comes with an empty path.
    assert_eq!(first.request("rollback", "", Value::Null).await, pb::HandleRequestReply::default());
    let help = data(&first.request("help", "", Value::Null).await);
    assert!(help["openapi"]["paths"]["/data/{key}"].is_object());

    // The host's texts pass unchanged.
    second.storage.fail("cannot write to readonly storage");
    let refused = second.request("update", "data/k", json!({"value": "x"})).await.err.unwrap();
    assert!(refused.err_msg.contains("cannot write to readonly storage"), "{}", refused.err_msg);

    // Far beyond gRPC's usual 4 MiB, both ways.
    let large = "x".repeat(9 << 20);
    first.request("update", "data/large", json!({ "value": large })).await;
    assert_eq!(
        data(&first.request("read", "data/large", Value::Null).await)["value"].as_str().unwrap().len(),
        9 << 20
    );

    first.clean_up().await;
    assert_eq!(
        first.try_request("read", "data/k").await.unwrap_err().code(),
        tonic::Code::FailedPrecondition
    );
    assert_eq!(second.request("read", "data/k", Value::Null).await.err, None, "the other mount goes on");
    assert_eq!(host.shutdown().await, Stopped::Asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_mutual_tls() {
    whole_life(Options { mtls: true, ..Options::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls() {
    whole_life(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_mutual_tls_over_one_connection() {
    whole_life(Options { mtls: true, multiplex: true }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_over_one_connection() {
    whole_life(Options { mtls: false, multiplex: true }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_need_their_id() {
    let mut host = Host::start(plugin(), Options::default()).await;
    let mount = host.mount("aaaaaaaaaa").await.unwrap();
    let nameless = host.backend().r#type(pb::Empty {}).await;
    assert!(nameless.is_ok(), "the type is the same for all mounts");
    let nameless = host.backend().special_paths(pb::Empty {}).await.unwrap_err();
    assert_eq!(nameless.code(), tonic::Code::InvalidArgument);
    assert_eq!(mount.special_paths().await.local_storage, ["wal/"]);
    // A mount nobody set up.
    let stranger = mount.renamed("cccccccccc");
    assert_eq!(
        stranger.try_request("read", "data/k").await.unwrap_err().code(),
        tonic::Code::FailedPrecondition
    );
    assert_eq!(host.shutdown().await, Stopped::Asked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_fails_when_the_host_never_says_where_storage_is() {
    let mut host = Host::start(plugin(), Options { mtls: true, ..Options::default() }).await;
    let start = tokio::time::Instant::now();
    let error = host.mount_without_broker("aaaaaaaaaa").await;
    assert!(error.contains("no address within 5 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8));
    assert_eq!(host.shutdown().await, Stopped::Asked);
}
