//! The call by which an old host gives its plugin a certificate, answered by a fake: tests of faults need
//! answers that no host gives.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::tls::Identity;

/// A server on loopback with one answer to everything.
pub(crate) struct FakeUnwrap {
    address: String,
    /// Request lines and headers.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl FakeUnwrap {
    /// As a host would answer, with this identity.
    pub(crate) async fn answering(identity: &Identity) -> Self {
        Self::with(200, &good(identity).to_string(), None).await
    }

    /// With this status and body, over TLS if asked.
    pub(crate) async fn with(status: u16, body: &str, tls: Option<TlsAcceptor>) -> Self {
        let text = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nLocation: /elsewhere\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self::raw(text, tls).await
    }

    /// With exactly these bytes.
    pub(crate) async fn raw(answer: String, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                match &tls {
                    None => serve(socket, &answer, &seen).await,
                    Some(tls) => match tls.accept(socket).await {
                        Ok(stream) => serve(stream, &answer, &seen).await,
                        Err(error) => seen.lock().unwrap().push(error.to_string()),
                    },
                }
            }
        });
        Self { address, requests }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A token that names this server.
    pub(crate) fn token(&self) -> String {
        token(&json!({ "addr": self.address, "exp": 1, "type": "wrapping" }))
    }
}

/// Reads a request's head and answers it.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
    // A client that has had enough closes.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A JWT with these claims, which nobody signed.
pub(crate) fn token(claims: &Value) -> String {
    let part = |value: &str| URL_SAFE_NO_PAD.encode(value);
    format!("{}.{}.{}", part(r#"{"alg":"ES512"}"#), part(&claims.to_string()), part("signature"))
}

/// A host's answer.
pub(crate) fn good(identity: &Identity) -> Value {
    json!({
        "request_id": "r",
        "data": {
            "CACert": "",
            "ServerCert": STANDARD.encode(identity.certificate()),
            "ServerKey": STANDARD.encode(identity.sec1()),
        },
    })
}
