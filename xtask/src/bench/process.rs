//! Processes and their memory.

use anyhow::Context as _;
use std::fs;
use std::path::Path;

/// Processes that run a program of this name from below a directory.
pub(super) fn running(directory: &Path, program: &str) -> anyhow::Result<Vec<u32>> {
    let pids =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids
        .filter(|pid| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
                exe.starts_with(directory) && exe.file_name().is_some_and(|name| name == program)
            })
        })
        .collect())
}

/// PSS in bytes: memory of a process, with what it shares divided by the number that share it.
pub(super) fn pss(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    parse(&text).with_context(|| format!("{path} has no Pss"))
}

/// `Pss:   540 kB` of proc(5), in bytes.
fn parse(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn pss_is_read() {
        let text = "00400000-7fff [rollup]\nRss:   900 kB\nPss:   540 kB\nPss_Anon:  1 kB\n";
        assert_eq!(parse(text), Some(540 * 1024));
        assert_eq!(parse("Rss: 1 kB"), None);
        assert!(pss(std::process::id()).unwrap() > 0);
    }
}
