//! The result, as it stands in the documentation.

use super::super::document::{mib, verdict};
use super::{Results, Run};
use std::fmt::Write as _;
use std::time::Duration;

/// The legacy injector at one connection, measured once on two cores: median and p99 of a review.
const LEGACY: [Duration; 2] = [Duration::from_micros(190), Duration::from_micros(660)];
/// Its memory, in bytes.
const LEGACY_MEMORY: u64 = 157 * (1 << 20) / 10;
/// What ours may take.
const MEMORY: u64 = 6 << 20;

/// The result in Markdown.
pub(super) fn section(requests: u32, machine: &str, results: &Results) -> String {
    let mut text = format!(
        "`cargo xtask bench webhook --requests {requests}` on {machine}. The callers run on the same machine.\n\n\
         | connections | min | p50 | p99 | reviews per second | per second of one core | to reach (p50) | |\n\
         |---|--:|--:|--:|--:|--:|---|---|\n"
    );
    for run in &results.runs {
        let median = run.times.percentile(50);
        let (goal, reached) = match run.callers {
            1 => (format!("≤ {}", millis(LEGACY[0])), verdict(median <= LEGACY[0])),
            _ => (String::new(), ""),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.0} | {:.0} | {goal} | {reached} |",
            run.callers,
            millis(run.times.min()),
            millis(median),
            millis(run.times.percentile(99)),
            rate(run, run.took),
            rate(run, run.busy),
        );
    }
    let _ = write!(
        text,
        "| 1, the legacy injector, measured elsewhere |  | {} | {} |  |  |  |  |\n\n\
         | memory, PSS | idle | after all reviews | to reach | |\n|---|--:|--:|---|---|\n\
         | ours | {} | {} | ≤ {} | {} |\n| the legacy injector, measured elsewhere |  | {} |  |  |\n",
        millis(LEGACY[0]),
        millis(LEGACY[1]),
        mib(results.idle),
        mib(results.loaded),
        mib(MEMORY),
        verdict(results.idle.max(results.loaded) <= MEMORY),
        mib(LEGACY_MEMORY),
    );
    text
}

fn rate(run: &Run, time: Duration) -> f64 {
    f64::from(run.requests) / time.as_secs_f64()
}

/// `0.19 ms`.
fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn each_goal_has_its_verdict() {
        let run = |callers, micros| Run {
            callers,
            times: [Duration::from_micros(micros)].into_iter().collect(),
            requests: 1000,
            took: Duration::from_millis(500),
            busy: Duration::from_millis(100),
        };
        let results = Results { runs: vec![run(1, 150), run(8, 500)], idle: 4 << 20, loaded: 7 << 20 };
        let text = section(1000, "a machine", &results);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert_eq!(line("| 1 |"), "| 1 | 0.15 ms | 0.15 ms | 0.15 ms | 2000 | 10000 | ≤ 0.19 ms | reached |");
        assert!(line("| 8 |").ends_with("| 2000 | 10000 |  |  |"), "{text}");
        assert_eq!(line("| ours |"), "| ours | 4.00 MiB | 7.00 MiB | ≤ 6.00 MiB | **missed** |");
        assert_eq!(line("| the legacy"), "| the legacy injector, measured elsewhere |  | 15.70 MiB |  |  |");
    }
}
