//! Cgroups for keepers and daemons, beside everybody else's, in every hierarchy of the host.
//!
//! ```text
//!  <hierarchy>/boathouse/keepers      all keepers, without limits
//!                       /<mount id>   the FUSE daemon of one mount, with its limits
//! ```
//! A keeper is born in its mount's cgroup and moved to the others' when its daemon runs: so the daemon has its
//! limits from its first instruction and the keeper does not share them. In a hierarchy that limits neither memory
//! nor processes (cgroup v1 has one per controller) both stay in `keepers`. In cgroup v2 a cgroup with controllers
//! for its children holds no processes itself, which is why the keepers need a name too.

use boathouse_mounts::{Entry, MountError};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of our cgroup in every hierarchy.
pub const NAME: &str = "boathouse";

const KEEPERS: &str = "keepers";
/// Memory limit: in cgroup v2, in v1.
const MEMORY: [&str; 2] = ["memory.max", "memory.limit_in_bytes"];
const PIDS: &str = "pids.max";

/// How long a killed process may count as a member of its cgroup, also after its parent knows of its end.
const LINGER: Duration = Duration::from_millis(10);
const LINGERS: u32 = 50;

/// Limits of one mount's daemon; none for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory; a daemon that needs more is killed.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// A cgroup that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file operation failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The cgroup, or the file in it.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The host's mount table cannot be read.
    #[error(transparent)]
    Table(#[from] MountError),
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    move |source| CgroupError::Io { operation, path: path.to_owned(), source }
}

/// One mounted hierarchy.
#[derive(Debug)]
struct Hierarchy {
    /// Our cgroup in it.
    base: PathBuf,
    /// The file that takes a process which moves itself at birth; none where it is moved later.
    entrance: Option<&'static str>,
    version: Version,
    /// The file that limits memory, if this hierarchy does.
    memory: Option<&'static str>,
    /// Whether it limits processes.
    pids: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Hierarchy {
    fn prepare(root: &Path, name: &str, version: Version) -> Result<Self, CgroupError> {
        let base = root.join(name);
        let keepers = lay_out(root, &base, version)?;
        let memory = MEMORY.into_iter().find(|file| keepers.join(file).exists());
        let pids = keepers.join(PIDS).exists();
        // `cgroup.procs` waits for a grace period of the whole machine, some 10 ms. A single thread that moves itself
        // in v1 does not; v2 has no such way, and is left for later when it limits nothing.
        let entrance = match version {
            Version::V1 => Some("tasks"),
            Version::V2 => (memory.is_some() || pids).then_some("cgroup.procs"),
        };
        Ok(Self { base, entrance, version, memory, pids })
    }

    fn limits(&self) -> bool {
        self.memory.is_some() || self.pids
    }

    fn keepers(&self) -> PathBuf {
        self.base.join(KEEPERS)
    }

    /// Makes again what somebody who tidied up took for abandoned: without mounts it looks so.
    fn restore(&self) -> Result<(), CgroupError> {
        match self.base.parent() {
            Some(root) if !self.keepers().exists() => lay_out(root, &self.base, self.version).map(drop),
            _ => Ok(()),
        }
    }

    /// The file through which the keeper of a mount comes in when it is born, if it does.
    fn birthplace(&self, id: &str, limits: Limits) -> Result<Option<File>, CgroupError> {
        self.restore()?;
        let Some(entrance) = self.entrance else { return Ok(None) };
        let path = self.leaf(id, limits)?.join(entrance);
        File::options().write(true).open(&path).map(Some).map_err(failed("open", &path))
    }

    /// The cgroup in which the keeper of a mount is born, made if it is the mount's own.
    fn leaf(&self, id: &str, limits: Limits) -> Result<PathBuf, CgroupError> {
        if !self.limits() {
            return Ok(self.keepers());
        }
        let leaf = self.base.join(id);
        make(&self.base, &leaf, self.version)?;
        let wanted = [(self.memory, limits.memory), (self.pids.then_some(PIDS), limits.pids)];
        for (file, value) in wanted {
            if let (Some(file), Some(value)) = (file, value) {
                write(&leaf.join(file), &value.to_string())?;
            }
        }
        Ok(leaf)
    }
}

/// Makes our cgroup and that of the keepers, which is the answer.
fn lay_out(root: &Path, base: &Path, version: Version) -> Result<PathBuf, CgroupError> {
    let keepers = base.join(KEEPERS);
    for (parent, cgroup) in [(root, base), (base, &keepers)] {
        if version == Version::V2 {
            delegate(parent)?;
        }
        make(parent, cgroup, version)?;
    }
    Ok(keepers)
}

/// Makes a cgroup unless it is there.
fn make(parent: &Path, path: &Path, version: Version) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create cgroup", path)(error));
        }
        _ => {}
    }
    // A new v1 cpuset has neither processors nor memory and takes no process.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (own, parents) = (path.join(file), parent.join(file));
        if version == Version::V1 && own.exists() && read(&own)?.trim().is_empty() {
            write(&own, read(&parents)?.trim())?;
        }
    }
    Ok(())
}

/// Switches on, for the children of a v2 cgroup, the controllers that limit a mount.
fn delegate(cgroup: &Path) -> Result<(), CgroupError> {
    let (can, does) = (read(&cgroup.join("cgroup.controllers"))?, cgroup.join("cgroup.subtree_control"));
    let has = |list: &str, controller: &str| list.split_whitespace().any(|word| word == controller);
    let on = read(&does)?;
    for controller in ["memory", "pids"] {
        if has(&can, controller) && !has(&on, controller) {
            write(&does, &format!("+{controller}"))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    fs::write(path, value).map_err(failed("write", path))
}

/// The prepared hierarchies.
#[derive(Debug)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    limits: Limits,
    missing: Vec<String>,
}

impl Cgroups {
    /// Makes `name` and the keepers' cgroup in every hierarchy that is mounted below `root`: that of process 1, or
    /// this process' own.
    ///
    /// # Errors
    /// When a hierarchy that can be written to cannot be used.
    pub fn prepare(root: &Path, of_process_1: bool, name: &str, limits: Limits) -> Result<Self, CgroupError> {
        let path = Path::new(if of_process_1 { "/proc/1/mountinfo" } else { "/proc/self/mountinfo" });
        let document = fs::read(path).map_err(failed("read", path))?;
        let table = boathouse_mounts::parse(&document).map_err(MountError::from)?;
        let mut cgroups = Self { hierarchies: Vec::new(), limits, missing: Vec::new() };
        let mut seen = BTreeSet::new();
        for entry in &table {
            // A hierarchy may be mounted more than once.
            if let Some(version) = version(entry)
                && seen.insert(entry.device)
            {
                cgroups.add(root, name, entry, version)?;
            }
        }
        if limits.memory.is_some() && !cgroups.hierarchies.iter().any(|it| it.memory.is_some()) {
            cgroups.missing.push("no cgroup here limits memory".to_owned());
        }
        if limits.pids.is_some() && !cgroups.hierarchies.iter().any(|it| it.pids) {
            cgroups.missing.push("no cgroup here limits processes".to_owned());
        }
        Ok(cgroups)
    }

    fn add(&mut self, root: &Path, name: &str, entry: &Entry, version: Version) -> Result<(), CgroupError> {
        let point = &entry.mount_point;
        let read_only = || format!("{} is read-only", point.display());
        if entry.read_only {
            self.missing.push(read_only());
            return Ok(());
        }
        match Hierarchy::prepare(&root.join(point.strip_prefix("/").unwrap_or(point)), name, version) {
            Ok(hierarchy) => self.hierarchies.push(hierarchy),
            Err(CgroupError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                self.missing.push(read_only());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What cannot be had here, in words.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// How many hierarchies there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.hierarchies.len()
    }

    /// Makes the cgroups of a mount; the files are what [`enter`] needs.
    pub(super) fn place(&self, id: &str) -> Result<Vec<File>, CgroupError> {
        let files = self.hierarchies.iter().map(|hierarchy| hierarchy.birthplace(id, self.limits));
        let opened: Result<_, _> = files.filter_map(Result::transpose).collect();
        if opened.is_err() {
            // What was made by then; the error that is told is the first one.
            let _ = self.release(id);
        }
        opened
    }

    /// Moves a keeper to the others, and its daemon too where nobody has been moved yet; again is no different from
    /// once. A process that has ended is none that must be moved.
    pub(super) fn settle(&self, keeper_pid: i32, daemon_pid: i32) -> Result<(), CgroupError> {
        for hierarchy in &self.hierarchies {
            let movers = match (hierarchy.limits(), hierarchy.entrance) {
                (true, _) => &[keeper_pid][..],
                (false, None) => &[keeper_pid, daemon_pid],
                (false, Some(_)) => &[],
            };
            for pid in movers {
                match write(&hierarchy.keepers().join("cgroup.procs"), &pid.to_string()) {
                    Err(CgroupError::Io { source, .. })
                        if source.raw_os_error() == Some(Errno::ESRCH as i32) => {}
                    moved => moved?,
                }
            }
        }
        Ok(())
    }

    /// Removes the cgroups of a mount whose daemon has ended, and kills what it left in them; blocks for half a second
    /// at most.
    pub(super) fn release(&self, id: &str) -> Result<(), CgroupError> {
        let mut first = Ok(());
        for hierarchy in self.hierarchies.iter().filter(|it| it.limits()) {
            first = first.and(remove(&hierarchy.base.join(id)));
        }
        first
    }
}

fn version(entry: &Entry) -> Option<Version> {
    match entry.fs_type.as_str() {
        "cgroup" => Some(Version::V1),
        "cgroup2" => Some(Version::V2),
        _ => None,
    }
}

/// Removes a cgroup and whoever is in it.
fn remove(cgroup: &Path) -> Result<(), CgroupError> {
    let mut tries = 0;
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < LINGERS => {
                kill_members(cgroup);
                tries += 1;
                std::thread::sleep(LINGER);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove cgroup", cgroup)(error));
            }
            _ => return Ok(()),
        }
    }
}

/// How often who is in a cgroup is looked up and killed before the killed are given time: who forks must be met before
/// its child has forked, too.
const PASSES: u32 = 20;

/// Kills whoever is in a cgroup of a mount: what its daemon has made and, where it has not been moved yet, the keeper,
/// which has nothing to do any more. Who was forked meanwhile is seen at the removal, as is who cannot be killed.
fn kill_members(cgroup: &Path) {
    // Version 2 since Linux 5.14.
    if fs::write(cgroup.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    for _ in 0..PASSES {
        let members = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        if members.is_empty() {
            return;
        }
        // 0 is a process this one cannot name, and to `kill` it is everybody here.
        for pid in members.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Moves the calling process, which has one thread, to the cgroups whose files these are. Async-signal-safe.
pub(super) fn enter(entrances: &[File]) -> io::Result<()> {
    for entrance in entrances {
        nix::unistd::write(entrance, b"0")?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "cgroups_tests.rs"]
mod tests;
