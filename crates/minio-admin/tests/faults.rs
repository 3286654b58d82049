//! A fake MinIO that misbehaves in ways a real one cannot be made to: what the client makes of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use minio_admin::body::{self, Algorithm};
use minio_admin::{
    BodyEncryption, Client, Code, Credentials, Endpoint, Error, NewServiceAccount, Removal,
    ServiceAccountChange, UserStatus,
};
use support::{
    NO_SUCH_USER, SECRET, SHORT, TIMEOUT, builder, client, fake_http, fake_raw, fake_script, vacant,
};

fn with(address: SocketAddr, encryption: BodyEncryption) -> Client {
    builder(address).body_encryption(encryption).build().unwrap()
}

async fn info(address: SocketAddr) -> Error {
    client(address).user_info("someone").await.unwrap_err()
}

/// Waits as long as a test has patience for.
async fn info_soon(address: SocketAddr) -> Error {
    builder(address).timeout(SHORT).build().unwrap().user_info("someone").await.unwrap_err()
}

#[tokio::test]
async fn a_fake_that_never_answers_ends_at_the_deadline() {
    let started = Instant::now();
    let error = info_soon(fake_raw(b"", false).await).await;
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains("user info someone"), "{error}");
    assert!(started.elapsed() < TIMEOUT, "took {:?}", started.elapsed());
}

#[tokio::test]
async fn a_fake_that_stops_half_way_ends_at_the_deadline() {
    let half = fake_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"status", false).await;
    let error = info_soon(half).await;
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
    let (_socket, address) = vacant();
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

const NO_SUCH_ACCOUNT: &str =
    r#"{"Code":"XMinioInvalidIAMCredentials","Message":"The specified service account is not found"}"#;
const NO_USER: &str =
    r#"{"Code":"XMinioIAMActionNotAllowed","Message":"Specified IAM action is not allowed"}"#;

#[tokio::test]
async fn a_service_account_the_server_half_forgot_is_removed_all_the_same() {
    let (address, hits) = fake_script(&[
        ("delete-service-account", 404, NO_SUCH_ACCOUNT),
        ("user-info", 403, NO_USER),
        ("delete-service-account", 204, ""),
    ])
    .await;
    assert_eq!(client(address).remove_service_account("account").await.unwrap(), Removal::Removed);
    assert_eq!(hits.load(Ordering::Relaxed), 3);
    const ABSENT: &[(&str, u16, &str)] =
        &[("delete-service-account", 404, NO_SUCH_ACCOUNT), ("user-info", 404, NO_SUCH_USER)];
    let (address, _) = fake_script(ABSENT).await;
    assert_eq!(client(address).remove_service_account("account").await.unwrap(), Removal::Absent);
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

fn service_account() -> NewServiceAccount {
    NewServiceAccount {
        parent: Some("someone".into()),
        access_key: "account".into(),
        secret_key: "an-account-secret".into(),
        policy: Some(r#"{"Version":"2012-10-17","Statement":[]}"#.into()),
        name: None,
        description: None,
        expiration: None,
    }
}

#[tokio::test]
async fn a_page_in_place_of_a_sealed_answer_is_an_error() {
    let address = fake_http(|_, _| "<html>welcome</html>").await;
    let error = client(address).add_service_account(&service_account()).await.unwrap_err();
    assert!(matches!(error, Error::Body { .. }), "{error:?}");
    let error = client(address).service_account("account").await.unwrap_err();
    assert!(matches!(error, Error::Body { .. }), "{error:?}");
}

#[tokio::test]
async fn a_page_in_place_of_an_empty_answer_is_no_success() {
    let client = client(fake_http(|_, _| "<html>welcome</html>").await);
    let change = ServiceAccountChange { status: Some(UserStatus::Disabled), ..Default::default() };
    for error in [
        client.add_user("one", &"new-user-secret".into()).await.unwrap_err(),
        client.remove_user("one").await.unwrap_err(),
        client.set_user_policy("one", &["some"]).await.unwrap_err(),
        client.set_group_policy("all", &["some"]).await.unwrap_err(),
        client.set_user_status("one", UserStatus::Disabled).await.unwrap_err(),
        client.add_to_group("all", &["one"]).await.unwrap_err(),
        client.remove_from_group("all", &["one"]).await.unwrap_err(),
        client.add_policy("some", "{}").await.unwrap_err(),
        client.remove_policy("some").await.unwrap_err(),
        client.update_service_account("account", &change).await.unwrap_err(),
        client.remove_service_account("account").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Garbage { status: 200, .. }), "{error:?}");
        assert!(!error.to_string().contains("welcome"), "{error}");
    }

    let client = support::client(fake_http(|_, _| " \r\n").await);
    client.add_user("one", &"new-user-secret".into()).await.unwrap();
    assert_eq!(client.remove_user("one").await.unwrap(), Removal::Removed);
}

#[tokio::test]
async fn session_keys_that_are_not_whole_are_garbage() {
    const WHOLE: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId>\
        <SecretAccessKey>session-secret</SecretAccessKey><SessionToken>token</SessionToken>\
        <Expiration>2030-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    let address = fake_http(|_, _| WHOLE).await;
    let keys = client(address).assume_role(None, None).await.unwrap();
    assert_eq!(keys.access_key, "A");
    assert!(!format!("{keys:?}").contains("session-secret"));
    for (part, other) in [
        ("<SessionToken>token</SessionToken>", ""),
        ("<SessionToken>token", "<SessionToken>"),
        ("2030-01-01T00:00:00Z", "soon"),
        (">A<", "><"),
    ] {
        let answer = WHOLE.replace(part, other);
        let address = fake_http(move |_, _| answer.clone()).await;
        let error = client(address).assume_role(None, None).await.unwrap_err();
        assert!(matches!(error, Error::Garbage { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("session-secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_policy_that_is_not_json_is_not_sent() {
    let (address, hits) = fake_script(&[("", 200, "")]).await;
    let client = client(address);
    let mut account = service_account();
    account.policy = Some("{\"Version\":\n  oops}".into());
    for error in [
        client.add_policy("some", "").await.unwrap_err(),
        client.add_service_account(&account).await.unwrap_err(),
        client.assume_role(None, Some("[")).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Document { .. }), "{error:?}");
        assert!(!error.to_string().contains("oops"), "{error}");
    }
    assert_eq!(hits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_expiration_minio_would_stumble_over_is_not_sent() {
    let (address, hits) = fake_script(&[("", 500, "")]).await;
    let client = client(address);
    for seconds in [-60, 0, 14 * 60, 366 * 24 * 3600] {
        let at = Timestamp::now() + SignedDuration::from_secs(seconds);
        let account = NewServiceAccount { expiration: Some(at), ..service_account() };
        let change = ServiceAccountChange { expiration: Some(at), ..ServiceAccountChange::default() };
        for error in [
            client.add_service_account(&account).await.unwrap_err(),
            client.update_service_account("account", &change).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Expiration { .. }), "{seconds}: {error:?}");
            assert!(!error.is_retryable());
        }
    }
    assert_eq!(hits.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn taking_nobody_out_of_a_group_does_not_remove_the_group() {
    let (address, hits) = fake_script(&[("", 500, "")]).await;
    client(address).remove_from_group("some", &[]).await.unwrap();
    assert_eq!(hits.load(Ordering::Relaxed), 0);
}
