//! One host with the engine mounted twice.

use crate::scene::eventually;
use crate::world::Shared;
use anyhow::Context as _;
use boathouse_testkit::guard::TempTree;
use boathouse_testkit::stack::{Bao, Host, Issued, Mount, Stack, StackError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Where the engine is mounted.
pub(super) const MOUNTS: [&str; 2] = ["one", "two"];

/// A host alone, with the plugin in its directory and not registered.
pub(super) struct Server {
    // Before its directory: it ends first.
    pub(super) bao: Bao,
    pub(super) tree: TempTree,
}

impl Server {
    pub(super) async fn start(shared: &Shared, host: Host) -> anyhow::Result<Self> {
        let tree = TempTree::new()?;
        let bao = Bao::start(host, Some(&shared.programs.vault_plugin), &tree).await?;
        Ok(Self { bao, tree })
    }

    /// All it and its plugins have said.
    pub(super) fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.bao.log())?)
    }
}

/// A host with the engine at both mounts, and the MinIO it shares with others.
pub(super) struct Rig<'a> {
    pub(super) server: Server,
    pub(super) stack: &'a Stack,
    /// What the names of its users begin with.
    pub(super) slug: &'static str,
}

impl<'a> Rig<'a> {
    pub(super) async fn start(
        shared: &Shared,
        stack: &'a Stack,
        host: Host,
        slug: &'static str,
    ) -> anyhow::Result<Self> {
        let name = host.name();
        let rig = Self { server: Server::start(shared, host).await?, stack, slug };
        rig.enable().await.with_context(|| format!("mount the engine under {name}\n{}", rig.log_tail()))?;
        Ok(rig)
    }

    async fn enable(&self) -> Result<(), StackError> {
        self.server.bao.register().await?;
        for mount in MOUNTS.map(|path| self.mount(path)) {
            mount.enable().await?;
            mount.configure().await?;
            mount.role("r", "readonly").await?;
        }
        Ok(())
    }

    pub(super) fn bao(&self) -> &Bao {
        &self.server.bao
    }

    pub(super) fn mount(&self, path: &str) -> Mount<'_> {
        let prefix = format!("{}-{path}-", self.slug);
        Mount::at(self.bao().admin(), self.stack.minio(), path).with_prefix(prefix)
    }

    /// The host's leases of a mount.
    pub(super) async fn leases(&self, mount: &str) -> Result<BTreeSet<String>, StackError> {
        Ok(self.mount(mount).leases("r").await?.into_iter().collect())
    }

    /// The MinIO users made through a mount.
    pub(super) async fn users(&self, mount: &str) -> Result<BTreeSet<String>, StackError> {
        Ok(self.mount(mount).users().await?.into_iter().collect())
    }

    /// The plugin processes: one, or one per mount. Both mounts must have had a request.
    pub(super) async fn processes(&self) -> anyhow::Result<BTreeSet<i32>> {
        let count = if self.bao().host().multiplexes() { 1 } else { MOUNTS.len() };
        let what = format!("{count} plugin processes");
        eventually(&what, Duration::from_secs(10), || self.bao().plugins().len() == count)
            .await
            .with_context(|| format!("there are {:?}", self.bao().plugins()))?;
        Ok(self.bao().plugins().into_iter().collect())
    }

    /// The end of the host's log.
    pub(super) fn log_tail(&self) -> String {
        let log = self.server.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// Reads of keys at both mounts, by several at once.
pub(super) struct Load {
    readers: JoinSet<Done>,
    answered: Arc<AtomicUsize>,
}

/// How the reads ended.
#[derive(Default)]
pub(super) struct Done {
    /// With the mount of each.
    pub(super) issued: Vec<(&'static str, Issued)>,
    pub(super) failed: usize,
}

impl Load {
    const READERS: usize = 4;
    const READS_EACH: usize = 6;
    pub(super) const READS: usize = Self::READERS * Self::READS_EACH;

    pub(super) fn start(rig: &Rig<'_>) -> Self {
        let (mut readers, answered) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for reader in 0..Self::READERS {
            let (vault, answered) = (rig.bao().admin().clone(), answered.clone());
            readers.spawn(async move {
                let mut done = Done::default();
                for read in 0..Self::READS_EACH {
                    let mount = MOUNTS[(reader + read) % MOUNTS.len()];
                    let path = format!("{mount}/keys/r");
                    let answer = vault.read(&path).await.and_then(|answer| Issued::of(&path, answer));
                    match answer {
                        Ok(issued) => done.issued.push((mount, issued)),
                        Err(_) => {
                            done.failed += 1;
                            // A host needs milliseconds to see that its plugin is gone.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                done
            });
        }
        Self { readers, answered }
    }

    /// How many reads have ended.
    pub(super) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) async fn finish(mut self) -> anyhow::Result<Done> {
        let mut all = Done::default();
        while let Some(done) = self.readers.join_next().await {
            let done = done?;
            all.issued.extend(done.issued);
            all.failed += done.failed;
        }
        Ok(all)
    }
}
