//! Over TLS: whom it believes.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use boathouse_api_server::ApiServer;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use std::fs;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: close\r\n\r\n{\"kind\":\"Pod\"}";

/// A server for 127.0.0.1 that gives one answer to everybody; gives its port and certificate.
async fn serve(answer: &'static [u8]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let secret = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not believe this certificate leaves.
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            assert!(String::from_utf8_lossy(&head[..read]).contains("authorization: Bearer secret-token"));
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    (port, certificate.pem())
}

#[tokio::test]
async fn only_the_accounts_authority_is_believed() {
    let (port, certificate) = serve(ANSWER).await;
    let account = tempfile::tempdir().unwrap();
    fs::write(account.path().join("token"), "secret-token").unwrap();
    let server = ApiServer::new("https", "127.0.0.1", &port, account.path()).unwrap();
    assert!(server.connect().unwrap_err().to_string().contains("ca.crt"));

    fs::write(account.path().join("ca.crt"), certificate).unwrap();
    assert_eq!(server.connect().unwrap().get("/api/v1/pods/p").await.unwrap(), json!({ "kind": "Pod" }));

    let other = KeyPair::generate().unwrap();
    let other = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&other).unwrap();
    fs::write(account.path().join("ca.crt"), other.pem()).unwrap();
    let error = server.connect().unwrap().get("/api/v1/pods/p").await.unwrap_err().to_string();
    assert!(error.starts_with("GET /api/v1/pods/p: ") && error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let (port, certificate) = serve(&ANSWER[..ANSWER.len() - 3]).await;
    let account = tempfile::tempdir().unwrap();
    fs::write(account.path().join("token"), "secret-token").unwrap();
    fs::write(account.path().join("ca.crt"), certificate).unwrap();
    let server = ApiServer::new("https", "127.0.0.1", &port, account.path()).unwrap();
    let error = server.connect().unwrap().get("/api").await.unwrap_err().to_string();
    assert!(error.starts_with("GET /api: "), "{error}");
}
