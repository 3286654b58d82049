#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};

const LIMITS: Limits = Limits { memory: Some(32 << 20), pids: Some(20) };

/// Cgroups of the machine under a name of this test's own, removed at its end.
struct Own {
    cgroups: Cgroups,
}

impl Own {
    /// `None` where this machine's cgroups cannot be written to, which must be said then.
    fn prepare(name: &str) -> Option<Self> {
        let name = format!("boathouse-unit-{name}-{}", std::process::id());
        match Cgroups::prepare(Path::new("/"), false, &name, LIMITS) {
            Ok(cgroups) if cgroups.hierarchies.iter().any(Hierarchy::limits) => Some(Self { cgroups }),
            Ok(cgroups) => {
                assert!(!cgroups.missing().is_empty());
                None
            }
            Err(error) => {
                assert!(error.to_string().contains("cgroup"), "{error}");
                None
            }
        }
    }

    /// Runs a program in the cgroups of mount `id`.
    fn spawn(&self, id: &str, program: &str, argument: &str) -> Child {
        let entrances = self.cgroups.place(id).unwrap();
        let mut command = Command::new(program);
        command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: `enter` makes only system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || enter(&entrances)) };
        command.spawn().unwrap()
    }

    /// The processes in a cgroup of one mount, or of the keepers, in every hierarchy that has it.
    fn members(&self, cgroup: &str) -> Vec<String> {
        let hierarchies = self.cgroups.hierarchies.iter();
        let files = hierarchies.map(|it| it.base.join(cgroup).join("cgroup.procs"));
        files.filter_map(|file| Some(fs::read_to_string(file).ok()?.trim().to_owned())).collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for hierarchy in &self.cgroups.hierarchies {
            remove(&hierarchy.keepers()).unwrap();
            remove(&hierarchy.base).unwrap();
        }
    }
}

#[test]
fn a_keeper_leaves_its_parents_cgroups_and_then_its_daemons() {
    let Some(own) = Own::prepare("moves") else { return };
    let mut keeper = own.spawn("m1", "/bin/sleep", "60");
    let pid = keeper.id().to_string();
    let limited = own.cgroups.hierarchies.iter().filter(|it| it.limits()).count();
    assert_eq!(own.members("m1"), vec![pid.clone(); limited]);

    let mut daemon = own.spawn("m1", "/bin/sleep", "60");
    let pids = [keeper.id(), daemon.id()].map(|pid| i32::try_from(pid).unwrap());
    for _ in 0..2 {
        own.cgroups.settle(pids[0], pids[1]).unwrap();
    }
    assert_eq!(own.members("m1"), vec![daemon.id().to_string(); limited]);
    assert!(own.members(KEEPERS).iter().all(|members| members.lines().any(|member| member == pid)));
    for hierarchy in &own.cgroups.hierarchies {
        if let Some(file) = hierarchy.memory {
            assert_eq!(fs::read_to_string(hierarchy.base.join("m1").join(file)).unwrap().trim(), "33554432");
        }
        if hierarchy.pids {
            assert_eq!(fs::read_to_string(hierarchy.base.join("m1").join(PIDS)).unwrap().trim(), "20");
        }
    }
    // Still in use: kept, and said.
    assert!(own.cgroups.release("m1").is_err());
    for child in [&mut keeper, &mut daemon] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    own.cgroups.release("m1").unwrap();
    assert!(own.members("m1").is_empty());
    own.cgroups.release("m1").unwrap();
    own.cgroups.settle(pids[0], pids[1]).unwrap();
}

/// Of a node plugin without mounts nothing is left but empty cgroups.
#[test]
fn cgroups_that_were_tidied_away_are_made_again() {
    let Some(own) = Own::prepare("tidy") else { return };
    for hierarchy in &own.cgroups.hierarchies {
        fs::remove_dir(hierarchy.keepers()).unwrap();
        fs::remove_dir(&hierarchy.base).unwrap();
    }
    let mut keeper = own.spawn("m1", "/bin/sleep", "60");
    let pid = i32::try_from(keeper.id()).unwrap();
    let settled = own.cgroups.settle(pid, pid);
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    own.cgroups.release("m1").unwrap();
    settled.unwrap();
}

/// `tail` keeps the last line of its input in memory, and this one never ends.
#[test]
fn the_memory_limit_kills_whoever_exceeds_it() {
    let Some(own) = Own::prepare("memory") else { return };
    if !own.cgroups.hierarchies.iter().any(|it| it.memory.is_some()) {
        assert!(own.cgroups.missing().iter().any(|what| what.contains("memory")));
        return;
    }
    let mut other = own.spawn("m2", "/bin/sleep", "60");
    let status = own.spawn("m1", "/usr/bin/tail", "/dev/zero").wait().unwrap();
    let lives = other.try_wait().unwrap().is_none();
    other.kill().unwrap();
    other.wait().unwrap();
    own.cgroups.release("m1").unwrap();
    own.cgroups.release("m2").unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    assert!(lives);
}

#[test]
fn what_is_missing_is_named() {
    let table = boathouse_mounts::parse(
        b"30 1 0:26 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n\
          31 1 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
          32 1 0:28 / /proc rw - proc proc rw\n",
    )
    .unwrap();
    let root = tempfile::tempdir().unwrap();
    let mut cgroups = Cgroups { hierarchies: Vec::new(), limits: LIMITS, missing: Vec::new() };
    cgroups.add(root.path(), NAME, &table[0], version(&table[0]).unwrap()).unwrap();
    assert_eq!(cgroups.missing(), ["/sys/fs/cgroup/memory is read-only"]);
    assert_eq!(cgroups.count(), 0);
    // What is no cgroup filesystem at all is named by its file.
    let error = cgroups.add(root.path(), NAME, &table[1], version(&table[1]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("/sys/fs/cgroup/unified/cgroup.controllers"), "{error}");
    assert_eq!(version(&table[2]), None);
}
