//! `FakeVault`: answers what a test tells it to. It exists for faults only, which a real server does not show on
//! demand; what Vault answers when all is well is tested against a real one.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vault_client::{VaultClient, VaultConfig};

/// What to answer to everything.
#[derive(Clone)]
pub(crate) enum Fault {
    /// A status with a body.
    Answer(u16, &'static str),
    /// A status with a `Location`.
    Redirect(u16, String),
    /// Nothing, ever.
    Hang,
    /// Headers and half a body, then nothing.
    HangInBody,
    /// A body of that many bytes.
    Huge(usize),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, as on the wire.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server on a free loopback port, gone with the test's runtime.
pub(crate) struct FakeVault {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl FakeVault {
    pub(crate) async fn http(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::default());
        let router = router(fault, Arc::clone(&seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, scheme: "http", seen }
    }

    /// The same over TLS; also returns the certificate to trust, in PEM form.
    pub(crate) async fn https(fault: Fault) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let seen = Arc::default();
        let router = router(fault, Arc::clone(&seen));
        let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config)) };
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Self { address, scheme: "https", seen }, made.cert.pem())
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn config(&self) -> VaultConfig {
        VaultConfig { timeout: Duration::from_millis(400), ..VaultConfig::new(self.url().parse().unwrap()) }
    }

    pub(crate) fn client(&self) -> VaultClient {
        VaultClient::new(&self.config()).unwrap()
    }
}

fn router(fault: Fault, seen: Arc<Mutex<Vec<Seen>>>) -> Router {
    Router::new().fallback(move |request: Request| async move {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        seen.lock().unwrap().push(Seen {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: parts.headers,
            body,
        });
        answer(fault).await
    })
}

async fn answer(fault: Fault) -> Response {
    match fault {
        Fault::Answer(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Fault::Redirect(status, to) => {
            (StatusCode::from_u16(status).unwrap(), [("location", to)]).into_response()
        }
        Fault::Hang => std::future::pending().await,
        Fault::HangInBody => {
            let half = stream::once(ready(Ok::<_, Infallible>(Bytes::from_static(b"{\"lease_id\":"))));
            ([("content-length", "100")], Body::from_stream(half.chain(stream::pending()))).into_response()
        }
        Fault::Huge(length) => vec![b'x'; length].into_response(),
    }
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, peer) = self.tcp.accept().await.unwrap();
            // A client that does not trust the certificate ends the handshake; the next one may.
            if let Ok(tls) = self.acceptor.accept(tcp).await {
                return (tls, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
