//! What others may do to the webhook: pods made to cost memory, and bodies that do not come.

use crate::files::{Authority, Files, authority};
use crate::program::Program;
use crate::{REVIEW, ask};
use reqwest::StatusCode;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// As large as a body may be, less what is around the pod.
const LARGE: usize = (4 << 20) - 2048;

/// A connection that speaks HTTP/1.1.
pub(crate) async fn connect(program: &Program, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(program.reviews).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Starts a review of `length` bytes and sends `sent` of them.
async fn unfinished(
    program: &Program,
    authority: &Authority,
    length: usize,
    sent: usize,
) -> TlsStream<TcpStream> {
    let mut connection = connect(program, authority).await;
    let head = format!("POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&vec![b' '; sent]).await.unwrap();
    connection.flush().await.unwrap();
    connection
}

#[tokio::test]
async fn bodies_that_do_not_come_keep_nobody_waiting() {
    let root = authority("root");
    let program = Program::start(&Files::new(&root));
    let mut held = Vec::new();
    for _ in 0..50 {
        held.push(unfinished(&program, &root, LARGE, 10_000).await);
        held.push(unfinished(&program, &root, 100_000, 10_000).await);
    }
    // By a connection of its own, while the others are within their time.
    let status = ask(&program, program.client(&root)).await.unwrap().status();
    assert_eq!(status.as_u16(), 200);
    drop(held);
    program.wait_for_metric("boathouse_webhook_connections 0").await;
}

/// A review of about `length` bytes that ends in a patch.
fn long(length: usize) -> String {
    let mut review: Value = serde_json::from_str(REVIEW).unwrap();
    review["request"]["object"]["metadata"]["annotations"]["long"] = "x".repeat(length).into();
    review.to_string()
}

/// The API server asks over one connection. Those that wait must not stand in the way of those that are read.
#[tokio::test(flavor = "multi_thread")]
async fn large_and_small_reviews_share_a_connection() {
    let root = authority("root");
    let program = Program::start(&Files::new(&root));
    let client = program.client(&root).http2_prior_knowledge().build().unwrap();
    let ask = |length| client.post(program.url("/mutate")).body(long(length)).send();
    // So that there is one connection, and not one for each.
    assert_eq!(ask(1).await.unwrap().status().as_u16(), 200);
    let mut asked = JoinSet::new();
    for length in [1 << 20, 100, 300_000, 1 << 20, 100, 200_000, 1 << 20, 100, 1 << 20, 1 << 20, 100] {
        asked.spawn(ask(length));
    }
    for answer in asked.join_all().await {
        assert_eq!(answer.unwrap().status().as_u16(), 200);
    }

    // Others have the room for large ones, for two seconds; a machine that stands still for so long is asked again.
    for _ in 0..5 {
        let held =
            [unfinished(&program, &root, LARGE, 10).await, unfinished(&program, &root, LARGE, 10).await];
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        let mut waiting = JoinSet::new();
        for _ in 0..8 {
            waiting.spawn(ask(1 << 20));
        }
        // They send what they may.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let small = ask(100_000).await.unwrap().status().as_u16();
        let first = waiting.try_join_next().is_none();
        waiting.shutdown().await;
        drop(held);
        if begun.elapsed() < Duration::from_millis(1500) {
            assert_eq!(small, 200);
            assert!(first, "the small one was answered after a large one");
            return;
        }
    }
    panic!("a review of 100 kB took longer than a second, five times");
}

/// `element` as often as it fits.
fn many(element: impl Fn(usize) -> String, limit: usize) -> String {
    let mut text = String::with_capacity(LARGE);
    for number in 0..limit {
        let element = element(number);
        if text.len() + element.len() + 1 > LARGE {
            break;
        }
        if number > 0 {
            text.push(',');
        }
        text.push_str(&element);
    }
    text
}

/// Reviews of pods that are made to cost much more than their text.
fn costly() -> Vec<String> {
    const ASKS: &str = r#"{"annotations":{"data.statcan.gc.ca/inject-boathouse":"true"}}"#;
    let volume = r#"{"driver":"statcan.gc.ca/boathouse","options":{"bucket":"abc"}}"#;
    let options = many(|number| format!("\"{number:x}\":\"\""), 5_000);
    let pods = [
        // What nobody looks at, as small as can be.
        format!(
            r#"{{"spec":{{"containers":[{{"name":"a","env":[{}]}}]}}}}"#,
            many(|_| "{}".to_owned(), usize::MAX)
        ),
        format!(r#"{{"spec":{{"x":{}1{}}}}}"#, "[".repeat(LARGE / 3), "]".repeat(LARGE / 3)),
        // Arrays beyond what is taken.
        format!(r#"{{"spec":{{"volumes":[{}]}}}}"#, many(|_| "{}".to_owned(), usize::MAX)),
        format!(
            r#"{{"metadata":{ASKS},"spec":{{"containers":[{{"name":"a","volumeMounts":[{}]}}]}}}}"#,
            many(|_| "{}".to_owned(), usize::MAX)
        ),
        // As much as is taken: containers full of mounts, each of which is changed.
        format!(
            r#"{{"spec":{{"volumes":[{{"name":"v","flexVolume":{volume}}}],"containers":[{}]}}}}"#,
            many(
                |_| format!(r#"{{"volumeMounts":[{}]}}"#, many(|_| r#"{"name":"v"}"#.to_owned(), 4_000)),
                4_096
            )
        ),
        // Volumes, each of which is changed, with warnings.
        format!(
            r#"{{"spec":{{"volumes":[{}]}}}}"#,
            many(
                |number| {
                    let options = format!(r#"{{"bucket":"abc",{options}}}"#);
                    format!(
                        r#"{{"name":"{number}","flexVolume":{{"driver":"statcan.gc.ca/boathouse","options":{options}}}}}"#
                    )
                },
                4_096
            )
        ),
        format!(
            r#"{{"spec":{{"volumes":[{}]}}}}"#,
            many(|number| format!(r#"{{"name":"{number}","flexVolume":{volume}}}"#), 2_000)
        ),
        // Names without end, in warnings without number.
        format!(
            r#"{{"spec":{{"volumes":[{{"name":"{}","flexVolume":{{"driver":"statcan.gc.ca/boathouse","options":{{"bucket":"abc",{options}}}}}}}]}}}}"#,
            "v".repeat(LARGE - 100_000)
        ),
        format!(
            r#"{{"metadata":{ASKS},"spec":{{"containers":[{{"name":"{}","volumeMounts":[{}]}}]}}}}"#,
            "c".repeat(LARGE / 2),
            ["premium-tenant-1/private", "premium-tenant-1/shared", "standard-tenant-1/private"]
                .map(|path| format!(
                    r#"{{"name":"{}","mountPath":"/home/jovyan/minio/{path}"}}"#,
                    "m".repeat(LARGE / 7)
                ))
                .join(",")
        ),
        // Texts without end.
        format!(
            r#"{{"metadata":{{"annotations":{{{}}}}}}}"#,
            many(|number| format!("\"{number}\":\"\""), usize::MAX)
        ),
        format!(r#"{{"metadata":{{"labels":{{"a":"{}"}}}}}}"#, "\\u0041".repeat(LARGE / 6 - 100)),
    ];
    let review: Value = serde_json::from_str(REVIEW).unwrap();
    pods.into_iter()
        .map(|pod| {
            let mut review = review.clone();
            review["request"]["object"] = json!("POD");
            review["request"]["oldObject"] = Value::Null;
            let review = review.to_string().replace("\"POD\"", &pod);
            assert!(review.len() <= 4 << 20, "{}", review.len());
            review
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_pods_stay_within_the_memory_that_the_chart_allows() {
    let root = authority("root");
    let program = Program::start(&Files::new(&root));
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(unfinished(&program, &root, 250_000, 200_000).await);
    }
    let mut callers = JoinSet::new();
    let bodies = Arc::new(costly());
    for path in ["/mutate/csi", "/mutate/flexvolume"].repeat(3) {
        let (client, url, bodies) =
            (program.client(&root).build().unwrap(), program.url(path), bodies.clone());
        callers.spawn(async move {
            let mut statuses = Vec::new();
            for body in bodies.iter() {
                // Large ones wait for each other, and those that waited long are told to ask again.
                loop {
                    let answer = client.post(&url).body(body.clone()).send().await.unwrap();
                    if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
                        statuses.push(answer.status().as_u16());
                        break;
                    }
                }
            }
            statuses
        });
    }
    let statuses = callers.join_all().await;
    for statuses in statuses {
        // Volumes without end are refused while they are read; all else has an answer.
        assert_eq!(statuses, [200, 200, 400, 200, 200, 200, 200, 200, 200, 200, 200]);
    }
    let peak = program.peak_memory_kib();
    let limit = allowed_kib();
    assert!(peak < limit * 3 / 4, "{peak} KiB of {limit} KiB");
    // And it goes on.
    assert_eq!(ask(&program, program.client(&root)).await.unwrap().status().as_u16(), 200);
}

/// The chart's memory limit for the webhook.
fn allowed_kib() -> u64 {
    let values: Value =
        serde_saphyr::from_str(include_str!("../../../deploy/charts/boathouse/values.yaml")).unwrap();
    let limit = values["webhook"]["resources"]["limits"]["memory"].as_str().unwrap();
    limit.strip_suffix("Mi").unwrap().parse::<u64>().unwrap() << 10
}
