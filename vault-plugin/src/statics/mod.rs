//! `static-roles/<name>`, `static-creds/<name>` and `rotate-role/<name>`: MinIO users that somebody else
//! made, whose secret the engine changes from time to time.
//!
//! A new secret is stored beside the old one before MinIO hears of it. When a rotation is cut short, the
//! next one sets the very same secret again: whichever call MinIO took last, it is a stored one.

mod paths;
mod rotate;

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{Result, Storage};

use crate::config::Cluster;
use crate::stored;

pub(crate) use paths::paths;
pub(crate) use rotate::rotate_due;

/// Storage folder, and the path of the roles.
pub(crate) const FOLDER: &str = "static-roles/";

/// A static role as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StaticRole {
    username: String,
    #[serde(default, skip_serializing_if = "Cluster::is_default")]
    cluster: Cluster,
    #[serde(serialize_with = "stored::to_nanos", deserialize_with = "stored::from_nanos")]
    rotation_period: Duration,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    password_policy: String,
    /// The secret MinIO has; none before the first rotation.
    #[serde(default, serialize_with = "stored::optional_secret", skip_serializing_if = "Option::is_none")]
    secret: Option<SecretString>,
    /// A secret that is being set.
    #[serde(default, serialize_with = "stored::optional_secret", skip_serializing_if = "Option::is_none")]
    next_secret: Option<SecretString>,
    /// When MinIO got its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_rotation: Option<Timestamp>,
}

impl StaticRole {
    async fn load(storage: &Storage, name: &str) -> Result<Option<Self>> {
        Ok(storage.get(&key(name)).await?)
    }

    /// Time until the next rotation; none when it is due, or one was cut short.
    fn time_left(&self, now: Timestamp) -> Duration {
        let Some(last) = self.last_rotation.filter(|_| self.next_secret.is_none()) else {
            return Duration::ZERO;
        };
        // A rotation in the future (a clock was set back) counts as one of now.
        let age = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        self.rotation_period.saturating_sub(age)
    }
}

fn key(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Paths of the static roles on this cluster.
pub(crate) async fn of_cluster(storage: &Storage, cluster: &Cluster) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in storage.list(FOLDER).await? {
        if StaticRole::load(storage, &name).await?.is_some_and(|role| role.cluster == *cluster) {
            found.push(key(&name));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    #[test]
    fn a_rotation_is_due_after_its_period_or_when_it_was_cut_short() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut role = StaticRole {
            username: "svc".into(),
            cluster: Cluster::default(),
            rotation_period: Duration::from_secs(100),
            password_policy: String::new(),
            secret: None,
            next_secret: None,
            last_rotation: None,
        };
        assert_eq!(role.time_left(at(1000)), Duration::ZERO, "never rotated");
        role.last_rotation = Some(at(1000));
        assert_eq!(role.time_left(at(1040)), Duration::from_secs(60));
        assert_eq!(role.time_left(at(1100)), Duration::ZERO);
        assert_eq!(role.time_left(at(900)), Duration::from_secs(100), "the clock was set back");
        role.next_secret = Some("cut short".into());
        assert_eq!(role.time_left(at(1001)), Duration::ZERO);
        assert!(!format!("{role:?}").contains("cut short"));
    }
}
