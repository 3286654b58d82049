//! When the next generation is due. Pure.

use super::Generation;
use crate::clock::Millis;
use std::time::Duration;

/// When and how generations follow each other.
#[derive(Debug, Clone)]
pub struct RotationPolicy {
    /// Earliest point of a generation's life at which the next is made, 0 to 1.
    pub from: f64,
    /// Latest such point. The moment is drawn between the two, so that mounts made together do not rotate
    /// together.
    pub to: f64,
    /// How long after the last use of a generation it is revoked, for requests in flight.
    pub drain: Duration,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self { from: 0.60, to: 0.75, drain: Duration::from_secs(10) }
    }
}

impl RotationPolicy {
    /// When the successor of a generation is to be made; never for one that does not expire. `draw` is uniform
    /// in 0..1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a fraction of a life in milliseconds, well below 2^52"
    )]
    pub fn due(&self, generation: &Generation, draw: f64) -> Option<Millis> {
        let life = generation.expires_at?.saturating_sub(generation.issued_at);
        let point = self.from + (self.to - self.from) * draw;
        Some(generation.issued_at.saturating_add((life as f64 * point) as Millis))
    }

    /// How long to wait after the `failures`-th failure in a row: from a fiftieth of the life (at most 5 s)
    /// doubling to a tenth of it (at most a minute), and never for more than a quarter of what is left of it, so
    /// that its end is not slept through.
    #[must_use]
    pub fn pause(generation: &Generation, failures: u32, now: Millis) -> Duration {
        let life = Duration::from_millis(
            generation.expires_at.map_or(Millis::MAX, |at| at.saturating_sub(generation.issued_at)),
        );
        let first = (life / 50).clamp(Duration::from_millis(200), Duration::from_secs(5));
        let most = (life / 10).clamp(Duration::from_secs(1), Duration::from_secs(60));
        let pause =
            first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(most);
        match generation.expires_at.map(|at| Duration::from_millis(at.saturating_sub(now))) {
            // Once it is over there is no hurry.
            Some(left) if !left.is_zero() => pause.min((left / 4).max(Duration::from_millis(200))),
            _ => pause,
        }
    }
}

/// What one keeper says about the use of a generation, and of the ones that came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// The daemon may sign with the old keys until then; none when it never fetched them.
    pub(super) old_until: Option<Millis>,
    /// When the daemon last fetched a newer generation; none when it has not yet.
    pub(super) newer_at: Option<Millis>,
}

/// The moment from which nobody signs with the old generation any more: each daemon has fetched a newer one,
/// or its hand-out has run out.
pub(super) fn unused_from(uses: impl IntoIterator<Item = Use>) -> Millis {
    uses.into_iter()
        .map(|one| match (one.old_until, one.newer_at) {
            (Some(until), Some(newer)) => until.min(newer),
            (Some(until), None) => until,
            (None, _) => 0,
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn generation(issued_at: Millis, expires_at: Option<Millis>) -> Generation {
        Generation {
            id: "g".into(),
            lease_id: "l".into(),
            token: None,
            keys: boathouse_bucket::Keys {
                access_key: "a".into(),
                secret_key: "s".into(),
                session_token: None,
            },
            issued_at,
            expires_at,
        }
    }

    #[test]
    fn what_never_expires_is_never_rotated() {
        assert_eq!(RotationPolicy::default().due(&generation(5, None), 0.5), None);
    }

    proptest! {
        #[test]
        fn due_between_the_two_points(issued in 0_u64..1 << 45, life in 1000_u64..1 << 40, draw in 0.0_f64..1.0) {
            let due = RotationPolicy::default().due(&generation(issued, Some(issued + life)), draw).unwrap();
            prop_assert!(due >= issued + life * 59 / 100 && due <= issued + life * 76 / 100);
        }

        #[test]
        fn pauses_leave_room_for_several_tries(life in 20_000_u64..1 << 40, failures in 1_u32..100) {
            let pause = RotationPolicy::pause(&generation(0, Some(life)), failures, 0);
            prop_assert!(pause >= Duration::from_millis(200));
            prop_assert!(pause <= Duration::from_secs(60));
            prop_assert!(pause.as_millis() as u64 <= life / 10);
        }

        /// However many failures there were, several tries fall into what is left.
        #[test]
        fn the_end_is_not_slept_through(life in 20_000_u64..1 << 40, failures in 1_u32..100, left in 2_000_u64..20_000) {
            let pause = RotationPolicy::pause(&generation(0, Some(life)), failures, life - left);
            prop_assert!(pause.as_millis() as u64 <= left / 4);
        }

        /// One daemon that still uses the old keys is enough to keep them.
        #[test]
        fn nobody_is_cut_off(others in proptest::collection::vec((0_u64..1000, proptest::option::of(0_u64..1000)), 0..5), until in 0_u64..2000) {
            let uses = others.into_iter().map(|(old, newer_at)| Use { old_until: Some(old), newer_at });
            let holder = Use { old_until: Some(until), newer_at: None };
            prop_assert!(unused_from(uses.chain([holder])) >= until);
        }
    }

    #[test]
    fn an_early_pick_up_frees_the_old_keys_early() {
        assert_eq!(unused_from([Use { old_until: Some(60_000), newer_at: Some(1_000) }]), 1_000);
        assert_eq!(unused_from([Use { old_until: None, newer_at: None }]), 0);
        assert_eq!(unused_from([]), 0);
    }
}
