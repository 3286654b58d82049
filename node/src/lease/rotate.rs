//! Making the next generation in time, handing it out, and revoking the one before it once nobody uses it.

use super::Generation;
use super::leases::Shared;
use super::lineage::Lineage;
use super::rotation::{RotationPolicy, Use, unused_from};
use crate::clock::{Millis, now, until};
use crate::keeper::{Keeper, KeeperError};
use csi_proto::keeper::v1 as wire;
use std::sync::Arc;
use std::time::Duration;

/// How often keepers are asked whether a retiring generation is still in use.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Longest sleep before the clock is looked at again.
const NAP: Duration = Duration::from_secs(30);

/// Rotates one lineage for as long as it lives.
pub(super) async fn run(shared: Arc<Shared>, lineage: Arc<Lineage>) {
    let mut failures = 0;
    while !lineage.closed() {
        let current = lineage.current();
        let due = if failures == 0 {
            let Some(due) = shared.policy.due(&current, rand::random()) else { return };
            due
        } else {
            now().saturating_add(crate::clock::millis(RotationPolicy::pause(&current, failures, now())))
        };
        // In short naps: the moment is one of the wall clock's, which jumps where a node is suspended.
        while due > now() && !lineage.closed() && lineage.current().id == current.id {
            tokio::select! {
                () = tokio::time::sleep(until(due).min(NAP)) => {}
                () = lineage.nudge.notified() => break,
            }
        }
        // A publish may have replaced an expired generation meanwhile; then the wait begins anew.
        if lineage.closed() || lineage.current().id != current.id {
            failures = 0;
            continue;
        }
        match shared.next(&lineage).await {
            Ok(generation) => {
                failures = 0;
                shared.metrics.rotated(true);
                tracing::info!(
                    identity = lineage.key.identity.display(),
                    vault_path = lineage.key.vault_path,
                    generation = generation.id,
                    "rotated"
                );
                if let Err(unused) = install(&shared, &lineage, Arc::new(generation)).await {
                    shared.revoke(&unused);
                }
            }
            Err(error) => {
                failures += 1;
                shared.metrics.rotated(false);
                let message = boathouse_service::border::chain(&error);
                tracing::warn!(
                    identity = lineage.key.identity.display(),
                    vault_path = lineage.key.vault_path,
                    error = message,
                    failures,
                    keys_end_in = ?current.expires_at.map(until),
                    retry_in = ?RotationPolicy::pause(&current, failures, now()),
                    "rotate; the mounts keep their present keys"
                );
                lineage.set_failure(Some(message));
            }
        }
    }
}

/// Makes a generation the current one everywhere and starts the retirement of the one before. `Err` gives it
/// back when the lineage has ended.
pub(super) async fn install(
    shared: &Arc<Shared>,
    lineage: &Arc<Lineage>,
    generation: Arc<Generation>,
) -> Result<(), Arc<Generation>> {
    let old = lineage.succeed(generation)?;
    let current = lineage.current();
    for (mount, keeper) in lineage.keepers() {
        hand_out(&mount, &keeper, &current).await;
        shared.metrics.expires(&mount, current.expires_at);
    }
    tokio::spawn(retire(shared.clone(), lineage.clone(), old));
    Ok(())
}

/// Gives a keeper a generation. A keeper that cannot be reached is asked again by [`retire`].
pub(super) async fn hand_out(mount: &str, keeper: &Keeper, generation: &Generation) {
    if let Err(error) = keeper.set_generation(generation.into()).await {
        tracing::warn!(mount, %error, "hand new keys to a keeper");
    }
}

/// Revokes a generation once no daemon signs with it any more, and requests in flight have drained.
pub(super) async fn retire(shared: Arc<Shared>, lineage: Arc<Lineage>, old: Arc<Generation>) {
    while lineage.is_retiring(&old) && !old.expired() {
        let free_at = free_at(&lineage, &old).await;
        if free_at <= now() {
            tokio::time::sleep(shared.policy.drain).await;
            break;
        }
        tokio::time::sleep(until(free_at).min(LOOK_AGAIN)).await;
    }
    if lineage.retired(&old) {
        shared.revoke(&old);
    }
}

/// When the old generation will be out of use, as far as can be said now.
async fn free_at(lineage: &Lineage, old: &Generation) -> Millis {
    if lineage.reserved() {
        // A publish may still be handing the old generation to a keeper that is not attached yet.
        return now() + crate::clock::millis(LOOK_AGAIN);
    }
    let current = lineage.current();
    let mut latest = 0;
    for (mount, keeper) in lineage.keepers() {
        let at = match keeper.status().await {
            Ok(status) => {
                if status.current.as_ref().is_some_and(|held| held.id != current.id) {
                    hand_out(&mount, &keeper, &current).await;
                    now() + crate::clock::millis(LOOK_AGAIN)
                } else {
                    free_from(&status, &old.id)
                }
            }
            // No keeper, no daemon, no use.
            Err(KeeperError::Gone { .. }) => 0,
            Err(error) => {
                tracing::debug!(mount, %error, "ask a keeper what it hands out");
                now() + crate::clock::millis(LOOK_AGAIN)
            }
        };
        latest = latest.max(at);
    }
    latest
}

/// From when a daemon signs with none of `generation`'s keys, by its keeper's word.
#[must_use]
pub fn free_from(status: &wire::Status, generation: &str) -> Millis {
    unused_from([use_of(status, generation)])
}

fn use_of(status: &wire::Status, old: &str) -> Use {
    // A daemon that is gone signs nothing.
    if status.exit.is_some() {
        return Use { old_until: None, newer_at: None };
    }
    let of_old = status.uses.iter().find(|one| one.generation_id == old);
    let newer_at = status
        .uses
        .iter()
        .filter(|one| one.generation_id != old)
        .map(|one| one.last_handed_out_ms)
        .filter(|at| of_old.is_none_or(|of_old| *at > of_old.last_handed_out_ms))
        .min();
    Use { old_until: of_old.map(|one| one.usable_until_ms), newer_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uses: &[(&str, Millis, Millis)]) -> wire::Status {
        wire::Status {
            uses: uses
                .iter()
                .map(|(id, last_handed_out_ms, usable_until_ms)| wire::GenerationUse {
                    generation_id: (*id).into(),
                    last_handed_out_ms: *last_handed_out_ms,
                    usable_until_ms: *usable_until_ms,
                })
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn reads_a_keepers_word() {
        let cases = [
            (status(&[]), Use { old_until: None, newer_at: None }),
            (status(&[("old", 10, 70)]), Use { old_until: Some(70), newer_at: None }),
            (status(&[("new", 30, 90), ("old", 10, 70)]), Use { old_until: Some(70), newer_at: Some(30) }),
            // Handed out before the old one: no pick-up.
            (status(&[("old", 10, 70), ("older", 5, 65)]), Use { old_until: Some(70), newer_at: None }),
        ];
        for (status, expected) in cases {
            assert_eq!(use_of(&status, "old"), expected, "{status:?}");
        }
        let gone = wire::Status { exit: Some(wire::Exit::default()), ..status(&[("old", 10, 70)]) };
        assert_eq!(free_from(&gone, "old"), 0);
    }
}
