//! Service accounts and sessions, and the user they belong to.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Error, Storage, SystemView};

use crate::fake_minio::FakeMinio;
use crate::{bad_request, configure, content, internal, mount_on};

const HOUR: Duration = Duration::from_secs(3600);

async fn mounted(role: Value) -> (Mount, FakeMinio) {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    mount.write("roles/a", role).await.unwrap();
    (mount, minio)
}

fn account_role() -> Value {
    json!({ "credential_type": "service_account", "policy": "readwrite", "groups": "g", "user_name_prefix": "a-" })
}

fn session_role() -> Value {
    json!({ "credential_type": "sts", "policy": "readwrite" })
}

async fn log_entries(mount: &Mount) -> usize {
    crate::due(mount).await.len()
}

#[tokio::test]
async fn a_service_account_below_the_roles_own_user() {
    let (mount, minio) = mounted(account_role()).await;
    let answer = content(mount.read("keys/a", json!({ "ttl": "2h" })).await);
    let [parent] = &minio.users()[..] else { panic!("not one user: {:?}", minio.users()) };
    assert!(parent.starts_with("a-a-parent-"), "{parent}");
    assert_eq!(minio.policy_of(parent).as_deref(), Some("readwrite"));
    assert_eq!(minio.groups_of(parent), ["g"]);

    let key = answer.data["accessKeyId"].as_str().unwrap();
    assert!(key.len() == 20 && key.starts_with("a-"), "{key}");
    let account = &minio.accounts()[key];
    assert_eq!(account["targetUser"], **parent);
    assert_eq!(account["secretKey"], answer.data["secretAccessKey"]);
    assert_eq!(account["expiration"], answer.data["expiration"]);
    let life = account["expiration"].as_str().unwrap().parse::<Timestamp>().unwrap() - Timestamp::now();
    assert!((7190.0..=7200.0).contains(&life.total(jiff::Unit::Second).unwrap()), "{life:?}");
    let lease = answer.secret.as_ref().unwrap();
    assert!(lease.renewable && lease.ttl == 2 * HOUR);
    assert_eq!(log_entries(&mount).await, 0);

    // The second key has the same parent.
    let second = content(mount.read("creds/a", Value::Null).await);
    assert_eq!((minio.users().len(), minio.accounts().len()), (1, 2));
    for answer in [&answer, &second, &second] {
        mount.revoke(answer).await.unwrap();
    }
    assert_eq!((minio.users().len(), minio.accounts().len()), (1, 0));
    mount.delete("roles/a").await.unwrap();
    assert_eq!((minio.users().len(), log_entries(&mount).await), (0, 0));
    assert_eq!(mount.storage.list("parents/").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn renewing_moves_minios_expiry() {
    let (mount, minio) = mounted(account_role()).await;
    mount.write("roles/a", json!({ "default_ttl": "1h", "max_ttl": "3h" })).await.unwrap();
    let answer = content(mount.read("keys/a", Value::Null).await);
    let key = answer.data["accessKeyId"].as_str().unwrap();
    let expiry = || minio.accounts()[key]["expiration"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let before = expiry();
    let renewed = content(mount.renew(&answer, 2 * HOUR).await).secret.unwrap();
    assert_eq!((renewed.ttl, renewed.max_ttl), (2 * HOUR, 3 * HOUR));
    assert!(expiry() > before + HOUR - Duration::from_secs(60));
    // Beyond the maximum it is capped.
    let renewed = content(mount.renew(&answer, 9 * HOUR).await);
    let ttl = renewed.secret.unwrap().ttl;
    assert!(ttl <= 3 * HOUR && ttl > 3 * HOUR - Duration::from_secs(60), "{ttl:?}");
    assert!(!renewed.warnings.is_empty());

    minio.fail("update-service-account", 503, "SlowDown");
    assert!(internal(mount.renew(&answer, HOUR).await).contains("this passes by itself"));
    mount.delete("roles/a").await.unwrap();
    assert!(matches!(mount.renew(&answer, HOUR).await, Err(Error::Status { status: 400, .. })));
    mount.revoke(&answer).await.unwrap();
}

#[tokio::test]
async fn a_session_is_told_to_outlive_its_revocation() {
    let (mount, minio) = mounted(session_role()).await;
    let answer = content(mount.read("keys/a", json!({ "ttl": "1h" })).await);
    assert_eq!(answer.data["sessionToken"], "session-token");
    assert!(answer.warnings.iter().any(|text| text.contains("2099")), "{:?}", answer.warnings);
    let lease = answer.secret.as_ref().unwrap();
    assert!(!lease.renewable && lease.ttl == HOUR);
    assert!(!json!(lease.internal_data).to_string().contains("session-secret"));
    minio.calls();
    mount.revoke(&answer).await.unwrap();
    assert_eq!(minio.calls(), [""; 0]);
    mount.renew(&answer, HOUR).await.unwrap_err();

    let short = content(mount.read("keys/a", json!({ "ttl": "60" })).await);
    assert_eq!(short.secret.unwrap().ttl, HOUR / 4);
    assert!(short.warnings.iter().any(|text| text.contains("900 s")), "{:?}", short.warnings);
}

#[tokio::test]
async fn lengths_no_session_can_have_are_refused() {
    let (mount, minio) = mounted(session_role()).await;
    let text = bad_request(mount.write("roles/a", json!({ "max_ttl": "10m" })).await);
    assert!(text.contains("max_ttl") && text.contains("900 s"), "{text}");
    // A mount that lets no lease live so long.
    let minute = Duration::from_secs(60);
    let mount = Mount::with(
        vault_plugin_secrets_minio::backend(),
        mount.storage.clone(),
        SystemView::fixed(minute, minute),
    );
    assert!(bad_request(mount.read("keys/a", Value::Null).await).contains("tune the mount"));
    assert_eq!(minio.users(), [""; 0]);
}

#[tokio::test]
async fn the_parent_follows_the_role() {
    let (mount, minio) = mounted(account_role()).await;
    mount.read("keys/a", Value::Null).await.unwrap();
    let parent = minio.users().remove(0);
    mount.write("roles/a", json!({ "policy": "readonly,diagnostics", "groups": "h" })).await.unwrap();
    mount.read("keys/a", Value::Null).await.unwrap();
    assert_eq!(minio.users(), [parent.as_str()]);
    assert_eq!(minio.policy_of(&parent).as_deref(), Some("readonly,diagnostics"));
    assert_eq!(minio.groups_of(&parent), ["h"]);

    mount.write("config/east", json!({ "endpoint": "east:9000" })).await.unwrap();
    let text = bad_request(mount.write("roles/a", json!({ "cluster": "east" })).await);
    assert!(text.contains("delete it"), "{text}");
}

#[tokio::test]
async fn a_parent_that_somebody_removed_is_made_again() {
    for role in [account_role(), session_role()] {
        let (mount, minio) = mounted(role).await;
        mount.read("keys/a", Value::Null).await.unwrap();
        let parent = minio.users().remove(0);
        minio.remove(&parent);
        mount.read("keys/a", Value::Null).await.unwrap();
        assert_eq!(minio.users(), [parent.as_str()]);
        assert_eq!(minio.policy_of(&parent).as_deref(), Some("readwrite"));
    }
}

#[tokio::test]
async fn a_parent_that_cannot_be_made_is_taken_back() {
    let (mount, minio) = mounted(account_role()).await;
    for call in ["add-user", "set-user-or-group-policy", "update-group-members"] {
        minio.fail(call, 403, "AccessDenied");
        internal(mount.read("keys/a", Value::Null).await);
        assert_eq!((minio.users().len(), log_entries(&mount).await), (0, 0), "{call}");
        minio.mend(call);
    }
    minio.lie("update-group-members");
    internal(mount.read("keys/a", Value::Null).await);
    assert_eq!((minio.users().len(), log_entries(&mount).await), (1, 1), "the rollback removes it");
    minio.mend("update-group-members");
    mount.read("keys/a", Value::Null).await.unwrap();
    assert_eq!(minio.users().len(), 2);
    crate::make_log_old(&mount).await;
    mount.tick().await.unwrap();
    assert_eq!((minio.users().len(), log_entries(&mount).await), (1, 0));
    mount.read("keys/a", Value::Null).await.unwrap();
    assert_eq!(minio.users().len(), 1, "the one in use stayed");
}

#[tokio::test]
async fn a_log_entry_of_a_parent_in_use_removes_nothing() {
    let (mount, minio) = mounted(account_role()).await;
    mount.read("keys/a", Value::Null).await.unwrap();
    let parent = minio.users().remove(0);
    let entry = json!({
        "type": "parent", "created_at": 1_600_000_000, "data": { "accessKeyId": parent, "role": "a" },
    });
    mount.storage.put("wal/11111111-2222-3333-4444-555555555555", &entry).await.unwrap();
    mount.tick().await.unwrap();
    assert_eq!((minio.users(), log_entries(&mount).await), (vec![parent], 0));
}

#[tokio::test]
async fn a_service_account_that_may_have_been_made_is_rolled_back() {
    let (mount, minio) = mounted(account_role()).await;
    minio.lie("add-service-account");
    internal(mount.read("keys/a", Value::Null).await);
    assert_eq!((minio.accounts().len(), log_entries(&mount).await), (1, 1));
    minio.mend("add-service-account");
    crate::make_log_old(&mount).await;
    mount.tick().await.unwrap();
    assert_eq!((minio.accounts().len(), log_entries(&mount).await), (0, 0));
    minio.fail("add-service-account", 403, "AccessDenied");
    internal(mount.read("keys/a", Value::Null).await);
    assert_eq!((minio.accounts().len(), log_entries(&mount).await), (0, 0), "a clear no");
}

#[tokio::test]
async fn a_service_account_of_somebody_else_is_left_alone() {
    let (mount, minio) = mounted(account_role()).await;
    minio.squat();
    internal(mount.read("keys/a", Value::Null).await);
    assert_eq!((minio.accounts().len(), log_entries(&mount).await), (1, 0));
    // Whose it is cannot be said now, and is looked up later.
    minio.fail("info-service-account", 503, "SlowDown");
    internal(mount.read("keys/a", Value::Null).await);
    assert_eq!((minio.accounts().len(), log_entries(&mount).await), (2, 1));
    crate::make_log_old(&mount).await;
    internal(mount.tick().await);
    minio.mend("info-service-account");
    mount.tick().await.unwrap();
    assert_eq!((minio.accounts().len(), log_entries(&mount).await), (2, 0));
}

#[tokio::test]
async fn a_role_of_a_dead_minio_is_deleted_and_its_parent_later() {
    let (mount, minio) = mounted(account_role()).await;
    mount.read("keys/a", Value::Null).await.unwrap();
    minio.fail("remove-user", 503, "SlowDown");
    mount.delete("roles/a").await.unwrap();
    assert_eq!((minio.users().len(), log_entries(&mount).await), (1, 1));
    minio.mend("remove-user");
    crate::make_log_old(&mount).await;
    mount.tick().await.unwrap();
    assert_eq!((minio.users().len(), minio.accounts().len(), log_entries(&mount).await), (0, 0, 0));
}

#[tokio::test]
async fn a_peers_new_parent_is_used_after_invalidation() {
    let (mount, minio) = mounted(session_role()).await;
    mount.read("keys/a", Value::Null).await.unwrap();
    let peer = Mount::with(
        vault_plugin_secrets_minio::backend(),
        Storage::clone(&mount.storage),
        SystemView::fixed(24 * HOUR, 24 * HOUR),
    );
    peer.delete("roles/a").await.unwrap();
    peer.write("roles/a", session_role()).await.unwrap();
    peer.read("keys/a", Value::Null).await.unwrap();
    mount.invalidate("parents/a");
    minio.calls();
    mount.read("keys/a", Value::Null).await.unwrap();
    assert_eq!(minio.calls(), ["assume-role"]);
    // A new config makes new clients of parents as well.
    let other = FakeMinio::start().await;
    configure(&mount, &other).await;
    mount.read("keys/a", Value::Null).await.unwrap();
    assert!(other.calls().contains(&"assume-role".to_owned()));
}

#[tokio::test]
async fn rights_are_needed_to_take_away_from() {
    let (mount, _) = mounted(account_role()).await;
    for kind in ["service_account", "sts"] {
        let role = json!({ "credential_type": kind, "policy_document": "{}" });
        let text = bad_request(mount.write("roles/new", role).await);
        assert!(text.contains("policy or groups"), "{text}");
    }
    let text =
        bad_request(mount.write("roles/new", json!({ "policy": "p", "credential_type": "iam" })).await);
    assert!(text.contains("user, service_account or sts"), "{text}");
}

#[tokio::test]
async fn the_end_of_the_mount_leaves_nothing() {
    let (mount, minio) = mounted(account_role()).await;
    minio.add("svc");
    mount.write("static-roles/s", json!({ "username": "svc", "rotation_period": "1h" })).await.unwrap();
    let answer = content(mount.read("keys/a", Value::Null).await);
    minio.lie("add-user");
    internal(mount.read("keys/r", Value::Null).await);
    minio.mend("add-user");
    assert_eq!((minio.users().len(), log_entries(&mount).await), (3, 1));
    mount.taint();
    mount.tick().await.unwrap();
    assert_eq!(
        (minio.users(), minio.accounts().len()),
        (vec!["svc".to_owned()], 0),
        "young log entries count too"
    );
    // The host revokes its leases after that.
    mount.revoke(&answer).await.unwrap();
}

#[tokio::test]
async fn a_request_that_the_end_of_the_mount_overtakes_leaves_nothing() {
    let (mount, minio) = mounted(account_role()).await;
    mount.write("roles/s", session_role()).await.unwrap();
    mount.taint();
    for path in ["keys/r", "keys/a", "keys/s"] {
        assert!(
            internal(mount.read(path, Value::Null).await).contains("the mount is being disabled"),
            "{path}"
        );
        assert_eq!((minio.users().len(), minio.accounts().len()), (0, 0), "{path}");
        assert_eq!(mount.storage.list("wal/").await.unwrap().len(), 0, "{path}");
        assert_eq!(mount.storage.list("parents/").await.unwrap().len(), 0, "{path}");
    }
}

#[tokio::test]
async fn a_dead_minio_does_not_keep_a_mount_from_ending() {
    let (mount, minio) = mounted(account_role()).await;
    mount.read("keys/a", Value::Null).await.unwrap();
    minio.fail("remove-user", 503, "SlowDown");
    mount.taint();
    mount.tick().await.unwrap();
}

#[tokio::test]
async fn a_service_account_that_may_not_be_removed_is_not_taken_for_gone() {
    let (mount, minio) = mounted(account_role()).await;
    let answer = content(mount.read("keys/a", Value::Null).await);
    // What MinIO answers to those who lack the right.
    minio.fail("delete-service-account", 404, "XMinioInvalidIAMCredentials");
    let text = internal(mount.revoke(&answer).await);
    assert!(
        text.contains("admin:RemoveServiceAccount") && text.contains("does not pass by itself"),
        "{text}"
    );
    minio.mend("delete-service-account");
    mount.revoke(&answer).await.unwrap();
    mount.revoke(&answer).await.unwrap();
}
