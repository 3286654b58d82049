//! Every field of every path with values it cannot have.

use proptest::prelude::*;
use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Error, Operation};

use crate::fake_minio::FakeMinio;
use crate::{bad_request, mount_on};

/// A path that takes a write.
struct Texts {
    path: &'static str,
    /// Its text fields and their limits.
    fields: Vec<(&'static str, usize)>,
    /// What else it needs.
    base: Value,
}

fn texts() -> [Texts; 4] {
    let config = vec![("endpoint", 261), ("accessKeyId", 256), ("secretAccessKey", 256), ("region", 64)];
    let role = vec![
        ("policy", 128),
        ("user_name_prefix", 64),
        ("cluster", 128),
        ("groups", 128),
        ("user_name_template", 512),
        ("policy_document", 18_432),
        ("credential_type", 128),
        ("password_policy", 128),
    ];
    let fixed = vec![("username", 256), ("cluster", 128), ("password_policy", 128)];
    [
        Texts { path: "config", fields: config.clone(), base: json!({}) },
        Texts { path: "config/east", fields: config, base: json!({}) },
        Texts { path: "roles/x", fields: role, base: json!({ "policy": "p" }) },
        Texts {
            path: "static-roles/x",
            fields: fixed,
            base: json!({ "username": "svc", "rotation_period": "1h" }),
        },
    ]
}

/// Fields that are not texts.
const TYPED: [(&str, &[&str]); 4] = [
    ("config", &["useSSL", "expose_secret_on_read"]),
    ("roles/x", &["default_ttl", "max_ttl"]),
    ("static-roles/x", &["rotation_period"]),
    ("keys/r", &["ttl"]),
];

fn with(base: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut body = base.clone();
    body[field] = value.into();
    body
}

/// Refused by the field's name, with nothing of a long value in the answer.
fn names_the_field(text: &str, field: &str) {
    assert!(text.contains(field) && text.len() < 400, "{field}: {text}");
}

#[tokio::test]
async fn too_long_and_control_characters_are_refused_by_name() {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    minio.add("svc");
    for Texts { path, fields, base } in texts() {
        for (field, most) in fields {
            let text = bad_request(mount.write(path, with(&base, field, "y".repeat(most + 1))).await);
            names_the_field(&text, field);
            for bad in ["a\u{0}b", "a\u{1b}[31mb", "a\u{85}b"] {
                let text = bad_request(mount.write(path, with(&base, field, bad)).await);
                names_the_field(&text, field);
            }
        }
    }
    // What trimming takes off is stored all the same.
    for bad in [" ".repeat(4161), format!("a{}", ",".repeat(4160)), "a,\u{b}".into()] {
        let body = json!({ "policy": bad, "groups": "g" });
        names_the_field(&bad_request(mount.write("roles/x", body).await), "policy");
    }
    mount.write("roles/x", json!({ "policy": vec!["y".repeat(128); 32].join(", ") })).await.unwrap();
    for field in ["ca_certificate", "client_certificate", "client_key"] {
        for bad in ["y".repeat(65_537), "-----BEGIN\u{0}".into(), "no PEM".into()] {
            names_the_field(&bad_request(mount.write("config", json!({ field: bad })).await), field);
        }
    }
    for bad in ["1.1", "TLS", "1.2\n1.3"] {
        names_the_field(
            &bad_request(mount.write("config", json!({ "min_tls_version": bad })).await),
            "min_tls_version",
        );
    }
    let long = "n".repeat(129);
    for path in [format!("roles/{long}"), format!("config/{long}"), format!("static-roles/{long}")] {
        let body = json!({ "policy": "p", "username": "svc", "rotation_period": "1h" });
        let text = bad_request(mount.write(&path, body).await);
        assert!(text.contains("129 characters"), "{text}");
    }
    assert_eq!(minio.users(), ["svc"]);
    assert_eq!(minio.secret_of("svc").as_deref(), Some("secret-before"));
}

#[tokio::test]
async fn wrong_types_are_refused_by_name() {
    let mount = mount_on(&FakeMinio::start().await).await;
    let wrong = [json!([1, { "a": 2 }]), json!({ "a": "b" })];
    let typed = TYPED.iter().map(|(path, fields)| (*path, fields.to_vec()));
    let texts = texts()
        .into_iter()
        .map(|Texts { path, fields, .. }| (path, fields.into_iter().map(|(name, _)| name).collect()));
    for (path, fields) in typed.chain(texts) {
        for field in fields {
            for value in &wrong {
                let body = json!({ field: value });
                let operation = if path == "keys/r" { Operation::Read } else { Operation::Update };
                names_the_field(&bad_request(mount.request(operation, path, body).await), field);
            }
        }
    }
    for value in ["soon", "-1", "1e99", "99999999999999999999", "１h"] {
        bad_request(mount.write("roles/x", json!({ "policy": "p", "max_ttl": value })).await);
        bad_request(mount.read("keys/r", json!({ "ttl": value })).await);
    }
}

#[tokio::test]
async fn unknown_fields_are_warned_of() {
    let mount = mount_on(&FakeMinio::start().await).await;
    for path in ["config", "roles/r", "keys/r"] {
        let answer = mount.read(path, json!({ "frob": "x" })).await.unwrap().unwrap();
        assert!(answer.warnings.iter().any(|text| text.contains("[frob]")), "{path}: {:?}", answer.warnings);
    }
}

#[tokio::test]
async fn unicode_is_kept() {
    let mount = mount_on(&FakeMinio::start().await).await;
    mount.write("roles/u", json!({ "policy": "données-读", "groups": ["équipe"] })).await.unwrap();
    let role = mount.read("roles/u", Value::Null).await.unwrap().unwrap();
    assert_eq!((&role.data["policy"], &role.data["groups"]), (&json!("données-读"), &json!(["équipe"])));
    for name in ["rôle", "a/b", "-a", "a.", "%2e", "a b", ""] {
        let answer = mount.write(&format!("roles/{name}"), json!({ "policy": "p" })).await;
        assert!(
            matches!(answer, Err(Error::UnsupportedPath | Error::UnsupportedOperation)),
            "{name}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let mount = mount_on(&FakeMinio::start().await).await;
    let stored = async |key: &str| mount.storage.get_bytes(key).await.unwrap();
    let before = (stored("config").await, stored("roles/r").await);
    for (path, body) in [
        ("config", json!({ "accessKeyId": "new", "region": "a\u{0}" })),
        ("config", json!({ "accessKeyId": "new", "client_key": "-----BEGIN PRIVATE KEY-----" })),
        ("roles/r", json!({ "policy": "new", "policy_document": "{" })),
        ("roles/r", json!({ "policy": "new", "groups": ["", "a"] })),
        ("roles/r", json!({ "policy": "new", "user_name_prefix": "a,b" })),
    ] {
        bad_request(mount.write(path, body).await);
    }
    assert_eq!((stored("config").await, stored("roles/r").await), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written to a role or config is taken or refused, never more, and nothing of it breaks
    /// the reads after it.
    #[test]
    fn no_value_breaks_a_path(field in 0_usize..12, value in value()) {
        const FIELDS: [(&str, &str); 12] = [
            ("roles/x", "policy"), ("roles/x", "user_name_prefix"), ("roles/x", "default_ttl"), ("roles/x", "groups"),
            ("roles/x", "credential_type"), ("roles/x", "policy_document"), ("roles/x", "user_name_template"),
            ("roles/x", "cluster"), ("config", "endpoint"), ("config", "useSSL"), ("config", "ca_certificate"),
            ("config", "min_tls_version"),
        ];
        let (path, name) = FIELDS[field];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mount = Mount::new(vault_plugin_secrets_minio::backend());
            let answer = mount.write(path, with(&json!({ "policy": "p" }), name, value)).await;
            let known = matches!(answer, Ok(None) | Err(Error::BadRequest(_)));
            assert!(known, "{path} {name}: {answer:?}");
            let read = mount.read(path, Value::Null).await;
            let known = matches!(&read, Ok(Some(_))) || matches!(&read, Err(Error::BadRequest(text)) if text == "role not found");
            assert!(known, "{path} {name}: {read:?}");
        });
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        ".{0,40}".prop_map(Value::from),
        "(\\{\\{|\\}\\}|role|:|[0-9]|a){0,8}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        proptest::collection::vec(".{0,5}", 0..4).prop_map(Value::from),
    ]
}
