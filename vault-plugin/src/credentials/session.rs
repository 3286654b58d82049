//! `credential_type` = `sts`: a session of the role's parent, with a session token.
//!
//! Nothing is announced, for there is nothing to remove: a session ends by itself, and cannot be ended
//! before, except with its parent.

use minio_admin::{Client, Code};
use secrecy::ExposeSecret;
use vault_plugin_sdk::{Response, Result};

use super::{Order, TTL, keys};
use crate::made::Made;
use crate::{Engine, failure, leases, lengths};

pub(super) async fn issue(engine: &Engine, minio: &Client, order: &Order<'_>) -> Result<Response> {
    let (req, role) = (order.req, order.role);
    let policy = order.policy()?;
    let granted = lengths::of_session(&req.system, req.fields.duration(TTL), role).await?;
    let parent = engine.parent(&req.context(), order.name, role, minio).await?;
    let as_parent = engine.client_of_parent(&req.storage, &parent).await?;
    let mut outcome = as_parent.assume_role(Some(granted.ttl), policy.as_deref()).await;
    // "Access denied" is what MinIO says here when it does not know the user.
    if let Err(error) = &outcome
        && matches!(error.code(), Some(Code::AccessDenied | Code::SignatureDoesNotMatch))
    {
        engine.mend_parent(&req.storage, order.name, &parent, role, minio).await?;
        outcome = as_parent.assume_role(Some(granted.ttl), policy.as_deref()).await;
    }
    let session = outcome.map_err(|error| failure::explain(&error))?;
    let made = Made {
        access_key_id: session.access_key.clone(),
        cluster: role.cluster.clone(),
        policy_name: None,
        role: order.name.to_owned(),
        log_entry: String::new(),
    };
    let lease = leases::lease(role.credential_type, &made)?.ttl(granted.ttl, role.max_ttl).not_renewable();
    let mut response = keys(&session.access_key, &session.secret_key, &role.policy)
        .with("sessionToken", session.session_token.expose_secret())
        .with("expiration", session.expiration.to_string())
        .with_secret(lease);
    response.warnings = granted.warnings;
    Ok(response.warn(format!(
        "a session cannot be ended before its time: revoking the lease leaves the keys usable until {}",
        session.expiration
    )))
}
