//! One host with the engine mounted twice.

use crate::scene::eventually;
use crate::world::Shared;
use anyhow::Context as _;
use boathouse_testkit::guard::TempTree;
use boathouse_testkit::stack::{Bao, Host, PLUGIN, Stack, StackError, VaultAdmin};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Where the engine is mounted.
pub(super) const MOUNTS: [&str; 2] = ["one", "two"];

/// The host, and the MinIO it shares with others.
pub(super) struct Rig<'a> {
    // Before its directory: it ends first.
    pub(super) bao: Bao,
    pub(super) stack: &'a Stack,
    /// What the names of its users begin with.
    pub(super) slug: &'static str,
    _tree: TempTree,
}

/// What a read of keys gave.
pub(super) struct Issued {
    pub(super) lease: String,
    pub(super) user: String,
    pub(super) secret: String,
}

impl<'a> Rig<'a> {
    pub(super) async fn start(
        shared: &Shared,
        stack: &'a Stack,
        host: Host,
        slug: &'static str,
    ) -> anyhow::Result<Self> {
        let tree = TempTree::new()?;
        let name = host.name();
        let bao = Bao::start(host, Some(&shared.programs.vault_plugin), &tree).await?;
        let rig = Self { bao, stack, slug, _tree: tree };
        rig.mount().await.with_context(|| format!("mount the engine under {name}\n{}", rig.log_tail()))?;
        Ok(rig)
    }

    async fn mount(&self) -> Result<(), StackError> {
        self.bao.register().await?;
        let vault = self.bao.admin();
        let minio = self.stack.minio();
        for mount in MOUNTS {
            vault.write(&format!("sys/mounts/{mount}"), &json!({ "type": PLUGIN })).await?;
            let config = json!({
                "endpoint": minio.authority(),
                "accessKeyId": minio.root_user(),
                "secretAccessKey": minio.root_password().expose_secret(),
                "useSSL": false,
            });
            vault.write(&format!("{mount}/config"), &config).await?;
            let role = json!({ "policy": "readonly", "user_name_prefix": self.prefix(mount) });
            vault.write(&format!("{mount}/roles/r"), &role).await?;
        }
        Ok(())
    }

    fn prefix(&self, mount: &str) -> String {
        format!("{}-{mount}-", self.slug)
    }

    pub(super) async fn issue(&self, mount: &str) -> anyhow::Result<Issued> {
        issue(self.bao.admin(), mount).await
    }

    pub(super) async fn revoke(&self, lease: &str) -> Result<(), StackError> {
        let body = json!({ "lease_id": lease, "sync": true });
        self.bao.admin().call(reqwest::Method::PUT, "sys/leases/revoke", Some(&body)).await.map(drop)
    }

    /// The host's leases of a mount.
    pub(super) async fn leases(&self, mount: &str) -> Result<BTreeSet<String>, StackError> {
        let prefix = format!("{mount}/keys/r/");
        let keys = self.bao.admin().list(&format!("sys/leases/lookup/{prefix}")).await?;
        Ok(keys.into_iter().map(|key| format!("{prefix}{key}")).collect())
    }

    /// The MinIO users made through a mount.
    pub(super) async fn users(&self, mount: &str) -> Result<BTreeSet<String>, StackError> {
        let prefix = self.prefix(mount);
        Ok(self.stack.minio_users().await?.into_iter().filter(|user| user.starts_with(&prefix)).collect())
    }

    /// The plugin processes: one, or one per mount. Both mounts must have had a request.
    pub(super) async fn processes(&self) -> anyhow::Result<BTreeSet<i32>> {
        let count = if self.bao.host().multiplexes() { 1 } else { MOUNTS.len() };
        let what = format!("{count} plugin processes");
        eventually(&what, Duration::from_secs(10), || self.bao.plugins().len() == count)
            .await
            .with_context(|| format!("there are {:?}", self.bao.plugins()))?;
        Ok(self.bao.plugins().into_iter().collect())
    }

    /// The end of the host's log.
    pub(super) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.bao.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

async fn issue(vault: &VaultAdmin, mount: &str) -> anyhow::Result<Issued> {
    let answer = vault.read(&format!("{mount}/keys/r")).await?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("keys: a field is missing");
    Ok(Issued {
        lease: text(&answer["lease_id"])?,
        user: text(&answer["data"]["accessKeyId"])?,
        secret: text(&answer["data"]["secretAccessKey"])?,
    })
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
            let (vault, answered) = (rig.bao.admin().clone(), answered.clone());
            readers.spawn(async move {
                let mut done = Done::default();
                for read in 0..Self::READS_EACH {
                    let mount = MOUNTS[(reader + read) % MOUNTS.len()];
                    match issue(&vault, mount).await {
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
