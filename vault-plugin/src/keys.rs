//! `keys/<role>`: a fresh MinIO user with the role's policy, under a lease.
//!
//! The user is called by the role's prefix and the host's request id. Differences from the Go
//! plugin: leases are renewable; a `ttl` above the role's maximum is capped with a warning; when
//! the policy cannot be attached, the user is deleted at once. An entry in the write-ahead log
//! announces the user before it is made, so a plugin or host that dies half-way leaves nobody
//! behind for longer than the log's minimum age.

use std::sync::Arc;
use std::time::Duration;

use minio_admin::{Client, UserStatus};
use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use vault_plugin_sdk::{Error, Field, Operation, Path, Request, Response, Result, handler, pattern};

use crate::Engine;
use crate::leases::{self, Announced};
use crate::roles::{ROLE, Role};

const TTL: &str = "ttl";

/// Characters in a secret key: 24 out of 62 are 142 bits. MinIO takes at most 40.
const SECRET_LENGTH: usize = 24;

/// The path.
pub(crate) fn path(engine: &Arc<Engine>) -> Path {
    Path::new(format!("keys/{}", pattern::name(ROLE)))
        .field(Field::string(ROLE).describe("Name of the role"))
        .field(Field::duration(TTL).describe("Length of the lease; 0 means the role's"))
        .on(Operation::Read, handler(engine, Engine::issue))
        .help(
            "A fresh MinIO user",
            "Each read makes a user with the role's policy. It is deleted when the lease ends.",
        )
}

impl Engine {
    async fn issue(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let role_name = req.fields.str(ROLE);
        let role = Role::load(&req.storage, role_name)
            .await?
            // HTTP 500 with this text, as the Go plugin answers.
            .ok_or_else(|| Error::internal("error fetching role: role not found"))?;
        let minio = self.client(&req.storage).await?;
        let user = format!("{}{}", role.user_name_prefix, req.id);
        let secret = SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), SECRET_LENGTH));

        // Before anything happens outside: a standby's read-only storage stops the request here.
        let announced = leases::announce(&req, &user).await?;
        make_user(&minio, &announced, &user, &secret, &role.policy).await?;
        if let Err(error) = announced.withdraw().await {
            // With the entry left in the log, the user would be deleted during its lease.
            leases::remove_again(&minio, &announced, &user).await;
            return Err(error);
        }

        let (ttl, warning) = lease_length(req.fields.duration(TTL), &role);
        let mut response = Response::new()
            .with("accessKeyId", &user)
            .with("secretAccessKey", secret.expose_secret())
            .with("accountStatus", UserStatus::Enabled.as_str())
            .with("policy", &role.policy)
            .with_secret(leases::lease(&user, role_name).ttl(ttl, role.max_ttl));
        response.warnings.extend(warning);
        Ok(Some(response))
    }
}

/// Makes the user and attaches its policy, or leaves no user.
async fn make_user(
    minio: &Client,
    announced: &Announced,
    user: &str,
    secret: &SecretString,
    policy: &str,
) -> Result<()> {
    if let Err(error) = minio.add_user(user, secret).await {
        // No answer, or half of one, says nothing about the user; the log stays for those.
        let is_made = error.is_retryable() && !matches!(error, minio_admin::Error::Unreachable { .. });
        if !is_made {
            announced.withdraw_or_leave().await;
        }
        return Err(Error::internal(error));
    }
    if let Err(error) = minio.set_user_policy(user, &[policy]).await {
        leases::remove_again(minio, announced, user).await;
        return Err(Error::internal(error));
    }
    Ok(())
}

/// The length of a lease, and what to tell a caller who gets less than asked for. Zero stays zero:
/// the host puts in the mount's length, and caps everything by the mount's maximum.
fn lease_length(asked: Duration, role: &Role) -> (Duration, Option<String>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_lease_is_as_long_as_asked_up_to_the_roles_maximum() {
        let role = Role { default_ttl: HOUR, max_ttl: 24 * HOUR, ..Role::default() };
        assert_eq!(lease_length(Duration::ZERO, &role), (HOUR, None));
        assert_eq!(lease_length(2 * HOUR, &role), (2 * HOUR, None));
        assert_eq!(lease_length(24 * HOUR, &role), (24 * HOUR, None));
        let (ttl, warning) = lease_length(48 * HOUR, &role);
        assert_eq!(ttl, 24 * HOUR);
        assert!(warning.is_some_and(|text| text.contains("172800 s") && text.contains("86400 s")));
    }

    #[test]
    fn without_a_role_maximum_the_host_decides() {
        let role = Role::default();
        assert_eq!(lease_length(Duration::ZERO, &role), (Duration::ZERO, None));
        assert_eq!(lease_length(999 * HOUR, &role), (999 * HOUR, None));
    }
}
