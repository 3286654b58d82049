//! A cluster that stays until it is told to end.

use crate::cluster::Cluster;
use crate::place::{LOG, Place};
use crate::{suite, warden};
use anyhow::{Context as _, bail};
use boathouse_testkit::parts::KubernetesParts;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// From an empty directory to a ready node.
const UP: Duration = Duration::from_secs(120);
const DOWN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// File with a line per step, and the one that says it is done.
const PROGRESS: &str = "progress";
const READY: &str = "ready";

/// Starts it in the background and shows how it comes up. `cargo xtask` has looked at the machine.
pub(super) fn up(place: &Place) -> anyhow::Result<ExitCode> {
    KubernetesParts::locate()?;
    // The files of one that crashed would be taken for this one's.
    let lock = place.lock()?;
    place.remove()?;
    drop(lock);
    let began = Instant::now();
    let log = Path::new(LOG);
    let output = File::create(log).with_context(|| format!("create {LOG}"))?;
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(["warden", "--detached", "--", "hold"]).stdin(Stdio::null());
    command.stdout(output.try_clone().context("share the log")?).stderr(output);
    // Ctrl-C here is not meant for it.
    command.process_group(0);
    // Before there is anything to end.
    let interrupted = Interrupted::watch()?;
    let mut child = command.spawn().context("start the cluster's warden")?;
    let mut shown = 0;
    loop {
        if interrupted.seen()? {
            println!("interrupted: ending what there is of the cluster");
            kill(Pid::from_raw(child.id().try_into()?), Signal::SIGTERM).context("ask the cluster to end")?;
            child.wait().context("wait for the cluster's end")?;
            return Ok(ExitCode::from(130));
        }
        let progress = place.read(PROGRESS).unwrap_or_default();
        for line in progress.lines().skip(shown) {
            println!("  {:5.1} s  {line}", began.elapsed().as_secs_f64());
            shown += 1;
        }
        if place.path(READY).exists() {
            break;
        }
        if let Some(status) = child.try_wait().context("look after the cluster")? {
            bail!("the cluster did not come up ({status}):\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        if began.elapsed() > UP {
            down(place)?;
            bail!("the cluster was not up within {UP:?}:\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::sleep(POLL);
    }
    println!(
        "up in {:.1} s; `cargo xtask cluster kubectl get pods -A`, `cargo xtask cluster down`",
        began.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C and SIGTERM, looked for between steps instead of ending this process.
struct Interrupted(SignalFd);

impl Interrupted {
    fn watch() -> anyhow::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&signals, flags).map(Self).context("make a signalfd")
    }

    fn seen(&self) -> anyhow::Result<bool> {
        Ok(self.0.read_signal().context("read a signal")?.is_some())
    }
}

/// The work inside.
pub(super) fn hold(place: &Place) -> anyhow::Result<ExitCode> {
    let parts = KubernetesParts::locate()?;
    let progress = File::create(place.path(PROGRESS)).context("create the progress file")?;
    let say = |line: &str| {
        let _ = writeln!(&progress, "{line}");
    };
    let cluster = Cluster::start(place, &parts, &say)?;
    suite::first_pod(&cluster)?;
    say("a pod has run");
    place.write(READY, "")?;
    cluster.watch()?;
    Ok(ExitCode::SUCCESS)
}

/// Ends it and waits until nothing of it is left.
pub(super) fn down(place: &Place) -> anyhow::Result<ExitCode> {
    if !place.is_locked() {
        println!("no cluster runs here");
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let pid = place.read("warden.pid").and_then(|text| text.trim().parse().ok());
    let pid: i32 = pid.context("the cluster has no warden.pid; it is just starting or ending")?;
    kill(Pid::from_raw(pid), Signal::SIGTERM).context("ask the cluster to end")?;
    while place.is_locked() {
        if began.elapsed() > DOWN {
            bail!("the cluster did not end within {DOWN:?}; see {}", place.directory().display());
        }
        std::thread::sleep(POLL);
    }
    let _ = fs::remove_file(LOG);
    println!("down in {:.1} s", began.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Becomes kubectl.
pub(super) fn kubectl(place: &Place, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let parts = KubernetesParts::locate()?;
    let mut command = inside(place, &parts.kubectl)?;
    command.env("KUBECONFIG", place.path("pki/admin.kubeconfig")).args(arguments);
    Err(command.exec()).context("run nsenter (util-linux)")
}

/// Prints a log, or the names of all.
pub(super) fn logs(place: &Place, component: Option<&str>) -> anyhow::Result<ExitCode> {
    let directory = place.path("log");
    match component {
        Some(component) => {
            let path = directory.join(format!("{component}.log"));
            let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            std::io::stdout().write_all(&text).context("print it")?;
        }
        None => {
            let entries =
                fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
            for entry in entries.flatten() {
                let path = entry.path();
                println!("{}", path.file_stem().unwrap_or_default().to_string_lossy());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn inside(place: &Place, program: &Path) -> anyhow::Result<Command> {
    warden::nsenter(place, program).context("no cluster runs here; `cargo xtask cluster up` starts one")
}
