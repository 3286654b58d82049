//! `roles` and `roles/<role>`: what a key may do, what its user is called, how long it lives.
//!
//! Differences from the Go plugin: an update keeps the fields it does not name; a role that gives no
//! rights, or with a default lease above its maximum, is refused.

mod paths;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{Error, Result, Storage};

use crate::config::Cluster;
use crate::policy::Document;
use crate::{limits, names, stored};

pub(crate) use paths::{ROLE, paths};

const FOLDER: &str = "roles/";

/// MinIO ends service accounts and sessions no sooner than this after they were made.
pub(crate) const SHORTEST_EXPIRY: Duration = Duration::from_mins(15);

/// What a read of keys makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialType {
    /// A MinIO user, deleted when the lease ends.
    #[default]
    User,
    /// A service account of a user that belongs to the role; MinIO itself ends it with the lease.
    ServiceAccount,
    /// A session of that user, with a session token. Nobody can end it before its time.
    Sts,
}

impl CredentialType {
    /// The value of `credential_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "service_account",
            Self::Sts => "sts",
        }
    }

    /// From the value of `credential_type`; the empty one is the default.
    ///
    /// # Errors
    /// HTTP 400 with the values there are.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        limits::line("credential_type", text, limits::NAME)?;
        match text {
            "" | "user" => Ok(Self::User),
            "service_account" => Ok(Self::ServiceAccount),
            "sts" => Ok(Self::Sts),
            other => Err(Error::bad_request(format!(
                "credential_type {other:?} is not known: write user, service_account or sts"
            ))),
        }
    }

    /// Longest inline policy MinIO takes, bytes.
    pub(crate) const fn policy_limit(self) -> usize {
        match self {
            Self::User => limits::POLICY,
            Self::ServiceAccount => limits::ACCOUNT_POLICY,
            Self::Sts => limits::SESSION_POLICY,
        }
    }
}

/// A role as it is stored: the Go plugin's JSON, durations in nanoseconds, plus keys it ignores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// MinIO policy; several names are separated by commas.
    pub policy: String,
    /// What user names begin with; the request id follows.
    pub user_name_prefix: String,
    /// Length of a lease; zero means the mount's.
    #[serde(serialize_with = "stored::to_nanos", deserialize_with = "stored::from_nanos")]
    pub default_ttl: Duration,
    /// The longest a lease may be renewed to; zero means the mount's.
    #[serde(serialize_with = "stored::to_nanos", deserialize_with = "stored::from_nanos")]
    pub max_ttl: Duration,
    /// What a read of keys makes.
    #[serde(skip_serializing_if = "is_default")]
    pub credential_type: CredentialType,
    /// Where.
    #[serde(skip_serializing_if = "Cluster::is_default")]
    pub cluster: Cluster,
    /// MinIO groups the user is put in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// A policy of the key's own, JSON with placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_document: Option<String>,
    /// What follows the prefix, in place of the request id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name_template: Option<String>,
    /// The host's password policy that makes secrets; empty for the engine's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub password_policy: String,
}

fn is_default(kind: &CredentialType) -> bool {
    *kind == CredentialType::default()
}

impl Role {
    /// The stored role of this name.
    ///
    /// # Errors
    /// The storage's.
    pub async fn load(storage: &Storage, name: &str) -> Result<Option<Self>> {
        Ok(storage.get(&key(name)).await?)
    }

    /// The names in `policy`.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policy.split(',').map(str::trim).filter(|name| !name.is_empty())
    }

    /// Whether it may take the place of the role `before`, which is an empty one for a new role.
    fn check(&self, before: &Self) -> Result<()> {
        // As it is stored, with what trimming takes off.
        limits::lines("policy", &self.policy, limits::POLICIES)?;
        let has_inherited = self.policies().next().is_some() || !self.groups.is_empty();
        match self.credential_type {
            CredentialType::User if !has_inherited && self.policy_document.is_none() => {
                return Err(Error::bad_request(
                    "a role needs a policy: write policy=<name of a MinIO policy>, for instance policy=readwrite",
                ));
            }
            CredentialType::ServiceAccount | CredentialType::Sts if !has_inherited => {
                return Err(Error::bad_request(format!(
                    "a role of credential_type={} needs policy or groups: they are the most its keys may do, and \
                     policy_document can only take away from it",
                    self.credential_type.as_str()
                )));
            }
            _ => {}
        }
        limits::names("policy", self.policies())?;
        limits::names("groups", self.groups.iter().map(String::as_str))?;
        limits::line("password_policy", &self.password_policy, limits::NAME)?;
        names::check(self, before)?;
        if let Some(document) = &self.policy_document {
            limits::lines("policy_document", document, limits::POLICY)?;
            Document::parse(document)?;
        }
        self.check_lengths()
    }

    fn check_lengths(&self) -> Result<()> {
        if !self.max_ttl.is_zero() && self.default_ttl > self.max_ttl {
            return Err(Error::bad_request(format!(
                "default_ttl ({} s) is longer than max_ttl ({} s): write a shorter default_ttl, a longer max_ttl, \
                 or max_ttl=0 for the mount's maximum",
                self.default_ttl.as_secs(),
                self.max_ttl.as_secs()
            )));
        }
        let is_sts = self.credential_type == CredentialType::Sts;
        if is_sts && !self.max_ttl.is_zero() && self.max_ttl < SHORTEST_EXPIRY {
            return Err(Error::bad_request(format!(
                "max_ttl ({} s) is shorter than the {} s a session of MinIO lives at least: write a longer max_ttl, \
                 or another credential_type",
                self.max_ttl.as_secs(),
                SHORTEST_EXPIRY.as_secs()
            )));
        }
        Ok(())
    }
}

pub(crate) fn key(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Paths of the roles that make their keys on this cluster.
pub(crate) async fn of_cluster(storage: &Storage, cluster: &Cluster) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in storage.list(FOLDER).await? {
        if Role::load(storage, &name).await?.is_some_and(|role| role.cluster == *cluster) {
            found.push(key(&name));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    /// As the Go plugin writes it.
    const LEGACY: &str = r#"{"policy":"readwrite","user_name_prefix":"p-","default_ttl":3600000000000,"max_ttl":86400000000000}"#;

    #[test]
    fn the_go_plugins_role_is_read_and_written_as_it_is() {
        let role: Role = serde_json::from_str(LEGACY).unwrap();
        let hour = Duration::from_secs(3600);
        let expected = Role {
            policy: "readwrite".into(),
            user_name_prefix: "p-".into(),
            default_ttl: hour,
            max_ttl: hour * 24,
            ..Role::default()
        };
        assert_eq!(role, expected);
        assert_eq!(serde_json::to_string(&role).unwrap(), LEGACY);
    }

    #[test]
    fn a_negative_stored_ttl_counts_as_none() {
        let role: Role = serde_json::from_str(r#"{"policy":"x","default_ttl":-5,"max_ttl":0}"#).unwrap();
        assert_eq!(role.default_ttl, Duration::ZERO);
    }
}
