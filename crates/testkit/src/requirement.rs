//! What a machine must have. Everything that is missing is named at once, each with what to do about it.

use nix::sys::statvfs::statvfs;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Free space that building every part takes, in bytes: the parts, an unpacked wheel, Go's work directory and
/// its caches of modules and of compiled packages.
pub const FREE: u64 = 6 << 30;

/// The same for Vault 1.21.0 alone.
pub const FREE_FOR_VAULT_1_21: u64 = 8 << 30;

/// The same for Kubernetes' programs.
pub const FREE_FOR_KUBERNETES: u64 = 6 << 30;

/// The oldest Go that builds every part (`go` line of `tools/kubernetes/go.mod`).
const GO: (u32, u32) = (1, 26);

/// One missing thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// What is missing, or what is wrong with what is there.
    pub what: String,
    /// What it is needed for.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// Everything that is missing; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Missing(pub Vec<Requirement>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this machine lacks something:")?;
        for Requirement { what, why, fix } in &self.0 {
            write!(f, "\n  - {what} ({why})\n      -> {fix}")?;
        }
        Ok(())
    }
}

fn verdict(missing: Vec<Requirement>) -> Result<(), Missing> {
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// What building third-party parts takes; `free` bytes of space among it.
///
/// # Errors
/// All that is missing.
pub fn for_building(cache: &Path, go: bool, python: bool, free: u64) -> Result<(), Missing> {
    let mut missing = Vec::new();
    if go {
        missing.extend(check_go());
    }
    if python {
        missing.extend(check_python());
    }
    missing.extend(check_space(cache, free));
    verdict(missing)
}

/// What mounting takes: root and `/dev/fuse`.
///
/// # Errors
/// All that is missing.
pub fn for_mounting() -> Result<(), Missing> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push(Requirement {
            what: "root".into(),
            why: "FUSE filesystems are mounted with mount(2)".into(),
            fix: "run the command as root, for instance with sudo -E".into(),
        });
    }
    let fuse = Path::new("/dev/fuse");
    let problem = match std::fs::File::options().read(true).write(true).open(fuse) {
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some((
            "/dev/fuse does not exist".to_owned(),
            "load the kernel module (modprobe fuse); in a container, pass the device (--device /dev/fuse)",
        )),
        Err(error) => Some((
            format!("/dev/fuse cannot be opened ({error})"),
            "allow the device for this user or container",
        )),
    };
    if let Some((what, fix)) = problem {
        missing.push(Requirement { what, why: "buckets are mounted through FUSE".into(), fix: fix.into() });
    }
    verdict(missing)
}

/// Programs of the distribution a cluster is made of, where they may be, and the Debian packages they come in.
const CLUSTER_PROGRAMS: [(&str, &[&str], &str); 10] = [
    ("etcd", &["/usr/bin"], "etcd-server"),
    ("containerd", &["/usr/bin"], "containerd"),
    ("ctr", &["/usr/bin"], "containerd"),
    ("runc", &["/usr/sbin", "/usr/bin"], "runc"),
    ("bridge", &["/usr/lib/cni"], "containernetworking-plugins"),
    ("busybox", &["/bin"], "busybox-static"),
    ("unshare", &["/usr/bin"], "util-linux"),
    ("nsenter", &["/usr/bin"], "util-linux"),
    ("setpriv", &["/usr/bin"], "util-linux"),
    ("ip", &["/sbin", "/usr/sbin", "/usr/bin"], "iproute2"),
];

/// Directories that are others inside a cluster's namespaces.
const COVERED: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// What a one-node cluster takes: mounting, the distribution's programs, cgroups that can be written to.
///
/// # Errors
/// All that is missing.
pub fn for_cluster() -> Result<(), Missing> {
    let mut missing = match for_mounting() {
        Ok(()) => Vec::new(),
        Err(Missing(missing)) => missing,
    };
    for (program, directories, package) in CLUSTER_PROGRAMS {
        if !directories.iter().any(|directory| Path::new(directory).join(program).exists()) {
            missing.push(Requirement {
                what: format!("{program} is not in {}", directories.join(" or ")),
                why: "the one-node cluster runs on it".into(),
                fix: format!("install the package (Debian: apt-get install {package})"),
            });
        }
    }
    let places = [crate::cache_directory(), Some(crate::repository()), std::env::current_exe().ok()];
    for place in places.into_iter().flatten() {
        if let Some(covered) = COVERED.iter().find(|covered| place.starts_with(covered)) {
            missing.push(Requirement {
                what: format!("{} is below {covered}", place.display()),
                why: "the cluster has a directory of its own there, and does not see this one".into(),
                fix: "move the checkout, or set XDG_CACHE_HOME or CARGO_TARGET_DIR to another place".into(),
            });
        }
    }
    missing.extend(check_cgroups());
    verdict(missing)
}

/// A container often has its cgroups read-only.
fn check_cgroups() -> Option<Requirement> {
    let base = Path::new("/sys/fs/cgroup");
    let memory = [base.join("memory"), base.to_owned()];
    let root = memory.iter().find(|path| path.join("cgroup.procs").exists());
    let writable = root.is_some_and(|root| {
        nix::unistd::access(&root.join("cgroup.procs"), nix::unistd::AccessFlags::W_OK).is_ok()
    });
    (!writable).then(|| Requirement {
        what: "no writable cgroup hierarchy at /sys/fs/cgroup".into(),
        why: "kubelet makes a cgroup for each pod".into(),
        fix: "mount it read-write, or run on the host".into(),
    })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check_go() -> Option<Requirement> {
    let why = "MinIO, Vault, goofys and csi-sanity are built from Go modules".to_owned();
    let (major, minor) = GO;
    let fix = format!("install Go {major}.{minor} or newer and put `go` on PATH");
    let Some(said) = output("go", &["env", "GOVERSION"]) else {
        return Some(Requirement { what: "go is not on PATH".into(), why, fix });
    };
    match go_version(&said) {
        Some(version) if version < GO => {
            Some(Requirement { what: format!("{} is too old", said.trim()), why, fix })
        }
        // An unreleased toolchain says "devel"; the build itself will tell.
        _ => None,
    }
}

/// `go1.26.8` → (1, 26).
fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn check_python() -> Option<Requirement> {
    let why = "OpenBao comes as a Python package".to_owned();
    if output("python3", &["--version"]).is_none() {
        let fix = "install Python 3 with pip (Debian: apt-get install python3-pip)".into();
        return Some(Requirement { what: "python3 is not on PATH".into(), why, fix });
    }
    if output("python3", &["-m", "pip", "--version"]).is_none() {
        let fix = "install pip for it (Debian: apt-get install python3-pip)".into();
        return Some(Requirement { what: "python3 has no pip".into(), why, fix });
    }
    None
}

fn check_space(cache: &Path, needed: u64) -> Option<Requirement> {
    // When the question fails, the build's own error is the better message.
    let status = statvfs(cache).ok()?;
    let free = status.blocks_available().saturating_mul(status.fragment_size());
    (free < needed).then(|| Requirement {
        what: format!("{} MiB free in {}, {} needed", free >> 20, cache.display(), needed >> 20),
        why: "third-party programs are built and kept there".into(),
        fix: "free some space, or set XDG_CACHE_HOME to a directory on another disk".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.25rc1"), Some((1, 25)));
        assert_eq!(go_version("devel +abc"), None);
        assert!(go_version("go1.9").is_some_and(|version| version < GO));
    }

    #[test]
    fn everything_missing_is_named_with_what_to_do() {
        let one = |what: &str, fix: &str| Requirement { what: what.into(), why: "w".into(), fix: fix.into() };
        let text = Missing(vec![one("go is not on PATH", "install Go"), one("root", "use sudo")]).to_string();
        assert_eq!(
            text,
            "this machine lacks something:\n  - go is not on PATH (w)\n      -> install Go\n  - root (w)\n      -> use sudo"
        );
        assert_eq!(verdict(Vec::new()), Ok(()));
    }
}
