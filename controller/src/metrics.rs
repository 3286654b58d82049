//! What the controller measures.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;
use tonic::Code;

/// Upper bounds in seconds: one S3 call on a LAN to several calls that time out.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    operation: &'static str,
    code: String,
}

/// Metrics of the controller, registered once.
#[derive(Clone, Debug)]
pub struct Metrics {
    calls: Family<Call, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// Adds the metrics to `registry`: `boathouse_controller_operation_seconds{operation,code}`.
    pub fn register(registry: &mut Registry) -> Self {
        let calls = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register_with_unit(
            "boathouse_controller_operation",
            "Duration of CSI controller calls by operation and gRPC code",
            Unit::Seconds,
            calls.clone(),
        );
        Self { calls }
    }

    /// Counts one call.
    pub fn observe(&self, operation: &'static str, code: Code, took: Duration) {
        let call = Call { operation, code: format!("{code:?}") };
        self.calls.get_or_create(&call).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn calls_are_told_apart_by_code() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.observe("CreateVolume", Code::Ok, Duration::from_millis(3));
        metrics.observe("CreateVolume", Code::AlreadyExists, Duration::from_millis(3));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = |code| {
            format!(
                "boathouse_controller_operation_seconds_count{{operation=\"CreateVolume\",code=\"{code}\"}} 1\n"
            )
        };
        assert!(text.contains(&line("Ok")) && text.contains(&line("AlreadyExists")), "{text}");
    }
}
