//! The engine, asked through OpenBao as its users do.

use super::CALLERS;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Tenant, VaultAdmin};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) vault: &'a VaultAdmin,
    pub(super) tenant: &'a Tenant,
}

impl Ours<'_> {
    /// A key; gives its lease.
    pub(super) async fn issue(&self) -> anyhow::Result<(String, Duration)> {
        let began = Instant::now();
        let lease = issue(self.vault, &self.tenant.vault_path).await?;
        Ok((lease, began.elapsed()))
    }

    /// Returns when the user is deleted.
    pub(super) async fn revoke(&self, lease: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        revoke(self.vault, lease).await?;
        Ok(began.elapsed())
    }

    /// Through OpenBao and the plugin to OpenBao's storage and back.
    pub(super) async fn read_role(&self) -> anyhow::Result<Duration> {
        let path = self.tenant.vault_path.replacen("/keys/", "/roles/", 1);
        let began = Instant::now();
        self.vault.read(&path).await?;
        Ok(began.elapsed())
    }

    /// One write, on disk when it is answered.
    pub(super) async fn write_storage(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.vault.write("cubbyhole/bench", &json!({ "some": "text" })).await?;
        Ok(began.elapsed())
    }

    /// So many keys, by several callers; gives their leases, and keys per second.
    pub(super) async fn many(&self, keys: u32) -> anyhow::Result<(Vec<String>, f64)> {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for caller in 0..CALLERS {
            let (vault, path) = (self.vault.clone(), self.tenant.vault_path.clone());
            let share = keys / CALLERS + u32::from(caller < keys % CALLERS);
            tasks.spawn(async move {
                let mut leases = Vec::new();
                for _ in 0..share {
                    leases.push(issue(&vault, &path).await?);
                }
                anyhow::Ok(leases)
            });
        }
        let mut leases = Vec::new();
        while let Some(done) = tasks.join_next().await {
            leases.extend(done??);
        }
        Ok((leases, f64::from(keys) / began.elapsed().as_secs_f64()))
    }

    /// Revokes them, by several callers; gives revocations per second.
    pub(super) async fn revoke_all(&self, leases: Vec<String>) -> anyhow::Result<f64> {
        let mut tasks = JoinSet::new();
        let count = u32::try_from(leases.len())?;
        ensure!(count > 0, "there are no leases to revoke");
        let began = Instant::now();
        for share in leases.chunks(leases.len().div_ceil(CALLERS as usize)) {
            let (vault, share) = (self.vault.clone(), share.to_vec());
            tasks.spawn(async move {
                for lease in share {
                    revoke(&vault, &lease).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    }
}

async fn issue(vault: &VaultAdmin, path: &str) -> anyhow::Result<String> {
    let answer = vault.read(path).await?;
    answer["lease_id"].as_str().map(str::to_owned).context("keys without a lease")
}

async fn revoke(vault: &VaultAdmin, lease: &str) -> anyhow::Result<()> {
    vault.write("sys/leases/revoke", &json!({ "lease_id": lease, "sync": true })).await?;
    Ok(())
}
