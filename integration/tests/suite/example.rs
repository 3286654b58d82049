//! The SDK's example engine in a real host: what its documentation tells a reader to type.

use crate::engine::refused;
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::programs;
use boathouse_testkit::stack::{Stack, StackError, VaultAdmin};
use serde_json::{Value, json};

const PLUGIN: &str = "kv-example";

pub(crate) fn cases() -> Vec<Case> {
    vec![beside!(the_example_engine_keeps_notes_and_shares_them)]
}

async fn the_example_engine_keeps_notes_and_shares_them(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let program = tokio::task::spawn_blocking(|| programs::example("vault-plugin-sdk", "kv")).await??;
    stack.bao().add_plugin(&program, PLUGIN).await?;
    let vault = stack.vault();
    vault.write("sys/mounts/notes", &json!({ "type": PLUGIN })).await?;
    notes(vault).await.context("notes")?;
    shares(vault).await.context("shares")?;
    help(vault).await.context("help")?;
    vault.delete("sys/mounts/notes").await?;
    vault.delete(&format!("sys/plugins/catalog/secret/{PLUGIN}")).await?;
    Ok(())
}

async fn notes(vault: &VaultAdmin) -> anyhow::Result<()> {
    ensure!(vault.list("notes/data").await?.is_empty(), "a new mount has notes");
    let note = json!({ "value": "hello", "tags": "english, short", "share_ttl": "30m" });
    ensure!(vault.write("notes/data/greeting", &note).await? == Value::Null, "a write has content");
    vault.write("notes/data/other", &json!({ "value": "x", "unknown": 1 })).await?;
    let read = vault.read("notes/data/greeting").await?["data"].clone();
    ensure!(read == json!({ "value": "hello", "tags": ["english", "short"], "share_ttl": 1800 }), "{read}");
    ensure!(vault.read("notes/data/other").await?["data"]["share_ttl"] == 3600, "not the default");
    ensure!(vault.list("notes/data").await? == ["greeting", "other"]);

    let (status, message) = refused(vault.write("notes/data/x", &json!({})).await)?;
    ensure!(status == 400 && message.contains("give the note's text"), "{status}: {message}");
    let (status, message) = refused(vault.write("notes/data/x", &json!({ "share_ttl": "soon" })).await)?;
    ensure!(status == 400 && message.contains("share_ttl"), "{status}: {message}");
    let (status, _) = refused(vault.read("notes/nothing/here").await)?;
    ensure!(status == 404, "an unknown path: {status}");

    vault.delete("notes/data/other").await?;
    ensure!(vault.list("notes/data").await? == ["greeting"]);
    let (status, _) = refused(vault.read("notes/data/other").await)?;
    ensure!(status == 404, "a deleted note: {status}");
    Ok(())
}

async fn shares(vault: &VaultAdmin) -> anyhow::Result<()> {
    let answer = vault.read("notes/share/greeting").await?;
    ensure!(answer["lease_duration"] == 1800 && answer["renewable"] == true, "{answer}");
    let text = |value: &Value| value.as_str().map(str::to_owned).context("share: a field is missing");
    let (lease, id) = (text(&answer["lease_id"])?, text(&answer["data"]["id"])?);
    let path = format!("notes/shared/{id}");
    ensure!(vault.read(&path).await?["data"]["value"] == "hello");

    let renewed = vault.write("sys/leases/renew", &json!({ "lease_id": lease, "increment": "1h" })).await?;
    ensure!(renewed["lease_duration"] == 3600, "{renewed}");
    ensure!(vault.read(&path).await?["data"]["value"] == "hello", "a renewed share is gone");

    revoke(vault, &lease).await?;
    let (status, message) = refused(vault.read(&path).await)?;
    ensure!(status == 404 && message.contains("this share has ended"), "{status}: {message}");
    Ok(())
}

async fn revoke(vault: &VaultAdmin, lease: &str) -> Result<(), StackError> {
    vault.write("sys/leases/revoke", &json!({ "lease_id": lease, "sync": true })).await.map(drop)
}

async fn help(vault: &VaultAdmin) -> anyhow::Result<()> {
    let root = vault.read("notes/?help=1").await?;
    ensure!(root["help"].as_str().is_some_and(|text| text.contains("shares them on leases")), "{root}");
    let note = vault.read("notes/data/greeting?help=1").await?;
    let text = note["help"].as_str().context("no help")?;
    for part in ["One note", "share_ttl (duration (sec))", "Words to find it by"] {
        ensure!(text.contains(part), "{text}");
    }
    // The host has collected the document of the mount into its own.
    let document = vault.read("sys/internal/specs/openapi").await?;
    ensure!(document["paths"]["/notes/data/{key}"]["post"].is_object(), "not in the host's OpenAPI document");
    Ok(())
}
