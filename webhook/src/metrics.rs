//! Every metric of the webhook. docs/metrics.md follows this file.

use crate::mutate::Output;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Review {
    outcome: &'static str,
    output: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    file: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct File {
    file: &'static str,
}

/// Handles to the metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    reviews: Family<Review, Counter>,
    duration: Histogram,
    reloads: Family<Reload, Counter>,
    stale: Family<File, Gauge>,
    expiry: Gauge,
    connections: Gauge,
}

impl Metrics {
    /// Makes all metrics and registers them under `boathouse_webhook_…`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reviews: Family::default(),
            // 50 µs to 1.6 s, doubling: from a small pod to one of several MiB on a busy node.
            duration: Histogram::new((0..16).map(|step| 0.000_05 * f64::from(1 << step))),
            reloads: Family::default(),
            stale: Family::default(),
            expiry: Gauge::default(),
            connections: Gauge::default(),
        };
        let webhook = registry.sub_registry_with_prefix("boathouse_webhook");
        webhook.register(
            "reviews",
            "Answers by outcome, and by the output that the request's path asks for",
            metrics.reviews.clone(),
        );
        webhook.register_with_unit(
            "review_duration",
            "Time from a request's head to its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        webhook.register("reloads", "Files that changed and were read again", metrics.reloads.clone());
        webhook.register(
            "stale",
            "1 while a file cannot be used as it is now, and what it held before is in use",
            metrics.stale.clone(),
        );
        webhook.register_with_unit(
            "certificate_expiry_timestamp",
            "When the serving certificate ends, as Unix time",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        webhook.register("connections", "Connections that are open", metrics.connections.clone());
        metrics
    }

    /// A review was answered, or refused as none.
    pub(crate) fn reviewed(&self, outcome: &'static str, output: Output, took: Duration) {
        let output = match output {
            Output::FlexVolume => "flexVolume",
            Output::Csi => "csi",
        };
        self.reviews.get_or_create(&Review { outcome, output }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A file was read again.
    pub(crate) fn reloaded(&self, file: &'static str, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.reloads.get_or_create(&Reload { file, result }).inc();
        self.stale(file, !ok);
    }

    /// Whether what is in use is not what the file holds.
    pub(crate) fn stale(&self, file: &'static str, stale: bool) {
        self.stale.get_or_create(&File { file }).set(i64::from(stale));
    }

    /// The serving certificate ends then (Unix time).
    pub(crate) fn certificate_ends(&self, at: i64) {
        self.expiry.set(at);
    }

    /// A connection was opened; it counts for as long as the answer lives.
    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    /// docs/metrics.md has a row for each, and for no other.
    #[test]
    fn the_documentation_has_every_metric() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        // A family without a series is not shown.
        metrics.reviewed("patched", Output::Csi, Duration::ZERO);
        metrics.reloaded("instances", true);
        let document = include_str!("../../docs/metrics.md");
        let (exported, documented) =
            boathouse_service::metrics::exported_and_documented(&registry, document, "boathouse_webhook_");
        assert_eq!(documented, exported);
    }
}
