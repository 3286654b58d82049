//! Process 1 of the namespaces.

use super::ground;
use crate::place::Place;
use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, wait};
use std::path::Path;
use std::process::{Command, Stdio};

/// Lays the ground, runs `work` and reaps whatever dies until that does. Returns its exit code; when this process
/// ends, the kernel ends everything else inside.
///
/// # Errors
/// When the ground cannot be laid.
pub fn init(place: &Place, work: &[String]) -> anyhow::Result<i32> {
    SigSet::all().thread_unblock().context("let signals through")?;
    ground::lay(place)?;
    let program = std::env::current_exe().context("find this program")?;
    let child = Command::new(program).args(work).stdin(Stdio::null()).spawn().context("start the work")?;
    let work = child.id().cast_signed();
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == work => return Ok(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == work => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("wait for the work"),
        }
    }
}

/// A command that runs `program` in the namespaces of a cluster that is up. `None` when there is none.
pub fn nsenter(place: &Place, program: &Path) -> Option<Command> {
    let warden: u32 = place.is_locked().then(|| place.read("warden.pid"))??.trim().parse().ok()?;
    let first = only_child(only_child(warden)?)?;
    let mut command = Command::new("nsenter");
    command.args([
        "--mount",
        "--net",
        "--pid",
        "--ipc",
        "--uts",
        "--target",
        &first.to_string(),
        "--wdns=/",
        "--",
    ]);
    command.arg(program);
    Some(command)
}

/// Warden → unshare → process 1: each has that one child.
fn only_child(parent: u32) -> Option<u32> {
    let parent = format!("PPid:\t{parent}\n");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| text.contains(&parent))
    })
}
