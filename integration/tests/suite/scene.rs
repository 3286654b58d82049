//! One node plugin, one namespace: the place of most cases.

use crate::world::Shared;
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::kubelet::PodVolume;
use boathouse_testkit::node::{NodeOptions, NodeProcess};
use boathouse_testkit::stack::{Claims, Stack, Tenant};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// Life of service-account tokens and of leases, unless a case asks otherwise.
pub(crate) const LIFE: Duration = Duration::from_secs(600);

pub(crate) struct Scene {
    pub(crate) node: NodeProcess,
    pub(crate) tenant: Tenant,
}

impl Scene {
    pub(crate) async fn new(shared: &Shared, stack: &Stack, name: &str) -> anyhow::Result<Self> {
        Self::with(shared, stack, name, |options| options).await
    }

    pub(crate) async fn with(
        shared: &Shared,
        stack: &Stack,
        name: &str,
        change: impl FnOnce(NodeOptions) -> NodeOptions,
    ) -> anyhow::Result<Self> {
        let tenant = stack.tenant(name, LIFE).await?;
        let number = shared.nodes.fetch_add(1, Ordering::SeqCst);
        let first = 64_000_000 + number * 100;
        let options = NodeOptions::for_stack(stack)?
            .flag("--daemon-uids", format!("{first}-{}", first + 99))
            .flag("--log", "debug,h2=off,hyper=off,tower=off,reqwest=off,rustify=off");
        let node =
            NodeProcess::start(name, &shared.parts, &shared.programs, stack.tree(), change(options)).await?;
        Ok(Self { node, tenant })
    }

    /// A pod of the scene's namespace.
    pub(crate) fn claims(&self, pod: &str) -> Claims {
        self.tenant.pod(pod, LIFE)
    }

    /// A volume with the tenant's bucket and path, as uid 1000 and gid 100 as notebooks have it.
    pub(crate) fn volume(&self, pod: &str) -> PodVolume {
        PodVolume::new(
            self.claims(pod),
            "data",
            &[
                ("bucket", &self.tenant.bucket),
                ("vault-path", &self.tenant.vault_path),
                ("uid", "1000"),
                ("gid", "100"),
            ],
        )
    }

    /// The MinIO users this namespace has now.
    pub(crate) async fn users(&self, stack: &Stack) -> anyhow::Result<Vec<String>> {
        Ok(self.tenant.users_among(&stack.minio_users().await?))
    }

    /// Waits until the namespace has this many users.
    pub(crate) async fn wait_for_users(&self, stack: &Stack, count: usize) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let users = self.users(stack).await?;
            if users.len() == count {
                return Ok(users);
            }
            ensure!(
                Instant::now() < deadline,
                "{} MinIO users instead of {count}: {users:?}\n{}",
                users.len(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ids of the FUSE mounts there are.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        let directory = self.node.directory().join("state/mounts");
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// Process ids whose command line names this scene's directory or whose parent's does: keepers have no
    /// arguments, so they are found by their executable.
    pub(crate) fn processes(&self, program: &str) -> Vec<i32> {
        let bin = self.node.directory().join("state/bin");
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
                    exe.starts_with(&bin) && exe.file_name().is_some_and(|name| name == program)
                })
            })
            .collect()
    }

    /// The end of the node plugin's log, for messages.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.node.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Whether the node plugin has logged this, ever.
    pub(crate) fn has_logged(&self, words: &str) -> bool {
        std::fs::read_to_string(self.node.log()).is_ok_and(|log| log.contains(words))
    }

    /// Nothing may be left: no user, mount, daemon, keeper, note of a token, target.
    pub(crate) async fn finish(mut self, stack: &Stack) -> anyhow::Result<()> {
        self.wait_for_users(stack, 0).await?;
        let notes = self.node.directory().join("run/leases");
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = [
                ("mount directories", self.mounts().len()),
                ("daemons", self.processes("goofys").len()),
                ("keepers", self.processes("boathouse-keeper").len()),
                ("notes of tokens", std::fs::read_dir(&notes).map_or(0, Iterator::count)),
                ("FUSE mounts", fuse_mounts_below(self.node.directory())?.len()),
            ];
            if left.iter().all(|(_, count)| *count == 0) {
                break;
            }
            if Instant::now() >= deadline {
                bail!("left behind: {left:?}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let status = self.node.stop().context("the node plugin did not run any more")?;
        ensure!(status.success(), "the node plugin ended with {status}\n{}", self.log());
        Ok(())
    }
}

/// Where FUSE filesystems are mounted below a directory.
pub(crate) fn fuse_mounts_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let table = boathouse_mounts::table()?;
    let below = table.into_iter().filter(|entry| entry.fs_type.starts_with("fuse."));
    Ok(below.map(|entry| entry.mount_point).filter(|path| path.starts_with(directory)).collect())
}

/// The call must be refused with this code and words.
pub(crate) fn refused<T>(answer: Result<T, Status>, code: Code, words: &[&str]) -> anyhow::Result<Status> {
    let Err(status) = answer else { bail!("accepted instead of {code:?} with {words:?}") };
    ensure!(status.code() == code, "{:?} instead of {code:?}: {}", status.code(), status.message());
    for word in words {
        ensure!(status.message().contains(word), "{word:?} is not in: {}", status.message());
    }
    Ok(status)
}

/// Writes a file and hears what close(2) says. goofys uploads there; its fsync does nothing, and
/// [`std::fs::write`] passes over errors of close.
pub(crate) fn write_and_close(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(content)?;
    Ok(nix::unistd::close(file)?)
}

/// Polls until a condition holds.
pub(crate) async fn eventually(
    what: &str,
    limit: Duration,
    mut holds: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    while !holds() {
        ensure!(Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
