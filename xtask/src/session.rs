//! Work on real servers and mounts: one runtime, and a way out that cleans up.

use anyhow::{Context as _, bail};
use boathouse_testkit::requirement;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` to its end. Ctrl-C or SIGTERM drops it where it stands, and with it the servers, mounts and
/// directories it holds.
pub(crate) fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    requirement::for_mounting()?;
    // Whoever makes the first TLS client of the process decides; make it the one the product uses.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = Runtime::new().context("start a runtime")?;
    let outcome = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        tokio::select! {
            outcome = work => outcome,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that ran was removed"),
            _ = terminated.recv() => bail!("terminated; everything that ran was removed"),
        }
    });
    // A thread that still waits for a mount is left behind.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
