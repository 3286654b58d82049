//! What a mount's daemon may use of its node.

use crate::faults::fake_daemon;
use crate::rotation::Load;
use crate::scene::{Scene, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::leftovers::cgroup_roots;
use boathouse_testkit::stack::Stack;
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tonic::Code;

/// The least that `--mount-pids-limit` takes.
const LIMIT: u64 = 32;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(the_process_limit_holds_in_one_mount_alone),
        beside!(a_daemon_at_its_process_limit_dies_alone),
        beside!(what_a_daemon_leaves_behind_ends_with_its_mount),
    ]
}

/// Processes that somebody who has taken over a daemon would make: as many as there may be, and not so many that a
/// limit which does not hold takes the machine.
struct Forks(Child);

impl Forks {
    /// Ends when the kernel has refused one.
    fn inside(cgroup: &Path) -> anyhow::Result<Self> {
        let mut shell = Command::new("sh");
        // 0 is whoever writes. The fork that fails ends the shell, and what it made stays.
        shell
            .args(["-c", "echo 0 > \"$0\" && for n in $(seq 99); do sleep 300 & done"])
            .arg(cgroup.join("cgroup.procs"));
        let mut forks = Self(shell.process_group(0).spawn().context("start a shell")?);
        let status = forks.0.wait()?;
        ensure!(!status.success(), "the shell ended with {status}");
        Ok(forks)
    }
}

impl Drop for Forks {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// The node plugin said at its start that this machine's cgroups cannot be had.
fn unlimited(scene: &Scene) -> bool {
    let said = ["mounts have no limits", "no cgroup here limits processes"];
    let unlimited = said.iter().any(|words| scene.has_logged(words));
    if unlimited {
        eprintln!("process limit: not run, because no cgroup here limits processes");
    }
    unlimited
}

/// A node plugin whose mounts may have [`LIMIT`] processes, and `goofys` for a daemon.
async fn limited(shared: &Shared, stack: &Stack, name: &str, goofys: PathBuf) -> anyhow::Result<Scene> {
    let limit = LIMIT.to_string();
    Scene::with(shared, stack, name, |options| {
        options.flag("--goofys", goofys).flag("--mount-pids-limit", limit)
    })
    .await
}

/// The one cgroup that limits processes, where there is one mount.
fn the_limiting(scene: &Scene) -> anyhow::Result<PathBuf> {
    let cgroups = limiting(scene);
    let [cgroup] = cgroups.as_slice() else { bail!("cgroups with a process limit: {cgroups:?}") };
    Ok(cgroup.clone())
}

/// The cgroups that limit processes, of the mounts there are.
fn limiting(scene: &Scene) -> Vec<PathBuf> {
    let mounts = scene.mounts();
    let ids = mounts.iter().filter_map(|mount| mount.file_name());
    let cgroups =
        ids.flat_map(|id| cgroup_roots().into_iter().map(move |root| root.join("boathouse").join(id)));
    cgroups.filter(|cgroup| cgroup.join("pids.max").exists()).collect()
}

/// The number in a file of a cgroup, or behind `max` in its `pids.events`.
fn number(cgroup: &Path, file: &str) -> anyhow::Result<u64> {
    let path = cgroup.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let digits = text.trim().trim_start_matches("max ");
    digits.parse().with_context(|| format!("{}: {text:?}", path.display()))
}

/// goofys itself is far from the limit: on two cores it has a dozen threads under any load. Whether it needs another
/// while there is none is chance, so its own mount may die here; its pod's next publish works either way.
async fn the_process_limit_holds_in_one_mount_alone(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = limited(shared, stack, "forks", shared.parts.goofys.clone()).await?;
    if unlimited(&scene) {
        return scene.finish(stack).await;
    }
    let volume = scene.volume("other");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let cgroup = the_limiting(&scene)?;
    let other = scene.volume("nb").with("bucket", "forks:beside");
    let beside = scene.node.publish(stack.identities(), &other).await?;
    ensure!(number(&cgroup, "pids.max")? == LIMIT && number(&cgroup, "pids.events")? == 0);

    let load = Load::on(&beside);
    let forks = Forks::inside(&cgroup)?;
    ensure!(number(&cgroup, "pids.events")? > 0, "nothing was refused");
    let processes = number(&cgroup, "pids.current")?;
    ensure!(processes <= LIMIT, "{processes} processes");
    for cgroup in limiting(&scene).iter().filter(|one| **one != cgroup) {
        ensure!(number(cgroup, "pids.events")? == 0, "the other mount is limited, too");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (operations, errors) = load.end();
    ensure!(operations > 0 && errors.is_empty(), "of {operations} failed: {errors:?}");

    drop(forks);
    let began = Instant::now();
    loop {
        scene.node.publish(stack.identities(), &volume).await?;
        let Err(error) = fs::write(target.join("after"), "1") else { break };
        // The daemon has died, and the node plugin is about to notice.
        ensure!(began.elapsed() < Duration::from_secs(20), "{error}\n{}", scene.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.node.unpublish(&other.id(), &beside).await?;
    scene.finish(stack).await
}

/// Of goofys' threads all but the first two are refused, and Go's runtime gives up. Its pod's other mount does not
/// notice, and the next publish works.
async fn a_daemon_at_its_process_limit_dies_alone(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let directory = stack.tree().directory("crowd")?;
    let (goofys, pipe) = (directory.join("goofys"), directory.join("pipe"));
    fs::copy(&shared.parts.goofys, &goofys)?;
    // Where there is a pipe, as many processes as there may be read from it until the daemon, its one writer, has ended.
    // Not more than in `Forks`, and not before the keeper has left for the others' cgroup.
    let script = format!(
        r#"if [ -e {pipe} ]; then
    while /bin/grep -q '/boathouse/[0-9a-f]*$' /proc/$PPID/cgroup; do /bin/sleep 0.01; done
    exec 9<>{pipe}
    (exec 8<{pipe} 9>&-; for n in $(/usr/bin/seq 99); do /bin/cat <&8 & done)
fi
exec {goofys} "$@""#,
        pipe = pipe.display(),
        goofys = goofys.display(),
    );
    let fake = fake_daemon(stack, "fake-crowded", &script)?;
    let scene = limited(shared, stack, "crowded", fake).await?;
    if unlimited(&scene) {
        return scene.finish(stack).await;
    }
    let other = scene.volume("nb").with("bucket", "crowded:beside");
    let beside = scene.node.publish(stack.identities(), &other).await?;
    let load = Load::on(&beside);

    mkfifo(&pipe, Mode::empty())?;
    fs::set_permissions(&pipe, fs::Permissions::from_mode(0o666))?;
    let volume = scene.volume("other");
    let answer = scene.node.publish(stack.identities(), &volume).await;
    refused(
        answer,
        Code::Internal,
        &["ended with exit code 2", "failed to create new OS thread", "crowded"],
    )?;
    fs::remove_file(&pipe)?;
    let target = scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("after"), "1")?;
    let (operations, errors) = load.end();
    ensure!(operations > 0 && errors.is_empty(), "of {operations} failed: {errors:?}");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.node.unpublish(&other.id(), &beside).await?;
    scene.finish(stack).await
}

/// Somebody who has taken over a daemon may leave processes behind, and its user is another mount's some day.
async fn what_a_daemon_leaves_behind_ends_with_its_mount(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let goofys = stack.tree().directory("orphans")?.join("goofys");
    fs::copy(&shared.parts.goofys, &goofys)?;
    // It keeps the FUSE session open as well.
    let script = format!(
        r#"/bin/sleep 300 >/dev/null 2>&1 &
until /bin/grep -q sleep /proc/$!/comm; do :; done
exec {} "$@""#,
        goofys.display()
    );
    let fake = fake_daemon(stack, "fake-parent", &script)?;
    let scene = limited(shared, stack, "orphans", fake).await?;
    if unlimited(&scene) {
        return scene.finish(stack).await;
    }
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("one"), "1")?;
    let cgroup = the_limiting(&scene)?;
    let members = fs::read_to_string(cgroup.join("cgroup.procs"))?;
    let is_orphan =
        |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|it| it == "sleep\n");
    let orphan = members.lines().find(is_orphan).with_context(|| format!("no sleep among {members:?}"))?;

    scene.node.unpublish(&volume.id(), &target).await?;
    // A process that nobody has waited for yet has no program any more.
    ensure!(fs::read_link(format!("/proc/{orphan}/exe")).is_err(), "process {orphan} is left");
    let id = cgroup.file_name().context("a cgroup has a name")?;
    for root in cgroup_roots() {
        let left = root.join("boathouse").join(id);
        ensure!(!left.exists(), "{} is left", left.display());
    }
    scene.finish(stack).await
}
