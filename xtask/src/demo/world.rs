//! Everything that runs during the demonstration.

use super::prepare::Prepared;
use super::story::{Story, brief};
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::kubelet::PodVolume;
use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::node::{NodeOptions, NodeProcess};
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::Programs;
use boathouse_testkit::stack::{Stack, Tenant};
use secrecy::ExposeSecret as _;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Life of service-account tokens. kubelet hands over fresh ones every so often; here nobody does.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Life of keys, unless a volume says `vault-ttl`.
const LEASE_LIFE: Duration = Duration::from_secs(3600);
/// Away from the default range, for a node plugin that may run on this machine.
const DAEMON_UIDS: &str = "64060000-64060099";

/// How a volume was mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    Csi,
    Flex,
}

/// A volume of a running pod.
#[derive(Debug, Clone)]
pub(super) struct Mounted {
    pub(super) volume: PodVolume,
    pub(super) target: PathBuf,
    pub(super) through: Through,
}

/// Dropping it ends everything, in the order of the fields.
pub(super) struct World {
    pub(super) node: NodeProcess,
    pub(super) mounted: Vec<Mounted>,
    pub(super) alice: Tenant,
    pub(super) bob: Tenant,
    /// What there was before the first mount.
    pub(super) before: Snapshot,
    pub(super) metrics: String,
    pub(super) stack: Stack,
    pub(super) parts: Parts,
    pub(super) programs: Programs,
}

impl World {
    /// Starts the servers and the node plugin, and makes two tenants.
    pub(super) async fn start(prepared: Prepared, story: &mut Story) -> anyhow::Result<Self> {
        let Prepared { parts, programs } = prepared;
        story.prologue("Setting up");
        let began = Instant::now();
        let stack = Stack::start(&parts, &programs).await.context("start OpenBao and MinIO")?;
        let servers = began.elapsed();
        let alice = stack.tenant("alice", LEASE_LIFE).await?;
        let bob = stack.tenant("bob", LEASE_LIFE).await?;
        let token = stack.tree().directory("node-token")?.join("token");
        fs::write(&token, stack.node_token(TOKEN_LIFE)?.expose_secret()).context("write the node's token")?;
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
        let options = NodeOptions::for_stack(&stack)?.with_flex(&token).flag("--daemon-uids", DAEMON_UIDS);
        let metrics = metrics_address(&options);
        let began = Instant::now();
        let node = NodeProcess::start("node", &parts, &programs, stack.tree(), options)
            .await
            .context("start boathouse-node")?;
        let ready = began.elapsed();
        let before = Snapshot::take()?.of_this_process();
        let world = Self { node, mounted: Vec::new(), alice, bob, before, metrics, stack, parts, programs };
        world.introduce(story, servers, ready);
        Ok(world)
    }

    fn introduce(&self, story: &mut Story, servers: Duration, ready: Duration) {
        let directory = self.stack.tree().path();
        story.line(&format!("  $D = {}, everything lies there", directory.display()));
        story.shorten(directory);
        let pid = |pid: Option<u32>| pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        story.line(&format!(
            "  OpenBao 2.7.2   {}{}, secrets engine minio/ = vault-plugin-secrets-minio",
            self.stack.bao().address(),
            pid(self.stack.bao().pid())
        ));
        story.line(&format!(
            "  MinIO           {}{}",
            self.stack.minio().url(),
            pid(self.stack.minio().pid())
        ));
        story.line(&format!("  both configured after {}", brief(servers)));
        for tenant in [&self.alice, &self.bob] {
            story.line(&format!(
                "  tenant {:8} bucket {}, MinIO policy {}, keys at {}",
                tenant.namespace, tenant.bucket, tenant.role, tenant.vault_path
            ));
        }
        story.line(
            "  Vault policy    {namespace of the service account} may read minio/keys/profile-{namespace}",
        );
        story.line(&format!("  boathouse-node  ready after {}{}", brief(ready), pid(self.node.pid())));
        story.end_act();
    }

    /// A volume with the tenant's bucket and path, for uid 1000 and gid 100 as notebooks have them.
    pub(super) fn volume(&self, tenant: &Tenant, pod: &str) -> PodVolume {
        PodVolume::new(
            tenant.pod(pod, TOKEN_LIFE),
            "data",
            &[
                ("bucket", &tenant.bucket),
                ("vault-path", &tenant.vault_path),
                ("uid", "1000"),
                ("gid", "100"),
            ],
        )
    }

    /// The users of both tenants at MinIO.
    pub(super) async fn users(&self) -> anyhow::Result<BTreeSet<String>> {
        let users = self.stack.minio_users().await.context("list MinIO's users")?;
        let mine = [&self.alice, &self.bob].into_iter().flat_map(|tenant| tenant.users_among(&users));
        Ok(mine.collect())
    }

    /// Polls until there are no users any more, or the time is over.
    pub(super) async fn users_gone(&self, limit: Duration) -> anyhow::Result<BTreeSet<String>> {
        let deadline = Instant::now() + limit;
        loop {
            let users = self.users().await?;
            if users.is_empty() || Instant::now() >= deadline {
                return Ok(users);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Directories of FUSE mounts, one per pair of keeper and daemon.
    pub(super) fn fuse_mounts(&self) -> usize {
        fs::read_dir(self.node.directory().join("state/mounts")).map_or(0, Iterator::count)
    }

    /// Process ids of a program that the node plugin installed.
    pub(super) fn processes(&self, program: &str) -> BTreeSet<i32> {
        let bin = self.node.directory().join("state/bin");
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
                    exe.starts_with(&bin) && exe.file_name().is_some_and(|name| name == program)
                })
            })
            .collect()
    }

    /// The FlexVolume driver as kubelet executes it; see [`boathouse_testkit::kubelet::callout`].
    pub(super) async fn callout(
        &self,
        arguments: &[&str],
    ) -> anyhow::Result<boathouse_testkit::kubelet::Callout> {
        let (shim, socket) = (self.programs.shim.clone(), self.node.agent_socket());
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let work = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            boathouse_testkit::kubelet::callout(&shim, &socket, &arguments)
        });
        Ok(work.await??)
    }

    /// What the node plugin has logged so far, in bytes.
    pub(super) fn log_length(&self) -> u64 {
        fs::metadata(self.node.log()).map_or(0, |metadata| metadata.len())
    }

    /// The lines it has logged from there on.
    pub(super) fn log_from(&self, offset: u64) -> Vec<String> {
        let log = fs::read(self.node.log()).unwrap_or_default();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(log.len());
        String::from_utf8_lossy(&log[from..]).lines().map(str::to_owned).collect()
    }

    /// The volume of a pod that runs.
    pub(super) fn mounted(&self, pod: &str) -> anyhow::Result<Mounted> {
        let found = self
            .mounted
            .iter()
            .find(|one| one.volume.claims.pod.as_ref().is_some_and(|claims| claims.name == pod));
        found.cloned().with_context(|| format!("pod {pod} has no volume"))
    }

    /// Ends everything. What an interrupted demonstration mounted goes with the directory.
    pub(super) fn end(mut self, story: &mut Story, interrupted: bool) {
        let began = Instant::now();
        let status = self.node.stop();
        drop(self);
        if !interrupted {
            story.prologue("Clearing up");
            let (ended, how) = match status {
                Some(status) => (status.success(), status.to_string()),
                None => (false, "it did not run any more".to_owned()),
            };
            story.claim(ended, &format!("the node plugin ends on SIGTERM ({how})"));
            story.line(&format!("    (servers and files removed after {})", brief(began.elapsed())));
        }
    }
}

fn metrics_address(options: &NodeOptions) -> String {
    let flag = options.arguments.iter().position(|argument| argument == "--metrics-addr");
    let value = flag.and_then(|flag| options.arguments.get(flag + 1));
    value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The user a process runs as (`Uid:` of proc(5)), and whether a word is anywhere in its arguments or
/// environment.
pub(super) fn look_at_process(pid: i32, word: &str) -> anyhow::Result<(u32, bool)> {
    let directory = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    };
    let status = read("status")?;
    let status = String::from_utf8_lossy(&status);
    let Some(line) = status.lines().find(|line| line.starts_with("Uid:")) else {
        bail!("no Uid in the status of process {pid}")
    };
    let uid = line.split_whitespace().nth(1).unwrap_or_default().parse()?;
    ensure!(!word.is_empty(), "no word to look for");
    let mut found = false;
    for name in ["cmdline", "environ"] {
        let content = read(name)?;
        found |= content.windows(word.len()).any(|window| window == word.as_bytes());
    }
    Ok((uid, found))
}
