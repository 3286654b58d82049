//! The secrets engine under every host it is made for, each started beside the shared MinIO: OpenBao of two
//! generations, Vault 1.4.0, where plugins start the old way, and Vault 1.21.0 where somebody has built it.

mod log;
mod rig;
mod seeded;
mod starts;
mod upgrade;

use crate::engine::legacy;
use crate::scene::eventually;
use crate::world::{Case, Shared, apart, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Host, PLUGIN, SHARED_BUCKET, Stack};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::{Load, MOUNTS, Rig};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(the_engine_under_openbao_2_7),
        beside!(the_engine_under_openbao_2_6),
        beside!(the_engine_under_vault_1_4),
        beside!(the_engine_under_vault_1_21),
        apart!(the_engine_under_a_host_that_has_one_connection_for_everything),
        beside!(starts::protocol_3_ends_in_keys),
        beside!(starts::the_unwrap_token_is_exchanged_over_tls),
        beside!(starts::memory_is_locked_when_the_hosts_is),
        beside!(upgrade::a_release_replaces_another_in_place_and_back),
        beside!(upgrade::under_vault_1_4_the_last_one_registered_runs),
        beside!(seeded::what_the_go_plugin_left_on_disk_is_taken_over),
        apart!(log::no_secret_is_in_the_log_of_openbao),
        apart!(log::no_secret_is_in_the_log_of_vault_1_4),
    ]
}

/// What a host itself answers differently from the one of the recording.
const OF_VAULT_1_4: &str = include_str!("hosts/vault-1.4.txt");
const OF_VAULT_1_21: &str = include_str!("hosts/vault-1.21.txt");

async fn the_engine_under_openbao_2_7(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let host = Host::openbao(&shared.parts);
    life(Rig::start(shared, stack, host.clone(), "bao27").await?).await?;
    life(Rig::start(shared, stack, host.without_multiplexing(), "bao27-alone").await?).await
}

async fn the_engine_under_openbao_2_6(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let host = Host::openbao_2_6(&shared.parts);
    let rig = Rig::start(shared, stack, host.clone(), "bao26").await?;
    legacy::replayed(rig.bao(), stack.minio(), "").await?;
    life(rig).await?;
    life(Rig::start(shared, stack, host.without_multiplexing(), "bao26-alone").await?).await
}

async fn the_engine_under_vault_1_4(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let rig = Rig::start(shared, stack, Host::vault_1_4(&shared.parts), "vault14").await?;
    legacy::replayed(rig.bao(), stack.minio(), OF_VAULT_1_4).await?;
    life(rig).await
}

async fn the_engine_under_vault_1_21(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let Some(host) = Host::vault_1_21() else {
        eprintln!("Vault 1.21.0: not run, because it is not built; `cargo xtask tools vault-1.21` builds it");
        return Ok(());
    };
    let rig = Rig::start(shared, stack, host.clone(), "vault121").await?;
    legacy::replayed(rig.bao(), stack.minio(), OF_VAULT_1_21).await?;
    life(rig).await?;
    life(Rig::start(shared, stack, host.without_multiplexing(), "vault121-alone").await?).await
}

/// As for plugins in containers: go-plugin's own host, told to multiplex its broker.
async fn the_engine_under_a_host_that_has_one_connection_for_everything(
    shared: &Shared,
) -> anyhow::Result<()> {
    let mut go = tokio::process::Command::new("go");
    go.args(["run", "-mod=readonly", "-buildvcs=false", "."]).arg(&shared.programs.vault_plugin);
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").env_remove("GOFLAGS").kill_on_drop(true);
    let said = go.current_dir(boathouse_testkit::repository().join("tools/plugin-host")).output();
    let said = said.await.context("run go, which the third-party programs are built with")?;
    let text = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "{}: {text}", said.status);
    ensure!(text.contains("client muxer connected"), "the host did not multiplex: {text}");
    Ok(())
}

/// Everything that may happen to two mounts, in one story: what one chapter leaves is the next one's start.
async fn life(rig: Rig<'_>) -> anyhow::Result<()> {
    let name = rig.bao().host().name();
    let told = async {
        documented(&rig).await.context("help and OpenAPI")?;
        keys_live_and_die(&rig).await.context("keys")?;
        reloaded(&rig).await.context("plugin reload")?;
        killed_under_load(&rig).await.context("plugin killed under load")?;
        sealed(&rig).await.context("seal and unseal")?;
        disabled(&rig).await.context("mounts disabled")
    };
    told.await.with_context(|| format!("{name}\n{}", rig.log_tail()))
}

/// Every path of the engine has a help text and stands in the host's OpenAPI document, for both mounts.
async fn documented(rig: &Rig<'_>) -> anyhow::Result<()> {
    let vault = rig.bao().admin();
    let document = vault.read("sys/internal/specs/openapi").await?;
    for mount in MOUNTS {
        let root = vault.read(&format!("{mount}/?help=1")).await?;
        ensure!(root["help"].as_str().is_some_and(|text| text.contains("MinIO")), "{root}");
        let paths = root["openapi"]["paths"].as_object().context("no OpenAPI paths")?;
        ensure!(
            ["/config", "/roles/{role}", "/keys/{role}"].iter().all(|path| paths.contains_key(*path)),
            "{root}"
        );
        for path in paths.keys() {
            let listed = &document["paths"][format!("/{mount}{path}")];
            ensure!(listed.is_object(), "{mount}{path} is not in the host's OpenAPI document");
            let concrete: Vec<_> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            let help = vault.read(&format!("{mount}{}?help=1", concrete.join("/"))).await?;
            let text = help["help"].as_str().unwrap_or_default();
            ensure!(text.starts_with("Request:") && text.contains("Matching Route:"), "{path}: {help}");
        }
    }
    Ok(())
}

/// A key works for what its policy allows, until its lease is revoked.
async fn keys_live_and_die(rig: &Rig<'_>) -> anyhow::Result<()> {
    let minio = rig.stack.minio();
    let object = format!("hosts/{}", rig.slug);
    minio.put_object(SHARED_BUCKET, &object, b"content").await?;
    for mount in MOUNTS {
        let issued = rig.mount(mount).issue("r").await?;
        ensure!(rig.users(mount).await? == BTreeSet::from([issued.user.clone()]));
        let read = async || minio.get_object_as(&issued.user, &issued.secret, SHARED_BUCKET, &object).await;
        ensure!(read().await? == b"content");
        rig.mount(mount).revoke(&issued.lease).await?;
        ensure!(rig.users(mount).await?.is_empty() && rig.leases(mount).await?.is_empty());
        let status = read().await.err().and_then(|error| error.status());
        ensure!(status == Some(403), "a revoked key: {status:?}");
    }
    rig.processes().await?;
    Ok(())
}

/// A reload ends the processes, and nothing else.
async fn reloaded(rig: &Rig<'_>) -> anyhow::Result<()> {
    let issued = rig.mount(MOUNTS[0]).issue("r").await?;
    let before = rig.processes().await?;
    rig.bao().reload(PLUGIN).await?;
    // Lazily: a host starts the plugin again when it has a request for it.
    for mount in MOUNTS {
        let role = rig.bao().admin().read(&format!("{mount}/roles/r")).await?;
        ensure!(role["data"]["policy"] == "readonly", "{role}");
    }
    let after = rig.processes().await?;
    ensure!(before.is_disjoint(&after), "{before:?} became {after:?}");
    rig.mount(MOUNTS[0]).revoke(&issued.lease).await?;
    ensure!(rig.users(MOUNTS[0]).await?.is_empty());
    Ok(())
}

/// Keys are read at both mounts while a plugin process is killed. Reads may fail; what was answered is true: every
/// lease has its own user, and the host has no other lease. A read that failed may have made a user that the
/// engine's log knows, and takes back when it is old.
async fn killed_under_load(rig: &Rig<'_>) -> anyhow::Result<()> {
    let before = rig.processes().await?;
    let load = Load::start(rig);
    let began = eventually("load", Duration::from_secs(20), || load.answered() >= 3).await;
    let victim = *before.first().context("no plugin runs")?;
    kill(Pid::from_raw(victim), Signal::SIGKILL)?;
    let done = load.finish().await?;
    began?;
    ensure!(done.issued.len() + done.failed == Load::READS, "reads were lost");
    ensure!(done.issued.len() > Load::READS / 2, "too many failed: {} of {}", done.failed, Load::READS);

    for mount in MOUNTS {
        // Starts the plugin again where the load was over before it died.
        rig.bao().admin().read(&format!("{mount}/roles/r")).await?;
    }
    let after = rig.processes().await?;
    ensure!(!after.contains(&victim), "{before:?} became {after:?}");
    let mut strays = 0;
    for mount in MOUNTS {
        let issued = || done.issued.iter().filter(|(of, _)| *of == mount).map(|(_, issued)| issued);
        let leases: BTreeSet<_> = issued().map(|issued| issued.lease.clone()).collect();
        ensure!(
            rig.leases(mount).await? == leases,
            "{mount}: the host's leases are not those it answered with"
        );
        let made: BTreeSet<_> = issued().map(|issued| issued.user.clone()).collect();
        ensure!(made.len() == leases.len(), "{mount}: two leases have one user");
        let users = rig.users(mount).await?;
        ensure!(users.is_superset(&made), "{mount}: leases without a user: {:?}", made.difference(&users));
        // They stay, for the end of the mount to find them.
        strays += users.difference(&made).count();
    }
    ensure!(strays <= done.failed, "{strays} users without a lease, but only {} reads failed", done.failed);
    Ok(())
}

/// The leases outlive a seal, and a plugin starts again behind it.
async fn sealed(rig: &Rig<'_>) -> anyhow::Result<()> {
    let issued = rig.mount(MOUNTS[1]).issue("r").await?;
    let before = rig.users(MOUNTS[1]).await?;
    rig.bao().seal().await?;
    let status = rig.mount(MOUNTS[1]).issue("r").await.err().map(|error| format!("{error:#}"));
    ensure!(status.as_deref().is_some_and(|text| text.contains("503")), "a sealed host answered: {status:?}");
    rig.bao().unseal().await?;
    ensure!(rig.users(MOUNTS[1]).await? == before, "a seal changed the users");
    rig.mount(MOUNTS[1]).revoke(&issued.lease).await?;
    ensure!(!rig.users(MOUNTS[1]).await?.contains(&issued.user));
    rig.mount(MOUNTS[1]).issue("r").await?;
    Ok(())
}

/// A mount that ends takes all its users along, and the last one the process.
async fn disabled(rig: &Rig<'_>) -> anyhow::Result<()> {
    for mount in MOUNTS {
        let users = rig.users(mount).await?;
        ensure!(!users.is_empty(), "{mount}: nothing to delete");
        rig.bao().admin().delete(&format!("sys/mounts/{mount}")).await?;
        let left = rig.users(mount).await?;
        ensure!(left.is_empty(), "{mount}: MinIO users left of {}: {left:?}", users.len());
    }
    let mounts: Value = rig.bao().admin().read("sys/mounts").await?;
    ensure!(MOUNTS.iter().all(|mount| mounts["data"][format!("{mount}/")].is_null()));
    eventually("the end of the plugins", Duration::from_secs(10), || rig.bao().plugins().is_empty()).await
}
