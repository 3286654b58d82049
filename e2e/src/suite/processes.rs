//! Processes of the node: this program is in its PID namespace.

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Ids of the processes whose program has this file name, in order.
pub(super) fn named(program: &str) -> Vec<i32> {
    let is = |pid: &i32| Path::new(&arguments(*pid)[0]).file_name().is_some_and(|name| name == program);
    let mut pids: Vec<i32> = all().filter(is).collect();
    pids.sort_unstable();
    pids
}

/// The goofys that serves a bucket.
pub(super) fn goofys_of(bucket: &str) -> anyhow::Result<i32> {
    let serves = |pid: &i32| arguments(*pid).iter().any(|word| word == bucket);
    named("goofys").into_iter().find(serves).with_context(|| format!("no goofys serves {bucket}"))
}

pub(super) fn signal(pid: i32, signal: Signal) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to process {pid}"))
}

/// The file it runs from.
pub(super) fn program(pid: i32) -> anyhow::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).with_context(|| format!("look at process {pid}"))
}

/// How many processes the kernel has killed for the memory of a mount that is still there (cgroup v1 and v2).
pub(super) fn killed_for_memory() -> u64 {
    let roots = ["/sys/fs/cgroup/memory/boathouse", "/sys/fs/cgroup/boathouse"];
    let leaves = roots.iter().flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten());
    let files =
        leaves.flat_map(|leaf| ["memory.oom_control", "memory.events"].map(|name| leaf.path().join(name)));
    let counts = files.filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
    });
    counts.sum()
}
