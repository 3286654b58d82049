//! TLS to a local server: whom the client trusts, as whom it comes, what it speaks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::sync::Arc;

use minio_admin::{Builder, Client, Credentials, Endpoint, Error, TlsVersion};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// One name each: a client that looks an authority up by name must not find another's key.
fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key.
fn leaf(authority: &Authority, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

struct Server {
    authority: Authority,
    port: u16,
}

impl Server {
    /// Answers every request with an enabled user. With `clients`, it wants a certificate of theirs.
    async fn start(
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> Self {
        let authority = authority("the server's");
        let (certificate, key) = leaf(&authority, name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                config.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A handshake that fails is what some tests are about.
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"status\":\"enabled\"}")
                    .await;
                let _ = stream.shutdown().await;
            }
        });
        Self { authority, port }
    }

    /// A client that trusts this server's authority.
    fn client(&self) -> Builder {
        self.stranger().ca_certificates(self.authority.pem())
    }

    /// One that trusts the system's.
    fn stranger(&self) -> Builder {
        let endpoint = Endpoint::new(&format!("localhost:{}", self.port), true).unwrap();
        Client::builder(endpoint, Credentials::new("admin", "an-admin-secret")).retries(0)
    }
}

async fn ask(client: Builder) -> Result<(), Error> {
    client.build().unwrap().user_info("someone").await.map(drop)
}

#[tokio::test]
async fn only_the_given_authorities_are_trusted() {
    let server = Server::start("localhost", BOTH, None).await;
    ask(server.client()).await.unwrap();
    // More than one may be given.
    let two = format!("{}{}", authority("another").pem(), server.authority.pem());
    ask(server.stranger().ca_certificates(two)).await.unwrap();
    for client in [server.stranger(), server.stranger().ca_certificates(authority("another").pem())] {
        let error = ask(client).await.unwrap_err();
        assert!(matches!(error, Error::Tls { is_untrusted: true, .. }) && !error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let server = Server::start("elsewhere.example", BOTH, None).await;
    let error = ask(server.client()).await.unwrap_err();
    assert!(matches!(error, Error::Tls { is_untrusted: true, .. }), "{error:?}");
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_server_of_an_older_version_is_refused() {
    let server = Server::start("localhost", &[&TLS12], None).await;
    ask(server.client()).await.unwrap();
    let error = ask(server.client().min_tls(TlsVersion::V1_3)).await.unwrap_err();
    assert!(matches!(error, Error::Tls { is_untrusted: false, .. }), "{error:?}");
    let server = Server::start("localhost", &[&TLS13], None).await;
    ask(server.client().min_tls(TlsVersion::V1_3)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_asks_gets_the_client_certificate() {
    let clients = authority("the clients'");
    for versions in [&[&TLS12], &[&TLS13]] {
        let server = Server::start("localhost", versions, Some(&clients)).await;
        let (certificate, key) = leaf(&clients, "engine");
        ask(server.client().client_identity(certificate.pem(), key.serialize_pem())).await.unwrap();

        let error = ask(server.client()).await.unwrap_err();
        assert!(matches!(error, Error::Tls { is_untrusted: false, .. }), "{error:?}");
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
        let (certificate, key) = leaf(&authority("another"), "stranger");
        let error = ask(server.client().client_identity(certificate.pem(), key.serialize_pem())).await;
        assert!(matches!(error, Err(Error::Tls { is_untrusted: false, .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(&listener.local_addr().unwrap().to_string(), true).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0, "no ClientHello");
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let client = Client::builder(endpoint, Credentials::new("admin", "an-admin-secret"));
    let error = ask(client.ca_certificates(authority("any").pem())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { is_untrusted: false, .. }), "{error:?}");
}

#[test]
fn what_cannot_be_used_is_named() {
    let endpoint = Endpoint::new("minio.example", true).unwrap();
    let plain = Endpoint::new("minio.example", false).unwrap();
    let builder =
        |endpoint: &Endpoint| Client::builder(endpoint.clone(), Credentials::new("admin", "secret"));
    let (certificate, key) = leaf(&authority("another"), "engine");
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let other = KeyPair::generate().unwrap().serialize_pem();
    let cut = &certificate[..certificate.len() / 2];
    let named = [
        (builder(&endpoint).ca_certificates("no PEM"), "CA certificates: no certificate"),
        (builder(&endpoint).ca_certificates(""), "CA certificates: no certificate"),
        (builder(&endpoint).ca_certificates(cut), "CA certificates: malformed PEM"),
        (builder(&endpoint).ca_certificates(key.clone()), "CA certificates: no certificate"),
        (builder(&endpoint).client_identity("", key.clone()), "client certificate: no certificate"),
        (builder(&endpoint).client_identity(certificate.clone(), ""), "client key: no unencrypted"),
        (builder(&endpoint).client_identity(certificate.clone(), certificate.clone()), "client key: no"),
        (builder(&endpoint).client_identity(certificate.clone(), other), "client certificate and key:"),
        (builder(&plain).client_identity(certificate.clone(), key.clone()), "without TLS"),
        (builder(&plain).ca_certificates(certificate), "without TLS"),
    ];
    for (builder, expected) in named {
        let shown = format!("{builder:?}");
        let Err(error) = builder.build() else { panic!("{expected}: accepted") };
        assert!(matches!(error, Error::Setup(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}; expected {expected}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!error.to_string().contains(secret) && !shown.contains(secret), "{error} {shown}");
    }
}
