//! Routing, leases and the write-ahead log, through the host-less mount.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use vault_plugin_sdk::storage::RawStorage;
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{
    Backend, Entity, Error, Field, Operation, Path, Request, Response, Result, Secret, SecretType, Storage,
    StorageError, SystemView, handler, pattern,
};

#[derive(Default)]
struct Engine {
    undone: AtomicU32,
    revoked: AtomicU32,
}

impl Engine {
    async fn show(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(
            Response::new()
                .with("operation", req.operation.to_string())
                .with("name", req.fields.str("name"))
                .with("ttl", req.fields.duration("ttl").as_secs())
                .with("ttl_set", req.fields.is_set("ttl")),
        ))
    }

    async fn exists(self: Arc<Self>, req: Request) -> Result<bool> {
        Ok(req.fields.str("name") == "old")
    }

    async fn lease(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let internal = Map::from_iter([("user".to_owned(), Value::from(req.fields.str("name")))]);
        let kind = if req.fields.str("name") == "fixed" { "fixed" } else { "key" };
        let secret = Secret::new(kind, internal).ttl(Duration::from_secs(60), Duration::from_secs(600));
        Ok(Some(Response::new().with_secret(secret)))
    }

    async fn revoke(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let user: String = req.secret.unwrap().internal("user")?;
        assert!(!user.is_empty());
        self.revoked.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    async fn renew(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let lease = req.secret.unwrap();
        Ok(Some(Response::renewed(&lease, lease.increment, lease.max_ttl)))
    }
}

fn backend(engine: &Arc<Engine>) -> Backend {
    let undo = Arc::clone(engine);
    Backend::new("test")
        .path(
            Path::new(format!("things/{}", pattern::name("name")))
                .field(Field::string("name"))
                .field(Field::duration("ttl").default_duration(Duration::from_secs(7)))
                .on(Operation::Read, handler(engine, Engine::show))
                .on_write(handler(engine, Engine::show))
                .exists(handler(engine, Engine::exists)),
        )
        .path(
            Path::new("(things|leases)/(?P<name>.+)")
                .field(Field::string("name"))
                .on(Operation::Read, handler(engine, Engine::lease)),
        )
        .secret(SecretType::new("key", handler(engine, Engine::revoke)).renew(handler(engine, Engine::renew)))
        .secret(SecretType::new("fixed", handler(engine, Engine::revoke)))
        .on_rollback(move |_context, entry| {
            let undo = Arc::clone(&undo);
            async move {
                match entry.kind.as_str() {
                    "good" => undo.undone.fetch_add(1, Ordering::Relaxed),
                    other => return Err(Error::internal(format!("cannot undo {other}"))),
                };
                Ok(())
            }
        })
}

fn mount() -> (Arc<Engine>, Mount) {
    let engine = Arc::new(Engine::default());
    let mount = Mount::new(backend(&engine));
    (engine, mount)
}

#[tokio::test]
async fn routes_and_fields() {
    let (_, mount) = mount();
    let got = mount.read("things/a", json!({"ttl": "1h"})).await.unwrap().unwrap();
    assert_eq!(
        (&got.data["name"], &got.data["ttl"], &got.data["ttl_set"]),
        (&json!("a"), &json!(3600), &json!(true))
    );
    assert!(got.warnings.is_empty());
    let got = mount.read("things/a", json!({})).await.unwrap().unwrap();
    assert_eq!((&got.data["ttl"], &got.data["ttl_set"]), (&json!(7), &json!(false)));
    // The first match wins; what it does not match falls through.
    assert!(mount.read("things/a/b", json!({})).await.unwrap().unwrap().secret.is_some());
    assert!(matches!(mount.read("thing/a", json!({})).await, Err(Error::UnsupportedPath)));
    assert!(matches!(mount.read("xthings/a", json!({})).await, Err(Error::UnsupportedPath)));
    assert!(matches!(mount.delete("things/a").await, Err(Error::UnsupportedOperation)));
    assert!(matches!(mount.delete("nothing").await, Err(Error::UnsupportedPath)));
}

#[tokio::test]
async fn warnings_are_sorted_and_the_path_wins() {
    let (_, mount) = mount();
    let got = mount.read("things/a", json!({"zeta": 1, "name": "b", "alpha": 2})).await.unwrap().unwrap();
    assert_eq!(got.data["name"], "a");
    assert_eq!(
        got.warnings,
        [
            "Endpoint ignored these unrecognized parameters: [alpha zeta]",
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: \
             [name]"
        ]
    );
}

#[tokio::test]
async fn conversion_errors() {
    let (_, mount) = mount();
    let read = mount.read("things/a", json!({"ttl": "soon"})).await.unwrap_err().to_string();
    assert_eq!(
        read,
        "Field validation failed: error converting input soon for field \"ttl\": strconv.ParseInt: parsing \
         \"soon\": invalid syntax"
    );
    // The existence check comes first on writes, and words it without the prefix.
    let write = mount.write("things/a", json!({"ttl": "soon"})).await.unwrap_err();
    assert!(matches!(write, Error::BadRequest(_)));
    assert!(write.to_string().starts_with("error converting input soon"));
}

#[tokio::test]
async fn create_and_update() {
    let (_, mount) = mount();
    let operation =
        async |path| mount.write(path, json!({})).await.unwrap().unwrap().data["operation"].clone();
    assert_eq!(operation("things/new").await, "create");
    assert_eq!(operation("things/old").await, "update");
}

#[tokio::test]
async fn leases() {
    let (engine, mount) = mount();
    let issued = mount.read("leases/u1", json!({})).await.unwrap().unwrap();
    let secret = issued.secret.clone().unwrap();
    assert_eq!(secret.internal_data["secret_type"], "key");
    assert!(secret.renewable);
    let renewed = mount.renew(&issued, Duration::from_secs(120)).await.unwrap().unwrap().secret.unwrap();
    assert_eq!((renewed.ttl.as_secs(), renewed.max_ttl.as_secs()), (120, 600));
    assert_eq!((&renewed.internal_data, renewed.renewable), (&secret.internal_data, true));
    mount.revoke(&issued).await.unwrap();
    assert_eq!(engine.revoked.load(Ordering::Relaxed), 1);

    let fixed = mount.read("leases/fixed", json!({})).await.unwrap().unwrap();
    assert!(!fixed.secret.as_ref().unwrap().renewable);
    assert!(matches!(mount.renew(&fixed, Duration::ZERO).await, Err(Error::UnsupportedOperation)));

    let mut alien = issued;
    alien.secret.as_mut().unwrap().internal_data.insert("secret_type".to_owned(), json!("alien"));
    assert!(mount.revoke(&alien).await.unwrap_err().to_string().contains("unsupported"));
}

#[tokio::test]
async fn wal_rolls_back_old_entries_only() {
    let engine = Arc::new(Engine::default());
    let mount = Mount::new(backend(&engine));
    let wal = vault_plugin_sdk::Wal::new(mount.storage.clone());
    let young = wal.put("good", &json!({"user": "u1"})).await.unwrap();
    // As an engine in Go writes them, eleven minutes ago.
    let old = std::time::SystemTime::now() - Duration::from_secs(660);
    let old = old.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (id, kind) in [("old-good", "good"), ("old-bad", "bad")] {
        let entry = json!({"type": kind, "data": {"user": id}, "created_at": old});
        mount.storage.put(&format!("wal/{id}"), &entry).await.unwrap();
    }
    mount.storage.put("wal/broken", &json!(7)).await.unwrap();

    let error = mount.tick().await.unwrap_err().to_string();
    assert!(error.contains("cannot undo bad") && error.contains("wal/broken"), "{error}");
    assert_eq!(engine.undone.load(Ordering::Relaxed), 1);
    let mut left = wal.list().await.unwrap();
    left.sort();
    let mut want = vec!["broken".to_owned(), "old-bad".to_owned(), young.clone()];
    want.sort();
    assert_eq!(left, want);

    wal.delete(&young).await.unwrap();
    wal.delete(&young).await.unwrap();
    assert!(wal.get(&young).await.unwrap().is_none());
}

/// A fake for what memory cannot do: one key that cannot be deleted.
struct FakeStuck(Storage);

#[async_trait::async_trait]
impl RawStorage for FakeStuck {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.0.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get_bytes(key).await
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.0.put_bytes(key, value).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        if key == "wal/a" {
            let message = "the disk is full".to_owned();
            return Err(StorageError::Host { operation: "delete", key: key.to_owned(), message });
        }
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_struck_out_keeps_no_other_from_being_undone() {
    let engine = Arc::new(Engine::default());
    let storage = Storage::new(Arc::new(FakeStuck(Storage::memory())));
    for id in ["a", "b"] {
        let entry = json!({"type": "good", "data": null, "created_at": 0});
        storage.put(&format!("wal/{id}"), &entry).await.unwrap();
    }
    let mount =
        Mount::with(backend(&engine), storage.clone(), SystemView::fixed(Duration::ZERO, Duration::ZERO));
    let error = mount.tick().await.unwrap_err().to_string();
    assert!(error.contains("wal entry a") && error.contains("the disk is full"), "{error}");
    assert_eq!(engine.undone.load(Ordering::Relaxed), 2);
    assert_eq!(storage.list("wal/").await.unwrap(), ["a"]);
}

#[tokio::test]
async fn wal_age_can_be_shortened_and_a_quiet_tick_is_empty() {
    let engine = Arc::new(Engine::default());
    let mount = Mount::new(backend(&engine).wal_min_age(Duration::ZERO));
    assert!(mount.tick().await.unwrap().is_none());
    vault_plugin_sdk::Wal::new(mount.storage.clone()).put("good", &1).await.unwrap();
    assert!(mount.tick().await.unwrap().is_none());
    assert_eq!(engine.undone.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn help_is_never_empty() {
    let (_, mount) = mount();
    for path in ["", "things/a", "leases/x"] {
        let help = mount.request(Operation::Help, path, Value::Null).await.unwrap().unwrap();
        assert!(help.data["help"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        assert!(help.data["openapi"]["paths"].is_object(), "{path}");
    }
    assert!(matches!(mount.request(Operation::Help, "nope", Value::Null).await, Err(Error::UnsupportedPath)));
}

#[tokio::test]
async fn standby_fails_before_any_side_effect() {
    let engine = Arc::new(Engine::default());
    let view = SystemView::fixed(Duration::ZERO, Duration::ZERO);
    let read_only = Storage::unavailable("cannot write to readonly storage");
    let wal = vault_plugin_sdk::Wal::new(read_only.clone());
    let error = wal.put("good", &1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Storage(_)) && error.to_string().contains("cannot write to readonly storage")
    );
    let mount = Mount::with(backend(&engine), read_only, view);
    assert!(mount.tick().await.unwrap_err().to_string().contains("cannot write to readonly storage"));
}

#[tokio::test]
async fn the_host_knows_what_the_test_adds() {
    let mount = Mount::new(Backend::new("test").path(Path::new("who").on(
        Operation::Read,
        Arc::new(|req: Request| {
            Box::pin(async move {
                let Some(entity) = req.system.entity(&req.entity_id).await? else { return Ok(None) };
                let password = req.system.generate_password(&entity.metadata["policy"]).await?;
                Ok(Some(Response::new().with("name", entity.name).with("password", password.expose_secret())))
            })
        }),
    )));
    let ask = async |entity| mount.request_as(entity, Operation::Read, "who", Value::Null).await;
    let metadata = BTreeMap::from([("policy".to_owned(), "letters".to_owned())]);
    mount.add_entity(Entity { id: "e1".to_owned(), name: "alice".to_owned(), metadata, ..Entity::default() });
    for nobody in ["", "e2"] {
        assert_eq!(ask(nobody).await.unwrap(), None);
    }
    assert!(matches!(ask("e1").await, Err(Error::System(_))), "no such policy yet");
    mount.add_password_policy("letters", "abc");
    let got = ask("e1").await.unwrap().unwrap().data;
    assert_eq!(Value::Object(got), json!({"name": "alice", "password": "abc"}));
}

#[test]
fn debug_shows_no_values() {
    let secret = Secret::new("key", Map::from_iter([("k".to_owned(), json!("hunter2"))]));
    let response = Response::new().with("password", "hunter2").with_secret(secret);
    assert!(!format!("{response:?}").contains("hunter2"));
}
