//! The ways in which Vault 1.4.0 can be told to start a plugin, beyond its default.

use super::rig::Server;
use crate::scene::eventually;
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Host, Mount, PLUGIN, Stack};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use serde_json::json;
use std::fs;
use std::time::Duration;

/// Bit of `CAP_IPC_LOCK` in a set of capabilities (capabilities(7)).
const IPC_LOCK: u64 = 1 << 14;

/// A key is made and ended, by a mount that has its config.
async fn a_key(mount: &Mount<'_>) -> anyhow::Result<()> {
    mount.role("r", "readonly").await?;
    let issued = mount.issue("r").await?;
    ensure!(mount.users().await? == [issued.user]);
    mount.revoke(&issued.lease).await?;
    ensure!(mount.users().await?.is_empty() && mount.leases("r").await?.is_empty());
    Ok(())
}

/// Vault 1.4.0 offers 3 and 4, and the plugin takes 4. A script between them takes 4 out of the offer.
pub(super) async fn protocol_3_ends_in_keys(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let host = Host::vault_1_4(&shared.parts).with("log_level", json!("debug"));
    let server = Server::start(shared, host).await?;
    let script = server.tree.path().join("protocol-3");
    fs::write(
        &script,
        format!("#!/bin/sh\nPLUGIN_PROTOCOL_VERSIONS=3 exec \"${{0%/*}}/{PLUGIN}\" \"$@\"\n"),
    )?;
    server.bao.register_as(PLUGIN, &server.bao.install(&script, "protocol-3")?).await?;
    let mount = Mount::at(server.bao.admin(), stack.minio(), "protocol-3");
    let lived = async {
        mount.enable().await?;
        mount.configure().await?;
        a_key(&mount).await
    };
    lived.await.with_context(|| server.log().unwrap_or_default())?;
    // The words of go-plugin's host.
    let log = server.log()?;
    let agreed: Vec<_> = log.lines().filter(|line| line.contains("using plugin")).collect();
    ensure!(!agreed.is_empty() && agreed.iter().all(|line| line.contains("version=3")), "{agreed:#?}");
    Ok(mount.finish().await?)
}

/// The plugin trusts the authority it is told, and no key is served when it is told none.
pub(super) async fn the_unwrap_token_is_exchanged_over_tls(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let host = Host::vault_1_4(&shared.parts).over_tls();
    let server = Server::start(shared, host).await?;
    let mount = Mount::at(server.bao.admin(), stack.minio(), "over-tls");
    // What a plugin is, Vault asks in clear: only requests need the token.
    server.bao.register().await?;
    mount.enable().await?;
    let error = mount.configure().await.err().context("a config was written without the token")?;
    let said = format!("PUT {}/v1/sys/wrapping/unwrap: ", server.bao.address());
    let has_said = || server.log().is_ok_and(|log| log.contains(&said));
    // A moment after the answer.
    eventually("why", Duration::from_secs(5), has_said).await.with_context(|| error.to_string())?;
    let log = server.log()?;
    let line = log.lines().find(|line| line.contains(&said)).with_context(|| format!("{error}\n{log}"))?;
    ensure!(line.contains("certificate") && line.contains("-ca-cert"), "{line}");

    let authority = server.bao.authority().context("the host has no TLS")?;
    let mut entry = server.bao.entry(PLUGIN)?;
    entry["args"] = json!([format!("-ca-cert={}", authority.display())]);
    server.bao.register_as(PLUGIN, &entry).await?;
    server.bao.reload(PLUGIN).await?;
    mount.configure().await.with_context(|| server.log().unwrap_or_default())?;
    a_key(&mount).await?;
    Ok(mount.finish().await?)
}

/// The limit on locked memory binds those without `CAP_IPC_LOCK`; what this process has, its children have.
fn may_lock() -> anyhow::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).context("no CapEff")?;
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    Ok(limit == RLIM_INFINITY || u64::from_str_radix(set.trim(), 16)? & IPC_LOCK != 0)
}

/// Locked memory of a process, KiB.
fn locked(pid: impl std::fmt::Display) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmLck:")).context("no VmLck")?;
    Ok(size.trim().trim_end_matches(" kB").parse()?)
}

/// In memory, because Vault's disk storage maps far more than there is.
pub(super) async fn memory_is_locked_when_the_hosts_is(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    if !may_lock()? {
        eprintln!(
            "memory lock: not run, because neither CAP_IPC_LOCK nor an unlimited memlock (ulimit -l) is there"
        );
        return Ok(());
    }
    let host = Host::vault_1_4(&shared.parts).in_memory().locking_memory();
    let server = Server::start(shared, host).await?;
    server.bao.register().await?;
    let mount = Mount::at(server.bao.admin(), stack.minio(), "locked");
    mount.enable().await?;
    mount.configure().await.with_context(|| server.log().unwrap_or_default())?;
    a_key(&mount).await?;
    let host = server.bao.pid().context("the host ended")?;
    ensure!(locked(host)? > 0, "the host has not locked its memory, and asks no plugin to");
    let plugins = server.bao.plugins();
    ensure!(!plugins.is_empty(), "no plugin runs");
    for pid in plugins {
        // The program alone is larger than that.
        ensure!(locked(pid)? > 8 << 10, "the plugin has locked {} KiB", locked(pid)?);
    }
    // One that is told nothing locks nothing.
    for pid in stack.bao().plugins() {
        ensure!(locked(pid)? == 0, "locked without being told");
    }
    Ok(mount.finish().await?)
}
