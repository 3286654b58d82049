//! How a published volume does.

use crate::mount::{At, Health, Mounts, Source};
use boathouse_mounts::MountError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::Code;

/// How long a mount may take to answer a statfs before it counts as hung. kubelet asks every minute.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes and inodes, as statfs(2) has them. Object storage has no size: goofys answers large round numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Size in bytes.
    pub total_bytes: u64,
    /// Bytes that can be written.
    pub available_bytes: u64,
    /// Number of inodes.
    pub total_inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
}

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeStats {
    /// Zero when the mount does not answer.
    pub usage: Usage,
    /// What is wrong; none when nothing is.
    pub abnormal: Option<String>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// No volume of ours is published there.
    #[error("{0}: no volume is published at this path")]
    NotPublished(PathBuf),
    /// The mount table cannot be read.
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl StatsError {
    /// The gRPC code (CSI, "NodeGetVolumeStats Errors").
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NotPublished(_) | Self::Mount(MountError::NotAbsolute { .. }) => Code::NotFound,
            Self::Mount(_) => Code::Internal,
        }
    }
}

/// Looks at a published volume, without ever waiting for one that hangs.
///
/// # Errors
/// See [`StatsError`].
pub async fn stats(mounts: &Mounts, path: &Path) -> Result<VolumeStats, StatsError> {
    let Ok(path) = boathouse_mounts::resolve(path) else {
        return Err(StatsError::NotPublished(path.to_owned()));
    };
    let source = match mounts.at(&path)? {
        At::Ours { source, .. } => source,
        At::Nothing | At::Foreign(_) => return Err(StatsError::NotPublished(path)),
    };
    let answer = match &source {
        None => Err("its keeper is not known".to_owned()),
        Some(source) => match source.health() {
            Health::Dead(reason) => Err(reason),
            Health::Alive => statfs(source, path).await,
        },
    };
    Ok(match answer {
        Ok(usage) => VolumeStats { usage, abnormal: source.as_deref().and_then(keys_in_trouble) },
        Err(reason) => VolumeStats { usage: Usage::default(), abnormal: Some(reason) },
    })
}

fn keys_in_trouble(source: &Source) -> Option<String> {
    let lineage = source.lineage.as_ref()?;
    let failure = lineage.failure();
    if lineage.current().expired() {
        let why = failure.unwrap_or_else(|| "no new ones yet".to_owned());
        return Some(format!("its keys have expired: {why}"));
    }
    // A failed rotation is no trouble of the volume's as long as the keys live; metrics and log tell of it.
    None
}

async fn statfs(source: &Arc<Source>, path: PathBuf) -> Result<Usage, String> {
    // A thread of its own: against a hung mount it stays until the FUSE session ends. One is enough.
    if source.asking.swap(true, Ordering::SeqCst) {
        return Err("hung: an earlier statfs is still unanswered".to_owned());
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let asker = source.clone();
    let asked = std::thread::Builder::new().name("statfs".into()).spawn(move || {
        let answer = nix::sys::statvfs::statvfs(&path);
        asker.asking.store(false, Ordering::SeqCst);
        let _ = tell.send(answer);
    });
    if let Err(error) = asked {
        return Err(format!("cannot ask for its size: {error}"));
    }
    match tokio::time::timeout(PATIENCE, told).await {
        Ok(Ok(Ok(answer))) => Ok(Usage {
            total_bytes: answer.blocks().saturating_mul(answer.fragment_size()),
            available_bytes: answer.blocks_available().saturating_mul(answer.fragment_size()),
            total_inodes: answer.files(),
            free_inodes: answer.files_free(),
        }),
        Ok(Ok(Err(errno))) => Err(format!("statfs: {errno}")),
        Ok(Err(_)) => Err("the asking thread died".to_owned()),
        Err(_) => Err(format!("hung: no answer to statfs within {PATIENCE:?}")),
    }
}
