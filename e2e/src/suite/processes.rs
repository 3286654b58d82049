//! Processes of the node: this program is in its PID namespace.

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

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
