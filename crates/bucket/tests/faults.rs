//! Every way a call can fail, and what the pod's events will say.
#![allow(missing_docs, clippy::unwrap_used, reason = "a failed assumption is a failed test")]

#[allow(dead_code, reason = "shared by several test programs")]
mod support;

use std::time::{Duration, Instant};

use boathouse_bucket::{BODY_LIMIT, BucketClient, Failure, Found, Http, HttpConfig, HttpError, S3Target};
use boathouse_http::ClientError;
use support::{FakeS3, Fault, client, keys, target};

const LONG: Duration = Duration::from_secs(10);

async fn probe(fault: Fault) -> (String, Failure) {
    let fake = FakeS3::new([fault]).await;
    let error = fake.client().probe(None, LONG).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    for secret in ["SENTINEL", "X-Amz", "Signature="] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let start = format!("bucket \"b\" at http://{}: ", fake.address);
    let text = error.to_string();
    (text.strip_prefix(&start).unwrap_or_else(|| panic!("{text}")).to_owned(), error.failure)
}

/// Codes and statuses as in the S3 API's list of errors. The two clock messages and the region element are what
/// MinIO says; the query form of the region error is AWS's.
#[tokio::test]
async fn answers_become_causes() {
    let invalid = |code: &str| Failure::InvalidKeys { code: code.into() };
    let region = |expected: Option<&str>| Failure::WrongRegion {
        configured: "us-east-1".into(),
        expected: expected.map(Into::into),
    };
    let other = |status, code: &str| Failure::Other { status, code: code.into() };
    let xml_region = "<Region>ca-central-1</Region>";
    let cases = [
        (Fault::code(404, "NoSuchBucket", "", ""), Failure::NoSuchBucket, "does not exist"),
        (Fault::code(403, "AccessDenied", "Access Denied.", ""), Failure::AccessDenied, "s3:ListBucket"),
        (Fault::code(403, "InvalidAccessKeyId", "", ""), invalid("InvalidAccessKeyId"), "keys were refused"),
        (
            Fault::code(403, "SignatureDoesNotMatch", "", ""),
            invalid("SignatureDoesNotMatch"),
            "keys were refused",
        ),
        (Fault::code(400, "ExpiredToken", "", ""), invalid("ExpiredToken"), "(ExpiredToken)"),
        (
            Fault::code(400, "AuthorizationHeaderMalformed", "", xml_region),
            region(Some("ca-central-1")),
            "the region is \"ca-central-1\", not \"us-east-1\"",
        ),
        (
            Fault::code(400, "AuthorizationQueryParametersError", "the region 'us-east-1' is wrong", ""),
            region(None),
            "refuses region \"us-east-1\"",
        ),
        (Fault::code(301, "PermanentRedirect", "", ""), region(None), "correct the region"),
        (Fault::Answer(307, String::new()), region(None), "correct the region"),
        (Fault::code(403, "RequestTimeTooSkewed", "", ""), Failure::ClockSkew, "time synchronization"),
        (Fault::code(403, "AccessDenied", "Request has expired", ""), Failure::ClockSkew, "clocks"),
        (Fault::code(403, "AccessDenied", "Request is not valid yet", ""), Failure::ClockSkew, "clocks"),
        (Fault::code(503, "SlowDown", "", ""), other(503, "SlowDown"), "SlowDown (HTTP 503)"),
        (Fault::Answer(502, "<html>SENTINEL".into()), other(502, ""), "not S3's"),
        (Fault::Answer(200, "<html>SENTINEL</html>".into()), other(200, ""), "not S3's"),
        (Fault::code(400, "Bad<>\n\"Code", "", ""), other(400, "BadCode"), "BadCode (HTTP 400)"),
        (Fault::Huge(BODY_LIMIT + 1), other(200, "AnswerTooLong"), "AnswerTooLong"),
    ];
    for (fault, failure, text) in cases {
        let (shown, got) = probe(fault).await;
        assert_eq!(got, failure, "{shown}");
        assert!(shown.contains(text), "{shown} does not say {text}");
    }
}

#[tokio::test]
async fn a_probe_is_one_listing_of_one_key_below_the_prefix() {
    let fake = FakeS3::new([Fault::listing(&[])]).await;
    fake.client().probe(None, LONG).await.unwrap();
    fake.client().probe(Some("/team/a"), LONG).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].starts_with("GET /b/?") && seen[0].contains("list-type=2"), "{}", seen[0]);
    assert!(seen[0].contains("max-keys=1&") && !seen[0].contains("prefix="), "{}", seen[0]);
    assert!(seen[1].contains("prefix=team%2Fa%2F"), "{}", seen[1]);
}

#[tokio::test]
async fn a_hanging_endpoint_costs_no_more_than_the_shorter_bound() {
    let fake = FakeS3::new([Fault::Hang]).await;
    for (within, expected) in [(LONG, 400), (Duration::from_millis(100), 100)] {
        let start = Instant::now();
        let error = fake.client().probe(None, within).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(expected + 700), "{:?}", start.elapsed());
        assert_eq!(error.failure, Failure::Timeout(Duration::from_millis(expected)));
        assert!(error.to_string().contains(&format!("no answer within {expected}ms")), "{error}");
        assert!(error.failure.is_transient());
    }
}

#[tokio::test]
async fn an_unreachable_endpoint_says_why() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client(&format!("http://127.0.0.1:{port}")).probe(None, LONG).await.unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");

    let http = Http::new(HttpConfig { timeout: Duration::from_secs(20), ..HttpConfig::default() }).unwrap();
    let nowhere = BucketClient::new(&http, target("http://minio.invalid:9000"), &keys()).unwrap();
    let error = nowhere.probe(None, Duration::from_secs(20)).await.unwrap_err();
    assert!(error.to_string().contains("name resolution: "), "{error}");

    // A server that speaks plain HTTP where TLS is expected.
    let fake = FakeS3::new([Fault::listing(&[])]).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, CERTIFICATE).unwrap();
    let http = Http::new(HttpConfig { ca_file: Some(ca), ..HttpConfig::default() }).unwrap();
    let tls = BucketClient::new(&http, target(&format!("https://{}", fake.address)), &keys()).unwrap();
    let error = tls.probe(None, LONG).await.unwrap_err();
    assert!(error.to_string().contains("TLS: "), "{error}");
}

#[tokio::test]
async fn fresh_keys_get_a_moment_and_nothing_else_does() {
    let unknown = Fault::code(403, "InvalidAccessKeyId", "", "");
    let fake = FakeS3::new([unknown.clone(), unknown.clone(), Fault::listing(&["a"])]).await;
    fake.client().probe_fresh_keys(None, LONG).await.unwrap();
    assert_eq!(fake.seen().len(), 3);

    for code in ["AccessDenied", "SignatureDoesNotMatch"] {
        let fake = FakeS3::new([Fault::code(403, code, "", "")]).await;
        fake.client().probe_fresh_keys(None, LONG).await.unwrap_err();
        assert_eq!(fake.seen().len(), 1, "{code} was retried");
    }

    for (within, bound) in [(LONG, 2500), (Duration::from_millis(300), 600)] {
        let fake = FakeS3::new([unknown.clone()]).await;
        let start = Instant::now();
        let error = fake.client().probe_fresh_keys(None, within).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_millis(bound), "{:?}", start.elapsed());
        assert_eq!(error.failure, Failure::InvalidKeys { code: "InvalidAccessKeyId".into() });
        assert!(fake.seen().len() > 1, "not retried");
    }
}

#[tokio::test]
async fn a_prefix_is_made_once_and_never_over_existing_data() {
    let fake = FakeS3::new([Fault::listing(&[]), Fault::Answer(200, String::new())]).await;
    assert_eq!(fake.client().ensure_prefix("team/a/").await.unwrap(), Found::Created);
    let seen = fake.seen();
    assert!(seen.len() == 2 && seen[1].starts_with("PUT /b/team/a/?"), "{seen:?}");

    let fake = FakeS3::new([Fault::listing(&["team/a/data"])]).await;
    assert_eq!(fake.client().ensure_prefix("team/a").await.unwrap(), Found::Found);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn input_that_could_mean_something_else_is_never_sent() {
    let fake = FakeS3::new([Fault::listing(&[])]).await;
    let client = fake.client();
    for key in ["", "/a", "a/../b", "..", "./a", "a\nb"] {
        let error = client.delete(key).await.unwrap_err();
        assert!(matches!(error.failure, Failure::InvalidInput(_)), "{key:?}: {error}");
    }
    for prefix in ["", "/", "../other"] {
        assert!(client.ensure_prefix(prefix).await.is_err(), "{prefix:?}");
    }
    assert!(client.probe(Some("a/../.."), LONG).await.is_err());
    assert!(fake.seen().is_empty());

    let base = target("http://h:1");
    let bad = [
        S3Target { bucket: String::new(), ..base.clone() },
        S3Target { bucket: "--help".into(), ..base.clone() },
        S3Target { bucket: "..".into(), ..base.clone() },
        S3Target { bucket: "a/b".into(), ..base.clone() },
        S3Target { bucket: "a?b".into(), ..base.clone() },
        S3Target { region: String::new(), ..base.clone() },
        S3Target { endpoint: "gs://bucket".parse().unwrap(), ..base.clone() },
        S3Target { endpoint: "http://u:p@h".parse().unwrap(), ..base },
    ];
    let http = Http::new(HttpConfig::default()).unwrap();
    for target in bad {
        let error = BucketClient::new(&http, target, &keys()).unwrap_err();
        assert!(matches!(error.failure, Failure::InvalidInput(_)), "{error}");
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
}

#[test]
fn a_bad_authority_file_is_named() {
    let with = |path: &str| Http::new(HttpConfig { ca_file: Some(path.into()), ..HttpConfig::default() });
    assert!(matches!(with("/nonexistent/ca.pem").unwrap_err(), HttpError(ClientError::CaFile { .. })));
    let empty = with("/dev/null").unwrap_err();
    assert_eq!(empty.to_string(), "S3 ca_file /dev/null: no certificate in PEM form in it");
}

/// Any certificate: the server never gets to show its own.
const CERTIFICATE: &str = include_str!("data/certificate.pem");
