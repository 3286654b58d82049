//! What the leases ask of Vault.

use super::generation::{Generation, new_id};
use super::journal::{Journal, JournalError, Pending};
use super::{LeaseKey, Revoker};
use crate::clock::{Millis, millis, now};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use vault_client::{AuthMethod, Session, VaultClient, VaultError};

/// How the node itself logs in, for legacy FlexVolume pods.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// File with the node plugin's own service-account token, read again for every login because kubelet
    /// replaces it.
    pub token_file: PathBuf,
    /// Where and as what role.
    pub auth: AuthMethod,
}

/// Vault as this node uses it.
#[derive(Debug, Clone)]
pub struct VaultAccess {
    /// The server.
    pub client: VaultClient,
    /// Where pods' tokens log in.
    pub auth: AuthMethod,
    /// The node's own identity; none unless FlexVolume is switched on.
    pub node: Option<NodeIdentity>,
}

/// A login that has been noted in the journal and is not used yet.
pub(super) struct OpenSession {
    /// Id of the generation it is for.
    pub(super) id: String,
    /// When it was asked for: its life counts from there at the latest.
    pub(super) began: Millis,
    /// When its life ends; none if it has no end.
    pub(super) expires_at: Option<Millis>,
    /// What Vault answered.
    pub(super) session: Session,
}

/// Why no keys could be had.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Vault's answer.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The token could not be noted, so it was not used.
    #[error("note the Vault token before using it: {0}")]
    Journal(#[from] JournalError),
    /// The node's own token cannot be read.
    #[error("read the node's own token {path}: {source}")]
    NodeToken {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The node has no identity of its own.
    #[error("this node has no Vault identity of its own; set --flex-token-file and --flex-vault-role")]
    NoNodeIdentity,
    /// No service-account token is known any more.
    #[error("no service-account token of the pod is known; the next republish by kubelet brings one")]
    NoToken,
}

impl VaultAccess {
    /// Logs in and notes the token, so that a crash from here on loses nothing.
    pub(super) async fn log_in(
        &self,
        auth: &AuthMethod,
        jwt: &SecretString,
        journal: &Journal,
        revoker: &Revoker,
    ) -> Result<OpenSession, IssueError> {
        let began = now();
        let session = self.client.login(auth, jwt).await?;
        if !session.policies.iter().any(|policy| policy == "default" || policy == "root") {
            tracing::warn!(
                role = auth.role,
                "the token of this role lacks the policy `default`, so it may not be able to revoke itself; \
                 keys may outlive their mounts"
            );
        }
        let id = new_id();
        let life = session.lease_duration;
        let expires_at = (life > Duration::ZERO).then(|| now().saturating_add(millis(life)));
        let pending = Pending { generation: id.clone(), token: session.token.clone(), expires_at };
        if let Err(error) = journal.note(&pending) {
            revoker.revoke(pending);
            return Err(error.into());
        }
        Ok(OpenSession { id, began, expires_at, session })
    }

    /// Reads the keys of a lease with a session, which is revoked when that fails.
    pub(super) async fn read_keys(
        &self,
        open: OpenSession,
        key: &LeaseKey,
        revoker: &Revoker,
    ) -> Result<Generation, IssueError> {
        match self.client.read_leased(&open.session.token, &key.vault_path, key.ttl).await {
            Ok(leased) => {
                for warning in &leased.warnings {
                    tracing::warn!(vault_path = key.vault_path, warning, "Vault warns");
                }
                Ok(Generation::of_lease(open.id, open.began, open.session, leased))
            }
            Err(error) => {
                revoker.revoke(open.into_pending());
                Err(error.into())
            }
        }
    }

    /// The node's own token, as it is now.
    pub(super) async fn node_token(&self) -> Result<(SecretString, &AuthMethod), IssueError> {
        let node = self.node.as_ref().ok_or(IssueError::NoNodeIdentity)?;
        match tokio::fs::read_to_string(&node.token_file).await {
            Ok(token) => Ok((SecretString::from(token.trim()), &node.auth)),
            Err(source) => Err(IssueError::NodeToken { path: node.token_file.clone(), source }),
        }
    }
}

impl OpenSession {
    /// What it takes to revoke it.
    pub(super) fn into_pending(self) -> Pending {
        Pending { generation: self.id, token: self.session.token, expires_at: self.expires_at }
    }
}
