//! `credential_type` = `user`: a MinIO user of the lease's own.

use minio_admin::Client;
use secrecy::SecretString;
use vault_plugin_sdk::{Response, Result};

use super::{Order, TTL, keys};
use crate::made::{Announced, Kind, Made};
use crate::{Engine, failure, leases, lengths, names, passwords};

pub(super) async fn issue(engine: &Engine, minio: &Client, order: &Order<'_>) -> Result<Response> {
    let (req, role) = (order.req, order.role);
    let user = names::make(role, &order.facts())?;
    let document = order.policy()?;
    let secret = passwords::generate(&req.system, &role.password_policy).await?;
    let longest = lengths::longest(&req.system, role).await?;

    // Before anything happens outside: a standby's read-only storage stops the request here.
    let made = Made {
        policy_name: document.as_ref().map(|_| format!("lease-{user}")),
        access_key_id: user,
        cluster: role.cluster.clone(),
        role: order.name.to_owned(),
        log_entry: String::new(),
    };
    let announced = Announced::for_request(req, Kind::User, made).await?;
    make(engine, minio, &announced, order, &secret, document.as_deref()).await?;
    announced.hand_over(engine, &req.system, minio, longest).await?;

    let (ttl, warning) = lengths::of_user(req.fields.duration(TTL), role);
    let made = announced.made();
    let policy = match &made.policy_name {
        None => role.policy.clone(),
        Some(own) => policies(order, Some(own)).join(","),
    };
    let mut response = keys(&made.access_key_id, &secret, &policy)
        .with_secret(leases::lease(role.credential_type, made)?.ttl(ttl, role.max_ttl));
    response.warnings.extend(warning);
    Ok(response)
}

fn policies<'a>(order: &Order<'a>, own: Option<&'a str>) -> Vec<&'a str> {
    order.role.policies().chain(own).collect()
}

/// Makes the user and gives it its rights, or leaves nothing.
async fn make(
    engine: &Engine,
    minio: &Client,
    announced: &Announced,
    order: &Order<'_>,
    secret: &SecretString,
    document: Option<&str>,
) -> Result<()> {
    let made = announced.made();
    let (user, own) = (made.access_key_id.as_str(), made.policy_name.as_deref());
    // The policy first: one that MinIO refuses costs no user.
    if let (Some(name), Some(document)) = (own, document)
        && let Err(error) = minio.add_policy(name, document).await
    {
        announced.failed(minio, &error, engine.may_repeat()).await;
        return Err(failure::explain(&error));
    }
    if let Err(error) = minio.add_user(user, secret).await {
        announced.failed(minio, &error, own.is_some() || engine.may_repeat()).await;
        return Err(failure::explain(&error));
    }
    let rights: Result<(), minio_admin::Error> = async {
        let policies = policies(order, own);
        if !policies.is_empty() {
            minio.set_user_policy(user, &policies).await?;
        }
        for group in &order.role.groups {
            minio.add_to_group(group, &[user]).await?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = rights {
        announced.undo(minio).await;
        return Err(failure::explain(&error));
    }
    Ok(())
}
