//! A cluster goes, whichever way it ends, and leaves the machine as it was.

use crate::cluster;
use crate::tools::Lines;
use anyhow::{Context as _, ensure};
use boathouse_testkit::guard::{ProcessGuard, TempTree};
use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::parts::KubernetesParts;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// What kubelet and a container runtime change on a machine they have for themselves.
const SETTINGS: [&str; 8] = [
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/keys/root_maxbytes",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/kernel/hostname",
];

/// The machine, as far as a cluster could change it.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    settings: BTreeMap<&'static str, String>,
    interfaces: Vec<String>,
}

impl Machine {
    fn look() -> anyhow::Result<Self> {
        let settings = SETTINGS.map(|path| (path, fs::read_to_string(path).unwrap_or_default()));
        let mut interfaces: Vec<String> = fs::read_dir("/sys/class/net")
            .context("read /sys/class/net")?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        interfaces.sort_unstable();
        Ok(Self { settings: BTreeMap::from(settings), interfaces })
    }
}

pub(super) fn run() -> anyhow::Result<()> {
    KubernetesParts::obtain(&mut Lines::new())?;
    let program = cluster::program()?;
    let tree = TempTree::new()?;
    let (before, machine) = (Snapshot::take()?, Machine::look()?);

    let up = Instant::now();
    call(&program, "up")?;
    let up = up.elapsed();
    let down = Instant::now();
    call(&program, "down")?;
    eprintln!("  up in {:.1} s, down in {:.1} s", up.as_secs_f64(), down.elapsed().as_secs_f64());
    nothing_left(&before, &machine, "down")?;

    let mut command = Command::new(&program);
    command.arg("up");
    let mut up = ProcessGuard::start("cluster up", command, &tree.path().join("up"))?;
    says(&up, "containerd")?;
    up.signal(Signal::SIGINT)?;
    up.wait(LIMIT).context("Ctrl-C did not end cluster up")?;
    nothing_left(&before, &machine, "Ctrl-C while it came up")?;

    // The suite is killed in the middle: nobody tells the cluster to end.
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut command = Command::new(&program);
        command.args(["suite", "volumes"]);
        let mut suite = ProcessGuard::start("the suite", command, &tree.path().join(signal.as_str()))?;
        // Until pods have been there: mounts, keepers, daemons.
        says(&suite, "\nok ")?;
        suite.signal(signal)?;
        suite.wait(LIMIT).with_context(|| format!("{signal} did not end the suite"))?;
        nothing_left(&before, &machine, signal.as_str())?;
    }

    // Its own guard is killed. The kernel ends the rest; cgroups stay until the next cluster starts.
    call(&program, "up")?;
    let warden =
        fs::read_to_string("/tmp/boathouse-test-cluster/warden.pid").context("read the warden's pid")?;
    kill(Pid::from_raw(warden.trim().parse()?), Signal::SIGKILL).context("kill the warden")?;
    call(&program, "up")?;
    call(&program, "down")?;
    nothing_left(&before, &machine, "the death of its warden")
}

/// Waits until a program has printed `words`.
fn says(program: &ProcessGuard, words: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while !fs::read_to_string(program.log())?.contains(words) {
        let goes_on = program.is_running() && began.elapsed() < LIMIT;
        ensure!(goes_on, program.broken(format!("did not come to {words:?}")));
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn call(program: &Path, verb: &str) -> anyhow::Result<()> {
    let status = Command::new(program).arg(verb).status().context("run boathouse-e2e")?;
    ensure!(status.success(), "boathouse-e2e {verb} ended with {status}");
    Ok(())
}

fn nothing_left(before: &Snapshot, machine: &Machine, after: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + GONE;
    loop {
        let left = before.new_in(&Snapshot::take()?.of_cluster());
        let now = Machine::look()?;
        if left.is_empty() && now == *machine {
            eprintln!("  nothing is left after {after}");
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "left after {after}:\n  {}\nthe machine was {machine:?}, and is {now:?}",
            left.join("\n  ")
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
