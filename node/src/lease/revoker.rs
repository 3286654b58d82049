//! Revoking tokens until Vault has said yes.

use super::journal::{Journal, Pending};
use crate::clock::{Millis, now};
use crate::metrics::Metrics;
use std::time::Duration;
use tokio::task::JoinHandle;
use vault_client::{VaultClient, VaultError};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a token whose end is not known is tried for: Vault's own longest default TTL.
const LONGEST_TRY: Millis = 32 * 24 * 3600 * 1000;

/// Revokes tokens in the background; each stays in the journal until it is done.
#[derive(Debug, Clone)]
pub struct Revoker {
    vault: VaultClient,
    journal: Journal,
    metrics: Metrics,
}

impl Revoker {
    /// A revoker over the node's Vault.
    #[must_use]
    pub fn new(vault: VaultClient, journal: Journal, metrics: Metrics) -> Self {
        Self { vault, journal, metrics }
    }

    /// Revokes a token, and so the lease it made; retried until Vault answers or the token has ended by
    /// itself. The handle ends when it is done; dropping it changes nothing.
    pub fn revoke(&self, pending: Pending) -> JoinHandle<()> {
        let this = self.clone();
        tokio::spawn(async move { this.run(pending).await })
    }

    async fn run(self, pending: Pending) {
        let generation = pending.generation.as_str();
        let last = pending.expires_at.unwrap_or_else(|| now().saturating_add(LONGEST_TRY));
        let mut pause = FIRST_PAUSE;
        loop {
            match self.vault.revoke_self(&pending.token).await {
                Ok(()) => {
                    tracing::info!(generation, "revoked");
                    self.metrics.revoked(true);
                    break;
                }
                // Expired or revoked, and its lease with it.
                Err(VaultError::UnknownToken { .. }) => {
                    tracing::info!(generation, "already revoked");
                    self.metrics.revoked(true);
                    break;
                }
                Err(error) if now() >= last => {
                    tracing::warn!(generation, %error, "could not revoke before its own end; Vault ends it itself");
                    break;
                }
                Err(error) => {
                    self.metrics.revoked(false);
                    if matches!(error, VaultError::Denied { .. }) {
                        // Somebody has to change a policy first; that is no matter of seconds.
                        pause = LONGEST_PAUSE;
                    }
                    tracing::warn!(generation, %error, retry_in = ?pause, "revoke");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        self.journal.forget(generation);
    }
}
