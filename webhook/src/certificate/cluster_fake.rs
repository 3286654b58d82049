//! A fake API server for the tests of [`super::super`].

use super::super::super::CertificateArgs;
use super::super::super::configuration::{ca_bundle, decoded, webhooks};
use super::super::{Cluster, entry, entry_text};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boathouse_api_server::ApiServer;
use boathouse_service::logs::LogArgs;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard};

/// A fake API server with one Secret and one configuration. It knows resource versions, and remembers each state.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Objects>>);

pub(super) type Deed = Box<dyn FnOnce(&mut Objects) + Send>;

#[derive(Default)]
pub(super) struct Objects {
    pub(super) secret: Option<Value>,
    pub(super) webhooks: Value,
    /// Of the configuration.
    pub(super) version: u32,
    pub(super) requests: Vec<&'static str>,
    /// What somebody else does just before the next request of this kind is looked at.
    pub(super) race: Option<(&'static str, Deed)>,
    /// Writes until it fails; none for never.
    pub(super) fails_after: Option<usize>,
    /// Bundles and certificate after each write.
    pub(super) states: Vec<(Vec<String>, Vec<u8>)>,
}

impl Objects {
    /// Begins a write: whether it may go on.
    pub(super) fn begin(&mut self, request: &'static str) -> bool {
        self.requests.push(request);
        if let Some((_, race)) = self.race.take_if(|(kind, _)| *kind == request) {
            race(self);
        }
        match &mut self.fails_after {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        true
    }

    pub(super) fn write_secret(&mut self, mut secret: Value) {
        secret["metadata"]["resourceVersion"] = self.requests.len().to_string().into();
        self.secret = Some(secret);
        self.remember();
    }

    pub(super) fn write_webhooks(&mut self, webhooks: Value) {
        self.version += 1;
        self.webhooks = webhooks;
        self.remember();
    }

    /// Lets the first webhook trust more, as another Job does.
    pub(super) fn widen(&mut self, more: &str) {
        let mut webhooks = self.webhooks.clone();
        let bundle = decoded(ca_bundle(&webhooks[0]));
        webhooks[0]["clientConfig"]["caBundle"] =
            STANDARD.encode([bundle.as_slice(), more.as_bytes()].concat()).into();
        self.write_webhooks(webhooks);
    }

    pub(super) fn bundles(&self) -> Vec<String> {
        webhooks(&json!({ "webhooks": self.webhooks }))
            .iter()
            .map(|hook| ca_bundle(hook).to_owned())
            .collect()
    }

    pub(super) fn remember(&mut self) {
        let certificate = self.secret.as_ref().map(|secret| entry(secret, "tls.crt"));
        self.states.push((self.bundles(), certificate.unwrap_or_default()));
    }
}

impl Fake {
    pub(super) fn lock(&self) -> MutexGuard<'_, Objects> {
        self.0.lock().unwrap()
    }

    pub(super) async fn start() -> (Self, Cluster, tempfile::TempDir) {
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

    /// Puts a pair there that pods serve and the API server trusts.
    pub(super) fn serves(&self, secret: &Value) {
        let mut objects = self.lock();
        objects.secret = Some(secret.clone());
        for hook in objects.webhooks.as_array_mut().unwrap() {
            hook["clientConfig"]["caBundle"] = secret["data"]["ca.crt"].clone();
        }
        objects.remember();
    }

    pub(super) fn bundles(&self) -> Vec<String> {
        self.lock().bundles()
    }

    pub(super) fn secret(&self) -> Value {
        self.lock().secret.clone().unwrap()
    }

    /// Asserts that in each state each webhook trusts the certificate of the Secret, and that of the state before,
    /// which pods serve until they have read the new one.
    pub(super) fn assert_always_trusted(&self) {
        let states = self.lock().states.clone();
        for (before, (bundles, certificate)) in std::iter::once(&states[0]).chain(&states).zip(&states) {
            for bundle in bundles {
                assert!(trusts(bundle, certificate), "the Secret's certificate is not trusted");
                assert!(trusts(bundle, &before.1), "the certificate served till now is not trusted");
            }
        }
    }

    /// Asserts that both webhooks trust exactly what the Secret says.
    pub(super) fn assert_settled(&self) {
        assert_eq!(self.bundles(), vec![entry_text(&self.secret(), "ca.crt"); 2]);
    }
}

/// Whether a client that trusts the bundle lets the certificate pass for the webhook's.
pub(super) fn trusts(bundle: &str, certificate: &[u8]) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&decoded(bundle)) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let leaf = CertificateDer::from_pem_slice(certificate).unwrap();
    let name = "webhook.ns.svc".try_into().unwrap();
    verifier
        .build()
        .is_ok_and(|verifier| verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).is_ok())
}

type Answer = (StatusCode, String);

fn conflict() -> Answer {
    (StatusCode::CONFLICT, r#"{"message":"it has changed"}"#.to_owned())
}

fn broken() -> Answer {
    (StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"broken"}"#.to_owned())
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
    if !objects.begin(if replaces { "replace" } else { "create" }) {
        return broken();
    }
    let given: Value = serde_json::from_str(body).unwrap();
    let version = |secret: &Value| secret["metadata"]["resourceVersion"].clone();
    match &objects.secret {
        Some(secret) if !replaces || version(secret) != version(&given) => conflict(),
        _ => {
            objects.write_secret(given);
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

fn document(objects: &Objects) -> Value {
    json!({ "metadata": { "resourceVersion": objects.version.to_string() }, "webhooks": objects.webhooks })
}

async fn configuration(State(fake): State<Fake>) -> String {
    document(&fake.lock()).to_string()
}

async fn change(State(fake): State<Fake>, body: String) -> Answer {
    let mut objects = fake.lock();
    if !objects.begin("patch") {
        return broken();
    }
    let patch: json_patch::Patch = serde_json::from_str(&body).unwrap();
    let mut document = document(&objects);
    if let Err(error) = json_patch::patch(&mut document, &patch) {
        return (StatusCode::UNPROCESSABLE_ENTITY, json!({ "message": error.to_string() }).to_string());
    }
    objects.write_webhooks(document["webhooks"].clone());
    (StatusCode::OK, "{}".to_owned())
}
