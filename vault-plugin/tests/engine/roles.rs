use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;

use crate::{bad_request, data};

fn empty() -> Mount {
    Mount::new(vault_plugin_secrets_minio::backend())
}

#[tokio::test]
async fn a_role_reads_as_it_was_written() {
    let mount = empty();
    let role = json!({ "policy": "readwrite", "default_ttl": "1h", "max_ttl": "1d" });
    assert!(mount.write("roles/r", role).await.unwrap().is_none());
    let expected =
        json!({ "policy": "readwrite", "user_name_prefix": "", "default_ttl": 3600, "max_ttl": 86400 });
    assert_eq!(data(mount.read("roles/r", Value::Null).await), expected);
}

#[tokio::test]
async fn an_update_keeps_what_it_does_not_name() {
    let mount = empty();
    let role = json!({ "policy": "readwrite", "user_name_prefix": "p-", "default_ttl": 60, "max_ttl": 120 });
    mount.write("roles/r", role).await.unwrap();
    mount.write("roles/r", json!({ "policy": "readonly", "user_name_prefix": "" })).await.unwrap();
    let expected = json!({ "policy": "readonly", "user_name_prefix": "", "default_ttl": 60, "max_ttl": 120 });
    assert_eq!(data(mount.read("roles/r", Value::Null).await), expected);
}

#[tokio::test]
async fn a_role_needs_a_policy() {
    let mount = empty();
    for role in [json!({}), json!({ "user_name_prefix": "x" }), json!({ "policy": "  " })] {
        let text = bad_request(mount.write("roles/r", role).await);
        assert!(text.contains("policy="), "{text}");
    }
    mount.write("roles/r", json!({ "policy": "readwrite" })).await.unwrap();
    bad_request(mount.write("roles/r", json!({ "policy": "" })).await);
    assert_eq!(data(mount.read("roles/r", Value::Null).await)["policy"], "readwrite");
}

#[tokio::test]
async fn the_default_may_not_exceed_the_maximum() {
    let mount = empty();
    let inverted = json!({ "policy": "readonly", "default_ttl": "2h", "max_ttl": "1h" });
    let text = bad_request(mount.write("roles/r", inverted).await);
    assert!(text.contains("7200 s") && text.contains("3600 s"), "{text}");
    mount.write("roles/r", json!({ "policy": "readonly", "default_ttl": "2h" })).await.unwrap();
    bad_request(mount.write("roles/r", json!({ "max_ttl": "1h" })).await);
    mount.write("roles/r", json!({ "max_ttl": "2h" })).await.unwrap();
}

#[tokio::test]
async fn a_bad_duration_is_refused_in_the_go_plugins_words() {
    let role = json!({ "policy": "readonly", "default_ttl": "soon" });
    let text = bad_request(empty().write("roles/r", role).await);
    let legacy = "error converting input soon for field \"default_ttl\": strconv.ParseInt: parsing \"soon\": invalid syntax";
    assert!(text.ends_with(legacy), "{text}");
}

#[tokio::test]
async fn roles_are_listed_and_deleted() {
    let mount = empty();
    assert!(!mount.list("roles").await.unwrap().is_some_and(|answer| answer.data.contains_key("keys")));
    for name in ["b", "a.1", "Upper"] {
        mount.write(&format!("roles/{name}"), json!({ "policy": "readonly" })).await.unwrap();
    }
    assert_eq!(data(mount.list("roles/").await), json!({ "keys": ["Upper", "a.1", "b"] }));
    assert!(mount.delete("roles/b").await.unwrap().is_none());
    assert_eq!(data(mount.list("roles").await), json!({ "keys": ["Upper", "a.1"] }));
}

#[tokio::test]
async fn an_unknown_role_is_a_bad_request_as_in_the_go_plugin() {
    let mount = empty();
    assert_eq!(bad_request(mount.read("roles/none", Value::Null).await), "role not found");
    assert_eq!(bad_request(mount.delete("roles/none").await), "role not found");
}
