//! Every metric of the node plugin: name, unit, meaning. docs/metrics follow this file.

use crate::clock::Millis;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Label of what a call came to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// Label of how a FUSE daemon ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exit {
    reason: &'static str,
}

/// Label of one FUSE mount.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MountLabel {
    mount: String,
}

/// Label of a publish: whether the FUSE mount was made for it or already there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PublishLabel {
    result: &'static str,
    mount: &'static str,
}

/// Handles to the metrics; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    mounts: Gauge,
    publish: Family<PublishLabel, Histogram, fn() -> Histogram>,
    unpublish: Family<Outcome, Histogram, fn() -> Histogram>,
    rotations: Family<Outcome, Counter>,
    revocations: Family<Outcome, Counter>,
    expiry: Family<MountLabel, Gauge>,
    exits: Family<Exit, Counter>,
}

/// 5 ms to 40 s, doubling: from a shared mount to a deadline.
fn latency() -> Histogram {
    Histogram::new((0..14).map(|step| 0.005 * f64::from(1 << step)))
}

impl Metrics {
    /// Makes all metrics and registers them under `boathouse_node_…`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            mounts: Gauge::default(),
            publish: Family::new_with_constructor(latency),
            unpublish: Family::new_with_constructor(latency),
            rotations: Family::default(),
            revocations: Family::default(),
            expiry: Family::default(),
            exits: Family::default(),
        };
        let node = registry.sub_registry_with_prefix("boathouse_node");
        node.register(
            "mounts",
            "FUSE mounts, dead ones that still have a target included",
            metrics.mounts.clone(),
        );
        node.register_with_unit(
            "publish_duration",
            "Time from a publish (or FlexVolume mount) to its answer; a publish of a target that is already \
             mounted counts as mount=\"kept\"",
            Unit::Seconds,
            metrics.publish.clone(),
        );
        node.register_with_unit(
            "unpublish_duration",
            "Time from an unpublish (or FlexVolume unmount) to its answer",
            Unit::Seconds,
            metrics.unpublish.clone(),
        );
        node.register(
            "rotations",
            "New generations of keys made for running mounts",
            metrics.rotations.clone(),
        );
        node.register("revocations", "Attempts to revoke a generation at Vault", metrics.revocations.clone());
        node.register_with_unit(
            "credential_expiry_timestamp",
            "When Vault ends the keys a mount uses now, as Unix time",
            Unit::Seconds,
            metrics.expiry.clone(),
        );
        node.register("daemon_exits", "FUSE daemons that ended, by reason", metrics.exits.clone());
        metrics
    }

    /// How many FUSE mounts there are.
    pub fn mounts(&self, count: usize) {
        self.mounts.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A publish was answered. `mount` is `new`, `shared`, `kept`, `placeholder`, or `none` when it failed.
    pub fn published(&self, ok: bool, mount: &'static str, took: Duration) {
        self.publish.get_or_create(&PublishLabel { result: result(ok), mount }).observe(took.as_secs_f64());
    }

    /// An unpublish was answered.
    pub fn unpublished(&self, ok: bool, took: Duration) {
        self.unpublish.get_or_create(&Outcome { result: result(ok) }).observe(took.as_secs_f64());
    }

    /// A next generation was made, or could not be.
    pub fn rotated(&self, ok: bool) {
        self.rotations.get_or_create(&Outcome { result: result(ok) }).inc();
    }

    /// A revocation was tried.
    pub fn revoked(&self, ok: bool) {
        self.revocations.get_or_create(&Outcome { result: result(ok) }).inc();
    }

    /// The keys of a mount end then; none: never.
    pub fn expires(&self, mount: &str, at: Option<Millis>) {
        let label = MountLabel { mount: mount.to_owned() };
        match at {
            Some(at) => {
                self.expiry.get_or_create(&label).set(i64::try_from(at / 1000).unwrap_or(i64::MAX));
            }
            None => {
                self.expiry.remove(&label);
            }
        }
    }

    /// A FUSE daemon ended: `unmounted` as asked, `died` otherwise, `keeper-lost` with its keeper.
    pub fn daemon_exit(&self, reason: &'static str) {
        self.exits.get_or_create(&Exit { reason }).inc();
    }
}

fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "error" }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_mount_that_is_gone_leaves_no_series() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.expires("m1", Some(1_700_000_000_000));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("boathouse_node_credential_expiry_timestamp_seconds{mount=\"m1\"} 1700000000"),
            "{text}"
        );
        metrics.expires("m1", None);
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(!text.contains("m1"), "{text}");
    }

    /// docs/metrics.md has a row for each, and for no other.
    #[test]
    fn the_documentation_has_every_metric() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        // A family without a series is not shown.
        metrics.published(true, "new", Duration::ZERO);
        metrics.unpublished(true, Duration::ZERO);
        metrics.rotated(true);
        metrics.revoked(true);
        metrics.expires("m", Some(1));
        metrics.daemon_exit("died");
        let document = include_str!("../../docs/metrics.md");
        let (exported, documented) =
            boathouse_service::metrics::exported_and_documented(&registry, document, "boathouse_node_");
        assert_eq!(documented, exported);
    }
}
