//! A fake MinIO that fails for a while: what is asked again, what is left alone, and in which version.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use minio_admin::{Breaker, Client, Code, Error, NewServiceAccount, Removal};
use support::{NO_SUCH_USER, TIMEOUT, builder, client, fake_http, fake_raw, fake_script};
use tokio::net::TcpListener;

const STARTING: &str = r#"{"Code":"XMinioIAMNotInitialized","Message":"IAM sub-system not initialized"}"#;
const BUSY: &str = r#"{"Code":"SlowDownWrite","Message":"Please reduce your request rate"}"#;
const BROKEN_DRIVE: &str = r#"{"Code":"InternalError","Message":"We encountered an internal error"}"#;
const OTHER_VERSION: &str = r#"{"Code":"XMinioAdminVersionMismatch","Message":"Admin API version mismatch"}"#;
const ENABLED: &str = r#"{"status":"enabled"}"#;

#[tokio::test]
async fn what_passes_in_a_moment_is_asked_again() {
    let (address, hits) =
        fake_script(&[("user-info", 503, STARTING), ("user-info", 503, BUSY), ("user-info", 200, ENABLED)])
            .await;
    client(address).user_info("someone").await.unwrap();
    assert_eq!(hits.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn retries_end_with_the_servers_own_word() {
    let (address, hits) = fake_script(&[("user-info", 503, STARTING)]).await;
    let error = builder(address).retries(1).build().unwrap().user_info("someone").await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotInitialized));
    assert_eq!(hits.load(Ordering::Relaxed), 2);

    // More retries than fit: still the answer, and within the limit.
    let started = Instant::now();
    let error = builder(address).retries(100).build().unwrap().user_info("someone").await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NotInitialized), "{error}");
    assert!(started.elapsed() < TIMEOUT * 2, "took {:?}", started.elapsed());
}

#[tokio::test]
async fn what_does_not_pass_in_a_moment_is_asked_once() {
    for (status, text) in [(404, NO_SUCH_USER), (500, BROKEN_DRIVE), (200, "<html>")] {
        let hits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&hits);
        let address = fake_http(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            (StatusCode::from_u16(status).unwrap(), text)
        })
        .await;
        client(address).user_info("someone").await.unwrap_err();
        assert_eq!(hits.load(Ordering::Relaxed), 1, "{status} {text}");
    }
}

#[tokio::test]
async fn what_must_not_happen_twice_is_asked_once() {
    let (address, hits) = fake_script(&[("", 503, STARTING)]).await;
    let client = client(address);
    client.assume_role(None, None).await.unwrap_err();
    assert_eq!(hits.load(Ordering::Relaxed), 1);
    let account = NewServiceAccount {
        parent: None,
        access_key: "account".into(),
        secret_key: "an-account-secret".into(),
        policy: None,
        name: None,
        description: None,
        expiration: None,
    };
    client.add_service_account(&account).await.unwrap_err();
    assert_eq!(hits.load(Ordering::Relaxed), 2);
    client.add_user("someone", &"a-users-secret".into()).await.unwrap_err();
    assert_eq!(hits.load(Ordering::Relaxed), 5, "making a user twice with one secret is harmless");
}

#[tokio::test]
async fn the_other_version_of_the_api_is_tried_and_remembered() {
    let (address, hits) = fake_script(&[
        ("v3/user-info", 426, OTHER_VERSION),
        ("v4/user-info", 404, NO_SUCH_USER),
        ("v4/user-info", 200, ENABLED),
    ])
    .await;
    let client = client(address);
    let error = client.user_info("nobody").await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::NoSuchUser));
    client.user_info("someone").await.unwrap();
    assert_eq!(hits.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_server_of_neither_version_says_so() {
    let (address, hits) = fake_script(&[("", 426, OTHER_VERSION)]).await;
    let error = client(address).user_info("someone").await.unwrap_err();
    assert_eq!(error.code(), Some(&Code::VersionMismatch));
    assert_eq!(hits.load(Ordering::Relaxed), 2);
}

const PAUSE: Duration = Duration::from_millis(400);

fn guarded(address: SocketAddr) -> Client {
    builder(address).retries(0).breaker(Breaker { failures: 2, pause: PAUSE }).build().unwrap()
}

async fn info(client: &Client) -> Result<(), Error> {
    client.user_info("someone").await.map(drop)
}

/// Calls can be made on tasks of their own, also by callers that lend them what they are about.
#[tokio::test]
async fn calls_can_move_to_other_threads() {
    let (address, _) = fake_script(&[("", 404, NO_SUCH_USER)]).await;
    let client = guarded(address);
    let task = tokio::spawn(async move {
        for name in ["one".to_owned(), "two".to_owned()] {
            assert_eq!(client.remove_user(&name).await.unwrap(), Removal::Absent);
            client.add_user(&name, &"a-users-secret".into()).await.unwrap_err();
            client.remove_service_account(&name).await.unwrap_err();
            client.service_account(&name).await.unwrap_err();
            client.add_to_group(&name, &[&name]).await.unwrap_err();
            client.assume_role(None, None).await.unwrap_err();
            client.list_users().await.unwrap_err();
        }
    });
    task.await.unwrap();
}

/// An address where nobody listens yet.
async fn vacant() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_dead_server_is_left_alone_and_found_again() {
    let address = vacant().await;
    let client = guarded(address);
    for _ in 0..2 {
        let error = info(&client).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
    let error = info(&client.clone()).await.unwrap_err();
    let Error::Resting { for_another, .. } = &error else { panic!("{error:?}") };
    assert!(*for_another <= PAUSE && error.is_retryable(), "{error}");

    // Still dead after the pause: one call finds out, and the next pause begins.
    tokio::time::sleep(PAUSE).await;
    assert!(matches!(info(&client).await, Err(Error::Unreachable { .. })));
    assert!(matches!(info(&client).await, Err(Error::Resting { .. })));

    // Alive: one call finds out, and all go through.
    let listener = TcpListener::bind(address).await.unwrap();
    let app = axum::Router::new().fallback(async || (StatusCode::NOT_FOUND, NO_SUCH_USER));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert!(matches!(info(&client).await, Err(Error::Resting { .. })), "the pause is kept");
    tokio::time::sleep(PAUSE).await;
    for _ in 0..4 {
        let error = info(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(&Code::NoSuchUser), "a refusal is an answer: {error:?}");
    }
}

#[tokio::test]
async fn while_one_call_finds_out_the_others_fail_at_once() {
    let client = guarded(fake_raw(b"", false).await);
    for _ in 0..2 {
        assert!(matches!(info(&client).await, Err(Error::Timeout { .. })));
    }
    tokio::time::sleep(PAUSE).await;
    let others = async {
        tokio::time::sleep(TIMEOUT / 4).await;
        let started = Instant::now();
        for _ in 0..5 {
            assert!(matches!(info(&client).await, Err(Error::Resting { .. })));
        }
        started.elapsed()
    };
    let (probe, took) = tokio::join!(info(&client), others);
    assert!(matches!(probe, Err(Error::Timeout { .. })), "{probe:?}");
    assert!(took < TIMEOUT / 4, "took {took:?}");
}

#[tokio::test]
async fn a_call_given_up_half_way_does_not_block_the_next() {
    let silent = Arc::new(AtomicBool::new(true));
    let is_silent = Arc::clone(&silent);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().fallback(async move || {
        if is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        ENABLED
    });
    tokio::spawn(async move { axum::serve(listener, app).await });

    let client = guarded(address);
    for _ in 0..2 {
        assert!(matches!(info(&client).await, Err(Error::Timeout { .. })));
    }
    tokio::time::sleep(PAUSE).await;
    let given_up = tokio::time::timeout(TIMEOUT / 4, info(&client)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    assert!(matches!(info(&client).await, Err(Error::Resting { .. })), "nobody has answered");
    silent.store(false, Ordering::Relaxed);
    tokio::time::sleep(PAUSE).await;
    info(&client).await.unwrap();
}

#[tokio::test]
async fn losses_count_in_a_row_only() {
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Every other request is left without an answer.
    let app = axum::Router::new().fallback(async move || {
        if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            std::future::pending::<()>().await;
        }
        ENABLED
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = guarded(address);
    for _ in 0..3 {
        assert!(matches!(info(&client).await, Err(Error::Timeout { .. })));
        info(&client).await.unwrap();
    }
}
