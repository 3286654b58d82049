//! What the inside of the namespaces looks like before anything runs: a machine of its own on this one's disk.
//!
//! Nothing here is seen outside: the mount namespace is private, the network has no way out, and the sysctls that
//! kubelet writes are files of ours.

use crate::place::Place;
use anyhow::{Context as _, bail};
use nix::mount::{MsFlags, mount};
use std::path::Path;
use std::process::{Command, Stdio};

/// The node's address, on one end of a veth pair: kubelet refuses a loopback address.
pub const NODE_ADDRESS: &str = "10.213.0.1";

/// The node's name.
pub const NODE: &str = "boathouse-e2e";

/// What kubelet's `ContainerManager` sets on the machine, with the values it wants.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// # Errors
/// When something cannot be mounted or set up.
pub(super) fn lay(place: &Place) -> anyhow::Result<()> {
    propagate("/", MsFlags::MS_SHARED)?;
    tmpfs("/run", "mode=0755")?;
    bind(&place.path("lib"), "/var/lib")?;
    // A small filesystem of its own, so that it can be full.
    tmpfs("/var/lib/boathouse", "mode=0711,size=256m")?;
    bind(&place.path("varlog"), "/var/log")?;
    for (name, value) in SYSCTLS {
        let sysctl = format!("/proc/sys/{name}");
        if Path::new(&sysctl).exists() {
            let file = place.write(&format!("sysctl/{}", name.replace('/', ".")), &format!("{value}\n"))?;
            mount(Some(&file), sysctl.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .with_context(|| format!("put a file over {sysctl}"))?;
        }
    }
    nix::unistd::sethostname(NODE).context("set the host name")?;
    network()
}

fn propagate(path: &str, how: MsFlags) -> anyhow::Result<()> {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_REC | how, None::<&str>)
        .with_context(|| format!("change the propagation of {path}"))
}

fn tmpfs(path: &str, options: &str) -> anyhow::Result<()> {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
        .with_context(|| format!("mount a tmpfs on {path}"))
}

/// A bind mount that shares nothing with where it comes from, or each mount below it would be there twice.
fn bind(from: &Path, to: &str) -> anyhow::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("bind {} to {to}", from.display()))?;
    propagate(to, MsFlags::MS_PRIVATE)?;
    propagate(to, MsFlags::MS_SHARED)
}

/// Loopback, and a pair of interfaces that lead to each other, because kubelet wants a default route. 10.96.0.1 is the
/// address of the API server's Service: there is no kube-proxy that would lead there.
fn network() -> anyhow::Result<()> {
    for line in [
        "link set lo up",
        "link add node0 type veth peer name node1",
        "link set node0 up",
        "link set node1 up",
        "address add 10.213.0.1/24 dev node0",
        "address add 10.96.0.1/32 dev node0",
        "route add default via 10.213.0.254 dev node0",
    ] {
        let status = Command::new("ip").args(line.split(' ')).stdin(Stdio::null()).status();
        if !status.context("run ip (Debian: iproute2)")?.success() {
            bail!("`ip {line}` failed");
        }
    }
    Ok(())
}
