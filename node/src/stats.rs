//! How a published volume does.

use crate::mount::{Answer, At, EXIT_PATIENCE, Health, Mounts, Source, ask, obituary, session_over};
use boathouse_mounts::MountError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
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
        At::Placeholder => {
            let abnormal = "an empty directory stands in for this optional volume; the pod's events say why";
            return Ok(VolumeStats { usage: Usage::default(), abnormal: Some(abnormal.to_owned()) });
        }
        At::Nothing | At::Foreign(_) => return Err(StatsError::NotPublished(path)),
    };
    let answer = match &source {
        None => Err("its keeper is not known".to_owned()),
        Some(source) => match source.health() {
            Health::Dead(reason) => Err(reason),
            Health::Alive => statfs(mounts.keeper(), &path, source).await,
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

async fn statfs(keeper: &Path, path: &Path, source: &Source) -> Result<Usage, String> {
    match ask(keeper, "statfs", path, Instant::now() + PATIENCE).await {
        Answer::Line(line) => usage(&line).ok_or_else(|| "statfs: an answer without sizes".to_owned()),
        Answer::Failed(error) => {
            if !session_over(&error) {
                return Err(format!("statfs: {error}"));
            }
            // The kernel's own word, a moment before the watcher hears why.
            let reason = match source.keeper.exited(EXIT_PATIENCE).await {
                Some(status) => obituary(&status),
                None => "its FUSE session is over".to_owned(),
            };
            Err(source.suspect(reason))
        }
        Answer::Silent(after) => Err(format!("hung: no answer to statfs within {after:?}")),
    }
}

/// Four numbers, as `boathouse-keeper --ask statfs` writes them.
fn usage(line: &str) -> Option<Usage> {
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [total_bytes, available_bytes, total_inodes, free_inodes] = numbers[..] else { return None };
    Some(Usage { total_bytes, available_bytes, total_inodes, free_inodes })
}
