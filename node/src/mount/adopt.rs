//! Finding the mounts of an earlier run again.

use super::mounts::Mounts;
use super::record::MountRecord;
use super::source::{Health, Source, dismantle, keeper_socket};
use super::{create, ours};
use crate::identity::Identity;
use crate::keeper::{Keeper, KeeperError};
use crate::lease::{Adopted, Generation, HELD, LeaseKey, LoginSource, free_from};
use boathouse_mounts::MountError;
use csi_proto::keeper::v1::Status;
use secrecy::SecretString;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;

/// What an earlier run left.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Mounts that work on.
    pub alive: usize,
    /// Mounts whose daemon is gone but which are still at a target.
    pub dead: usize,
    /// Mounts that nobody needed any more.
    pub removed: usize,
    /// Tokens that are being revoked.
    pub orphaned: usize,
}

/// The picture could not be rebuilt. Going on would take mounts for abandoned that are not.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The mounts' directories cannot be listed.
    #[error("list {path}: {source}")]
    List {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The mount table cannot be read.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Programs that nobody runs any more cannot be removed.
    #[error(transparent)]
    Collect(#[from] crate::install::InstallError),
}

struct Living {
    record: MountRecord,
    directory: PathBuf,
    status: Status,
    current: Generation,
}

/// How often a keeper that does not answer is asked before it is left alone.
const TRIES: u32 = 3;

impl Mounts {
    /// Rebuilds the picture from the mounts' directories, the keepers and the mount table; revokes what was left
    /// behind. Called once, before serving.
    ///
    /// # Errors
    /// When directories or mount table cannot be read; nothing has been touched then.
    pub async fn adopt(&self) -> Result<Found, AdoptError> {
        let mut found = Found::default();
        let bound = bound_ids()?;
        let mut living: Vec<Living> = Vec::new();
        let mut held: HashMap<String, u64> = HashMap::new();
        let mut unknown = 0;
        // All at once: one that hangs delays the start, many must not delay it more.
        let mut asked: JoinSet<(PathBuf, Result<Status, KeeperError>)> = JoinSet::new();
        for directory in self.directories()? {
            asked.spawn(async move {
                let status = patiently(&Keeper::at(&keeper_socket(&directory))).await;
                (directory, status)
            });
        }
        for (directory, status) in asked.join_all().await {
            let record = MountRecord::read(&directory);
            if let Ok(status) = &status
                && status.exit.is_none()
            {
                note_uses(status, &mut held);
            }
            let id = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let in_use = bound.contains(id);
            match (record, status) {
                (Ok(record), Ok(status @ Status { exit: None, current: Some(_), .. })) => {
                    let Some(current) = status.current.clone().map(Generation::from) else { continue };
                    living.push(Living { record, directory, current, status });
                }
                // It works, but what it is for cannot be read: left alone until its last target is unpublished.
                (Err(error), Ok(Status { exit: None, .. })) if in_use => {
                    tracing::error!(%error, "found a working mount that cannot be taken over; its keys end with their lease");
                    found.alive += 1;
                }
                (_, Err(error @ (KeeperError::Talk { .. } | KeeperError::Refused { .. }))) => {
                    tracing::error!(%error, "a keeper does not answer; its mount is left alone, and no tokens of earlier runs are revoked");
                    unknown += 1;
                }
                (Ok(record), status) if in_use => {
                    let reason = match status {
                        Ok(status) => {
                            create::exit(&status).unwrap_or_else(|| "FUSE daemon is gone".to_owned())
                        }
                        Err(error) => error.to_string(),
                    };
                    tracing::warn!(mount = record.id, reason, "found a dead mount at a target");
                    found.dead += 1;
                    self.add(Source::new(record, directory, None, Health::Dead(reason)));
                }
                (record, _) => {
                    tracing::info!(path = %directory.display(), "removing a mount nobody uses");
                    let gone = dismantle(&self.shared.config.host, &directory, Duration::ZERO).await;
                    if let Ok(record) = record
                        && !gone
                    {
                        // Somebody may still run as that user.
                        self.shared.uids().insert(record.daemon_uid);
                    }
                    found.removed += 1;
                }
            }
        }
        found.alive += living.len();
        self.settle(&living);
        let ids: Vec<String> = living.iter().map(|one| one.record.id.clone()).collect();
        self.take_over(living);
        if unknown == 0 {
            found.orphaned = self.shared.leases.revoke_orphans(&held);
        }
        // A crash between unmounting the last target and taking the source down leaves a mount nobody uses.
        for id in ids {
            self.release(&id).await;
        }
        Ok(found)
    }

    /// An earlier run may have ended between starting a keeper and that.
    fn settle(&self, living: &[Living]) {
        let pids: Vec<_> = living.iter().map(|one| (one.status.keeper_pid, one.status.daemon_pid)).collect();
        let host = self.shared.config.host.clone();
        tokio::spawn(async move {
            for (keeper, daemon) in pids {
                host.settle(keeper, daemon).await;
            }
        });
    }

    /// Removes installed programs that no mount was made with and no process runs: to be called once, after
    /// [`Self::adopt`].
    ///
    /// # Errors
    /// When a mount's directory cannot be listed, or one of the programs'; what was removed by then is not missed.
    pub fn collect_programs(&self) -> Result<usize, AdoptError> {
        let config = &self.shared.config;
        let mut kept = config.installed.files();
        kept.extend(config.authorities.ca_file().map(Path::to_owned));
        for directory in self.directories()? {
            // A record that cannot be read names nothing; its keeper and daemon are seen running.
            kept.extend(MountRecord::read(&directory).into_iter().flat_map(|record| record.files));
        }
        Ok(crate::install::collect(&config.installed.bin, &kept)?)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, AdoptError> {
        let path = &self.shared.config.mounts_dir;
        let list = || std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
        list().map_err(|source| AdoptError::List { path: path.clone(), source })
    }

    /// One lineage for all living mounts that share keys.
    fn take_over(&self, living: Vec<Living>) {
        let mut groups: HashMap<LeaseKey, Vec<Living>> = HashMap::new();
        for mut one in living {
            if let Identity::Static { access_key, .. } = &one.record.key.lease.identity {
                one.record.key.lease.identity = Identity::of_keys(access_key, &one.current.keys.secret_key);
            }
            groups.entry(one.record.key.lease.clone()).or_default().push(one);
        }
        for (key, group) in groups {
            let login = login(&key, &group);
            let adopted = group
                .iter()
                .map(|one| Adopted {
                    mount: one.record.id.clone(),
                    keeper: Keeper::at(&keeper_socket(&one.directory)),
                    current: one.current.clone(),
                })
                .collect();
            let lineage = self.shared.leases.adopt(key, login, adopted);
            for one in group {
                self.add(Source::new(one.record, one.directory, lineage.clone(), Health::Alive));
            }
        }
    }
}

fn login(key: &LeaseKey, group: &[Living]) -> LoginSource {
    match key.identity {
        Identity::Workload { .. } => {
            let tokens =
                group.iter().filter_map(|one| one.status.login.as_ref()).map(|login| login.jwt.as_str());
            // The keepers of one lineage get every newer token together; where they differ, any is as good.
            let newest = tokens.filter(|jwt| !jwt.is_empty()).max_by_key(|jwt| {
                volume_spec::tokens::claims_unverified(&SecretString::from(*jwt))
                    .and_then(|claims| claims.exp)
            });
            LoginSource::Workload(newest.map(SecretString::from))
        }
        Identity::Node { .. } => LoginSource::Node,
        Identity::Static { .. } => LoginSource::Static,
    }
}

/// A keeper on a busy node may take a moment.
async fn patiently(keeper: &Keeper) -> Result<Status, KeeperError> {
    let mut tries = 1;
    loop {
        match keeper.status().await {
            Err(KeeperError::Talk { .. } | KeeperError::Refused { .. }) if tries < TRIES => tries += 1,
            answer => return answer,
        }
    }
}

/// Until when the generations that a keeper knows are in use.
fn note_uses(status: &Status, held: &mut HashMap<String, u64>) {
    for used in &status.uses {
        let free = free_from(status, &used.generation_id);
        let latest = held.entry(used.generation_id.clone()).or_default();
        *latest = (*latest).max(free);
    }
    if let Some(current) = &status.current {
        held.insert(current.id.clone(), HELD);
    }
}

/// Ids of all mounts of ours that are bound somewhere besides their own directory.
fn bound_ids() -> Result<BTreeSet<String>, MountError> {
    let table = boathouse_mounts::table()?;
    let bound = table.iter().filter_map(|entry| {
        let id = ours(entry)?;
        let own = entry.mount_point.ends_with(format!("mounts/{id}/source"));
        (!own).then(|| id.to_owned())
    });
    Ok(bound.collect())
}
