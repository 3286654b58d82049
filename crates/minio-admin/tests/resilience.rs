//! A fake MinIO that fails for a while: what is asked again, what is left alone, and in which version.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use minio_admin::{Breaker, Client, Code, Error, NewServiceAccount, Removal};
use support::{NO_SUCH_USER, SHORT, TIMEOUT, builder, client, fake_http, fake_raw, fake_script, vacant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

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

    // More retries than fit: still the answer, and within the limit. An attempt that happens to begin just before
    // the limit is cut off by it, which does not happen every time.
    let client = builder(address).timeout(SHORT).retries(100).build().unwrap();
    let mut errors = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        errors.push(client.user_info("someone").await.unwrap_err());
        assert!(started.elapsed() < TIMEOUT, "took {:?}", started.elapsed());
        if errors.iter().any(|error| error.code() == Some(&Code::NotInitialized)) {
            return;
        }
    }
    panic!("never the server's word: {errors:?}");
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
    builder(address).retries(0).breaker(Breaker::new(2, PAUSE)).build().unwrap()
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

/// A call that the breaker is not to let through; `lost` is from before the loss that the pause began with. On a
/// machine so busy that the pause is over already, the call may have ended in any way.
async fn assert_resting(client: &Client, lost: Instant) {
    let outcome = info(client).await;
    assert!(matches!(outcome, Err(Error::Resting { .. })) || lost.elapsed() >= PAUSE, "{outcome:?}");
}

/// What a [`moody`] server does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    HangUp,
    /// Until it is in the mood to answer.
    Silent,
    Answer,
}

/// A server whose mood can be set, and how many requests it has read.
async fn moody() -> (SocketAddr, watch::Sender<Mood>, watch::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mood, moods) = watch::channel(Mood::HangUp);
    let (count, read) = watch::channel(0);
    let count = Arc::new(count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (mut moods, count) = (moods.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let now = *moods.borrow();
                count.send_modify(|count| *count += 1);
                if now == Mood::HangUp {
                    return;
                }
                if moods.wait_for(|mood| *mood == Mood::Answer).await.is_ok() {
                    let head = format!("content-length: {}\r\nconnection: close", ENABLED.len());
                    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{ENABLED}");
                    // Whoever gave up does not listen.
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (address, mood, read)
}

#[tokio::test]
async fn clients_with_one_breaker_learn_from_each_other() {
    let (_socket, address) = vacant();
    let breaker = Breaker::new(2, Duration::from_secs(3600));
    let [one, two] = [0; 2].map(|_| builder(address).retries(0).breaker(breaker.clone()).build().unwrap());
    for client in [&one, &two] {
        let error = info(client).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
    for client in [&one, &two] {
        let error = info(client).await.unwrap_err();
        assert!(matches!(error, Error::Resting { .. }), "{error:?}");
    }
    let alone = guarded(address);
    assert!(matches!(info(&alone).await, Err(Error::Unreachable { .. })));
}

#[tokio::test]
async fn a_dead_server_is_left_alone_and_found_again() {
    let (socket, address) = vacant();
    let client = guarded(address);
    let mut lost = Instant::now();
    for _ in 0..2 {
        lost = Instant::now();
        let error = info(&client).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    }
    assert_resting(&client.clone(), lost).await;

    // Still dead after the pause: one call finds out, and the next pause begins.
    tokio::time::sleep(PAUSE).await;
    lost = Instant::now();
    assert!(matches!(info(&client).await, Err(Error::Unreachable { .. })));
    assert_resting(&client, lost).await;

    // Alive: one call finds out, and all go through.
    let listener = socket.listen(16).unwrap();
    let app = axum::Router::new().fallback(async || (StatusCode::NOT_FOUND, NO_SUCH_USER));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_resting(&client, lost).await;
    tokio::time::sleep(PAUSE).await;
    for _ in 0..4 {
        let error = info(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(&Code::NoSuchUser), "a refusal is an answer: {error:?}");
    }
}

#[tokio::test]
async fn silence_is_a_loss_and_the_rest_is_as_long_as_wanted() {
    const LONG: Duration = Duration::from_secs(3600);
    let client =
        builder(fake_raw(b"", false).await).timeout(SHORT).breaker(Breaker::new(2, LONG)).build().unwrap();
    for _ in 0..2 {
        assert!(matches!(info(&client).await, Err(Error::Timeout { .. })));
    }
    let error = info(&client).await.unwrap_err();
    let Error::Resting { for_another, .. } = &error else { panic!("{error:?}") };
    assert!(*for_another <= LONG && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn while_one_call_finds_out_the_others_fail_at_once() {
    let (address, mood, mut read) = moody().await;
    let client = guarded(address);
    for _ in 0..2 {
        assert!(matches!(info(&client).await, Err(Error::Broken { .. })));
    }
    mood.send_replace(Mood::Silent);
    tokio::time::sleep(PAUSE).await;
    let others = async {
        read.wait_for(|count| *count == 3).await.unwrap();
        for _ in 0..5 {
            assert!(matches!(info(&client).await, Err(Error::Resting { .. })));
        }
        mood.send_replace(Mood::Answer);
    };
    let (probe, ()) = tokio::join!(info(&client), others);
    probe.unwrap();
    assert_eq!(*read.borrow(), 3, "one call found out");
}

#[tokio::test]
async fn a_call_given_up_half_way_does_not_block_the_next() {
    let (address, mood, mut read) = moody().await;
    let client = guarded(address);
    for _ in 0..2 {
        assert!(matches!(info(&client).await, Err(Error::Broken { .. })));
    }
    mood.send_replace(Mood::Silent);
    tokio::time::sleep(PAUSE).await;
    let lost = Instant::now();
    tokio::select! {
        outcome = info(&client) => panic!("not silent: {outcome:?}"),
        seen = read.wait_for(|count| *count == 3) => drop(seen.unwrap()),
    }
    assert_resting(&client, lost).await;
    mood.send_replace(Mood::Answer);
    tokio::time::sleep(PAUSE).await;
    info(&client).await.unwrap();
}

#[tokio::test]
async fn losses_count_in_a_row_only() {
    let (address, mood, _read) = moody().await;
    let client = guarded(address);
    for _ in 0..3 {
        mood.send_replace(Mood::HangUp);
        assert!(matches!(info(&client).await, Err(Error::Broken { .. })));
        mood.send_replace(Mood::Answer);
        info(&client).await.unwrap();
    }
}
