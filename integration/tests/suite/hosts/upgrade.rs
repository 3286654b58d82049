//! One release takes the place of another as docs/vault-plugin.md says: the mount, what it has stored and its leases
//! stay. Both are this repository's engine, in two programs of different version, file name and checksum; the Go
//! plugin is not to be had here.

use super::rig::Server;
use crate::scene::eventually;
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::programs;
use boathouse_testkit::stack::{Host, Issued, Mount, PLUGIN, Stack};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use vault_plugin_secrets_minio::VERSION;

/// File name, and version, of the release that comes after this one.
const NEXT: (&str, &str) = ("vault-plugin-secrets-minio-next", "v999.0.0");

async fn next_release() -> anyhow::Result<PathBuf> {
    Ok(tokio::task::spawn_blocking(|| programs::example("integration", "next-release")).await??)
}

/// A mount whose plugin is exchanged under it.
struct Upgraded<'a> {
    server: &'a Server,
    mount: Mount<'a>,
    /// What must not change: accessor, config and role.
    state: Value,
}

impl<'a> Upgraded<'a> {
    async fn new(server: &'a Server, stack: &'a Stack, path: &str) -> anyhow::Result<Self> {
        server.bao.register().await?;
        let mount = Mount::at(server.bao.admin(), stack.minio(), path);
        mount.enable().await?;
        mount.configure().await?;
        let role = json!({
            "policy": "readonly", "user_name_prefix": mount.prefix(), "default_ttl": "1h", "max_ttl": "3h",
        });
        mount.write("roles/r", &role).await?;
        let state = Value::Null;
        let mut upgraded = Self { server, mount, state };
        upgraded.state = upgraded.state_now().await?;
        Ok(upgraded)
    }

    async fn state_now(&self) -> anyhow::Result<Value> {
        let mounts = self.server.bao.admin().read("sys/mounts").await?;
        let accessor = &mounts["data"][format!("{}/", self.mount.path())]["accessor"];
        ensure!(accessor.is_string(), "{mounts}");
        Ok(json!([accessor, self.mount.read("config").await?, self.mount.read("roles/r").await?]))
    }

    /// After a reload, this file answers, and nothing else has changed.
    async fn reloaded(&self, file: &str) -> anyhow::Result<()> {
        let Self { server, mount, state } = self;
        server.bao.reload(PLUGIN).await?;
        ensure!(self.state_now().await? == *state, "{} is not {state}", self.state_now().await?);
        let running = || -> BTreeSet<_> {
            let programs = server.bao.plugins().into_iter();
            let programs = programs.filter_map(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
            programs.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
        };
        let expected = BTreeSet::from([file.to_owned()]);
        eventually("the program", Duration::from_secs(10), || running() == expected)
            .await
            .with_context(|| format!("{} runs {:?}, not {file}", mount.path(), running()))
    }

    async fn tuned(&self, version: &str) -> anyhow::Result<()> {
        let path = format!("sys/mounts/{}/tune", self.mount.path());
        self.server.bao.admin().write(&path, &json!({ "plugin_version": version })).await?;
        Ok(())
    }

    /// The lease is renewed, and then revoked: its user goes, and no other.
    async fn goes_on_with(&self, issued: &Issued) -> anyhow::Result<()> {
        let renewed = self.mount.renew(&issued.lease, 2 * 3600).await?;
        ensure!(renewed["lease_duration"] == 7200, "{renewed}");
        let before: BTreeSet<_> = self.mount.users().await?.into_iter().collect();
        self.mount.revoke(&issued.lease).await?;
        let after = self.mount.users().await?.into_iter().collect();
        let gone: Vec<_> = before.difference(&after).collect();
        ensure!(gone == [&issued.user], "{gone:?} went with the lease of {}", issued.user);
        Ok(())
    }
}

pub(super) async fn a_release_replaces_another_in_place_and_back(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let next = next_release().await?;
    let server = Server::start(shared, Host::openbao(&shared.parts)).await?;
    let upgraded = Upgraded::new(&server, stack, "upgraded").await?;
    let mount = &upgraded.mount;
    let [first, second] = [mount.issue("r").await?, mount.issue("r").await?];

    server.bao.register_as(PLUGIN, &server.bao.install(&next, NEXT.0)?).await?;
    // As the document warns.
    upgraded.reloaded(PLUGIN).await.context("a mount that is not tuned")?;
    upgraded.tuned(NEXT.1).await?;
    upgraded.reloaded(NEXT.0).await.context("up")?;
    upgraded.goes_on_with(&first).await.context("a lease of the release before")?;
    let [third, fourth] = [mount.issue("r").await?, mount.issue("r").await?];

    upgraded.tuned(VERSION).await?;
    upgraded.reloaded(PLUGIN).await.context("back")?;
    for (what, issued) in [("before", second), ("after", third)] {
        upgraded.goes_on_with(&issued).await.with_context(|| format!("a lease of the release {what}"))?;
    }
    ensure!(mount.users().await? == [fourth.user], "the last user is the mount's to end");
    Ok(upgraded.mount.finish().await?)
}

/// It knows no versions, and starts a process for each mount.
pub(super) async fn under_vault_1_4_the_last_one_registered_runs(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let next = next_release().await?;
    let server = Server::start(shared, Host::vault_1_4(&shared.parts)).await?;
    let upgraded = Upgraded::new(&server, stack, "upgraded14").await?;
    let mount = &upgraded.mount;
    let [first, second] = [mount.issue("r").await?, mount.issue("r").await?];

    server.bao.register_as(PLUGIN, &server.bao.install(&next, NEXT.0)?).await?;
    upgraded.reloaded(NEXT.0).await.context("up")?;
    upgraded.goes_on_with(&first).await.context("a lease of the release before")?;
    let third = mount.issue("r").await?;

    server.bao.register().await?;
    upgraded.reloaded(PLUGIN).await.context("back")?;
    for (what, issued) in [("before", second), ("after", third)] {
        upgraded.goes_on_with(&issued).await.with_context(|| format!("a lease of the release {what}"))?;
    }
    ensure!(mount.users().await?.is_empty());
    Ok(upgraded.mount.finish().await?)
}
