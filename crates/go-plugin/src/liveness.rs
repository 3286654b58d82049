//! Whether the host still has a connection to us.
//!
//! A host that crashes leaves its plugins running. Its broker stream stays open for as long as it
//! lives, so "no connection for a while" means it is gone. A parent-death signal would not do: it
//! fires when the host's *thread* that started the plugin ends.

use std::time::Duration;

use tokio::sync::watch;

/// How long a host has for its first connection; go-plugin's own start timeout.
const FIRST_CONNECTION: Duration = Duration::from_mins(1);

/// Counts connections.
#[derive(Clone)]
pub(crate) struct Liveness(watch::Sender<usize>);

/// One live connection.
pub(crate) struct Live(watch::Sender<usize>);

impl Liveness {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Counts a connection until the value is dropped.
    pub(crate) fn connection(&self) -> Live {
        self.0.send_modify(|count| *count += 1);
        Live(self.0.clone())
    }

    /// Returns when there has been no connection for `patience`.
    pub(crate) async fn host_gone(&self, patience: Duration) {
        let mut count = self.0.subscribe();
        let mut allowed = FIRST_CONNECTION.max(patience);
        // We hold a sender, so neither wait can fail for want of one.
        while matches!(tokio::time::timeout(allowed, count.wait_for(|count| *count > 0)).await, Ok(Ok(_))) {
            if count.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            allowed = patience;
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_from_the_last_connection() {
        let liveness = Liveness::new();
        let start = Instant::now();
        let other = liveness.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(50)).await;
            let first = other.connection();
            sleep(Duration::from_secs(100)).await;
            drop(first);
            sleep(Duration::from_secs(29)).await;
            let second = other.connection();
            sleep(Duration::from_secs(1)).await;
            drop(second);
        });
        liveness.host_gone(Duration::from_secs(30)).await;
        assert_eq!(start.elapsed().as_secs(), 50 + 100 + 29 + 1 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_never_comes() {
        let start = Instant::now();
        Liveness::new().host_gone(Duration::from_secs(30)).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
