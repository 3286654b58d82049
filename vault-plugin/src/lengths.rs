//! How long keys live.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use vault_plugin_sdk::ttl::{self, Ttl, TtlInput};
use vault_plugin_sdk::{Error, LeasedSecret, Result, SystemView};

use crate::roles::{Role, SHORTEST_EXPIRY};

/// MinIO ends service accounts and sessions no later than this after they were made.
const LONGEST_EXPIRY: Duration = Duration::from_hours(365 * 24);

/// Time a call may take until MinIO compares an expiry with its shortest.
const ON_THE_WAY: Duration = Duration::from_secs(30);

/// The length of a user's lease, and what to tell a caller who gets less than asked for. Zero stays
/// zero: the host puts in the mount's length, and caps everything by the mount's maximum.
pub(crate) fn of_user(asked: Duration, role: &Role) -> (Duration, Option<String>) {
    let wanted = if asked.is_zero() { role.default_ttl } else { asked };
    if role.max_ttl.is_zero() || wanted <= role.max_ttl {
        return (wanted, None);
    }
    let warning = format!(
        "ttl of {} s is above the role's max_ttl; the lease is capped to {} s",
        wanted.as_secs(),
        role.max_ttl.as_secs()
    );
    (role.max_ttl, Some(warning))
}

/// The length of a lease whose key MinIO ends by itself: as the host will work it out.
///
/// # Errors
/// The host's, when it does not say the mount's lengths.
pub(crate) async fn of_expiring(system: &SystemView, asked: Duration, role: &Role) -> Result<Ttl> {
    granted(TtlInput { increment: asked, ..of_role(system, role).await? })
}

/// The length of a session's lease, which is the session's own.
///
/// # Errors
/// As [`of_expiring`]; HTTP 400 when the mount does not let a lease live as long as MinIO's shortest
/// session.
pub(crate) async fn of_session(system: &SystemView, asked: Duration, role: &Role) -> Result<Ttl> {
    let input = TtlInput { increment: asked, ..of_role(system, role).await? };
    let mut granted = granted(input)?;
    if input.mount_max < SHORTEST_EXPIRY {
        return Err(Error::bad_request(format!(
            "the mount's longest lease ({} s) is shorter than a session of MinIO lives at least ({} s): tune the \
             mount, or give the role another credential_type",
            input.mount_max.as_secs(),
            SHORTEST_EXPIRY.as_secs()
        )));
    }
    if granted.ttl < SHORTEST_EXPIRY {
        granted.warnings.push(format!(
            "ttl of {} s is below MinIO's shortest session; the lease lasts {} s",
            granted.ttl.as_secs(),
            SHORTEST_EXPIRY.as_secs()
        ));
        granted.ttl = SHORTEST_EXPIRY;
    }
    granted.ttl = granted.ttl.min(LONGEST_EXPIRY);
    Ok(granted)
}

/// The length a renewal gives.
///
/// # Errors
/// As [`of_expiring`]; HTTP 400 when the lease is at the end of its longest life.
pub(crate) async fn of_renewal(system: &SystemView, role: &Role, lease: &LeasedSecret) -> Result<Ttl> {
    let input = of_role(system, role).await?;
    granted(TtlInput { increment: lease.increment, start: lease.issue_time, ..input })
}

/// The longest a lease can be renewed to.
///
/// # Errors
/// The host's, when it does not say the mount's lengths.
pub(crate) async fn longest(system: &SystemView, role: &Role) -> Result<Duration> {
    if role.max_ttl.is_zero() { Ok(system.max_lease_ttl().await?) } else { Ok(role.max_ttl) }
}

/// When MinIO is to end a key with a lease of this length: with the lease, within MinIO's limits.
///
/// # Errors
/// HTTP 500 when the time is not in the calendar.
pub(crate) fn expiry(ttl: Duration) -> Result<Timestamp> {
    let life = ttl.clamp(SHORTEST_EXPIRY + ON_THE_WAY, LONGEST_EXPIRY - ON_THE_WAY);
    Timestamp::now().checked_add(life).map_err(Error::internal)
}

async fn of_role(system: &SystemView, role: &Role) -> Result<TtlInput> {
    Ok(TtlInput {
        backend_ttl: role.default_ttl,
        backend_max: role.max_ttl,
        mount_default: system.default_lease_ttl().await?,
        mount_max: system.max_lease_ttl().await?,
        ..TtlInput::default()
    })
}

fn granted(input: TtlInput) -> Result<Ttl> {
    ttl::calculate(input, SystemTime::now()).map_err(|error| Error::status(400, error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_lease_is_as_long_as_asked_up_to_the_roles_maximum() {
        let role = Role { default_ttl: HOUR, max_ttl: 24 * HOUR, ..Role::default() };
        assert_eq!(of_user(Duration::ZERO, &role), (HOUR, None));
        assert_eq!(of_user(2 * HOUR, &role), (2 * HOUR, None));
        assert_eq!(of_user(24 * HOUR, &role), (24 * HOUR, None));
        let (ttl, warning) = of_user(48 * HOUR, &role);
        assert_eq!(ttl, 24 * HOUR);
        assert!(warning.is_some_and(|text| text.contains("172800 s") && text.contains("86400 s")));
    }

    #[test]
    fn without_a_role_maximum_the_host_decides() {
        let role = Role::default();
        assert_eq!(of_user(Duration::ZERO, &role), (Duration::ZERO, None));
        assert_eq!(of_user(999 * HOUR, &role), (999 * HOUR, None));
    }

    #[test]
    fn expiries_are_within_minios_limits() {
        let from_now = |ttl| expiry(ttl).unwrap().duration_since(Timestamp::now()).as_secs();
        assert!((900..=930).contains(&from_now(Duration::from_secs(60))));
        assert!((7199..=7200).contains(&from_now(2 * HOUR)));
        assert!(from_now(99_999 * HOUR) < 365 * 24 * 3600);
    }
}
