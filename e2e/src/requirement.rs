//! What a machine must have for a cluster, all that is missing named at once.

use boathouse_testkit::requirement::{self, Missing, Requirement};
use std::path::Path;

/// Programs, and the Debian packages they come in.
const PROGRAMS: [(&str, &str); 9] = [
    ("/usr/bin/etcd", "etcd-server"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/bin/ctr", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/nsenter", "util-linux"),
    ("/sbin/ip", "iproute2"),
];

/// Root, `/dev/fuse`, the programs of the distribution, and cgroups that can be written to.
///
/// # Errors
/// All that is missing.
pub fn check() -> Result<(), Missing> {
    let mut missing = match requirement::for_mounting() {
        Ok(()) => Vec::new(),
        Err(Missing(missing)) => missing,
    };
    missing.extend(PROGRAMS.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(path, package)| {
        Requirement {
            what: format!("{path} does not exist"),
            why: "the one-node cluster runs on it".into(),
            fix: format!("install the package (Debian: apt-get install {package})"),
        }
    }));
    missing.extend(cgroups());
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// A container often has its cgroups read-only.
fn cgroups() -> Option<Requirement> {
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
