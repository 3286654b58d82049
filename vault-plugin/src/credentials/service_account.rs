//! `credential_type` = `service_account`: a service account of the role's parent, which MinIO itself
//! ends with the lease.

use minio_admin::{Client, Code, NewServiceAccount};
use vault_plugin_sdk::{Response, Result};

use super::{Order, TTL, keys};
use crate::made::{Announced, Kind, Made};
use crate::parents::Parent;
use crate::{Engine, failure, leases, lengths, names, passwords};

/// MinIO's limit is 256 characters.
const DESCRIPTION: &str = "made by vault-plugin-secrets-minio for a lease";

pub(super) async fn issue(engine: &Engine, minio: &Client, order: &Order<'_>) -> Result<Response> {
    let (req, role) = (order.req, order.role);
    let access_key = names::make(role, &order.facts())?;
    let policy = order.policy()?;
    let granted = lengths::of_expiring(&req.system, req.fields.duration(TTL), role).await?;
    let secret = passwords::generate(&req.system, &role.password_policy).await?;
    let longest = lengths::longest(&req.system, role).await?;
    let parent = engine.parent(&req.context(), order.name, role, minio).await?;

    let expiration = lengths::expiry(granted.ttl)?;
    let made = Made {
        access_key_id: access_key.clone(),
        cluster: role.cluster.clone(),
        policy_name: None,
        role: order.name.to_owned(),
        log_entry: String::new(),
    };
    let announced = Announced::for_request(req, Kind::ServiceAccount, made).await?;
    let account = NewServiceAccount {
        parent: Some(parent.user.clone()),
        access_key,
        secret_key: secret.clone(),
        policy,
        name: None,
        description: Some(DESCRIPTION.to_owned()),
        expiration: Some(expiration),
    };
    let mut outcome = minio.add_service_account(&account).await;
    if let Err(error) = &outcome
        && !failure::may_have_happened(error)
    {
        match clear(engine, minio, order, &announced, error, &parent).await? {
            Way::Clear => outcome = minio.add_service_account(&account).await,
            Way::Blocked => {}
            // The entry stays, and the rollback looks again.
            Way::Unseen => return Err(failure::explain(error)),
        }
    }
    if let Err(error) = outcome {
        announced.failed(minio, &error, false).await;
        return Err(failure::explain(&error));
    }
    announced.hand_over(engine, &req.system, minio, longest).await?;

    let made = announced.made();
    let mut response = keys(&made.access_key_id, &secret, &role.policy)
        .with("expiration", expiration.to_string())
        .with_secret(leases::lease(role.credential_type, made)?.ttl(granted.ttl, role.max_ttl));
    response.warnings.extend(granted.warnings);
    Ok(response)
}

/// What is in the way of a refused service account.
enum Way {
    /// Nothing any more: the parent was gone from MinIO, or the access key was taken by this very request's first
    /// run, before the plugin died.
    Clear,
    /// Something else. Nothing of this request's is there.
    Blocked,
    /// MinIO did not say.
    Unseen,
}

async fn clear(
    engine: &Engine,
    minio: &Client,
    order: &Order<'_>,
    announced: &Announced,
    error: &minio_admin::Error,
    parent: &Parent,
) -> Result<Way> {
    if error.code() == Some(&Code::NoSuchUser) {
        engine.mend_parent(&order.req.storage, order.name, parent, order.role, minio).await?;
        return Ok(Way::Clear);
    }
    let access_key = &announced.made().access_key_id;
    match minio.service_account(access_key).await {
        Ok(Some(found)) if found.parent == parent.user => {
            minio.remove_service_account(access_key).await.map_err(|error| failure::explain(&error))?;
            Ok(Way::Clear)
        }
        Ok(_) => Ok(Way::Blocked),
        Err(_) => Ok(Way::Unseen),
    }
}
