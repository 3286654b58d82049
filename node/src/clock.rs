//! Wall-clock milliseconds: what the keepers, the daemons' AWS SDK and Vault all reckon in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// Now.
#[must_use]
pub fn now() -> Millis {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A duration as milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long until a moment; zero when it has passed.
#[must_use]
pub fn until(moment: Millis) -> Duration {
    Duration::from_millis(moment.saturating_sub(now()))
}
