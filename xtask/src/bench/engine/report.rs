//! The result, as it stands in the documentation.

use super::super::document::{mib, verdict};
use super::super::statistics::{Series, millis, p99_of};
use super::{Arguments, CALLERS, Results};
use std::fmt::Write as _;
use std::time::Duration;

/// The Go plugin through OpenBao, measured once on two cores: median and p99 of a key.
const LEGACY: [Duration; 2] = [Duration::from_micros(48_700), Duration::from_micros(154_600)];
/// Its memory, PSS.
const LEGACY_MEMORY: u64 = 150 << 20;
/// The median of a key, of the Go plugin's.
const SHARE_OF_LEGACY: f64 = 0.4;
/// The median of a key, beyond that of the bare calls.
const BEYOND_BARE: Duration = Duration::from_millis(3);
/// Of the plugin, whatever it has done.
const MEMORY: u64 = 10 << 20;

/// The result in Markdown.
pub(super) fn section(arguments: &Arguments, machine: &str, results: &Results) -> String {
    let Arguments { rounds, keys, on_disk, .. } = arguments;
    let (flag, place) = if *on_disk { (" --on-disk", "on disk (raft)") } else { ("", "in memory") };
    let mut text = format!(
        "`cargo xtask bench engine --rounds {rounds} --keys {keys}{flag}` on {machine}. OpenBao 2.7.2, its storage \
         {place}, and MinIO run on the same machine.\n\n"
    );
    times(&mut text, results);
    let _ = write!(text, "\n{}\n\n", p99_of(*rounds));
    rates(&mut text, results);
    memory(&mut text, *keys, results);
    bodies(&mut text, results);
    text
}

fn times(text: &mut String, results: &Results) {
    text.push_str("| time | min | p50 | p99 | p50 ÷ bare | p99 ÷ bare | to reach (p50) | |\n");
    text.push_str("|---|--:|--:|--:|--:|--:|---|---|\n");
    let bare = &results.bare;
    let ratio = |series: &Series, percent| {
        series.percentile(percent).as_secs_f64() / bare.percentile(percent).as_secs_f64()
    };
    let mut row = |name: &str, series: &Series, goal: String, reached: &str| {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {:.2} | {:.2} | {goal} | {reached} |",
            millis(series.min()),
            millis(series.percentile(50)),
            millis(series.percentile(99)),
            ratio(series, 50),
            ratio(series, 99),
        );
    };
    let median = results.keys.percentile(50);
    let (of_legacy, of_bare) = (LEGACY[0].mul_f64(SHARE_OF_LEGACY), bare.percentile(50) + BEYOND_BARE);
    let goal = format!("≤ {SHARE_OF_LEGACY} × Go = {}", millis(of_legacy));
    let beyond = format!("≤ bare + {} = {}", millis(BEYOND_BARE), millis(of_bare));
    row("the MinIO calls by themselves (bare)", bare, String::new(), "");
    row("a key, through OpenBao", &results.keys, goal, verdict(median <= of_legacy));
    row("the same", &results.keys, beyond, verdict(median <= of_bare));
    row("a revocation, through OpenBao", &results.revoke, String::new(), "");
    row("for comparison: a role, read through the plugin", &results.role, String::new(), "");
    row("for comparison: one write to OpenBao's storage", &results.storage, String::new(), "");
    let _ = writeln!(
        text,
        "| the Go plugin's key, measured elsewhere |  | {} | {} |  |  |  |  |",
        millis(LEGACY[0]),
        millis(LEGACY[1])
    );
}

fn rates(text: &mut String, results: &Results) {
    let rates = &results.rates;
    let _ = write!(
        text,
        "| {CALLERS} callers at once | per second |\n|---|--:|\n\
         | keys, through OpenBao | {:.0} |\n\
         | revocations, through OpenBao | {:.0} |\n\
         | users removed by bare MinIO calls | {:.0} |\n\n",
        rates.keys, rates.revokes, rates.removals
    );
}

fn memory(text: &mut String, keys: u32, results: &Results) {
    let _ = write!(
        text,
        "| memory of the plugin, PSS | idle | after {keys} keys | to reach | |\n|---|--:|--:|---|---|\n\
         | ours | {} | {} | ≤ {} | {} |\n| the Go plugin, measured elsewhere |  | {} |  |  |\n\n",
        mib(results.idle),
        mib(results.loaded),
        mib(MEMORY),
        verdict(results.idle.max(results.loaded) <= MEMORY),
        mib(LEGACY_MEMORY),
    );
}

fn bodies(text: &mut String, results: &Results) {
    text.push_str("| body of a request | seal it, p50 | p99 | make a user with it, p50 | p99 |\n");
    text.push_str("|---|--:|--:|--:|--:|\n");
    for cost in &results.bodies {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            cost.name,
            millis(cost.seal.percentile(50)),
            millis(cost.seal.percentile(99)),
            millis(cost.call.percentile(50)),
            millis(cost.call.percentile(99)),
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::super::Rates;
    use super::super::bodies::Cost;
    use super::*;

    fn series(millis: u64) -> Series {
        [Duration::from_millis(millis)].into_iter().collect()
    }

    #[test]
    fn each_goal_has_its_verdict() {
        let arguments = Arguments { rounds: 200, keys: 1000, on_disk: false, write: None };
        let results = Results {
            keys: series(18),
            bare: series(10),
            revoke: series(5),
            role: series(1),
            storage: series(2),
            rates: Rates { keys: 100.4, revokes: 250.0, removals: 500.0 },
            idle: 9 << 20,
            loaded: 11 << 20,
            bodies: vec![Cost { name: "some", seal: series(1), call: series(4) }],
        };
        let text = section(&arguments, "a machine", &results);
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        assert!(line("| a key, ").ends_with("| 1.80 | 1.80 | ≤ 0.4 × Go = 19.5 ms | reached |"));
        assert!(line("| the same |").ends_with("| ≤ bare + 3.0 ms = 13.0 ms | **missed** |"));
        assert_eq!(line("| keys, "), "| keys, through OpenBao | 100 |");
        assert_eq!(line("| ours |"), "| ours | 9.00 MiB | 11.00 MiB | ≤ 10.00 MiB | **missed** |");
        assert_eq!(line("| some |"), "| some | 1.0 ms | 1.0 ms | 4.0 ms | 4.0 ms |");
    }
}
