//! What a run left on the machine: mounts, processes, directories and cgroups.

use crate::guard;
use boathouse_mounts::table;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Programs that tests and demonstrations start, by file name.
const PROGRAMS: [&str; 18] = [
    "boathouse",
    "boathouse-controller",
    "boathouse-keeper",
    "boathouse-node",
    "vault-plugin-secrets-minio",
    "goofys",
    "minio",
    "bao",
    "vault",
    "csi-sanity",
    "boathouse-e2e",
    "containerd",
    "containerd-shim-runc-v2",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];

/// Everything of ours that exists now, each as a readable line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    things: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the machine.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn take() -> Result<Self, boathouse_mounts::MountError> {
        let mut things = BTreeSet::new();
        for entry in table()?.into_iter().filter(|entry| entry.fs_type.starts_with("fuse.")) {
            // The mount id: two mounts stacked on one path are two lines.
            let source = Path::new(&entry.source);
            things.insert(format!(
                "mount {} ({} from {}, id {})",
                entry.mount_point.display(),
                entry.fs_type,
                source.display(),
                entry.mount_id
            ));
        }
        for process in processes().into_iter().filter(Process::is_ours) {
            things.insert(format!("process {} {}", process.pid, process.line()));
        }
        for path in children(&guard::tree_parent()).into_iter().filter(|path| is_tree(path)) {
            things.insert(format!("directory {}", path.display()));
        }
        collect_cgroups(Path::new("/sys/fs/cgroup"), 0, &mut things);
        Ok(Self { things })
    }

    /// Only what belongs to directories that this process made ([`guard::TempTree`]), and cgroups, which have no such
    /// mark: others may run beside it.
    #[must_use]
    pub fn of_this_process(self) -> Self {
        self.of_process(std::process::id())
    }

    /// The same for another process.
    #[must_use]
    pub fn of_process(mut self, pid: u32) -> Self {
        let its = format!("{}{pid}-", guard::TREE_PREFIX);
        self.things.retain(|line| line.contains(&its) || line.starts_with("cgroup "));
        self
    }

    /// Only what a one-node cluster of ours makes, and cgroups: other tests may run beside it.
    #[must_use]
    pub fn of_cluster(mut self) -> Self {
        const WORDS: [&str; 6] =
            ["boathouse-test-cluster", "boathouse-e2e", "kube", "etcd", "containerd", "/var/lib/boathouse"];
        self.things
            .retain(|line| line.starts_with("cgroup ") || WORDS.iter().any(|word| line.contains(word)));
        self
    }

    /// What exists in `later` and did not exist here.
    pub fn new_in(&self, later: &Self) -> Vec<String> {
        later.things.difference(&self.things).cloned().collect()
    }

    /// What is on the machine now through this process ([`Snapshot::of_this_process`]) and was not when this was
    /// taken. Things that are about to go away are given `patience` to do so.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn diff(&self, patience: Duration) -> Result<Vec<String>, boathouse_mounts::MountError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = self.new_in(&Self::take()?.of_this_process());
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(left);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.things.iter().map(String::as_str)
    }
}

fn children(directory: &Path) -> Vec<PathBuf> {
    // What vanishes while it is looked at is not left over.
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn is_tree(path: &Path) -> bool {
    path.is_dir()
        && path.file_name().is_some_and(|name| name.as_bytes().starts_with(guard::TREE_PREFIX.as_bytes()))
}

/// The roots of all cgroup hierarchies: of version 1 below `/sys/fs/cgroup`, of version 2 itself or in `unified`.
#[must_use]
pub fn cgroup_roots() -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let mut roots = vec![base.to_owned()];
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        // A link is a second name (cpu → cpu,cpuacct).
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("cgroup.procs").exists() {
            roots.push(entry.path());
        }
    }
    roots
}

fn collect_cgroups(directory: &Path, depth: u32, things: &mut BTreeSet<String>) {
    for path in children(directory) {
        // A link is a second name (cpu → cpu,cpuacct).
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The node plugin's own cgroup stays on a host, as does its keepers'. One of a mount goes with the mount; with
        // a process in it, it is that process which is left.
        let of_a_mount = directory.ends_with("boathouse") && name != "keepers";
        let empty = || fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|members| members.is_empty());
        let of_a_cluster = ["kubepods", "k8s.io"].contains(&&*name);
        if (of_a_mount && empty()) || of_a_cluster || (name != "boathouse" && name.contains("boathouse")) {
            things.insert(format!("cgroup {}", path.display()));
        }
        if depth < 5 {
            collect_cgroups(&path, depth + 1, things);
        }
    }
}

/// A process, told from a later one with the same id by its start time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: i32,
    started: String,
    executable: PathBuf,
    arguments: Vec<Vec<u8>>,
}

impl Process {
    /// `None` when it is gone or a zombie.
    fn read(pid: i32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(directory.join("stat")).ok()?;
        // Fields from the third on follow the command in parentheses; start time is the 22nd (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        if fields.first() == Some(&"Z") {
            return None;
        }
        let arguments = fs::read(directory.join("cmdline")).ok()?;
        Some(Self {
            pid,
            started: (*fields.get(19)?).to_owned(),
            executable: fs::read_link(directory.join("exe")).unwrap_or_default(),
            arguments: arguments
                .split(|&byte| byte == 0)
                .filter(|part| !part.is_empty())
                .map(Vec::from)
                .collect(),
        })
    }

    fn is_ours(&self) -> bool {
        let name = |path: &Path| path.file_name().map(OsStr::to_owned);
        // The kernel adds a word when the file was replaced or removed.
        let executable = self.executable.to_string_lossy();
        let executable = Path::new(executable.strip_suffix(" (deleted)").unwrap_or(&executable));
        let first = self.arguments.first().map(|argument| Path::new(OsStr::from_bytes(argument)));
        [name(executable), first.and_then(name)]
            .into_iter()
            .flatten()
            .any(|name| PROGRAMS.iter().any(|program| name == *program))
    }

    fn names(&self, path: &Path) -> bool {
        let needle = path.as_os_str().as_bytes();
        self.arguments
            .iter()
            .map(Vec::as_slice)
            .chain([self.executable.as_os_str().as_bytes()])
            .any(|text| text.windows(needle.len()).any(|window| window == needle))
    }

    fn line(&self) -> String {
        let words: Vec<_> = self.arguments.iter().map(|word| String::from_utf8_lossy(word)).collect();
        words.join(" ")
    }
}

fn processes() -> Vec<Process> {
    children(Path::new("/proc"))
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// Kills every process whose executable or command line contains `path`, and waits until they are gone. The
/// path must be one that only our own processes can know, such as a directory with a random name.
pub(crate) fn end_processes_naming(path: &Path, limit: Duration) {
    let deadline = Instant::now() + limit;
    let own = std::process::id().cast_signed();
    loop {
        let found: Vec<_> = processes().into_iter().filter(|it| it.pid != own && it.names(path)).collect();
        if found.is_empty() || Instant::now() >= deadline {
            return;
        }
        for process in found {
            // Between reading and killing lie microseconds; the start time rules out everything before.
            if Process::read(process.pid).as_ref() == Some(&process) {
                let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::guard::{ProcessGuard, TempTree};
    use std::process::Command;

    #[test]
    fn a_directory_and_a_process_left_behind_are_found() {
        let before = Snapshot::take().unwrap();
        let tree = TempTree::new().unwrap();
        let program = tree.path().join("goofys");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut command = Command::new(&program);
        command.arg("1000");
        let guard = ProcessGuard::start("sleeper", command, &tree.path().join("log")).unwrap();
        let line = format!("process {} {} 1000", guard.pid(), program.display());
        let deadline = Instant::now() + Duration::from_secs(5);
        // Between fork and exec it still looks like this test.
        while !before.new_in(&Snapshot::take().unwrap()).contains(&line) {
            assert!(Instant::now() < deadline, "not found: {line}");
        }
        let directory = format!("directory {}", tree.path().display());
        assert!(before.new_in(&Snapshot::take().unwrap()).contains(&directory));
        drop(guard);
        drop(tree);
        let left = before.diff(Duration::from_secs(5)).unwrap();
        assert!(!left.contains(&line) && !left.contains(&directory), "{left:?}");
    }

    #[test]
    fn a_tree_takes_stray_processes_with_it() {
        let tree = TempTree::new().unwrap();
        let program = tree.path().join("stray");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("1000").spawn().unwrap();
        drop(tree);
        let status = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }
}
