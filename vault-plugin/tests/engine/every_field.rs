//! Every field the engine's OpenAPI document has, with what no field takes, and with what some do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vault_plugin_sdk::testing::Mount;
use vault_plugin_sdk::{Operation, Response, Result};

use crate::fake_minio::{FakeMinio, ROOT_SECRET};
use crate::{access, bad_request, content, mount_on};

/// A secret in what is written; no answer may have it.
const HIDDEN: &str = "hunter2!";

/// Fields that keep letters of any script; all others refuse them.
const ANY_SCRIPT: [(&str, &str); 10] = [
    ("accessKeyId", "MinIO takes any access key"),
    ("endpoint", "hosts may have international names"),
    ("groups", "MinIO takes any name"),
    ("password_policy", "the host's names, looked up when a key is made"),
    ("policy", "MinIO takes any name"),
    ("policy_document", "buckets and conditions in its texts"),
    ("region", "it is what MinIO was given"),
    ("secretAccessKey", "MinIO takes any secret"),
    ("user_name_prefix", "MinIO takes any access key"),
    ("username", "of a new static role: a user somebody else made"),
];

/// What Go's field parser makes of another type: the second of a pair, written as such, means the same.
fn converted(kind: &str) -> Vec<[Value; 2]> {
    let pairs = match kind {
        "text" => json!([[5, "5"], [1.5, "1.5"], [true, "1"], [false, "0"], [null, ""]]),
        "bool" => {
            json!([[2.5, true], [0, false], ["T", true], ["f", false], [1, true], ["", false], [null, false]])
        }
        "duration" => json!([[7200, "2h"], ["7300", 7300], [7400.9, "7400s"], ["1d", "24h"], ["", 0]]),
        _ => json!([
            ["a, b", ["a", "b"]],
            [5, ["5"]],
            [[true, 1.5], ["1", "1.5"]],
            [{}, []],
            ["c", ["c"]],
            [null, []]
        ]),
    };
    serde_json::from_value(pairs).unwrap()
}

/// What has no meaning in the type, with `word` in it.
fn wrong(kind: &str, word: &str) -> Vec<Value> {
    let mut values = vec![json!({ "a": word }), json!([[word]]), json!([{ "a": word }])];
    match kind {
        "text" => values.extend([json!([]), json!({}), json!([word]), json!([1])]),
        "bool" => values.extend(["nope", "yes", "2", " true"].map(Value::from)),
        "duration" => {
            values.extend(["nope", "-1", "-1h", "1x", "１h", "9223372037", "1e3"].map(Value::from));
            values.extend([json!(-1), json!(-0.5e12), json!(1e99), json!(i64::MAX), json!(true), json!([])]);
        }
        _ => {}
    }
    values
}

/// One field at one path: of an object that is there (`r`), of a new one (`n`), or in the query of a read.
struct Place {
    path: String,
    field: String,
    kind: &'static str,
    is_secret: bool,
    operation: Operation,
}

/// The document's paths, with the names of what is there.
async fn paths() -> BTreeMap<String, Value> {
    let mount = Mount::new(vault_plugin_secrets_minio::backend());
    let help = content(mount.request(Operation::Help, "", Value::Null).await);
    let paths = help.data["openapi"]["paths"].as_object().unwrap().clone();
    let named = |path: &str| path.trim_start_matches('/').replace("{role}", "r").replace("{name}", "r");
    paths.into_iter().map(|(path, item)| (named(&path), item)).collect()
}

async fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for (path, item) in paths().await {
        let query = item["get"]["parameters"].as_array().into_iter().flatten();
        let query = query.filter(|one| one["name"] != "list");
        let query = query.map(|one| (one["name"].as_str().unwrap(), &one["schema"], Operation::Read));
        let body = &item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"];
        let body = body.as_object().into_iter().flatten();
        let body = body.map(|(name, schema)| (name.as_str(), schema, Operation::Update));
        for (field, schema, operation) in query.chain(body) {
            let kind = match schema["type"].as_str().unwrap() {
                "string" => "text",
                "boolean" => "bool",
                "integer" if schema["format"] == "seconds" => "duration",
                "array" => "list",
                other => panic!("no values for {other}"),
            };
            let is_secret = schema["x-vault-displayAttrs"]["sensitive"] == true;
            let fresh = path.strip_suffix("/r").filter(|_| operation == Operation::Update);
            for path in [Some(path.clone()), fresh.map(|folder| format!("{folder}/n"))].into_iter().flatten()
            {
                places.push(Place { path, field: field.to_owned(), kind, is_secret, operation });
            }
        }
    }
    // 10 of each config, 10 of roles, 4 of static roles, ttl of keys and creds.
    let fields: BTreeSet<_> =
        places.iter().map(|place| (place.path.replace("/n", "/r"), &place.field)).collect();
    assert!(fields.len() >= 36 && places.iter().filter(|place| place.is_secret).count() >= 6, "{fields:?}");
    places
}

impl Place {
    fn name(&self) -> String {
        format!("{} of {}", self.field, self.path)
    }

    /// The value beside what the path needs, and beside a secret.
    async fn send(&self, mount: &Mount, value: &Value) -> Result<Option<Response>> {
        let mut body = match self.path.as_str() {
            "roles/n" => json!({ "policy": "p" }),
            "static-roles/n" => json!({ "username": "free", "rotation_period": "1h" }),
            path if path.starts_with("config") => {
                json!({ "secretAccessKey": HIDDEN, "expose_secret_on_read": true })
            }
            _ => json!({}),
        };
        body[&self.field] = value.clone();
        mount.request(self.operation, &self.path, body).await
    }

    /// A bad request by the field's name, short, without a secret; and nothing has changed.
    async fn refuses(&self, mount: &Mount, minio: &FakeMinio, value: &Value) {
        let before = (stored(mount).await, self.shown(mount).await, minio.users());
        let answer = self.send(mount, value).await;
        let given: String = value.to_string().chars().take(60).collect();
        assert!(answer.is_err(), "{}: {given} is taken", self.name());
        let text = bad_request(answer);
        self.is_fine(&text, &given);
        assert!(!text.contains(&minio.secret_of("svc").unwrap()), "{}: {given} shows a secret", self.name());
        let after = (stored(mount).await, self.shown(mount).await, minio.users());
        assert_eq!(before, after, "{}: {given} leaves something", self.name());
        assert_eq!(minio.secret_of("free").as_deref(), Some("secret-before"));
    }

    fn is_fine(&self, text: &str, given: &str) {
        let start: String = text.chars().take(300).collect();
        let (name, length) = (self.name(), text.chars().count());
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(
            words.any(|word| word == self.field),
            "{name}: {given} is refused without the field: {start}"
        );
        assert!(length < 800, "{name}: {given} is refused with {length} characters: {start}");
        assert!(!text.contains(char::is_control), "{name}: {given} is quoted as it is: {start:?}");
        let leaks = [HIDDEN, ROOT_SECRET].into_iter().any(|secret| text.contains(secret));
        assert!(!leaks, "{name}: {given} shows a secret: {start}");
    }

    /// What a read of the object says.
    async fn shown(&self, mount: &Mount) -> Value {
        match self.operation {
            Operation::Read => Value::Null,
            _ => mount.read(&self.path, Value::Null).await.ok().flatten().map(|answer| answer.data).into(),
        }
    }
}

/// A mount where everything called `r` is there.
async fn mounted() -> (Mount, FakeMinio) {
    let minio = FakeMinio::start().await;
    let mount = mount_on(&minio).await;
    mount.write("config", json!({ "expose_secret_on_read": true })).await.unwrap();
    mount.write("config/r", access(&minio)).await.unwrap();
    mount.write("config/r", json!({ "expose_secret_on_read": true })).await.unwrap();
    minio.add("svc");
    minio.add("free");
    mount.write("static-roles/r", json!({ "username": "svc", "rotation_period": "1h" })).await.unwrap();
    (mount, minio)
}

/// All that the storage has.
async fn stored(mount: &Mount) -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        for name in mount.storage.list(&folder).await.unwrap() {
            let key = format!("{folder}{name}");
            if key.ends_with('/') {
                folders.push(key);
            } else {
                let bytes = mount.storage.get_bytes(&key).await.unwrap().unwrap();
                found.insert(key, String::from_utf8(bytes).unwrap());
            }
        }
    }
    assert!(["config", "config/r", "roles/r", "static-roles/r"].iter().all(|key| found.contains_key(*key)));
    found
}

#[tokio::test]
async fn wrong_types_are_refused_and_leave_nothing() {
    for place in places().await {
        let (mount, minio) = mounted().await;
        for value in wrong(place.kind, if place.is_secret { HIDDEN } else { "b" }) {
            place.refuses(&mount, &minio, &value).await;
        }
    }
}

#[tokio::test]
async fn other_types_mean_what_gos_parser_makes_of_them() {
    for place in places().await.into_iter().filter(|place| !place.path.ends_with("/n")) {
        let (mount, _minio) = mounted().await;
        for [given, meant] in converted(place.kind) {
            let mut outcomes = Vec::new();
            for value in [&given, &meant] {
                let answer = place.send(&mount, value).await;
                if let Err(error) = &answer {
                    // Of what it means, not of its type.
                    let text = error.to_string();
                    place.is_fine(&text, &given.to_string());
                    assert!(!text.contains("error converting"), "{text}");
                }
                let ttl =
                    answer.map(|answer| answer.and_then(|answer| answer.secret).map(|secret| secret.ttl));
                let left =
                    if place.operation == Operation::Read { BTreeMap::new() } else { stored(&mount).await };
                outcomes.push((format!("{ttl:?}"), left));
            }
            assert_eq!(outcomes[0], outcomes[1], "{}: {given} is not {meant}", place.name());
        }
    }
}

#[tokio::test]
async fn a_mebibyte_is_refused_and_not_repeated() {
    for place in places().await {
        let (mount, minio) = mounted().await;
        let word = if place.is_secret { HIDDEN } else { "nopenope" };
        let long = |word: &str| word.repeat((1 << 20) / word.len());
        for value in [json!(long(word)), json!(long("é,")), json!({ long(word): 1 })] {
            place.refuses(&mount, &minio, &value).await;
        }
    }
}

#[tokio::test]
async fn control_characters_are_refused_by_name() {
    for place in places().await {
        let (mount, minio) = mounted().await;
        let good = match place.kind {
            "bool" => "true",
            "duration" => "1h",
            _ => "ab",
        };
        // Line breaks alone make no PEM and no document, and no name has them.
        for control in ['\0', '\u{7}', '\u{1b}', '\u{7f}', '\u{85}', '\n', '\r', '\t'] {
            let (start, end) = good.split_at(1);
            place.refuses(&mount, &minio, &json!(format!("{start}{control}{end}"))).await;
        }
    }
}

#[tokio::test]
async fn pems_and_documents_have_line_breaks() {
    let (mount, _minio) = mounted().await;
    let made = rcgen::generate_simple_self_signed(["minio.example".to_owned()]).unwrap();
    let pem = made.cert.pem().trim().replace('\n', "\r\n");
    let key = made.signing_key.serialize_pem();
    let body = json!({ "useSSL": true, "ca_certificate": pem, "client_certificate": pem, "client_key": key });
    mount.write("config/r", body).await.unwrap();
    let config = content(mount.read("config/r", Value::Null).await).data;
    assert_eq!((&config["ca_certificate"], &config["client_certificate"]), (&json!(pem), &json!(pem)));
    let document = document("bücket").replace(',', ",\r\n\t");
    mount.write("roles/r", json!({ "policy_document": document })).await.unwrap();
    assert_eq!(content(mount.read("roles/r", Value::Null).await).data["policy_document"], document);
}

fn document(word: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::{word}"}}]}}"#
    )
}

#[tokio::test]
async fn letters_of_any_script_are_kept_or_refused() {
    let mut keeping = BTreeSet::new();
    for place in places().await {
        let (mount, minio) = mounted().await;
        for word in ["é", "日本", "🦀", "e\u{301}"] {
            let text = if place.field == "policy_document" { document(word) } else { word.to_owned() };
            minio.add(word);
            mount.add_password_policy(word, "a-secret-of-the-host");
            let before = stored(&mount).await;
            let answer = place.send(&mount, &json!(text)).await;
            if answer.is_err() {
                place.is_fine(&bad_request(answer), word);
                assert_eq!(stored(&mount).await, before, "{}: {word} leaves something", place.name());
                continue;
            }
            let kept = if place.kind == "list" { json!([text]) } else { json!(text) };
            assert_eq!(place.shown(&mount).await[&place.field], kept, "{}", place.name());
            keeping.insert(place.field.clone());
            if place.path.ends_with("/n") {
                mount.delete(&place.path).await.unwrap();
            }
        }
    }
    assert!(keeping.iter().eq(ANY_SCRIPT.map(|(field, _)| field)), "{keeping:?}");
}

#[tokio::test]
async fn unknown_fields_are_warned_of_or_ignored() {
    for (path, item) in paths().await {
        let (mount, _minio) = mounted().await;
        let frob = json!({ "frob": HIDDEN });
        let lists =
            item["get"]["parameters"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "list"));
        let only_lists = lists.is_some_and(|list| list["required"] == true);
        for (operation, has) in
            [(Operation::Read, item["get"].is_object() && !only_lists), (Operation::List, lists.is_some())]
        {
            if has {
                let warnings = content(mount.request(operation, &path, frob.clone()).await).warnings;
                let about = |text: &String| text.contains("[frob]") && !text.contains(HIDDEN);
                assert!(warnings.iter().any(about), "{operation:?} of {path}: {warnings:?}");
            }
        }
        if item["post"].is_object() {
            let before = stored(&mount).await;
            let answer = mount.write(&path, frob).await;
            // MinIO's root is not rotated, whatever is written.
            assert!(
                matches!(answer, Ok(None)) || path.starts_with("config/rotate-root"),
                "{path}: {answer:?}"
            );
            let after = stored(&mount).await;
            let rotates = path.starts_with("rotate-role/") || path.starts_with("config/rotate-root");
            assert!(rotates || before == after, "{path}");
            assert!(!after.values().any(|text| text.contains("frob") || text.contains(HIDDEN)), "{path}");
        }
    }
}
