//! A plugin served in this process to a host played by the test: handshake, AutoMTLS, broker,
//! storage, multiplexed mounts, shutdown. The transport is the real one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap fails the test")]

#[path = "support/broker.rs"]
mod broker;
#[path = "support/host.rs"]
mod host;
#[path = "support/tls.rs"]
mod tls;
#[path = "support/unwrap.rs"]
mod unwrap;
#[path = "host/unwrap_faults.rs"]
mod unwrap_faults;

use std::sync::Arc;
use std::time::Duration;

use csi_proto::plugin::pb;
use go_plugin::Stopped;
use host::{Host, Old, Options};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use vault_plugin_sdk::{
    Backend, Error, Field, Operation, Path, Plugin, Request, Response, Result, Secret, SecretType, handler,
    pattern,
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

    /// What the host knows about the entity and the password policy `key`.
    async fn known(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let key = req.fields.str("key");
        if req.operation == Operation::Read {
            let Some(entity) = req.system.entity(key).await? else { return Ok(None) };
            let alias = &entity.aliases[0];
            let alias = json!([alias.mount_type, alias.mount_accessor, alias.name, alias.metadata]);
            return Ok(Some(
                Response::new()
                    .with("who", [entity.id, entity.name])
                    .with("team", entity.metadata)
                    .with("alias", alias),
            ));
        }
        let password = req.system.generate_password(key).await?;
        Ok(Some(Response::new().with("password", password.expose_secret())))
    }

    /// Leaves a note that it began; a lease, a second later.
    async fn lease_slowly(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        req.storage.put("begun", &true).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let data = json!({ "key": "revoked" }).as_object().cloned().unwrap_or_default();
        Ok(Some(Response::new().with_secret(Secret::new("note", data))))
    }

    /// Leaves a note of it.
    async fn revoke(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let lease = req.secret.as_ref().ok_or_else(|| Error::internal("no lease"))?;
        req.storage.put(&lease.internal::<String>("key")?, &true).await?;
        Ok(None)
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
                Path::new(format!("known/{}", pattern::name("key")))
                    .field(Field::string("key"))
                    .on(Operation::Read, handler(&kv, Kv::known))
                    .on_write(handler(&kv, Kv::known)),
            )
            .path(Path::new("slow").on(Operation::Read, handler(&kv, Kv::lease_slowly)))
            .secret(SecretType::new("note", handler(&kv, Kv::revoke)))
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

    // What the host knows about callers and passwords.
    assert_eq!(
        data(&first.request("read", "known/e-alice", Value::Null).await),
        json!({
            "who": ["e-alice", "alice"],
            "team": {"team": "blue"},
            "alias": ["kubernetes", "auth_kubernetes_1", "uid-1", {"service_account_name": "default"}],
        })
    );
    let nobody = first.request("read", "known/e-nobody", Value::Null).await;
    assert_eq!(nobody, pb::HandleRequestReply::default());
    let broken = first.request("read", "known/e-broken", Value::Null).await.err.unwrap();
    assert_eq!(broken.err_msg, "system view: entity: identity store is nil");
    let password = first.request("update", "known/letters", Value::Null).await;
    assert_eq!(data(&password), json!({"password": "abc"}));
    let nothing = first.request("update", "known/digits", Value::Null).await.err.unwrap();
    assert_eq!(
        nothing.err_msg,
        "system view: generate password: policy \"digits\": failed to generate password"
    );

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
    whole_life(Options { mtls: true, multiplex: true, ..Options::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_over_one_connection() {
    whole_life(Options { multiplex: true, ..Options::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_need_their_id() {
    let mut host = Host::start(plugin(), Options::default()).await;
    let mount = host.mount("aaaaaaaaaa").await.unwrap();
    let nameless = host.backend().r#type(pb::Empty {}).await;
    assert!(nameless.is_ok(), "the type is the same for all mounts");
    let nameless = host.backend().special_paths(pb::Empty {}).await.unwrap_err();
    assert_eq!(nameless.code(), tonic::Code::FailedPrecondition);
    assert_eq!(mount.special_paths().await.local_storage, ["wal/"]);
    // A mount nobody set up.
    let stranger = mount.renamed("cccccccccc");
    assert_eq!(
        stranger.try_request("read", "data/k").await.unwrap_err().code(),
        tonic::Code::FailedPrecondition
    );
    assert_eq!(host.shutdown().await, Stopped::Asked);
}

/// Its lease is nobody's: no host has a note of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_waits_for_any_more_is_revoked() {
    let mut host = Host::start(plugin(), Options { mtls: true, ..Options::default() }).await;
    let mount = host.mount("aaaaaaaaaa").await.unwrap();
    let heard = mount.request("read", "slow", Value::Null).await;
    assert!(heard.response.unwrap().secret.is_some());
    assert_eq!(mount.storage.get("revoked"), None, "somebody has it");

    // Another mount, which has no notes yet.
    let mount = host.mount("bbbbbbbbbb").await.unwrap();
    let noted = async |key: &str| {
        while mount.storage.get(key).is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = mount.try_request("read", "slow") => panic!("it answered at once: {answer:?}"),
        () = noted("begun") => {}
    }
    tokio::time::timeout(Duration::from_secs(20), noted("revoked")).await.expect("nobody revoked it");
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

/// The two starts of a host before protocol 5: no ids, one mount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_host_asks_in_clear_and_works_with_the_identity_it_shares() {
    let old = |old| Options { old: Some(old), ..Options::default() };
    let mut host = Host::start(plugin(), old(Old::Metadata)).await;
    let mount = host.mount("").await.unwrap();
    assert_eq!(mount.special_paths().await.local_storage, ["wal/"]);
    assert_eq!(host.backend().r#type(pb::Empty {}).await.unwrap().into_inner().r#type, 1);
    let refused = [
        mount.try_request("read", "data/k").await.unwrap_err(),
        host.backend().initialize(pb::InitializeArgs {}).await.unwrap_err(),
        host.backend().handle_existence_check(pb::HandleExistenceCheckArgs::default()).await.unwrap_err(),
        host.backend().invalidate_key(pb::InvalidateKeyArgs::default()).await.unwrap_err(),
    ];
    for status in refused {
        assert!(status.message().contains("metadata mode"), "{status}");
    }
    mount.clean_up().await;
    assert_eq!(host.shutdown().await, Stopped::Asked);

    let mut host = Host::start(plugin(), old(Old::Working)).await;
    let mount = host.mount("").await.unwrap();
    assert_eq!(mount.request("create", "data/k", json!({"value": "one"})).await.err, None);
    assert_eq!(data(&mount.request("read", "data/k", Value::Null).await)["value"], "one");
    assert_eq!(mount.storage.get("k").as_deref(), Some(&br#""one""#[..]));
    mount.clean_up().await;
    let gone = mount.try_request("read", "data/k").await.unwrap_err();
    assert_eq!(gone.code(), tonic::Code::FailedPrecondition);
    assert_eq!(host.shutdown().await, Stopped::Asked);
}
