//! Unpublish: from a target back to an empty place.

use super::error::UnpublishError;
use super::target::{gone, remove_empty};
use super::{Publisher, TargetDir};
use crate::mount::At;
use boathouse_mounts::MountError;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an unpublish waits for the revocation of the last keys before it answers; the revocation goes on.
const REVOKE_WAIT: Duration = Duration::from_secs(1);

impl Publisher {
    /// Takes the volume away from a target, and the FUSE mount with its keys when this was the last one. A
    /// target that shows nothing is fine.
    ///
    /// # Errors
    /// See [`UnpublishError`].
    pub async fn unpublish(&self, target: &Path, target_dir: TargetDir) -> Result<bool, UnpublishError> {
        let began = Instant::now();
        let done = self.unpublish_now(target, target_dir).await;
        self.metrics.unpublished(done.is_ok(), began.elapsed());
        if let Ok(true) = done {
            tracing::info!(target = %target.display(), took = ?began.elapsed(), "unpublished");
        }
        done
    }

    async fn unpublish_now(&self, target: &Path, target_dir: TargetDir) -> Result<bool, UnpublishError> {
        let target = match boathouse_mounts::resolve(target) {
            // Without its parent there is no target.
            Err(error) if gone(&error) => return Ok(false),
            other => other?,
        };
        let Some(_held) = self.busy.try_lock(&target) else { return Err(UnpublishError::Busy(target)) };
        let was_mounted = self.clear(&target).await?;
        if let At::Foreign(fs_type) = self.mounts.at(&target)? {
            return Err(UnpublishError::Foreign { path: target, fs_type });
        }
        if target_dir == TargetDir::Ours {
            remove_empty(&target)?;
        }
        Ok(was_mounted)
    }

    /// Removes every mount of ours from a target, and what nobody needs any more with it. Answers whether there
    /// was any.
    pub(super) async fn clear(&self, target: &Path) -> Result<bool, MountError> {
        let ids = self.mounts.stacked(target)?;
        let detached = crate::mount::clear(target);
        self.absences.forget(target);
        // Also after an error: what is detached by now is found by nobody later.
        let mut revocations = Vec::new();
        for id in &ids {
            revocations.extend(self.mounts.release(id).await);
        }
        let was_mounted = detached?;
        // Mostly it is done at once; when Vault is away the pod's end does not wait for it.
        let all = async {
            for revocation in revocations {
                let _ = revocation.await;
            }
        };
        if tokio::time::timeout(REVOKE_WAIT, all).await.is_err() {
            tracing::warn!(target = %target.display(), "unmounted; the revocation of its keys goes on");
        }
        Ok(was_mounted)
    }
}
