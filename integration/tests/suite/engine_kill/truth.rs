//! What OpenBao knows, past the engine: its leases and the engine's log as they are stored.

use super::ROLES;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Mount, StackError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// In 2020.
const LONG_AGO: i64 = 1_600_000_000;

pub(super) struct Truth<'a> {
    mount: &'a Mount<'a>,
    /// Storage path of the engine's write-ahead log.
    log: String,
}

impl<'a> Truth<'a> {
    pub(super) async fn of(mount: &'a Mount<'a>) -> anyhow::Result<Self> {
        let mounts = mount.vault().read("sys/mounts").await?;
        let uuid = mounts["data"][format!("{}/", mount.path())]["uuid"].as_str().context("no such mount")?;
        Ok(Self { mount, log: format!("logical/{uuid}/wal/") })
    }

    /// The users of the leases.
    pub(super) async fn leased(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut users = BTreeSet::new();
        for role in ROLES {
            for lease in self.mount.leases(role).await? {
                let entry = self.stored(&format!("sys/expire/id/{lease}")).await?;
                let user = entry["data"]["accessKeyId"].as_str().context("a lease without a user's name")?;
                ensure!(users.insert(user.to_owned()), "two leases of {user}");
            }
        }
        Ok(users)
    }

    /// The users in the engine's log, with the date of each entry in seconds of Unix time: in the past while a key is
    /// being made, at the end of its lease's longest life once it is.
    pub(super) async fn logged(&self) -> anyhow::Result<BTreeMap<String, i64>> {
        let entries = self.log_entries().await?;
        entries.values().map(|entry| Ok((user(entry)?, date(entry)?))).collect()
    }

    /// Lets the time of all entries come, except those of these users: dates them back by more than any lease lasts.
    pub(super) async fn age_log(&self, except: &BTreeSet<String>) -> anyhow::Result<()> {
        for (path, mut entry) in self.log_entries().await? {
            if !except.contains(&user(&entry)?) {
                entry["created_at"] = json!(LONG_AGO);
                let body = json!({ "value": entry.to_string() });
                self.mount.vault().write(&format!("sys/raw/{path}"), &body).await?;
            }
        }
        Ok(())
    }

    /// By storage path.
    async fn log_entries(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut entries = BTreeMap::new();
        for id in self.mount.vault().list(&format!("sys/raw/{}", self.log)).await? {
            let path = format!("{}{id}", self.log);
            match self.stored(&path).await {
                Ok(entry) => drop(entries.insert(path, entry)),
                // Rolled back meanwhile.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    async fn stored(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.mount.vault().read(&format!("sys/raw/{path}")).await?;
        let value = answer["data"]["value"].as_str().with_context(|| format!("{path} has no value"))?;
        serde_json::from_str(value).with_context(|| path.to_owned())
    }
}

fn user(entry: &Value) -> anyhow::Result<String> {
    Ok(entry["data"]["accessKeyId"].as_str().context("a log entry without a user's name")?.to_owned())
}

fn date(entry: &Value) -> anyhow::Result<i64> {
    entry["created_at"].as_i64().context("a log entry without a date")
}

fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StackError>().and_then(StackError::status) == Some(404)
}
