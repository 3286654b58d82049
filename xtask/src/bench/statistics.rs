//! What is said about a series of durations.

use std::time::Duration;

/// Durations of one kind, in the order they were measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(Vec<Duration>);

impl Series {
    pub(super) fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(super) fn min(&self) -> Duration {
        self.percentile(0)
    }

    /// The smallest value that this many of a hundred do not exceed (nearest rank). Zero when there is none.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Series {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        Self(durations.into_iter().collect())
    }
}

/// `13.7 ms`.
pub(super) fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// What the p99 of so many rounds is.
pub(super) fn p99_of(rounds: u32) -> String {
    let which = if rounds < 100 { "the slowest of them" } else { "the slowest one of a hundred" };
    format!("The p99 of {rounds} rounds is {which}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let series: Series = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(series.min(), Duration::from_millis(1));
        assert_eq!(series.percentile(50), Duration::from_millis(10));
        assert_eq!(series.percentile(99), Duration::from_millis(20));
        assert_eq!(Series::default().percentile(50), Duration::ZERO);
        assert_eq!(millis(Duration::from_micros(13_660)), "13.7 ms");
    }
}
