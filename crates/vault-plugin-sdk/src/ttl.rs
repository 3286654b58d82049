//! How long a lease may live.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Everything that bears on a lease's length. Zero means "not given".
#[derive(Clone, Copy, Debug, Default)]
pub struct TtlInput {
    /// What the caller asks for.
    pub increment: Duration,
    /// What the engine (a role) gives by default.
    pub backend_ttl: Duration,
    /// A renewal period: the lease may be renewed for ever, by this much each time. Only
    /// `explicit_max` bounds its absolute life.
    pub period: Duration,
    /// The longest life the engine (a role) allows.
    pub backend_max: Duration,
    /// A hard limit, also for periodic leases.
    pub explicit_max: Duration,
    /// The mount's default lease length.
    pub mount_default: Duration,
    /// The mount's longest lease. Every mount has one: zero is refused.
    pub mount_max: Duration,
    /// When the lease was issued; `None` for one being issued now.
    pub start: Option<SystemTime>,
}

/// A lease length, with warnings for the caller when it is shorter than asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// The length from now.
    pub ttl: Duration,
    /// What to tell the caller.
    pub warnings: Vec<String>,
}

/// No length can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    /// The lease's maximum life is over.
    #[error("past the max TTL, cannot renew")]
    PastMax,
    /// The mount has no longest lease; a lease without a length would live by the mount's default.
    #[error("max TTL must be greater than zero")]
    NoMax,
}

/// The length a host grants for these inputs, in whole seconds if they are. Hosts apply the same arithmetic
/// again when they register the lease, so this matters where the engine itself sets an expiry elsewhere.
///
/// # Errors
/// [`TtlError::PastMax`] when the lease was issued longer ago than it may live, [`TtlError::NoMax`] when
/// `mount_max` is zero.
pub fn calculate(input: TtlInput, now: SystemTime) -> Result<Ttl, TtlError> {
    if input.mount_max.is_zero() {
        return Err(TtlError::NoMax);
    }
    let mut warnings = Vec::new();
    // Seconds are all a host counts; without the cut, a renew at the maximum would be capped by a fraction.
    let now = whole_seconds(now);
    let start = input.start.map_or(now, whole_seconds);
    let max = [input.backend_max, input.explicit_max]
        .into_iter()
        .filter(|limit| !limit.is_zero())
        .fold(input.mount_max, Duration::min);

    let periodic = !input.period.is_zero();
    let mut ttl = if periodic {
        if input.period > max {
            warnings.push(format!(
                "period of {} seconds exceeded the effective maximum of {} seconds; period value is capped",
                input.period.as_secs(),
                max.as_secs()
            ));
        }
        input.period.min(max)
    } else {
        [input.increment, input.backend_ttl]
            .into_iter()
            .find(|ttl| !ttl.is_zero())
            .unwrap_or(input.mount_default)
    };

    // What bounds the absolute life: for periodic leases only the explicit maximum.
    let life = if periodic { input.explicit_max } else { max };
    if periodic && life.is_zero() {
        return Ok(Ttl { ttl, warnings });
    }
    // An end beyond what the clock can show is no end.
    let Some(end) = start.checked_add(life) else { return Ok(Ttl { ttl, warnings }) };
    let left = end.duration_since(now).ok().filter(|left| !left.is_zero()).ok_or(TtlError::PastMax)?;
    if ttl > left {
        warnings.push(format!(
            "TTL of {} seconds exceeded the effective maximum of {} seconds; TTL value is capped accordingly",
            ttl.as_secs(),
            left.as_secs()
        ));
        ttl = left;
    }
    Ok(Ttl { ttl, warnings })
}

/// Times before 1970 are 1970.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let age = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(age.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    const H: Duration = Duration::from_hours(1);
    const NOW: SystemTime = UNIX_EPOCH;

    fn base() -> TtlInput {
        TtlInput { mount_default: 2 * H, mount_max: 10 * H, ..TtlInput::default() }
    }

    fn now() -> SystemTime {
        NOW + 1000 * H
    }

    #[test]
    fn precedence() {
        assert_eq!(calculate(base(), now()).unwrap().ttl, 2 * H);
        assert_eq!(calculate(TtlInput { backend_ttl: 3 * H, ..base() }, now()).unwrap().ttl, 3 * H);
        let asked = TtlInput { increment: H, backend_ttl: 3 * H, ..base() };
        assert_eq!(calculate(asked, now()).unwrap(), Ttl { ttl: H, warnings: Vec::new() });
    }

    #[test]
    fn caps_and_warns() {
        for input in [
            TtlInput { increment: 20 * H, backend_max: 5 * H, ..base() },
            TtlInput { increment: 20 * H, explicit_max: 5 * H, backend_max: 7 * H, ..base() },
            TtlInput { increment: 20 * H, mount_max: 5 * H, backend_max: 7 * H, ..base() },
            TtlInput { period: 20 * H, backend_max: 5 * H, ..base() },
        ] {
            let got = calculate(input, now()).unwrap();
            assert_eq!((got.ttl, got.warnings.len()), (5 * H, 1), "{input:?}");
        }
    }

    #[test]
    fn life_counts_from_the_issue() {
        let input = TtlInput { increment: 5 * H, start: Some(now() - 8 * H), ..base() };
        assert_eq!(calculate(input, now()).unwrap().ttl, 2 * H);
        let input = TtlInput { start: Some(now() - 10 * H), ..base() };
        assert_eq!(calculate(input, now()), Err(TtlError::PastMax));
    }

    #[test]
    fn periodic_leases_only_know_the_explicit_maximum() {
        let input = TtlInput { period: 3 * H, start: Some(now() - 100 * H), ..base() };
        assert_eq!(calculate(input, now()).unwrap().ttl, 3 * H);
        let input = TtlInput { explicit_max: 5 * H, start: Some(now() - 4 * H), ..input };
        assert_eq!(calculate(input, now()).unwrap().ttl, H);
        let input = TtlInput { start: Some(now() - 6 * H), ..input };
        assert_eq!(calculate(input, now()), Err(TtlError::PastMax));
    }

    #[test]
    fn fractions_of_a_second_do_not_count() {
        let (early, late) = (now() + Duration::from_millis(100), now() + Duration::from_millis(900));
        let input = TtlInput { increment: 10 * H, start: Some(early), ..base() };
        assert_eq!(calculate(input, late), Ok(Ttl { ttl: 10 * H, warnings: Vec::new() }));
        assert_eq!(calculate(input, late + H).unwrap().ttl, 9 * H);
    }

    #[test]
    fn extremes() {
        assert_eq!(calculate(TtlInput { mount_max: Duration::ZERO, ..base() }, now()), Err(TtlError::NoMax));
        let no_max = TtlInput { mount_max: Duration::ZERO, period: H, ..base() };
        assert_eq!(calculate(no_max, now()), Err(TtlError::NoMax));
        let for_ever = TtlInput { mount_max: Duration::MAX, increment: Duration::MAX, ..base() };
        assert_eq!(calculate(for_ever, now()).unwrap().ttl, Duration::MAX);
        let before_time = TtlInput { start: Some(UNIX_EPOCH - H), ..base() };
        assert_eq!(calculate(before_time, now()), Err(TtlError::PastMax));
    }
}
