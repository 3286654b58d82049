//! What was made at MinIO, and how it is removed: after its lease, or because it never came to one.
//!
//! An entry in the write-ahead log announces each thing before it is made, so that a plugin or host that
//! dies half-way leaves nothing behind for longer than the log's minimum age. Nobody tells an engine that
//! the host has noted a lease. So an entry outlives the answer [for a while](crate::noting), dated to the
//! lease's longest end: a key whose lease was lost with plugin or host ends then, and not never. The lease
//! knows its entry: a renewal or revocation deletes it, and a revocation that failed dates it now.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minio_admin::{Client, Removal};
use serde::{Deserialize, Serialize};
use vault_plugin_sdk::{Context, Error, Request, Result, Storage, SystemView, Wal, WalEntry};

use crate::config::Cluster;
use crate::parents::Parent;
use crate::{Engine, failure};

/// Kind of a thing; also of its log entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The user of a lease.
    User,
    /// The service account of a lease.
    ServiceAccount,
    /// The user that a role's service accounts and sessions belong to.
    Parent,
}

impl Kind {
    const ALL: [Self; 3] = [Self::User, Self::ServiceAccount, Self::Parent];

    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "service_account",
            Self::Parent => "parent",
        }
    }
}

/// What is needed to find it at MinIO. The first key alone is what the Go plugin keeps in a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    pub(crate) access_key_id: String,
    #[serde(default, skip_serializing_if = "Cluster::is_default")]
    pub(crate) cluster: Cluster,
    /// A canned policy made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy_name: Option<String>,
    /// The role.
    #[serde(default)]
    pub(crate) role: String,
    /// Id of the log entry that announces it; empty for what is not announced, and in old leases.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) log_entry: String,
}

/// Why something could not be removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemovalError {
    #[error(transparent)]
    Minio(#[from] minio_admin::Error),
    /// MinIO tells those who may not remove a service account that there is none.
    #[error("remove service account {0}: the admin user lacks admin:RemoveServiceAccount")]
    Denied(String),
}

impl RemovalError {
    /// The error for the caller, with whether to wait or to mend something.
    pub(crate) fn explain(&self) -> Error {
        match self {
            Self::Minio(error) => failure::explain(error),
            Self::Denied(_) => failure::permanent(self),
        }
    }
}

impl Made {
    /// Removes it. That it is gone already is no error.
    pub(crate) async fn remove(&self, kind: Kind, minio: &Client) -> Result<(), RemovalError> {
        let key = &self.access_key_id;
        match kind {
            Kind::User | Kind::Parent => drop(minio.remove_user(key).await?),
            Kind::ServiceAccount => {
                if minio.remove_service_account(key).await? == Removal::Absent
                    && minio.service_account(key).await?.is_some()
                {
                    return Err(RemovalError::Denied(key.clone()));
                }
            }
        }
        // Last: MinIO keeps a policy that a user has.
        if let Some(policy) = &self.policy_name {
            minio.remove_policy(policy).await?;
        }
        Ok(())
    }

    /// Takes its log entry back: the host has its lease, or it is gone. An entry that stays does no harm:
    /// it is dated to the lease's longest end.
    pub(crate) async fn withdraw(&self, wal: &Wal) {
        if self.log_entry.is_empty() {
            return;
        }
        if let Err(error) = wal.delete(&self.log_entry).await {
            tracing::debug!(%error, entry = self.log_entry, "a log entry stays until its lease's longest end");
        }
    }

    /// Its revocation failed. A host may ask only once; by an entry dated now, the rollback goes on with it.
    pub(crate) async fn announce_again(&self, wal: &Wal, kind: Kind) {
        if self.log_entry.is_empty() {
            return;
        }
        if let Err(error) = wal.write(&self.log_entry, kind.as_str(), self, SystemTime::now()).await {
            tracing::warn!(%error, entry = self.log_entry, "a failed revocation is not in the log");
        }
    }
}

/// An entry in the write-ahead log.
#[derive(Debug)]
pub(crate) struct Announced {
    wal: Wal,
    id: String,
    kind: Kind,
    made: Made,
}

impl Announced {
    /// Announces what a request is about to make. The entry has the request's id: a host that runs a
    /// request twice (it does when the plugin dies) writes the same entry twice, and what the second run makes of it
    /// is for both. With an id of its own, the dead run's entry would have the second run's
    /// user deleted.
    ///
    /// # Errors
    /// The storage's, verbatim: hosts recognise read-only storage by it.
    pub(crate) async fn for_request(req: &Request, kind: Kind, mut made: Made) -> Result<Self> {
        if req.id.is_empty() {
            return Err(Error::internal("keys: the host sent no request id to make a user name of"));
        }
        let (wal, id) = (req.wal(), req.id.clone());
        made.log_entry.clone_from(&id);
        wal.write(&id, kind.as_str(), &made, SystemTime::now()).await?;
        Ok(Self { wal, id, kind, made })
    }

    /// Announces something that is not made for one request.
    ///
    /// # Errors
    /// As [`for_request`](Self::for_request).
    pub(crate) async fn new(storage: &Storage, kind: Kind, made: Made) -> Result<Self> {
        let wal = Wal::new(storage.clone());
        let id = wal.put(kind.as_str(), &made).await?;
        Ok(Self { wal, id, kind, made })
    }

    /// What is announced.
    pub(crate) fn made(&self) -> &Made {
        &self.made
    }

    /// It is the caller's now, under a lease that ends after `longest` at the latest. An entry that could not be
    /// dated would have it removed during its lease; then it is removed at once.
    ///
    /// # Errors
    /// The storage's; HTTP 500 when the mount ends.
    pub(crate) async fn hand_over(
        &self,
        engine: &Engine,
        system: &SystemView,
        minio: &Client,
        longest: Duration,
    ) -> Result<()> {
        let end = to_the_second(SystemTime::now() + longest);
        let dating = self.wal.write(&self.id, self.kind.as_str(), &self.made, end);
        // Together, for a caller waits.
        let (dated, lasts) = tokio::join!(dating, must_last(system));
        if let Err(error) = dated.and(lasts) {
            self.undo(minio).await;
            return Err(error);
        }
        engine.noting.add(&self.wal, &self.id, end);
        Ok(())
    }

    /// Takes the entry back, for it does not exist or is in use. Where that fails the entry may as well stay: removing
    /// what does not exist is harmless.
    pub(crate) async fn withdraw_or_leave(&self) {
        if let Err(error) = self.wal.delete(&self.id).await {
            tracing::warn!(%error, entry = self.id, "a log entry stays until the next rollback");
        }
    }

    /// After a call that did not work. When it may have worked all the same, the entry stays: MinIO may
    /// still be at it. Otherwise the entry is withdrawn, after the removal of what `exists` perhaps.
    pub(crate) async fn failed(&self, minio: &Client, error: &minio_admin::Error, exists: bool) {
        if failure::may_have_happened(error) {
            return;
        }
        if exists {
            self.undo(minio).await;
        } else {
            self.withdraw_or_leave().await;
        }
    }

    /// Removes what was made and cannot be issued. When that fails, the entry stays and the host's
    /// rollback does it later.
    pub(crate) async fn undo(&self, minio: &Client) {
        match self.made.remove(self.kind, minio).await {
            Ok(()) => self.withdraw_or_leave().await,
            Err(error) => tracing::warn!(%error, "it stays until the next rollback"),
        }
    }

    /// As [`undo`](Self::undo), with the client yet to be made.
    pub(crate) async fn remove_now_or_later(&self, engine: &Engine, storage: &Storage) {
        match engine.client(storage, &self.made.cluster).await {
            Ok(minio) => self.undo(&minio).await,
            Err(error) => {
                tracing::warn!(%error, user = self.made.access_key_id, "it stays until the next rollback")
            }
        }
    }
}

/// Whether the mount goes on. What is made for one that ends may come after its last tick, and nobody would remove it.
///
/// # Errors
/// HTTP 500 when it ends.
pub(crate) async fn must_last(system: &SystemView) -> Result<()> {
    // A host that does not say is taken for one whose mount goes on.
    match system.is_tainted().await {
        Ok(true) => Err(Error::internal("the mount is being disabled or moved: it gives no new keys")),
        Ok(false) | Err(_) => Ok(()),
    }
}

/// As precise as the log's dates are.
pub(crate) fn to_the_second(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH).map_or(time, |age| UNIX_EPOCH + Duration::from_secs(age.as_secs()))
}

/// Removes what an old log entry announces.
pub(crate) async fn roll_back(engine: Arc<Engine>, context: Context, entry: WalEntry) -> Result<()> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == entry.kind).ok_or_else(|| {
        Error::internal(format!("log entry {} is of unknown kind {:?}", entry.id, entry.kind))
    })?;
    let made: Made = entry.decode()?;
    let user = made.access_key_id.as_str();
    let parent = Parent::load(&context.storage, &made.role).await?.map(|parent| parent.user);
    // Only the withdrawal is missing when it is in use.
    if kind == Kind::Parent && parent.as_deref() == Some(user) {
        return Ok(());
    }
    // Without its config this fails, and the entry stays until that is written again.
    let minio = engine.client(&context.storage, &made.cluster).await?;
    if kind == Kind::ServiceAccount
        && let Some(found) = minio.service_account(user).await.map_err(|error| failure::explain(&error))?
        && parent.as_ref() != Some(&found.parent)
    {
        tracing::info!(user, "not rolled back: it is somebody else's, or goes with the parent it had");
        return Ok(());
    }
    made.remove(kind, &minio).await.map_err(|error| error.explain())?;
    tracing::info!(user, kind = kind.as_str(), "rolled back");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    #[test]
    fn a_lease_without_a_log_entry_is_read_and_written_as_it_is() {
        let made: Made = serde_json::from_str(r#"{"accessKeyId":"a","role":"r"}"#).unwrap();
        assert_eq!(made.log_entry, "");
        assert_eq!(serde_json::to_string(&made).unwrap(), r#"{"accessKeyId":"a","role":"r"}"#);
        let made = Made { log_entry: "id".into(), ..made };
        assert!(serde_json::to_string(&made).unwrap().contains(r#""logEntry":"id""#));
    }
}
