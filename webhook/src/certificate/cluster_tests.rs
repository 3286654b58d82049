#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use boathouse_service::logs::LogArgs;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::{Arc, Mutex, MutexGuard};

/// A fake API server with one Secret and one configuration. It knows resource versions.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    secret: Option<Value>,
    webhooks: Value,
    requests: Vec<&'static str>,
    /// What somebody else writes just before the next write of ours.
    race: Option<Value>,
}

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap()
    }

    async fn start() -> (Self, Cluster, tempfile::TempDir) {
        let fake = Self::default();
        fake.lock().webhooks = json!([
            { "name": "csi.b.x", "clientConfig": { "caBundle": "" } },
            { "name": "flex.b.x", "clientConfig": {} },
        ]);
        let routes = Router::new()
            .route("/api/v1/namespaces/ns/secrets", post(create))
            .route("/api/v1/namespaces/ns/secrets/{name}", get(read).put(replace))
            .route(
                "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hook",
                get(configuration).patch(change),
            )
            .with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let account = tempfile::tempdir().unwrap();
        std::fs::write(account.path().join("token"), "t").unwrap();
        std::fs::write(account.path().join("namespace"), "ns\n").unwrap();
        let server = ApiServer::new("http", "127.0.0.1", &port, account.path()).unwrap();
        let args = CertificateArgs {
            service: "webhook".into(),
            namespace: None,
            secret: "webhook-tls".into(),
            configuration: "hook".into(),
            days: 90,
            log: LogArgs::default(),
        };
        (fake, Cluster::at(&server, &args).unwrap(), account)
    }

    fn bundles(&self) -> Vec<String> {
        let objects = self.lock();
        let webhooks = objects.webhooks.as_array().unwrap();
        webhooks.iter().map(|hook| hook["clientConfig"]["caBundle"].as_str().unwrap().to_owned()).collect()
    }

    fn secret(&self) -> Value {
        self.lock().secret.clone().unwrap()
    }
}

type Answer = (StatusCode, String);

fn conflict() -> Answer {
    (StatusCode::CONFLICT, r#"{"message":"it has changed"}"#.to_owned())
}

/// A Secret as it is stored: each writing has a version of its own.
fn stored(mut secret: Value, objects: &Objects) -> Value {
    secret["metadata"]["resourceVersion"] = objects.requests.len().to_string().into();
    secret
}

async fn read(State(fake): State<Fake>, Path(name): Path<String>) -> Answer {
    assert_eq!(name, "webhook-tls");
    let mut objects = fake.lock();
    objects.requests.push("get");
    match &objects.secret {
        Some(secret) => (StatusCode::OK, secret.to_string()),
        None => (StatusCode::NOT_FOUND, "{}".to_owned()),
    }
}

fn write(fake: &Fake, body: &str, replaces: bool) -> Answer {
    let mut objects = fake.lock();
    objects.requests.push(if replaces { "replace" } else { "create" });
    if let Some(other) = objects.race.take() {
        objects.secret = Some(stored(other, &objects));
    }
    let given: Value = serde_json::from_str(body).unwrap();
    let version = |secret: &Value| secret["metadata"]["resourceVersion"].clone();
    match &objects.secret {
        Some(secret) if !replaces || version(secret) != version(&given) => conflict(),
        _ => {
            objects.secret = Some(stored(given, &objects));
            (StatusCode::OK, "{}".to_owned())
        }
    }
}

async fn create(State(fake): State<Fake>, body: String) -> Answer {
    write(&fake, &body, false)
}

async fn replace(State(fake): State<Fake>, _: Path<String>, body: String) -> Answer {
    write(&fake, &body, true)
}

async fn configuration(State(fake): State<Fake>) -> String {
    json!({ "webhooks": fake.lock().webhooks }).to_string()
}

async fn change(State(fake): State<Fake>, body: String) -> Answer {
    let mut objects = fake.lock();
    objects.requests.push("patch");
    let patch: json_patch::Patch = serde_json::from_str(&body).unwrap();
    let mut document = json!({ "webhooks": objects.webhooks });
    match json_patch::patch(&mut document, &patch) {
        Ok(()) => objects.webhooks = document["webhooks"].clone(),
        Err(error) => {
            return (StatusCode::UNPROCESSABLE_ENTITY, json!({ "message": error.to_string() }).to_string());
        }
    }
    (StatusCode::OK, "{}".to_owned())
}

fn authorities(secret: &Value) -> usize {
    String::from_utf8(entry(secret, "ca.crt")).unwrap().matches("BEGIN CERTIFICATE").count()
}

/// The Secret with a certificate that has little of its life left.
fn old(cluster: &Cluster) -> Value {
    let mut secret = cluster.secret(None).unwrap();
    let made = Made::new(&cluster.name, 0).unwrap();
    secret["data"]["tls.crt"] = STANDARD.encode(made.certificate).into();
    secret["data"]["more"] = "aGVyZQ==".into();
    secret
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let (fake, cluster, _account) = Fake::start().await;
    cluster.ensure().await.unwrap();
    let made = fake.secret();
    assert_eq!(made["type"], "kubernetes.io/tls");
    assert_eq!(fake.bundles(), vec![made["data"]["ca.crt"].as_str().unwrap(); 2]);
    assert_eq!(fake.lock().requests, ["get", "create", "patch"]);
    cluster.ensure().await.unwrap();
    assert_eq!(fake.lock().requests, ["get", "create", "patch", "get"]);
    assert_eq!(fake.secret(), made);
}

#[tokio::test]
async fn an_empty_secret_is_filled_and_needs_no_right_to_make_one() {
    let (fake, cluster, _account) = Fake::start().await;
    let labels = json!({ "app": "webhook" });
    fake.lock().secret =
        Some(json!({ "type": "Opaque", "metadata": { "name": "webhook-tls", "labels": labels } }));
    cluster.ensure().await.unwrap();
    assert_eq!(fake.lock().requests, ["get", "replace", "patch"]);
    let secret = fake.secret();
    assert_eq!((&secret["type"], &secret["metadata"]["labels"]), (&json!("Opaque"), &labels));
    assert_eq!(authorities(&secret), 1);
}

#[tokio::test]
async fn what_is_made_can_be_served_and_is_trusted() {
    let (fake, cluster, _account) = Fake::start().await;
    cluster.ensure().await.unwrap();
    let secret = fake.secret();
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| {
        let path = directory.path().join(name);
        std::fs::write(&path, entry(&secret, name)).unwrap();
        path
    });
    crate::tls::Pair::read(&certificate, &key).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&entry(&secret, "ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let leaf = CertificateDer::from_pem_slice(&entry(&secret, "tls.crt")).unwrap();
    let name = "webhook.ns.svc".try_into().unwrap();
    verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).unwrap();
}

#[tokio::test]
async fn an_old_certificate_is_replaced_and_its_authority_trusted_further() {
    let (fake, cluster, _account) = Fake::start().await;
    let old = old(&cluster);
    fake.lock().secret = Some(old.clone());
    cluster.ensure().await.unwrap();
    let new = fake.secret();
    assert_ne!(new["data"]["tls.crt"], old["data"]["tls.crt"]);
    assert_eq!(new["data"]["more"], old["data"]["more"]);
    assert_eq!(authorities(&new), 2);
    assert!(entry(&new, "ca.crt").ends_with(&entry(&old, "ca.crt")));
    assert_eq!(fake.bundles()[0], new["data"]["ca.crt"].as_str().unwrap());
}

#[tokio::test]
async fn another_job_that_was_first_wins() {
    for (before, requests) in
        [(false, ["get", "create", "get", "patch"]), (true, ["get", "replace", "get", "patch"])]
    {
        let (fake, cluster, _account) = Fake::start().await;
        if before {
            fake.lock().secret = Some(old(&cluster));
        }
        let theirs = cluster.secret(None).unwrap();
        fake.lock().race = Some(theirs.clone());
        cluster.ensure().await.unwrap();
        assert_eq!(fake.secret()["data"], theirs["data"]);
        assert_eq!(fake.bundles()[0], theirs["data"]["ca.crt"].as_str().unwrap());
        assert_eq!(fake.lock().requests, requests);
    }
}

#[tokio::test]
async fn a_missing_configuration_is_named() {
    let (_fake, mut cluster, _account) = Fake::start().await;
    cluster.configuration = "other".into();
    let error = cluster.ensure().await.unwrap_err().to_string();
    assert!(error.contains("mutatingwebhookconfigurations/other: HTTP 404"), "{error}");
}
