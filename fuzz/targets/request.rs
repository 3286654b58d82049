//! A request off the wire, through decoding, routing, field parsing and lease handling, to the reply on the wire.
//!
//! No input may panic, and what is answered must be what a host can read: it parses the JSON and the times of an
//! answer without asking.

#![no_main]

use csi_proto::plugin::pb;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::runtime::Runtime;
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{
    Backend, Field, FieldType, Operation, Path, Request, Response, Result, Secret, SecretType, handler,
    pattern,
};

/// Answers with what it was asked.
struct Echo;

impl Echo {
    async fn show(self: Arc<Self>, request: Request) -> Result<Option<Response>> {
        let fields = &request.fields;
        let shown = json!({
            "name": fields.str("name"),
            "flag": fields.bool("flag"),
            "count": fields.int("count"),
            "ttl": fields.duration("ttl").as_secs(),
            "list": fields.list("list"),
            "map": fields.map("map"),
            "set": fields.is_set("flag"),
        });
        Ok(Some(Response::new().with("shown", shown)))
    }

    async fn lease(self: Arc<Self>, request: Request) -> Result<Option<Response>> {
        let internal = Map::from_iter([("name".to_owned(), Value::from(request.fields.str("name")))]);
        Ok(Some(Response::new().with_secret(Secret::new("key", internal))))
    }

    async fn exists(self: Arc<Self>, request: Request) -> Result<bool> {
        Ok(request.storage.get_bytes(request.fields.str("name")).await?.is_some())
    }

    async fn renew(self: Arc<Self>, request: Request) -> Result<Option<Response>> {
        let Some(lease) = request.secret else { return Ok(None) };
        lease.internal::<String>("name")?;
        Ok(Some(Response::renewed(&lease, lease.ttl.max(lease.increment), lease.max_ttl)))
    }

    async fn revoke(self: Arc<Self>, request: Request) -> Result<Option<Response>> {
        let name = request.secret.map(|lease| lease.internal::<String>("name")).transpose()?;
        Ok(name.map(|name| Response::new().with("revoked", name)))
    }
}

fn backend() -> Backend {
    let echo = Arc::new(Echo);
    let all = [
        Field::string("name").describe("A name"),
        Field::bool("flag").default_bool(true),
        Field::int("count"),
        Field::duration("ttl").default_duration(Duration::from_secs(5)),
        Field::list("list"),
        Field::new("map", FieldType::Map).sensitive(),
    ];
    let path = all.into_iter().fold(Path::new(format!("show/{}", pattern::name("name"))), Path::field);
    Backend::new("Fuzzed.")
        .path(
            path.on(Operation::Read, handler(&echo, Echo::show))
                .on_write(handler(&echo, Echo::show))
                .exists(handler(&echo, Echo::exists)),
        )
        .path(
            Path::new(pattern::list("show"))
                .on(Operation::List, handler(&echo, Echo::lease))
                .field(Field::string("name")),
        )
        .path(
            Path::new(format!("keys/{}", pattern::rest("name")))
                .field(Field::string("name"))
                .on(Operation::Read, handler(&echo, Echo::lease)),
        )
        .secret(
            SecretType::new("key", handler(&echo, Echo::revoke))
                .renew(handler(&echo, Echo::renew))
                .field(Field::duration("increment")),
        )
        .on_rollback(|_context, _entry| async { Ok(()) })
}

static MOUNT: LazyLock<(Runtime, Mount)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
    (runtime, Mount::new(backend()))
});

fuzz_target!(|args: &[u8]| {
    let (runtime, mount) = &*MOUNT;
    let Some(reply) = runtime.block_on(mount.exchange(args)) else { return };
    let reply = pb::HandleRequestReply::decode(reply.as_slice()).expect("a reply");
    let Some(response) = reply.response else { return };
    assert!(reply.err.is_none(), "a response and an error");
    assert!(is_object(&response.data), "data: {:?}", response.data);
    if let Some(secret) = response.secret {
        assert!(is_object(&secret.internal_data), "internal data: {:?}", secret.internal_data);
        let options = secret.lease_options.expect("lease options");
        let issued = options.issue_time.expect("an issue time");
        // What Go's `CheckValid` takes: year 1 to 9999.
        assert!((-62_135_596_800..=253_402_300_799).contains(&issued.seconds), "{issued:?}");
        assert!((0..1_000_000_000).contains(&issued.nanos), "{issued:?}");
        assert!(options.ttl >= 0 && options.max_ttl >= 0);
    }
});

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(text).is_ok()
}
