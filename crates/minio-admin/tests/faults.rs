//! A fake MinIO that misbehaves in ways a real one cannot be made to: what the client makes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use minio_admin::body::{self, Algorithm};
use minio_admin::{BodyEncryption, Client, Code, Credentials, Endpoint, Error, Removal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &str = "fake-admin-secret";
const TIMEOUT: Duration = Duration::from_millis(700);

fn client(address: SocketAddr) -> Client {
    with(address, BodyEncryption::Auto)
}

fn with(address: SocketAddr, encryption: BodyEncryption) -> Client {
    let endpoint = Endpoint::new(&address.to_string(), false).unwrap();
    Client::builder(endpoint, Credentials::new("admin", SECRET))
        .timeout(TIMEOUT)
        .body_encryption(encryption)
        .build()
        .unwrap()
}

async fn fake_http<R: IntoResponse>(
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

/// Reads a request's head, says these bytes, closes (or never closes).
async fn fake_raw(say: &'static [u8], close: bool) -> SocketAddr {
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

async fn info(address: SocketAddr) -> Error {
    client(address).user_info("someone").await.unwrap_err()
}

#[tokio::test]
async fn a_fake_that_never_answers_ends_at_the_deadline() {
    let started = Instant::now();
    let error = info(fake_raw(b"", false).await).await;
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains("user info someone"), "{error}");
    assert!(started.elapsed() < TIMEOUT * 3, "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_fake_that_stops_half_way_ends_at_the_deadline() {
    let error = info(fake_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"status", false).await).await;
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_fake_that_hangs_up_is_a_broken_connection() {
    for say in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"\x16\x03\x01 not http"] {
        let error = info(fake_raw(say, true).await).await;
        assert!(matches!(error, Error::Broken { .. }), "{error:?}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = info(address).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.to_string().contains("refused"), "the cause is told: {error}");
}

#[tokio::test]
async fn garbage_from_a_fake_is_called_garbage() {
    for (status, text, retryable) in [
        (200, "<html>welcome</html>", false),
        (200, r#"{"status":17}"#, false),
        (200, "", false),
        (404, "no such page", false),
        (502, "bad gateway", true),
        (503, "", true),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let error = info(fake_http(move |_, _| (status, text)).await).await;
        assert!(matches!(error, Error::Garbage { .. }), "{status} {text}: {error:?}");
        assert_eq!(error.is_retryable(), retryable, "{status} {text}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    let address = fake_http(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")])
    })
    .await;
    assert_eq!(info(address).await.status(), Some(307));
    assert_eq!(hits.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_sealed_answer_that_does_not_open_is_an_error() {
    let sealed = body::seal(b"another secret", Algorithm::Pbkdf2AesGcm, b"{}").unwrap();
    let address = fake_http(move |_, _| sealed.clone()).await;
    let error = client(address).list_users().await.unwrap_err();
    assert!(matches!(error, Error::Body { .. }), "{error:?}");
    assert!(!error.is_retryable());
}

/// Answers like a server from before PBKDF2 bodies, and counts the requests.
async fn old_fake() -> (SocketAddr, Arc<AtomicUsize>) {
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    let address = fake_http(move |_, request| {
        count.fetch_add(1, Ordering::Relaxed);
        if body::algorithm_of(&request) == Ok(Algorithm::Pbkdf2AesGcm) {
            let refusal = r#"{"Code":"XMinioAdminConfigBadJSON","Message":"JSON configuration provided is of incorrect format"}"#;
            return (StatusCode::BAD_REQUEST, refusal);
        }
        let text = body::open(SECRET.as_bytes(), &request).unwrap();
        assert_eq!(*text, br#"{"secretKey":"new-user-secret","status":"enabled"}"#);
        (StatusCode::OK, "")
    })
    .await;
    (address, hits)
}

#[tokio::test]
async fn a_fake_old_server_gets_argon2id_from_the_second_try_on() {
    let (address, hits) = old_fake().await;
    let endpoint = Endpoint::new(&address.to_string(), false).unwrap();
    let client = Client::new(endpoint, Credentials::new("admin", SECRET)).unwrap();
    client.add_user("one", &"new-user-secret".into()).await.unwrap();
    assert_eq!(hits.load(Ordering::Relaxed), 2, "PBKDF2 first, then Argon2id");
    client.add_user("two", &"new-user-secret".into()).await.unwrap();
    assert_eq!(hits.load(Ordering::Relaxed), 3, "it remembers");
}

#[tokio::test]
async fn a_fixed_algorithm_is_never_changed() {
    let (address, hits) = old_fake().await;
    let client = with(address, BodyEncryption::Always(Algorithm::Pbkdf2AesGcm));
    let error = client.add_user("one", &"new-user-secret".into()).await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::ConfigBadJson));
    assert_eq!(hits.load(Ordering::Relaxed), 1);
}

/// Answers each request with the next of these; the last one again and again.
async fn fake_script(script: &'static [(&'static str, u16, &'static str)]) -> (SocketAddr, Arc<AtomicUsize>) {
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

const NO_SUCH_USER: &str =
    r#"{"Code":"XMinioAdminNoSuchUser","Message":"The specified user does not exist."}"#;
const DENIED: &str = r#"{"Code":"AccessDenied","Message":"Access Denied."}"#;

#[tokio::test]
async fn a_user_the_server_half_forgot_is_removed_all_the_same() {
    let (address, hits) = fake_script(&[
        ("remove-user", 404, NO_SUCH_USER),
        ("user-info", 200, r#"{"status":"enabled"}"#),
        ("remove-user", 200, ""),
    ])
    .await;
    assert_eq!(client(address).remove_user("someone").await.unwrap(), Removal::Removed);
    assert_eq!(hits.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn an_absent_user_is_absent_also_to_who_may_not_ask() {
    const UNKNOWN: &[(&str, u16, &str)] =
        &[("remove-user", 404, NO_SUCH_USER), ("user-info", 404, NO_SUCH_USER)];
    const UNASKABLE: &[(&str, u16, &str)] = &[("remove-user", 404, NO_SUCH_USER), ("user-info", 403, DENIED)];
    for script in [UNKNOWN, UNASKABLE] {
        let (address, hits) = fake_script(script).await;
        assert_eq!(client(address).remove_user("someone").await.unwrap(), Removal::Absent);
        assert_eq!(hits.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test]
async fn no_secret_is_shown() {
    let (address, _) = old_fake().await;
    let client = with(address, BodyEncryption::Always(Algorithm::Pbkdf2AesGcm));
    let error = client.add_user("one", &"new-user-secret".into()).await.unwrap_err();
    let credentials = Credentials::new("admin", SECRET);
    let shown = format!("{client:?} {error:?} {error} {credentials:?}");
    assert!(!shown.contains(SECRET) && !shown.contains("new-user-secret"), "{shown}");
}
