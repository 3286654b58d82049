//! Several MinIOs in one mount.

use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;

use crate::fake_minio::FakeMinio;
use crate::{access, bad_request, content, data, internal, mount_on, vacant};

/// A mount with the default cluster and `east`, each with a role of its own.
async fn two() -> (Mount, FakeMinio, FakeMinio) {
    let (plain, east) = (FakeMinio::start().await, FakeMinio::start().await);
    let mount = mount_on(&plain).await;
    mount.write("config/east", access(&east)).await.unwrap();
    mount.write("roles/e", json!({ "policy": "readonly", "cluster": "east" })).await.unwrap();
    (mount, plain, east)
}

#[tokio::test]
async fn a_role_makes_its_keys_on_its_cluster_and_the_lease_ends_there() {
    let (mount, plain, east) = two().await;
    let one = content(mount.read("keys/r", Value::Null).await);
    let two = content(mount.read("keys/e", Value::Null).await);
    assert_eq!(plain.users(), [one.data["accessKeyId"].as_str().unwrap()]);
    assert_eq!(east.users(), [two.data["accessKeyId"].as_str().unwrap()]);
    assert_eq!(data(mount.read("roles/e", Value::Null).await)["cluster"], "east");
    mount.revoke(&two).await.unwrap();
    assert_eq!((plain.users().len(), east.users().len()), (1, 0));
    mount.revoke(&one).await.unwrap();
    assert_eq!(plain.users().len(), 0);
}

#[tokio::test]
async fn named_configs_are_listed_and_read_like_the_plain_one() {
    let (mount, _, east) = two().await;
    mount.write("config/west", json!({ "endpoint": "west:9000", "useSSL": true })).await.unwrap();
    assert_eq!(data(mount.list("config/").await), json!({ "keys": ["east", "west"] }));
    let shown = data(mount.read("config/east", Value::Null).await);
    assert_eq!(
        (&shown["endpoint"], &shown["secretAccessKey"]),
        (&json!(east.endpoint()), &json!("(redacted)"))
    );
    mount.write("config/west", json!({ "region": "ca-central-1" })).await.unwrap();
    let shown = data(mount.read("config/west", Value::Null).await);
    assert_eq!((&shown["endpoint"], &shown["region"]), (&json!("west:9000"), &json!("ca-central-1")));
    assert!(mount.read("config/none", Value::Null).await.unwrap().is_none());
}

#[tokio::test]
async fn a_config_in_use_is_not_deleted() {
    let (mount, plain, east) = two().await;
    east.add("svc");
    mount
        .write("static-roles/s", json!({ "username": "svc", "rotation_period": "1h", "cluster": "east" }))
        .await
        .unwrap();
    let text = bad_request(mount.delete("config/east").await);
    assert!(
        text.contains("roles/e") && text.contains("static-roles/s") && !text.contains("roles/r"),
        "{text}"
    );
    let text = bad_request(mount.delete("config").await);
    assert!(text.contains("roles/r") && text.contains("default cluster"), "{text}");

    mount.delete("roles/e").await.unwrap();
    mount.delete("static-roles/s").await.unwrap();
    mount.delete("config/east").await.unwrap();
    assert!(mount.list("config/").await.unwrap().unwrap().data.is_empty());
    mount.delete("roles/r").await.unwrap();
    mount.delete("config").await.unwrap();
    assert!(mount.storage.get_bytes("config").await.unwrap().is_none());
    mount.write("roles/r", json!({ "policy": "readonly" })).await.unwrap();
    assert!(internal(mount.read("keys/r", Value::Null).await).contains("not configured"));
    assert_eq!(plain.users().len(), 0);
}

#[tokio::test]
async fn a_config_is_not_deleted_under_a_static_role_that_is_being_written() {
    let (mount, _, east) = two().await;
    mount.delete("roles/e").await.unwrap();
    east.add("svc");
    let role = json!({ "username": "svc", "rotation_period": "1h", "cluster": "east" });
    let (written, deleted) = tokio::join!(mount.write("static-roles/s", role), mount.delete("config/east"));
    written.unwrap();
    assert!(bad_request(deleted).contains("static-roles/s"));
    mount.write("rotate-role/s", Value::Null).await.unwrap();
}

#[tokio::test]
async fn an_unknown_cluster_is_refused() {
    let mount = mount_on(&FakeMinio::start().await).await;
    let text = bad_request(mount.write("roles/x", json!({ "policy": "p", "cluster": "west" })).await);
    assert!(text.contains("cluster \"west\" is not known") && text.contains("config/west"), "{text}");
    let role = json!({ "username": "svc", "rotation_period": "1h", "cluster": "west" });
    assert_eq!(bad_request(mount.write("static-roles/x", role).await), text);
}

#[tokio::test]
async fn a_write_by_a_peer_drops_only_that_clusters_client() {
    let (mount, plain, east) = two().await;
    let other = FakeMinio::start().await;
    mount.read("keys/e", Value::Null).await.unwrap();
    mount.read("keys/r", Value::Null).await.unwrap();
    for key in ["config", "config/east"] {
        let mut config: Value = mount.storage.get(key).await.unwrap().unwrap();
        config["endpoint"] = other.endpoint().into();
        mount.storage.put(key, &config).await.unwrap();
    }
    mount.invalidate("config/east");
    mount.read("keys/e", Value::Null).await.unwrap();
    mount.read("keys/r", Value::Null).await.unwrap();
    assert_eq!((plain.users().len(), east.users().len(), other.users().len()), (2, 1, 1));
}

#[tokio::test]
async fn a_dead_cluster_is_left_alone_for_a_while_and_the_other_is_not() {
    let (mount, _, east) = two().await;
    let leases =
        [content(mount.read("keys/e", Value::Null).await), content(mount.read("keys/e", Value::Null).await)];
    east.fail("remove-user", 503, "XMinioServerNotInitialized");
    assert!(internal(mount.revoke(&leases[0]).await).contains("this passes by itself"));
    let (_socket, nobody) = vacant();
    mount.write("config/east", json!({ "endpoint": nobody.to_string() })).await.unwrap();
    for _ in 0..3 {
        internal(mount.revoke(&leases[0]).await);
    }
    let text = internal(mount.revoke(&leases[1]).await);
    assert!(
        text.contains("this passes by itself") && !text.contains("cannot reach"),
        "nothing is sent: {text}"
    );
    mount.read("keys/r", Value::Null).await.unwrap();

    east.mend("remove-user");
    mount.write("config/east", json!({ "endpoint": east.endpoint() })).await.unwrap();
    for lease in &leases {
        mount.revoke(lease).await.unwrap();
    }
    assert_eq!(east.users(), [""; 0]);
}

#[tokio::test]
async fn what_a_deleted_config_leaves_in_the_log_waits_for_it_to_come_back() {
    let (mount, _, east) = two().await;
    east.lie("add-user");
    internal(mount.read("keys/e", Value::Null).await);
    east.mend("add-user");
    assert_eq!(mount.storage.list("wal/").await.unwrap().len(), 1);
    crate::make_log_old(&mount).await;
    mount.delete("roles/e").await.unwrap();
    mount.delete("config/east").await.unwrap();
    for _ in 0..2 {
        let text = internal(mount.tick().await);
        assert!(text.contains("not configured") && text.contains("to config/east"), "{text}");
        assert_eq!((east.users().len(), mount.storage.list("wal/").await.unwrap().len()), (1, 1));
    }
    mount.write("config/east", access(&east)).await.unwrap();
    mount.tick().await.unwrap();
    assert_eq!((east.users().len(), mount.storage.list("wal/").await.unwrap().len()), (0, 0));
}
