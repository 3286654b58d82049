//! Finding the mounts of an earlier run again.

use super::mounts::Mounts;
use super::record::MountRecord;
use super::source::{Health, Source, dismantle, keeper_socket};
use super::{create, ours};
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::lease::{Adopted, Generation, HELD, LeaseKey, LoginSource, free_from};
use csi_proto::keeper::v1::Status;
use secrecy::SecretString;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

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

struct Living {
    record: MountRecord,
    directory: PathBuf,
    status: Status,
    current: Generation,
}

impl Mounts {
    /// Rebuilds the picture from the mounts' directories, the keepers and the mount table; revokes what was left
    /// behind. Called once, before serving.
    pub async fn adopt(&self) -> Found {
        let mut found = Found::default();
        let bound = bound_ids();
        let mut living: Vec<Living> = Vec::new();
        for directory in self.directories() {
            let record = MountRecord::read(&directory);
            let status = Keeper::at(&keeper_socket(&directory)).status().await;
            match (record, status) {
                (Ok(record), Ok(status)) if status.exit.is_none() && status.current.is_some() => {
                    let Some(current) = status.current.clone() else { continue };
                    living.push(Living { record, directory, current: current.into(), status });
                }
                (Ok(record), status) if bound.contains(&record.id) => {
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
                _ => {
                    tracing::info!(path = %directory.display(), "removing a mount nobody uses");
                    dismantle(&directory, Duration::ZERO).await;
                    found.removed += 1;
                }
            }
        }
        let mut held: HashMap<String, u64> = HashMap::new();
        for one in &living {
            for used in &one.status.uses {
                let free = free_from(&one.status, &used.generation_id);
                let latest = held.entry(used.generation_id.clone()).or_default();
                *latest = (*latest).max(free);
            }
        }
        for one in &living {
            held.insert(one.current.id.clone(), HELD);
        }
        found.alive = living.len();
        let ids: Vec<String> = living.iter().map(|one| one.record.id.clone()).collect();
        self.take_over(living);
        found.orphaned = self.shared.leases.revoke_orphans(&held);
        // A crash between unmounting the last target and taking the source down leaves a mount nobody uses.
        for id in ids {
            self.release(&id).await;
        }
        found
    }

    fn directories(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.shared.config.mounts_dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
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

/// Ids of all mounts of ours that are bound somewhere besides their own directory.
fn bound_ids() -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for entry in boathouse_mounts::table().unwrap_or_default() {
        if let Some(id) = ours(&entry) {
            let own = entry.mount_point.ends_with(format!("mounts/{id}/source"));
            *seen.entry(id.to_owned()).or_default() += usize::from(!own);
        }
    }
    seen.into_iter().filter(|(_, targets)| *targets > 0).map(|(id, _)| id).collect()
}
