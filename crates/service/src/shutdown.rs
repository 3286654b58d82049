//! Being asked to stop.

use std::future::Future;
use std::io;
use tokio::signal::unix::{SignalKind, signal as listen};

/// A future that ends with the name of the signal when the process is asked to stop by SIGTERM (kubelet)
/// or SIGINT (a terminal).
///
/// The handlers are installed by this call, not by the first poll: a signal that arrives between the two is
/// not lost. Needs a tokio runtime.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn signal() -> io::Result<impl Future<Output = &'static str> + Send + 'static> {
    let mut term = listen(SignalKind::terminate())?;
    let mut int = listen(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to stop");
        name
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    #[tokio::test]
    async fn a_signal_before_the_first_poll_counts() {
        let stop = super::signal().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(stop.await, "SIGTERM");
    }
}
