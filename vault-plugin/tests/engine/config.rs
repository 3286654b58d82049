use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;

use crate::fake_minio::FakeMinio;
use crate::{bad_request, configure, data, internal, mount_on};

fn empty() -> Mount {
    Mount::new(vault_plugin_secrets_minio::backend())
}

#[tokio::test]
async fn unset_it_reads_as_empty() {
    let mount = empty();
    let expected = json!({ "accessKeyId": "", "endpoint": "", "secretAccessKey": "", "useSSL": false });
    assert_eq!(data(mount.read("config", Value::Null).await), expected);
    assert_eq!(data(mount.read("config/", Value::Null).await), expected);
}

#[tokio::test]
async fn a_write_changes_what_it_names_and_trims() {
    let mount = empty();
    assert!(mount.write("config", json!({ "endpoint": " minio:9000 " })).await.unwrap().is_none());
    mount.write("config", json!({ "accessKeyId": " root ", "useSSL": "true" })).await.unwrap();
    let expected =
        json!({ "accessKeyId": "root", "endpoint": "minio:9000", "secretAccessKey": "", "useSSL": true });
    assert_eq!(data(mount.read("config", Value::Null).await), expected);
}

#[tokio::test]
async fn the_secret_is_shown_only_on_demand() {
    let mount = empty();
    let secret = "rootroot123";
    mount.write("config", json!({ "secretAccessKey": secret })).await.unwrap();
    let shown = data(mount.read("config", Value::Null).await);
    assert_eq!(shown["secretAccessKey"], "(redacted)");

    // What a tool read and writes back changes nothing.
    mount.write("config", shown).await.unwrap();
    mount.write("config", json!({ "expose_secret_on_read": true })).await.unwrap();
    let exposed = data(mount.read("config", Value::Null).await);
    assert_eq!(exposed["secretAccessKey"], secret);
    assert_eq!(exposed["expose_secret_on_read"], true);

    mount.write("config", json!({ "expose_secret_on_read": false })).await.unwrap();
    let stored = mount.storage.get_bytes("config").await.unwrap().unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    let legacy = json!({
        "endpoint": "", "accessKeyId": "", "secretAccessKey": secret, "useSSL": false, "is_configured": true
    });
    assert_eq!(stored, legacy, "without the extension, storage is the Go plugin's");
}

#[tokio::test]
async fn a_scheme_is_taken_off_or_refused() {
    let mount = empty();
    mount.write("config", json!({ "endpoint": "https://minio:9000", "useSSL": true })).await.unwrap();
    assert_eq!(data(mount.read("config", Value::Null).await)["endpoint"], "minio:9000");
    let text = bad_request(mount.write("config", json!({ "endpoint": "http://other:9000" })).await);
    assert!(text.contains("useSSL=false") && text.contains("host:port"), "{text}");
    let kept = data(mount.read("config", Value::Null).await);
    assert_eq!(kept["endpoint"], "minio:9000", "a refused write changes nothing");
}

#[tokio::test]
async fn a_bad_bool_is_refused_by_name() {
    let text = bad_request(empty().write("config", json!({ "useSSL": "nope" })).await);
    assert!(text.contains("useSSL") && text.contains("nope"), "{text}");
}

#[tokio::test]
async fn without_it_keys_say_what_to_write() {
    let mount = empty();
    mount.write("roles/r", json!({ "policy": "readwrite" })).await.unwrap();
    let text = internal(mount.read("keys/r", Value::Null).await);
    assert!(text.contains("secretAccessKey") && text.contains("config"), "{text}");
}

#[tokio::test]
async fn a_new_config_is_used_at_once() {
    let (first, second) = (FakeMinio::start().await, FakeMinio::start().await);
    let mount = mount_on(&first).await;
    mount.read("keys/r", Value::Null).await.unwrap();
    configure(&mount, &second).await;
    mount.read("keys/r", Value::Null).await.unwrap();
    assert_eq!((first.users().len(), second.users().len()), (1, 1));
}

#[tokio::test]
async fn a_config_written_by_a_peer_is_used_after_invalidation() {
    let (first, second) = (FakeMinio::start().await, FakeMinio::start().await);
    let mount = mount_on(&first).await;
    mount.read("keys/r", Value::Null).await.unwrap();
    let mut config: Value = mount.storage.get("config").await.unwrap().unwrap();
    config["endpoint"] = second.endpoint().into();
    mount.storage.put("config", &config).await.unwrap();

    mount.invalidate("roles/r");
    mount.read("keys/r", Value::Null).await.unwrap();
    assert_eq!((first.users().len(), second.users().len()), (2, 0), "another key is none of its business");
    mount.invalidate("config");
    mount.read("keys/r", Value::Null).await.unwrap();
    assert_eq!((first.users().len(), second.users().len()), (2, 1));
}

#[tokio::test]
async fn tls_fields_are_checked_kept_and_the_key_is_never_read_back() {
    let mount = empty();
    let made = rcgen::generate_simple_self_signed(["minio.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let config = json!({
        "endpoint": "minio.example:9000", "useSSL": true, "ca_certificate": certificate, "min_tls_version": 1.3,
        "client_certificate": certificate, "client_key": key, "region": "ca-central-1",
    });
    mount.write("config", config).await.unwrap();
    let shown = data(mount.read("config", Value::Null).await);
    assert_eq!(shown["ca_certificate"], certificate.trim());
    assert_eq!((&shown["min_tls_version"], &shown["client_key"]), (&json!("1.3"), &json!("(redacted)")));
    mount.write("config", json!({ "expose_secret_on_read": true })).await.unwrap();
    let exposed = data(mount.read("config", Value::Null).await);
    assert_eq!(exposed["client_key"], "(redacted)", "that is for secretAccessKey");

    // What a tool read and writes back changes nothing.
    let stored = mount.storage.get_bytes("config").await.unwrap();
    mount.write("config", exposed).await.unwrap();
    assert_eq!(mount.storage.get_bytes("config").await.unwrap(), stored);

    let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
    for (change, words) in [
        (json!({ "client_key": "" }), "belong together"),
        (json!({ "client_certificate": "" }), "belong together"),
        (
            json!({ "client_certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" }),
            "PEM",
        ),
        (json!({ "client_key": other.cert.pem() }), "PEM"),
        (json!({ "ca_certificate": key }), "PEM"),
    ] {
        let text = bad_request(mount.write("config", change).await);
        assert!(text.contains(words) && !text.contains("BEGIN PRIVATE"), "{text}");
    }
    let text = bad_request(mount.write("config", json!({ "useSSL": false })).await);
    for word in ["ca_certificate and client_certificate", "useSSL=true", "empty"] {
        assert!(text.contains(word), "{text}");
    }
    let text = bad_request(empty().write("config", json!({ "ca_certificate": certificate })).await);
    assert!(text.starts_with("ca_certificate would") && text.contains("useSSL=true"), "{text}");
    let none = json!({ "useSSL": false, "ca_certificate": "", "client_certificate": "", "client_key": "", "min_tls_version": "", "region": "" });
    mount.write("config", none).await.unwrap();
    let shown = data(mount.read("config", Value::Null).await);
    assert_eq!(shown.as_object().unwrap().len(), 5, "{shown}");
}
