//! The wrapping token's exchange gone wrong: what each fault's error says, and what none of them says.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use vault_plugin_sdk::legacy::Start;
use vault_plugin_sdk::{Backend, Plugin};

use crate::tls::Identity;
use crate::unwrap::{FakeUnwrap, good, token};

const COOKIE: &str = "6669da05-b1c8-4f49-97d9-c8e5bed98e20";

/// Starts the plugin as a host of protocol 4 does. `Ok` when it announced itself; the error's text, which holds
/// no secret, else.
async fn start(jwt: &str, arguments: &[&str]) -> Result<(), String> {
    let start =
        Start::from_lookup("VAULT_BACKEND_PLUGIN", arguments.iter().map(|&word| word.to_owned()), |name| {
            Some(match name {
                "VAULT_BACKEND_PLUGIN" => COOKIE.to_owned(),
                "PLUGIN_PROTOCOL_VERSIONS" => "4,3".to_owned(),
                "VAULT_UNWRAP_TOKEN" => jwt.to_owned(),
                _ => return None,
            })
        });
    assert!(!format!("{start:?}").contains(jwt), "Debug shows the token");
    let plugin = Plugin::new("x", "v1.0.0", |_| Backend::new(""));
    let (line, mut announced) = oneshot::channel();
    let mut stdout = Line(Some(line));
    let error = tokio::select! {
        Ok(line) = &mut announced => {
            assert!(line.starts_with("1|4|unix|"), "{line}");
            return Ok(());
        }
        outcome = vault_plugin_sdk::serve(plugin, &start, &mut stdout) => outcome.unwrap_err(),
    };
    let text = error.to_string();
    assert!(!text.contains(jwt), "{text}");
    Err(text)
}

/// The plugin's stdout, as far as its first write.
struct Line(Option<oneshot::Sender<String>>);

impl std::io::Write for Line {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        if let Some(line) = self.0.take() {
            // A test that has ended does not listen.
            let _ = line.send(String::from_utf8_lossy(buf).into_owned());
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn refused(jwt: &str, arguments: &[&str], words: &[&str]) {
    let text = start(jwt, arguments).await.unwrap_err();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[tokio::test]
async fn tokens_that_are_none() {
    let claims = |value: Value| token(&value);
    refused("hvs.abc", &[], &["VAULT_UNWRAP_TOKEN", "three parts"]).await;
    refused("a.b.c.d", &[], &["three parts"]).await;
    refused("a.!!!.c", &[], &["not base64"]).await;
    refused("a.bm9uc2Vuc2U.c", &[], &["JSON"]).await;
    refused(&claims(json!({ "addr": 7 })), &[], &["addr"]).await;
    refused(&claims(json!({})), &[], &["no claim addr", "api_addr"]).await;
    refused(&claims(json!({ "addr": "" })), &[], &["no claim addr"]).await;
    refused(&claims(json!({ "addr": "unix:/run/x" })), &[], &["unix:/run/x", "http"]).await;
}

#[tokio::test]
async fn one_put_with_the_token_and_nothing_else() {
    let fake = FakeUnwrap::answering(&Identity::new()).await;
    start(&fake.token(), &["-unknown", "--ca-cert=/not/read/for/http"]).await.unwrap();
    let requests = fake.requests.lock().unwrap().clone();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("PUT /v1/sys/wrapping/unwrap HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("x-vault-token: {}\r\n", fake.token())), "{}", requests[0]);
}

#[tokio::test]
async fn answers_that_are_none() {
    let identity = Identity::new();
    let mut without_key = good(&identity);
    without_key["data"].as_object_mut().unwrap().remove("ServerKey");
    let mut wrong = good(&identity);
    wrong["data"]["ServerCert"] = json!("%%%");
    let mut no_certificate = good(&identity);
    no_certificate["data"]["ServerCert"] = json!("bm9uc2Vuc2U=");
    let mut no_key = good(&identity);
    no_key["data"]["ServerKey"] = json!("bm9uc2Vuc2U=");
    let mut strangers_key = good(&identity);
    strangers_key["data"]["ServerKey"] = good(&Identity::new())["data"]["ServerKey"].clone();
    let long = format!("{}{}", good(&identity), " ".repeat(70_000));
    for (status, body, word) in [
        (
            400,
            r#"{"errors":["wrapping token is not valid"]}"#.to_owned(),
            "status 400; a token is good for one use",
        ),
        (307, String::new(), "status 307"),
        (503, String::new(), "status 503"),
        (200, "<html>".to_owned(), "is not JSON"),
        (200, "{}".to_owned(), "has no data"),
        (200, without_key.to_string(), "ServerKey"),
        (200, wrong.to_string(), "ServerCert that is not base64"),
        (200, no_certificate.to_string(), "certificate and key from"),
        (200, no_key.to_string(), "certificate and key from"),
        (200, strangers_key.to_string(), "certificate and key from"),
        (200, long, "too long"),
    ] {
        let fake = FakeUnwrap::with(status, &body, None).await;
        refused(&fake.token(), &[], &[fake.address(), word]).await;
        assert_eq!(
            fake.requests.lock().unwrap().len(),
            1,
            "{word}: asked once, and a redirect is not followed"
        );
    }
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{\"data\":".to_owned();
    let fake = FakeUnwrap::raw(half, None).await;
    refused(&fake.token(), &[], &[fake.address(), "api_addr must be reachable"]).await;
}

#[tokio::test]
async fn nobody_there() {
    // Bound and not listening: nobody else gets the port.
    let vacant = tokio::net::TcpSocket::new_v4().unwrap();
    vacant.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", vacant.local_addr().unwrap());
    refused(&token(&json!({ "addr": address })), &[], &[&address, "refused", "api_addr"]).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_answers() {
    // The kernel accepts; time, being paused, jumps to the deadline when nothing else can happen.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let began = tokio::time::Instant::now();
    refused(&token(&json!({ "addr": address })), &[], &["no answer in time"]).await;
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
}

/// Authorities, a server's and a client's certificate, in files.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A server called `name`; with `clients`, it wants certificates of this authority.
    fn server(&self, name: &str, clients: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (cert, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![cert.der().clone()], key).unwrap()))
    }

    fn write(&self, path: &Path) -> String {
        fs::write(path, self.0.pem()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_hosts_certificate_is_verified_as_the_options_say() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, stranger) = (Authority::new(), Authority::new());
    let body = good(&Identity::new()).to_string();
    let ca = ours.write(&dir.path().join("ca.pem"));
    let other = stranger.write(&dir.path().join("other.pem"));
    let both = dir.path().to_str().unwrap();

    let fake = FakeUnwrap::with(200, &body, Some(ours.server("127.0.0.1", false))).await;
    let jwt = fake.token();
    start(&jwt, &["-ca-cert", &ca]).await.unwrap();
    start(&jwt, &[&format!("--ca-path={both}")]).await.unwrap();
    start(&jwt, &["--tls-skip-verify"]).await.unwrap();
    refused(&jwt, &["-ca-cert", &other], &[fake.address(), "ca-cert"]).await;
    refused(&jwt, &[], &[fake.address()]).await;
    refused(&jwt, &["-ca-cert", &ca, "-tls-server-name=vault.example"], &[fake.address()]).await;
    refused(&jwt, &["-ca-cert", "/no/such/file"], &["-ca-cert /no/such/file", "No such file"]).await;
    fs::write(dir.path().join("empty"), "").unwrap();
    let empty = dir.path().join("empty");
    refused(&jwt, &["-ca-cert", empty.to_str().unwrap()], &["-ca-cert", "no certificate"]).await;
    refused(&jwt, &["-ca-cert", &ca, "-client-cert", &ca], &["-client-cert", "needs -client-key"]).await;

    let named = FakeUnwrap::with(200, &body, Some(ours.server("vault.example", false))).await;
    start(&named.token(), &["-ca-cert", &ca, "-tls-server-name", "vault.example"]).await.unwrap();
    refused(&named.token(), &["-ca-cert", &ca], &[named.address()]).await;

    let (cert, key) = ours.issue("plugin", ExtendedKeyUsagePurpose::ClientAuth);
    let (cert_file, key_file) = (dir.path().join("cert.crt"), dir.path().join("key.key"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let strict = FakeUnwrap::with(200, &body, Some(ours.server("127.0.0.1", true))).await;
    let (cert_file, key_file) = (cert_file.to_str().unwrap(), key_file.to_str().unwrap());
    let arguments = ["-ca-cert", &ca, "-client-cert", cert_file, "-client-key", key_file];
    start(&strict.token(), &arguments).await.unwrap();
    refused(&strict.token(), &arguments[..2], &[strict.address()]).await;
}
