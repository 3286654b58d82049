#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;
use axum::body::{Bytes, to_bytes};
use axum::http::Request;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tower::ServiceExt as _;

struct Rig {
    routes: Router,
    registry: Registry,
}

impl Rig {
    fn new(output: Output) -> Self {
        let config = Config::parse(include_str!("../../instances.yaml")).unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        Self { routes: Webhook::new(Live::new(config), output, metrics).router(), registry }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The patch of a notebook's pod, as text.
    async fn patch(&self, path: &str) -> String {
        use base64::Engine as _;
        let (status, body) = self.send("POST", path, review().to_string()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let patch = answer["response"]["patch"].as_str().unwrap();
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(patch).unwrap()).unwrap()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

fn review() -> Value {
    serde_json::from_str(include_str!("../../tests/data/review.json")).unwrap()
}

#[tokio::test]
async fn the_path_or_else_the_flag_chooses_the_output() {
    for (flag, path, expected) in [
        (Output::FlexVolume, "/mutate", "flexVolume"),
        (Output::Csi, "/mutate", "\"csi\""),
        (Output::FlexVolume, "/mutate/csi", "\"csi\""),
        (Output::Csi, "/mutate/flexvolume", "flexVolume"),
        // As the API server asks: it adds how long it waits.
        (Output::Csi, "/mutate/flexvolume?timeout=5s", "flexVolume"),
    ] {
        let patch = Rig::new(flag).patch(path).await;
        assert!(patch.contains(expected), "{path}: {patch}");
    }
}

#[tokio::test]
async fn reviews_are_counted_by_outcome_and_output() {
    let rig = Rig::new(Output::FlexVolume);
    rig.patch("/mutate/csi").await;
    let (status, why) = rig.send("POST", "/mutate", "{}").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(why.contains("AdmissionReview"), "{why}");
    let text = rig.metrics();
    for line in [
        "boathouse_webhook_reviews_total{outcome=\"patched\",output=\"csi\"} 1\n",
        "boathouse_webhook_reviews_total{outcome=\"error\",output=\"flexVolume\"} 1\n",
        "boathouse_webhook_review_duration_seconds_count 2\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn other_paths_methods_and_sizes_are_refused() {
    let rig = Rig::new(Output::Csi);
    assert_eq!(rig.send("POST", "/mutate/other", "{}").await.0, StatusCode::NOT_FOUND);
    assert_eq!(rig.send("GET", "/mutate", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    let (status, why) = rig.send("POST", "/mutate", vec![b' '; BODY_LIMIT + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(why.contains("4194304"), "{why}");
    let mut longest = review().to_string().into_bytes();
    longest.resize(BODY_LIMIT, b' ');
    assert_eq!(rig.send("POST", "/mutate", longest).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_given_up() {
    let rig = Rig::new(Output::Csi);
    let endless = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let (status, why) = rig.send("POST", "/mutate", Body::from_stream(endless)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("not there within 2 s"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn large_bodies_wait_for_each_other_and_hold_up_no_small_one() {
    let rig = Rig::new(Output::Csi);
    let endless = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let large = rig.send("POST", "/mutate", endless());
    let other = rig.send("POST", "/mutate", endless());
    let waits = rig.send("POST", "/mutate", endless());
    let small = async {
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        rig.patch("/mutate").await;
        assert_eq!(begun.elapsed(), std::time::Duration::ZERO);
    };
    let (large, other, waits, ()) = tokio::join!(large, other, waits, small);
    assert!(
        large.1.contains("not there within") && other.1.contains("not there within"),
        "{large:?} {other:?}"
    );
    assert_eq!(waits.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(waits.1.contains("not there within") || waits.1.contains("ask again"), "{waits:?}");
}
