//! The result, as it stands in the documentation.

use super::super::document::{mib, verdict};
use super::super::statistics::{Series, millis, p99_of};
use super::Times;
use super::memory::Memory;
use std::fmt::Write as _;
use std::time::Duration;

/// What a kind of mount is to reach.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// Times raw goofys, in the median.
    Ratio(f64),
    /// In the median.
    Time(Duration),
}

/// The result in Markdown.
pub(super) fn section(rounds: u32, mounts: u32, machine: &str, times: &Times, memory: &[Memory]) -> String {
    let mut text = format!(
        "`cargo xtask bench mount --rounds {rounds} --mounts {mounts}` on {machine}. OpenBao 2.7.2, MinIO and \
         goofys 0.24.0 run on the same machine.\n\n\
         | time | min | p50 | p99 | p50 ÷ raw | p99 ÷ raw | to reach (p50) | |\n\
         |---|--:|--:|--:|--:|--:|---|---|\n"
    );
    row(&mut text, "goofys by hand, root, static keys (raw)", &times.raw, &times.raw, None);
    let rows = [
        ("publish, fresh key from Vault", &times.fresh, Goal::Ratio(3.5)),
        ("publish, key already there", &times.cached, Goal::Ratio(1.3)),
        ("publish, second pod on a shared mount", &times.shared, Goal::Time(Duration::from_millis(5))),
        ("unpublish of the last pod", &times.unpublish, Goal::Time(Duration::from_millis(100))),
    ];
    for (name, series, goal) in rows {
        row(&mut text, name, series, &times.raw, Some(goal));
    }
    row(&mut text, "for comparison: a Vault login by itself", &times.login, &times.raw, None);
    let _ = write!(text, "\n{}\n\n", p99_of(rounds));
    memory_table(&mut text, memory);
    text
}

fn row(text: &mut String, name: &str, series: &Series, raw: &Series, goal: Option<Goal>) {
    let ratio = |percent| series.percentile(percent).as_secs_f64() / raw.percentile(percent).as_secs_f64();
    let median = series.percentile(50);
    let (goal, reached) = match goal {
        None => (String::new(), ""),
        Some(Goal::Ratio(goal)) => (format!("≤ {goal} × raw"), verdict(ratio(50) <= goal)),
        Some(Goal::Time(goal)) => (format!("≤ {}", millis(goal)), verdict(median <= goal)),
    };
    let _ = writeln!(
        text,
        "| {name} | {} | {} | {} | {:.2} | {:.2} | {goal} | {reached} |",
        millis(series.min()),
        millis(median),
        millis(series.percentile(99)),
        ratio(50),
        ratio(99),
    );
}

fn memory_table(text: &mut String, memory: &[Memory]) {
    let heads = memory.iter().map(|at| match at.mounts {
        1 => "1 mount".to_owned(),
        mounts => format!("{mounts} mounts"),
    });
    let _ = writeln!(text, "| memory, PSS | {} | to reach | |", heads.collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "|---|{}---|---|", "--:|".repeat(memory.len()));
    memory_row(text, memory, "boathouse-keeper, each", Some(1), |at| (at.mounts > 0).then_some(at.keeper));
    memory_row(text, memory, "goofys, each", None, |at| (at.mounts > 0).then_some(at.goofys));
    memory_row(text, memory, "boathouse-node", Some(12), |at| Some(at.node));
}

/// One process; `goal` is in MiB and holds at every number of mounts.
fn memory_row(
    text: &mut String,
    memory: &[Memory],
    name: &str,
    goal: Option<u64>,
    value: impl Fn(&Memory) -> Option<u64>,
) {
    let values: Vec<Option<u64>> = memory.iter().map(value).collect();
    let cells: Vec<String> = values.iter().map(|bytes| bytes.map(mib).unwrap_or_default()).collect();
    let worst = values.iter().flatten().max().copied().unwrap_or_default();
    let (goal, reached) = match goal {
        Some(goal) => (format!("≤ {goal} MiB"), verdict(worst <= goal << 20)),
        None => (String::new(), ""),
    };
    let _ = writeln!(text, "| {name} | {} | {goal} | {reached} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn series(millis: u64) -> Series {
        [Duration::from_millis(millis)].into_iter().collect()
    }

    #[test]
    fn a_missed_goal_is_called_missed() {
        let times = Times {
            raw: series(10),
            fresh: series(30),
            cached: series(20),
            shared: series(6),
            login: series(4),
            unpublish: series(100),
        };
        let at = |mounts| Memory { mounts, node: 13 << 20, keeper: 1 << 19, goofys: 20 << 20 };
        let text = section(20, 30, "a machine", &times, &[at(0), at(1), at(30)]);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(line("| publish, fresh").ends_with("| 3.00 | 3.00 | ≤ 3.5 × raw | reached |"));
        assert!(line("| publish, key").ends_with("| 2.00 | 2.00 | ≤ 1.3 × raw | **missed** |"));
        assert!(line("| publish, second").ends_with("≤ 5.0 ms | **missed** |"));
        assert!(line("| unpublish").ends_with("≤ 100.0 ms | reached |"));
        assert_eq!(
            line("| boathouse-keeper"),
            "| boathouse-keeper, each |  | 0.50 MiB | 0.50 MiB | ≤ 1 MiB | reached |"
        );
        assert!(line("| boathouse-node").contains("**missed**"));
    }
}
