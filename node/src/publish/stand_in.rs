//! Optional volumes whose bucket is not available: what stands in for them, and who is told.

use super::error::{PublishError, Unavailable};
use super::target::gone;
use super::{Made, PublishRequest, Publisher, TargetDir};
use crate::kubelet::events::{PodEvent, PodEvents};
use boathouse_service::border::chain;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most an optional volume may hold up its pod.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Publisher {
    /// Mounts the volume; an optional one that is not available gets a placeholder, unless one is `there`.
    pub(super) async fn mount_or_stand_in(
        &self,
        request: &PublishRequest,
        target: &Path,
        deadline: Instant,
        there: bool,
    ) -> Result<Made, PublishError> {
        match self.mount(request, target, deadline).await {
            Err(error) => match error.unavailable().filter(|_| request.optional) {
                Some(why) => {
                    if !there {
                        stand_in(request, target)?;
                    }
                    self.absences.missing(request, target, why, &error);
                    Ok(Made::Placeholder)
                }
                None => Err(error),
            },
            Ok(made) => {
                if there {
                    self.absences.came(request, target);
                }
                Ok(made)
            }
        }
    }
}

fn stand_in(request: &PublishRequest, target: &Path) -> Result<(), PublishError> {
    crate::mount::stand_in(target).map_err(|error| {
        if request.target_dir == TargetDir::Kubelets && gone(&error) {
            return PublishError::TargetGone(target.to_owned());
        }
        error.into()
    })
}

/// Why optional volumes are not there: each reason is said once, in the log and in the pod's events.
#[derive(Debug, Default)]
pub struct Absences {
    /// By target, what was said last.
    said: Mutex<HashMap<PathBuf, Unavailable>>,
    events: Option<PodEvents>,
}

impl Absences {
    /// None known yet. They are told of through `events` where there is a cluster.
    #[must_use]
    pub fn new(events: Option<PodEvents>) -> Self {
        Self { said: Mutex::default(), events }
    }

    fn missing(&self, request: &PublishRequest, target: &Path, why: Unavailable, error: &PublishError) {
        if self.said().insert(target.to_owned(), why) == Some(why) {
            return;
        }
        let cause = chain(error);
        let bucket = request.spec.bucket_and_prefix();
        tracing::warn!(
            volume = request.volume_id,
            target = %target.display(),
            bucket,
            error = cause,
            "an optional volume is not available; an empty directory stands in for it"
        );
        let again = match request.target_dir {
            TargetDir::Ours => "it is tried again with every republish",
            TargetDir::Kubelets => "FlexVolume does not try again: delete the pod once the cause is gone",
        };
        self.tell(request, true, "BoathouseVolumeUnavailable", |volume| {
            format!(
                "optional volume {volume} is an empty, read-only directory, because bucket {bucket} is not \
                 available ({again}): {cause}"
            )
        });
    }

    fn came(&self, request: &PublishRequest, target: &Path) {
        self.forget(target);
        let bucket = request.spec.bucket_and_prefix();
        self.tell(request, false, "BoathouseVolumeAvailable", |volume| {
            format!(
                "optional volume {volume} shows bucket {bucket} now; containers that run already see it only with \
                 mountPropagation: HostToContainer"
            )
        });
    }

    /// A target is gone, or shows its volume.
    pub(super) fn forget(&self, target: &Path) {
        self.said().remove(target);
    }

    fn tell(
        &self,
        request: &PublishRequest,
        warning: bool,
        reason: &'static str,
        message: impl FnOnce(&str) -> String,
    ) {
        if let (Some(events), Some(pod)) = (&self.events, &request.pod) {
            let message = message(volume_name(&request.target).unwrap_or(&request.volume_id));
            events.send(pod.clone(), PodEvent { warning, reason, message });
        }
    }

    fn said(&self) -> MutexGuard<'_, HashMap<PathBuf, Unavailable>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The volume's name in the pod, as kubelet builds targets: `…/<plugin>/<name>` (FlexVolume) and
/// `…/<plugin>/<name>/mount` (CSI, whose volume ids say nothing to a person).
fn volume_name(target: &Path) -> Option<&str> {
    let named = if target.ends_with("mount") { target.parent()? } else { target };
    named.file_name()?.to_str()
}

#[cfg(test)]
#[path = "stand_in_tests.rs"]
mod tests;
