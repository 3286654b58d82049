//! Users that somebody else made.

use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;

use crate::fake_minio::{FakeMinio, ROOT};
use crate::{bad_request, content, data, internal, mount_on};

const BEFORE: &str = "secret-before";

/// A mount with the static role `s` of the user `svc`.
async fn mounted() -> (Mount, FakeMinio) {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.add("svc");
    mount.write("static-roles/s", json!({ "username": "svc", "rotation_period": "1h" })).await.unwrap();
    (mount, minio)
}

async fn secret(mount: &Mount) -> String {
    data(mount.read("static-creds/s", Value::Null).await)["secretAccessKey"].as_str().unwrap().to_owned()
}

/// Makes the last rotation one of long ago.
async fn make_due(mount: &Mount) {
    let mut role: Value = mount.storage.get("static-roles/s").await.unwrap().unwrap();
    role["last_rotation"] = json!("2020-01-01T00:00:00Z");
    mount.storage.put("static-roles/s", &role).await.unwrap();
}

#[tokio::test]
async fn the_first_write_takes_the_secret_over() {
    let (mount, minio) = mounted().await;
    let creds = data(mount.read("static-creds/s", Value::Null).await);
    assert_eq!(creds["accessKeyId"], "svc");
    assert_eq!(creds["secretAccessKey"].as_str().map(str::to_owned), minio.secret_of("svc"));
    assert_ne!(creds["secretAccessKey"], BEFORE);
    assert!((3590..=3600).contains(&creds["ttl"].as_u64().unwrap()), "{creds}");
    let role = data(mount.read("static-roles/s", Value::Null).await);
    assert_eq!((&role["username"], &role["rotation_period"]), (&json!("svc"), &json!(3600)));
    assert!(role.get("secret").is_none() && role["last_rotation"].is_string());
    assert_eq!(data(mount.list("static-roles").await), json!({ "keys": ["s"] }));
}

#[tokio::test]
async fn it_is_rotated_when_due_and_on_demand() {
    let (mount, minio) = mounted().await;
    let first = secret(&mount).await;
    mount.tick().await.unwrap();
    assert_eq!(secret(&mount).await, first, "not due");
    make_due(&mount).await;
    mount.tick().await.unwrap();
    let second = secret(&mount).await;
    assert_ne!(second, first);
    mount.write("rotate-role/s", Value::Null).await.unwrap();
    assert_ne!(secret(&mount).await, second);
    assert_eq!(minio.secret_of("svc").unwrap(), secret(&mount).await);
}

#[tokio::test]
async fn a_rotation_cut_short_never_loses_the_secret() {
    for done in [true, false] {
        let (mount, minio) = mounted().await;
        if done {
            minio.lie("add-user");
        } else {
            minio.fail("add-user", 500, "InternalError");
        }
        assert!(internal(mount.write("rotate-role/s", Value::Null).await).contains("this passes by itself"));
        internal(mount.read("static-creds/s", Value::Null).await);
        minio.mend("add-user");
        // As well after a restart: all that is known lies in the storage.
        let mount = Mount::with(
            vault_plugin_secrets_minio::backend(),
            mount.storage.clone(),
            vault_plugin_sdk::SystemView::fixed(Default::default(), Default::default()),
        );
        mount.tick().await.unwrap();
        assert_eq!(minio.secret_of("svc").unwrap(), secret(&mount).await);
        minio.calls();
        secret(&mount).await;
        assert_eq!(minio.calls(), [""; 0], "the rotation has ended");
    }
}

#[tokio::test]
async fn a_refused_rotation_leaves_the_old_secret() {
    let (mount, minio) = mounted().await;
    let before = secret(&mount).await;
    minio.fail("add-user", 403, "AccessDenied");
    assert!(internal(mount.write("rotate-role/s", Value::Null).await).contains("rights"));
    assert_eq!(secret(&mount).await, before);

    // One that an earlier rotation may have set is not dropped for a refusal.
    minio.lie("add-user");
    internal(mount.write("rotate-role/s", Value::Null).await);
    minio.fail("add-user", 403, "AccessDenied");
    internal(mount.write("rotate-role/s", Value::Null).await);
    internal(mount.read("static-creds/s", Value::Null).await);
    minio.mend("add-user");
    assert_eq!(secret(&mount).await, minio.secret_of("svc").unwrap());
}

#[tokio::test]
async fn a_first_rotation_that_fails_is_tried_again() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.add("svc");
    minio.lie("add-user");
    let role = json!({ "username": "svc", "rotation_period": 60 });
    let text = internal(mount.write("static-roles/s", role).await);
    assert!(text.contains("is kept"), "{text}");
    minio.mend("add-user");
    mount.tick().await.unwrap();
    assert_eq!(minio.secret_of("svc").unwrap(), secret(&mount).await);
}

#[tokio::test]
async fn one_that_cannot_be_rotated_keeps_no_other_from_it() {
    let (mount, minio) = mounted().await;
    minio.add("a");
    mount.write("static-roles/a", json!({ "username": "a", "rotation_period": "1h" })).await.unwrap();
    minio.remove("a");
    for name in ["a", "s"] {
        let key = format!("static-roles/{name}");
        let mut role: Value = mount.storage.get(&key).await.unwrap().unwrap();
        role["last_rotation"] = json!("2020-01-01T00:00:00Z");
        mount.storage.put(&key, &role).await.unwrap();
    }
    let before = secret(&mount).await;
    assert!(internal(mount.tick().await).contains("static role a"));
    assert_ne!(secret(&mount).await, before);
    assert!(!minio.users().contains(&"a".to_owned()), "a user that is gone is not made again");
}

#[tokio::test]
async fn users_that_are_not_there_or_not_to_be_touched_are_refused() {
    let (mount, minio) = mounted().await;
    minio.add("off");
    minio.disable("off");
    for (role, word) in [
        (json!({ "username": "none", "rotation_period": "1h" }), "no user none"),
        (json!({ "username": "off", "rotation_period": "1h" }), "disabled"),
        (json!({ "username": ROOT, "rotation_period": "1h" }), "rotate-root"),
        (json!({ "username": "svc", "rotation_period": "1h" }), "static role \"s\""),
        (json!({ "rotation_period": "1h" }), "username="),
        (json!({ "username": "x" }), "rotation_period"),
        (json!({ "username": "x", "rotation_period": 59 }), "60 s"),
    ] {
        let text = bad_request(mount.write("static-roles/t", role.clone()).await);
        assert!(text.contains(word), "{role}: {text}");
    }
    assert_eq!(data(mount.list("static-roles").await), json!({ "keys": ["s"] }));
    for field in ["username", "cluster"] {
        let text = bad_request(mount.write("static-roles/s", json!({ field: "other" })).await);
        assert!(text.contains("cannot be changed"), "{text}");
    }
    mount.write("static-roles/s", json!({ "rotation_period": "2h", "username": "svc" })).await.unwrap();
    assert_eq!(data(mount.read("static-roles/s", Value::Null).await)["rotation_period"], 7200);
}

#[tokio::test]
async fn deleting_it_leaves_the_user() {
    let (mount, minio) = mounted().await;
    let last = secret(&mount).await;
    mount.delete("static-roles/s").await.unwrap();
    assert_eq!(minio.secret_of("svc"), Some(last));
    for answer in [
        mount.read("static-roles/s", Value::Null).await,
        mount.read("static-creds/s", Value::Null).await,
        mount.write("rotate-role/s", Value::Null).await,
        mount.delete("static-roles/s").await,
    ] {
        assert!(bad_request(answer).contains("not found"));
    }
}

#[tokio::test]
async fn a_password_policy_of_the_host_makes_the_secrets() {
    let (mount, minio) = mounted().await;
    mount.add_password_policy("mine", "made-by-the-host");
    mount.write("static-roles/s", json!({ "password_policy": "mine" })).await.unwrap();
    mount.write("rotate-role/s", Value::Null).await.unwrap();
    assert_eq!(minio.secret_of("svc").as_deref(), Some("made-by-the-host"));
    // As for keys.
    mount.write("roles/r", json!({ "password_policy": "mine" })).await.unwrap();
    let keys = content(mount.read("keys/r", Value::Null).await);
    assert_eq!(keys.data["secretAccessKey"], "made-by-the-host");
    for (password, word) in
        [("short", "5 characters"), (&*"x".repeat(41), "41 characters"), ("with\u{7}bell", "control")]
    {
        mount.add_password_policy("mine", password.to_owned());
        let text = internal(mount.read("keys/r", Value::Null).await);
        assert!(text.contains(word) && !text.contains(password), "{text}");
    }
    mount.write("roles/r", json!({ "password_policy": "none" })).await.unwrap();
    mount.read("keys/r", Value::Null).await.unwrap_err();
    assert_eq!(crate::due(&mount).await, [""; 0]);
}
