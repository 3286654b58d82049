use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use vault_plugin_sdk::storage::RawStorage;
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Error, Storage, StorageError, SystemView};

use crate::fake_minio::FakeMinio;
use crate::{bad_request, configure, content, due as log_entries, internal, mount_on, vacant};

const HOUR: Duration = Duration::from_secs(3600);

/// Puts a log entry there that a rollback takes for left over.
async fn old_entry(mount: &Mount, kind: &str, user: &str) {
    let entry = json!({ "type": kind, "data": { "accessKeyId": user }, "created_at": 1_600_000_000 });
    mount.storage.put("wal/11111111-2222-3333-4444-555555555555", &entry).await.unwrap();
}

#[tokio::test]
async fn a_key_is_a_user_with_the_roles_policy() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let answer = content(mount.read("keys/r", Value::Null).await);
    let user = answer.data["accessKeyId"].as_str().unwrap();
    let secret = answer.data["secretAccessKey"].as_str().unwrap();
    assert_eq!(minio.users(), [user]);
    assert_eq!(minio.policy_of(user).as_deref(), Some("readwrite"));
    assert_eq!(user.strip_prefix("p-").map(str::len), Some(36), "prefix and request id: {user}");
    assert!(secret.len() == 24 && secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(answer.data["accountStatus"], "enabled");
    assert_eq!(answer.data["policy"], "readwrite");
    assert_eq!(answer.data.len(), 4);

    let lease = answer.secret.unwrap();
    assert_eq!(lease.internal_data["accessKeyId"], user);
    assert!(lease.renewable);
    assert!(!lease.internal_data.values().any(|value| value == secret), "the secret is not kept");
    assert_eq!(minio.calls(), ["add-user", "set-user-or-group-policy"]);
    assert_eq!(log_entries(&mount).await, [""; 0]);
}

/// When plugin or host die before the host has noted the lease, nobody revokes it.
#[tokio::test]
async fn a_key_whose_lease_was_lost_ends_with_its_longest_life() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    mount.write("roles/r", json!({ "max_ttl": "1h" })).await.unwrap();
    let before = std::time::SystemTime::now();
    content(mount.read("keys/r", Value::Null).await);
    let [id] = &mount.storage.list("wal/").await.unwrap()[..] else { panic!("not one entry") };
    let key = format!("wal/{id}");
    let entry: Value = mount.storage.get(&key).await.unwrap().unwrap();
    let end = std::time::UNIX_EPOCH + Duration::from_secs(entry["created_at"].as_u64().unwrap());
    let life = end.duration_since(before).unwrap();
    assert!(life + Duration::from_secs(2) > HOUR && life < HOUR + Duration::from_secs(60), "{life:?}");
    mount.tick().await.unwrap();
    assert_eq!(minio.users().len(), 1, "its lease may live");
    crate::make_log_old(&mount).await;
    mount.tick().await.unwrap();
    assert_eq!((minio.users().len(), mount.storage.list("wal/").await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn two_keys_share_nothing() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let one = content(mount.read("keys/r", Value::Null).await);
    let two = content(mount.read("keys/r", Value::Null).await);
    assert_ne!(one.data["accessKeyId"], two.data["accessKeyId"]);
    assert_ne!(one.data["secretAccessKey"], two.data["secretAccessKey"]);
}

#[tokio::test]
async fn ttl_is_the_callers_then_the_roles_and_capped_with_a_warning() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    mount.write("roles/r", json!({ "default_ttl": "1h", "max_ttl": "24h" })).await.unwrap();
    for (query, ttl, warned) in [
        (json!({}), HOUR, false),
        (json!({ "ttl": "30m" }), HOUR / 2, false),
        (json!({ "ttl": "48h" }), 24 * HOUR, true),
    ] {
        let answer = content(mount.read("keys/r", query.clone()).await);
        let lease = answer.secret.unwrap();
        assert_eq!((lease.ttl, lease.max_ttl), (ttl, 24 * HOUR), "{query}");
        assert_eq!(!answer.warnings.is_empty(), warned, "{query}: {:?}", answer.warnings);
    }
    let text = bad_request(mount.read("keys/r", json!({ "ttl": "-5" })).await);
    assert!(text.contains("cannot provide negative value '-5'"), "{text}");
    assert_eq!(minio.users().len(), 3, "a bad ttl makes no user");
}

#[tokio::test]
async fn an_unknown_role_is_an_internal_error_as_in_the_go_plugin() {
    let mount = mount_on(&FakeMinio::start().await).await;
    assert_eq!(internal(mount.read("keys/none", Value::Null).await), "error fetching role: role not found");
}

#[tokio::test]
async fn a_policy_that_cannot_be_attached_leaves_no_user() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.fail("set-user-or-group-policy", 404, "XMinioAdminNoSuchPolicy");
    let text = internal(mount.read("keys/r", Value::Null).await);
    assert!(text.contains("readwrite") && text.contains("XMinioAdminNoSuchPolicy"), "{text}");
    assert_eq!(minio.users(), [""; 0]);
    assert_eq!(log_entries(&mount).await, [""; 0]);
    assert_eq!(minio.calls(), ["add-user", "set-user-or-group-policy", "remove-user"]);
}

#[tokio::test]
async fn a_user_that_cannot_be_removed_right_away_is_removed_by_the_rollback() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.fail("set-user-or-group-policy", 503, "XMinioIAMNotInitialized");
    minio.fail("remove-user", 503, "XMinioIAMNotInitialized");
    internal(mount.read("keys/r", Value::Null).await);
    let users = minio.users();
    assert_eq!((users.len(), log_entries(&mount).await.len()), (1, 1));

    minio.calls();
    mount.tick().await.unwrap();
    assert_eq!(minio.calls(), [""; 0], "the entry is too young: its request may still run");

    crate::make_log_old(&mount).await;
    // Whether a failed rollback is told to the host is the SDK's choice; the entry has to stay.
    let _ = mount.tick().await;
    assert_eq!(log_entries(&mount).await.len(), 1, "MinIO is still down");
    minio.mend("remove-user");
    mount.tick().await.unwrap();
    assert_eq!((minio.users().len(), log_entries(&mount).await.len()), (0, 0));
}

#[tokio::test]
async fn only_a_clear_no_withdraws_the_announcement() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.fail("add-user", 403, "AccessDenied");
    internal(mount.read("keys/r", Value::Null).await);
    assert_eq!(log_entries(&mount).await.len(), 0, "no user was made");
    // Nor by a first run of the request, in a plugin that died.
    assert_eq!(minio.calls(), ["add-user", "remove-user", "user-info"]);
    minio.fail("add-user", 500, "InternalError");
    internal(mount.read("keys/r", Value::Null).await);
    assert_eq!(log_entries(&mount).await.len(), 1, "a user may have been made");
}

#[tokio::test]
async fn rolling_back_a_user_that_never_was_is_no_failure() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    old_entry(&mount, "user", "p-never").await;
    mount.tick().await.unwrap();
    assert_eq!(minio.calls(), ["remove-user", "user-info"], "a \"no such user\" is asked after");
    assert_eq!(log_entries(&mount).await, [""; 0]);
}

#[tokio::test]
async fn an_entry_of_another_kind_stays() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    old_entry(&mount, "something-newer", "p-x").await;
    let _ = mount.tick().await;
    assert_eq!(minio.calls(), [""; 0]);
    assert_eq!(log_entries(&mount).await.len(), 1);
}

/// A standby's storage: reads work, writes are refused in the host's words, but for the first so many.
struct Refusing {
    inner: Storage,
    puts: AtomicUsize,
}

#[async_trait]
impl RawStorage for Refusing {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get_bytes(key).await
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        let left = self.puts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { self.inner.put_bytes(key, value).await } else { Err(read_only("put", key)) }
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        Err(read_only("delete", key))
    }
}

fn read_only(operation: &'static str, key: &str) -> StorageError {
    let message = "cannot write to readonly storage".to_owned();
    StorageError::Host { operation, key: key.to_owned(), message }
}

async fn mount_refusing(minio: &FakeMinio, puts: usize) -> Mount {
    let inner = mount_on(minio).await.storage;
    let storage = Storage::new(Arc::new(Refusing { inner, puts: AtomicUsize::new(puts) }));
    Mount::with(vault_plugin_secrets_minio::backend(), storage, SystemView::fixed(HOUR, HOUR))
}

#[tokio::test]
async fn on_a_standby_nothing_happens_to_minio() {
    let minio = FakeMinio::start().await;
    let error = mount_refusing(&minio, 0).await.read("keys/r", Value::Null).await.unwrap_err();
    assert!(matches!(error, Error::Storage(_)), "{error:?}");
    assert!(
        error.to_string().contains("cannot write to readonly storage"),
        "the host forwards by this: {error}"
    );
    assert_eq!(minio.calls(), [""; 0]);
}

#[tokio::test]
async fn an_announcement_that_cannot_be_dated_fails_the_request_and_removes_the_user() {
    let minio = FakeMinio::start().await;
    let mount = mount_refusing(&minio, 1).await;
    mount.read("keys/r", Value::Null).await.unwrap_err();
    assert_eq!(minio.users(), [""; 0]);
    assert_eq!(log_entries(&mount).await.len(), 1, "the rollback finds nothing to do later");
}

#[tokio::test]
async fn revoke_deletes_the_user_and_may_run_twice() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let answer = content(mount.read("keys/r", Value::Null).await);
    mount.revoke(&answer).await.unwrap();
    assert_eq!(minio.users(), [""; 0]);
    mount.revoke(&answer).await.unwrap();
}

#[tokio::test]
async fn a_lease_of_the_go_plugin_is_revoked() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let mut answer = content(mount.read("keys/r", Value::Null).await);
    minio.add("legacy-user");
    let lease = answer.secret.as_mut().unwrap();
    let internal = json!({ "accessKeyId": "legacy-user", "secret_type": "minio_access_key" });
    lease.internal_data = internal.as_object().unwrap().clone();
    mount.revoke(&answer).await.unwrap();
    assert!(!minio.users().contains(&"legacy-user".to_owned()));
}

#[tokio::test]
async fn a_failed_revoke_says_whether_it_passes_by_itself() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let answer = content(mount.read("keys/r", Value::Null).await);
    minio.fail("remove-user", 503, "XMinioIAMNotInitialized");
    assert!(internal(mount.revoke(&answer).await).contains("this passes by itself"));
    minio.fail("remove-user", 403, "AccessDenied");
    assert!(internal(mount.revoke(&answer).await).contains("rights"));
}

#[tokio::test]
async fn a_lease_is_renewed_by_its_role_as_it_is_now() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let answer = content(mount.read("keys/r", Value::Null).await);
    mount.write("roles/r", json!({ "default_ttl": "1h", "max_ttl": "3h" })).await.unwrap();
    let renewed = content(mount.renew(&answer, HOUR).await).secret.unwrap();
    assert_eq!((renewed.ttl, renewed.max_ttl), (HOUR, 3 * HOUR));
    assert_eq!(renewed.internal_data["accessKeyId"], answer.data["accessKeyId"]);

    mount.delete("roles/r").await.unwrap();
    match mount.renew(&answer, HOUR).await {
        Err(Error::Status { status: 400, message }) => {
            assert!(message.contains("\"r\"") && message.contains("no longer exists"), "{message}");
        }
        other => panic!("renewed without its role: {other:?}"),
    }
    mount.revoke(&answer).await.unwrap();
}

#[tokio::test]
async fn a_renewed_or_revoked_lease_needs_its_log_entry_no_more() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    mount
        .write("roles/a", json!({ "policy": "readwrite", "credential_type": "service_account" }))
        .await
        .unwrap();
    for path in ["keys/r", "keys/a"] {
        for renews in [true, false] {
            let answer = content(mount.read(path, Value::Null).await);
            let entries = mount.storage.list("wal/").await.unwrap();
            assert_eq!(answer.secret.as_ref().unwrap().internal_data["logEntry"], json!(entries[0]));
            if renews {
                mount.renew(&answer, HOUR).await.unwrap();
                assert_eq!(mount.storage.list("wal/").await.unwrap(), [""; 0], "{path}");
            }
            mount.revoke(&answer).await.unwrap();
            assert_eq!(mount.storage.list("wal/").await.unwrap(), [""; 0], "{path}");
        }
    }
}

/// The sdk's hosts may ask only once, whatever the answer was.
#[tokio::test]
async fn a_failed_revoke_is_finished_by_the_rollback() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    for renewed_before in [false, true] {
        let answer = content(mount.read("keys/r", Value::Null).await);
        if renewed_before {
            mount.renew(&answer, HOUR).await.unwrap();
        }
        minio.fail("remove-user", 503, "XMinioIAMNotInitialized");
        internal(mount.revoke(&answer).await);
        minio.mend("remove-user");
        let due = log_entries(&mount).await;
        assert_eq!(due, [answer.secret.unwrap().internal_data["logEntry"].as_str().unwrap()]);
        crate::make_log_old(&mount).await;
        mount.tick().await.unwrap();
        assert_eq!((minio.users().len(), mount.storage.list("wal/").await.unwrap().len()), (0, 0));
    }
}

#[tokio::test]
async fn nobody_at_the_endpoint_ends_soon() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let (_socket, address) = vacant();
    mount.write("config", json!({ "endpoint": address.to_string() })).await.unwrap();
    let text = internal(mount.read("keys/r", Value::Null).await);
    assert!(text.contains(&address.to_string()) && text.contains("cannot reach MinIO"), "{text}");
    // A plugin that has just started may be repeating what one that died had made.
    assert_eq!(log_entries(&mount).await.len(), 1);
    configure(&mount, &minio).await;
    mount.read("keys/r", Value::Null).await.unwrap();
}
