//! A mount that the Go plugin wrote is taken over as it is.

use std::time::Duration;

use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;

use crate::fake_minio::FakeMinio;
use crate::{bad_request, content, data, mount_on};

#[tokio::test]
async fn config_and_roles_of_the_go_plugin_work() {
    let minio = FakeMinio::start().await;
    let mount = Mount::new(vault_plugin_secrets_minio::backend());
    let config = format!(
        r#"{{"endpoint":"{}","accessKeyId":"root","secretAccessKey":"rootroot123","useSSL":false,"is_configured":true}}"#,
        minio.endpoint()
    );
    let role = br#"{"policy":"readonly","user_name_prefix":"old-","default_ttl":3600000000000,"max_ttl":86400000000000}"#;
    mount.storage.put_bytes("config", config.into_bytes()).await.unwrap();
    mount.storage.put_bytes("roles/old", role.to_vec()).await.unwrap();

    assert_eq!(data(mount.list("roles").await), json!({ "keys": ["old"] }));
    let expected =
        json!({ "policy": "readonly", "user_name_prefix": "old-", "default_ttl": 3600, "max_ttl": 86400 });
    assert_eq!(data(mount.read("roles/old", Value::Null).await), expected);
    let answer = content(mount.read("keys/old", Value::Null).await);
    let lease = answer.secret.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(3600));
    assert_eq!(lease.max_ttl, Duration::from_secs(86400));
    assert!(minio.users()[0].starts_with("old-"));

    // An update that changes nothing leaves the very same bytes: the Go plugin could take over again.
    mount.write("roles/old", json!({ "policy": "readonly" })).await.unwrap();
    assert_eq!(mount.storage.get_bytes("roles/old").await.unwrap().unwrap(), role);
}

#[tokio::test]
async fn a_role_with_a_prefix_that_is_refused_now_can_be_updated() {
    let mount = mount_on(&FakeMinio::start().await).await;
    for prefix in ["p".repeat(65), "a,b".to_owned()] {
        let role =
            json!({ "policy": "readonly", "user_name_prefix": prefix, "default_ttl": 0, "max_ttl": 0 });
        mount.storage.put("roles/old", &role).await.unwrap();
        content(mount.read("keys/old", Value::Null).await);
        mount.write("roles/old", json!({ "policy": "readwrite" })).await.unwrap();
        let shown = data(mount.read("roles/old", Value::Null).await);
        assert_eq!((&shown["policy"], &shown["user_name_prefix"]), (&json!("readwrite"), &json!(prefix)));
        for change in [json!({ "user_name_prefix": "=" }), json!({ "credential_type": "service_account" })] {
            let text = bad_request(mount.write("roles/old", change).await);
            assert!(text.contains("user_name_prefix"), "{text}");
        }
    }
}
