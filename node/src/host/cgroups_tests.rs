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

    /// Runs a command in the cgroups of mount `id`.
    fn spawn(&self, id: &str, line: &[&str]) -> Child {
        spawn_in(self.cgroups.place(id).unwrap(), line)
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

/// Runs a command in the cgroups whose files these are.
fn spawn_in(entrances: Vec<File>, line: &[&str]) -> Child {
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: `enter` makes only system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(move || enter(&entrances)) };
    command.spawn().unwrap()
}

#[test]
fn a_keeper_leaves_its_parents_cgroups_and_then_its_daemons() {
    let Some(own) = Own::prepare("moves") else { return };
    let mut keeper = own.spawn("m1", &["/bin/sleep", "60"]);
    let pid = keeper.id().to_string();
    let limited = own.cgroups.hierarchies.iter().filter(|it| it.limits()).count();
    assert_eq!(own.members("m1"), vec![pid.clone(); limited]);

    let mut daemon = own.spawn("m1", &["/bin/sleep", "60"]);
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
    own.cgroups.release("m1").unwrap();
    assert!(own.members("m1").is_empty());
    assert_eq!(daemon.wait().unwrap().signal(), Some(9));
    let lives = keeper.try_wait().unwrap().is_none();
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    assert!(lives, "killed with its daemon");
    own.cgroups.release("m1").unwrap();
    own.cgroups.settle(pids[0], pids[1]).unwrap();
}

/// In every hierarchy, also in those in which no mount has a cgroup: both versions kill in their own way.
#[test]
fn whoever_is_in_a_cgroup_ends_with_it() {
    let Some(own) = Own::prepare("kill") else { return };
    for hierarchy in &own.cgroups.hierarchies {
        let cgroup = hierarchy.base.join("m1");
        make(&hierarchy.base, &cgroup, hierarchy.version).unwrap();
        let entrance = || vec![File::options().write(true).open(cgroup.join("cgroup.procs")).unwrap()];
        let mut children = [(); 3].map(|()| spawn_in(entrance(), &["/bin/sleep", "60"]));
        let removed = remove(&cgroup);
        let ended = children.each_mut().map(|child| {
            child.kill().unwrap();
            child.wait().unwrap()
        });
        removed.unwrap();
        assert!(!cgroup.exists() && ended.iter().all(|status| status.signal() == Some(9)), "{ended:?}");
    }
}

/// As many processes as there may be, all of which fork whenever one of them is gone.
#[test]
fn forking_is_no_escape() {
    let Some(own) = Own::prepare("forks") else { return };
    let Some(limiting) = own.cgroups.hierarchies.iter().find(|it| it.pids) else {
        assert!(own.cgroups.missing().iter().any(|what| what.contains("processes")));
        return;
    };
    // Ends by itself where nobody ends it.
    let forks = "$SIG{CHLD} = 'IGNORE'; $end = time + 10; fork while time < $end";
    let mut first = own.spawn("m1", &["/usr/bin/perl", "-e", forks]);
    let current = limiting.base.join("m1/pids.current");
    while fs::read_to_string(&current).unwrap().trim() != "20" && first.try_wait().unwrap().is_none() {}
    let released = own.cgroups.release("m1");
    let status = first.wait().unwrap();
    released.unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    assert!(own.members("m1").is_empty());
}

#[test]
fn a_cgroup_that_cannot_be_emptied_is_kept_and_said() {
    let Some(own) = Own::prepare("stuck") else { return };
    drop(own.cgroups.place("m1").unwrap());
    let inner: Vec<_> =
        own.cgroups.hierarchies.iter().filter(|it| it.limits()).map(|it| it.base.join("m1/inner")).collect();
    inner.iter().for_each(|cgroup| fs::create_dir(cgroup).unwrap());
    let error = own.cgroups.release("m1").unwrap_err();
    inner.iter().for_each(|cgroup| fs::remove_dir(cgroup).unwrap());
    own.cgroups.release("m1").unwrap();
    assert!(error.to_string().starts_with("remove cgroup /"), "{error}");
}

/// Of a node plugin without mounts nothing is left but empty cgroups.
#[test]
fn cgroups_that_were_tidied_away_are_made_again() {
    let Some(own) = Own::prepare("tidy") else { return };
    for hierarchy in &own.cgroups.hierarchies {
        fs::remove_dir(hierarchy.keepers()).unwrap();
        fs::remove_dir(&hierarchy.base).unwrap();
    }
    let mut keeper = own.spawn("m1", &["/bin/sleep", "60"]);
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
    let mut other = own.spawn("m2", &["/bin/sleep", "60"]);
    let status = own.spawn("m1", &["/usr/bin/tail", "/dev/zero"]).wait().unwrap();
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
