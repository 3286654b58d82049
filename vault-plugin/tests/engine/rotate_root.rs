//! A new secret for the admin user, cut short at every point.

use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;

use crate::fake_minio::FakeMinio;
use crate::{bad_request, content, internal, mount_on};

const BEFORE: &str = "secret-before";

/// A mount whose admin is the user `admin`.
async fn mounted() -> (Mount, FakeMinio) {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.add("admin");
    mount.write("config", json!({ "accessKeyId": "admin", "secretAccessKey": BEFORE })).await.unwrap();
    (mount, minio)
}

async fn stored(mount: &Mount) -> Value {
    mount.storage.get("config").await.unwrap().unwrap()
}

/// Keys can be made, and the stored secret is MinIO's, alone.
async fn works(mount: &Mount, minio: &FakeMinio) {
    content(mount.read("keys/r", Value::Null).await);
    let config = stored(mount).await;
    assert_eq!(config["secretAccessKey"].as_str().map(str::to_owned), minio.secret_of("admin"));
    assert!(config.get("next_secret_access_key").is_none(), "{:?}", config.as_object().unwrap().keys());
}

#[tokio::test]
async fn the_new_secret_is_used_from_then_on_and_shown_to_nobody() {
    let (mount, minio) = mounted().await;
    assert!(mount.write("config/rotate-root", Value::Null).await.unwrap().is_none());
    let secret = minio.secret_of("admin").unwrap();
    assert_ne!(secret, BEFORE);
    works(&mount, &minio).await;
    let shown = content(mount.read("config", Value::Null).await);
    assert!(!json!(shown.data).to_string().contains(&secret));
}

#[tokio::test]
async fn of_a_named_cluster() {
    let (mount, minio) = mounted().await;
    let config = json!({ "endpoint": minio.endpoint(), "accessKeyId": "admin", "secretAccessKey": BEFORE });
    mount.write("config/east", config).await.unwrap();
    mount.write("config/rotate-root/east", Value::Null).await.unwrap();
    let config: Value = mount.storage.get("config/east").await.unwrap().unwrap();
    assert_eq!(config["secretAccessKey"].as_str().map(str::to_owned), minio.secret_of("admin"));
    assert_eq!(stored(&mount).await["secretAccessKey"], BEFORE, "the plain config is another");
}

#[tokio::test]
async fn a_refused_one_changes_nothing() {
    let (mount, minio) = mounted().await;
    minio.fail("add-user", 403, "AccessDenied");
    assert!(internal(mount.write("config/rotate-root", Value::Null).await).contains("rights"));
    minio.mend("add-user");
    assert_eq!(stored(&mount).await["secretAccessKey"], BEFORE);
    works(&mount, &minio).await;
}

#[tokio::test]
async fn after_an_answer_that_got_lost_the_next_use_finds_out() {
    // Whether MinIO has done it or not, it says the same.
    for done in [true, false] {
        let (mount, minio) = mounted().await;
        if done {
            minio.lie("add-user");
        } else {
            minio.fail("add-user", 500, "InternalError");
        }
        internal(mount.write("config/rotate-root", Value::Null).await);
        minio.mend("add-user");
        assert_eq!(minio.secret_of("admin").unwrap() != BEFORE, done);
        works(&mount, &minio).await;
    }
}

#[tokio::test]
async fn without_an_answer_about_the_new_secret_both_are_kept() {
    let (mount, minio) = mounted().await;
    minio.lie("add-user");
    internal(mount.write("config/rotate-root", Value::Null).await);
    minio.mend("add-user");
    minio.fail("user-info", 503, "XMinioIAMNotInitialized");
    assert!(internal(mount.read("keys/r", Value::Null).await).contains("this passes by itself"));
    let config = stored(&mount).await;
    assert!(config["secretAccessKey"] == BEFORE && config["next_secret_access_key"].is_string());
    minio.mend("user-info");
    works(&mount, &minio).await;
}

/// Tools write back what they read. MinIO may have the new secret by then, and no other.
#[tokio::test]
async fn a_write_of_the_same_user_keeps_a_secret_that_is_being_set() {
    for secret in ["(redacted)", BEFORE] {
        let (mount, minio) = mounted().await;
        minio.lie("add-user");
        internal(mount.write("config/rotate-root", Value::Null).await);
        minio.mend("add-user");
        mount.write("config", json!({ "accessKeyId": "admin", "secretAccessKey": secret })).await.unwrap();
        assert!(stored(&mount).await["next_secret_access_key"].is_string(), "{secret}");
        works(&mount, &minio).await;
        assert_ne!(minio.secret_of("admin").as_deref(), Some(BEFORE));
    }
    let (mount, minio) = mounted().await;
    minio.lie("add-user");
    internal(mount.write("config/rotate-root", Value::Null).await);
    minio.mend("add-user");
    minio.add("other");
    mount.write("config", json!({ "accessKeyId": "other", "secretAccessKey": BEFORE })).await.unwrap();
    assert!(stored(&mount).await.get("next_secret_access_key").is_none(), "it was another user's");
    content(mount.read("keys/r", Value::Null).await);
}

#[tokio::test]
async fn when_neither_secret_works_it_says_what_to_do() {
    let (mount, minio) = mounted().await;
    minio.lie("add-user");
    internal(mount.write("config/rotate-root", Value::Null).await);
    minio.mend("add-user");
    minio.remove("admin");
    minio.add("admin");
    mount
        .storage
        .put("config", &{
            let mut config = stored(&mount).await;
            config["secretAccessKey"] = json!("changed by hand");
            config
        })
        .await
        .unwrap();
    let text = internal(mount.read("keys/r", Value::Null).await);
    assert!(text.contains("neither") && text.contains("secretAccessKey"), "{text}");
    mount.write("config", json!({ "secretAccessKey": BEFORE })).await.unwrap();
    works(&mount, &minio).await;
}

#[tokio::test]
async fn minios_root_is_refused() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    let text = bad_request(mount.write("config/rotate-root", Value::Null).await);
    assert!(text.contains("environment"), "{text}");
    assert_eq!(minio.users(), [""; 0], "no user of root's name was made");
}
