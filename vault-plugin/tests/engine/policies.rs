//! What a key may do, and what it is called.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Entity, EntityAlias, Operation, Response, Result};

use crate::fake_minio::FakeMinio;
use crate::{bad_request, content, data, internal, mount_on};

const ALICE: &str = "entity-1";

fn document(resource: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": ["s3:*"], "Resource": [resource] }],
    })
    .to_string()
}

async fn mounted(role: Value) -> (Mount, FakeMinio) {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    mount.add_entity(Entity {
        id: ALICE.into(),
        name: "alice".into(),
        metadata: BTreeMap::from([("team".into(), "blue".into()), ("bad".into(), "*".into())]),
        aliases: vec![EntityAlias {
            mount_accessor: "auth_jwt_1".into(),
            name: "alice@idp".into(),
            ..EntityAlias::default()
        }],
    });
    mount.write("roles/d", role).await.unwrap();
    (mount, minio)
}

async fn as_alice(mount: &Mount) -> Result<Option<Response>> {
    mount.request_as(ALICE, Operation::Read, "keys/d", Value::Null).await
}

#[tokio::test]
async fn a_users_document_is_a_policy_of_its_own_that_goes_with_it() {
    let resource = "arn:aws:s3:::{{identity.entity.metadata.team}}/{{identity.entity.name}}/{{role}}/*";
    let (mount, minio) =
        mounted(json!({ "policy_document": document(resource), "policy": "readonly" })).await;
    let answer = content(as_alice(&mount).await);
    let user = answer.data["accessKeyId"].as_str().unwrap();
    let name = format!("lease-{user}");
    let policy: Value = serde_json::from_str(&minio.policies()[&name]).unwrap();
    assert_eq!(policy["Statement"][0]["Resource"][0], "arn:aws:s3:::blue/alice/d/*");
    let attached = format!("readonly,{name}");
    assert_eq!(minio.policy_of(user), Some(attached.clone()));
    assert_eq!(answer.data["policy"], attached);
    mount.revoke(&answer).await.unwrap();
    mount.revoke(&answer).await.unwrap();
    assert!(minio.users().is_empty() && minio.policies().is_empty());
    assert_eq!(data(mount.read("roles/d", Value::Null).await)["policy_document"], document(resource));
}

#[tokio::test]
async fn a_document_limits_a_service_account() {
    let resource = "arn:aws:s3:::{{identity.entity.aliases.auth_jwt_1.name}}/*";
    let role = json!({
        "credential_type": "service_account", "policy": "readwrite", "policy_document": document(resource),
    });
    let (mount, minio) = mounted(role).await;
    let answer = content(as_alice(&mount).await);
    let account = &minio.accounts()[answer.data["accessKeyId"].as_str().unwrap()];
    assert_eq!(account["policy"]["Statement"][0]["Resource"][0], "arn:aws:s3:::alice@idp/*");
    assert!(minio.policies().is_empty());
    let large = document(&"x".repeat(4096));
    mount.write("roles/d", json!({ "policy_document": large })).await.unwrap();
    assert!(bad_request(as_alice(&mount).await).contains("takes 4096"));
}

#[tokio::test]
async fn a_caller_without_the_value_gets_nothing() {
    let (mount, minio) =
        mounted(json!({ "policy_document": document("{{identity.entity.metadata.team}}") })).await;
    let text = bad_request(mount.read("keys/d", Value::Null).await);
    assert!(text.contains("{{identity.entity.metadata.team}}"), "{text}");
    bad_request(mount.request_as("unknown", Operation::Read, "keys/d", Value::Null).await);
    mount
        .write("roles/d", json!({ "policy_document": document("{{identity.entity.metadata.bad}}") }))
        .await
        .unwrap();
    let text = bad_request(as_alice(&mount).await);
    assert!(text.contains("'*'"), "{text}");
    assert_eq!(minio.calls(), [""; 0]);
    assert_eq!(mount.storage.list("wal/").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn whatever_fails_on_the_way_leaves_nothing() {
    let role = json!({ "policy_document": document("arn:aws:s3:::b"), "groups": ["g"] });
    let (mount, minio) = mounted(role).await;
    for call in ["add-canned-policy", "add-user", "set-user-or-group-policy", "update-group-members"] {
        minio.fail(call, 403, "AccessDenied");
        internal(as_alice(&mount).await);
        assert!(minio.users().is_empty() && minio.policies().is_empty(), "{call}");
        assert_eq!(mount.storage.list("wal/").await.unwrap(), [""; 0], "{call}");
        minio.mend(call);
    }
    // What may have been made stays in the log until the rollback.
    for call in ["add-canned-policy", "add-user"] {
        minio.lie(call);
        internal(as_alice(&mount).await);
        minio.mend(call);
        assert_eq!(mount.storage.list("wal/").await.unwrap().len(), 1, "{call}");
        crate::make_log_old(&mount).await;
        mount.tick().await.unwrap();
        assert!(minio.users().is_empty() && minio.policies().is_empty(), "{call}");
    }
}

#[tokio::test]
async fn groups_are_enough() {
    let (mount, minio) = mounted(json!({ "groups": "g, h" })).await;
    let answer = content(as_alice(&mount).await);
    assert_eq!(minio.groups_of(answer.data["accessKeyId"].as_str().unwrap()), ["g", "h"]);
    assert_eq!(answer.data["policy"], "");
    assert_eq!(minio.calls(), ["add-user", "update-group-members", "update-group-members"]);
    assert_eq!(data(mount.read("roles/d", Value::Null).await)["groups"], json!(["g", "h"]));
}

#[tokio::test]
async fn users_are_called_by_the_template() {
    let template = "{{identity.entity.name:3}}-{{random:12}}";
    let (mount, minio) =
        mounted(json!({ "policy": "p", "user_name_prefix": "x.", "user_name_template": template })).await;
    as_alice(&mount).await.unwrap();
    let name = minio.users().remove(0);
    assert!(name.starts_with("x.ali-") && name.len() == 18, "{name}");
    bad_request(mount.read("keys/d", Value::Null).await);
    let text = bad_request(mount.write("roles/d", json!({ "user_name_template": "{{role}}" })).await);
    assert!(text.contains("user_name_template"), "{text}");
    mount.write("roles/d", json!({ "user_name_template": "" })).await.unwrap();
    assert!(data(mount.read("roles/d", Value::Null).await).get("user_name_template").is_none());
}
