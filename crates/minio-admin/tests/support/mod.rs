//! A fake MinIO, for the faults that a real one cannot be made to show. What MinIO answers when all is well is
//! tested against a real one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use minio_admin::{Builder, Client, Credentials, Endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

pub(crate) const SECRET: &str = "fake-admin-secret";
/// Of calls that are to end otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// Of calls that are to end by it.
pub(crate) const SHORT: Duration = Duration::from_millis(700);

pub(crate) const NO_SUCH_USER: &str =
    r#"{"Code":"XMinioAdminNoSuchUser","Message":"The specified user does not exist."}"#;

pub(crate) fn builder(address: SocketAddr) -> Builder {
    let endpoint = Endpoint::new(&address.to_string(), false).unwrap();
    Client::builder(endpoint, Credentials::new("admin", SECRET)).timeout(TIMEOUT)
}

pub(crate) fn client(address: SocketAddr) -> Client {
    builder(address).build().unwrap()
}

pub(crate) async fn fake_http<R: IntoResponse>(
    answer: impl Fn(Uri, Bytes) -> R + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(move |uri: Uri, body: Bytes| {
        let answer = answer(uri, body).into_response();
        async move { answer }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// An address where nobody listens, nor will while the socket is there.
pub(crate) fn vacant() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Reads a request's head, says these bytes, closes (or never closes).
pub(crate) async fn fake_raw(say: &'static [u8], close: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(say).await;
            if !close {
                kept.push(socket);
            }
        }
    });
    address
}

/// Answers each request with the next of these; the last one again and again.
pub(crate) async fn fake_script(
    script: &'static [(&'static str, u16, &'static str)],
) -> (SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    let address = fake_http(move |uri: Uri, _| {
        let at = count.fetch_add(1, Ordering::Relaxed);
        let (call, status, text) = script[at.min(script.len() - 1)];
        assert!(uri.path().ends_with(call), "request {at} is {uri}, expected {call}");
        (StatusCode::from_u16(status).unwrap(), text)
    })
    .await;
    (address, hits)
}
