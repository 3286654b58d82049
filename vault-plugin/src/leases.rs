//! The life of a key after it was issued: renew and revoke.

use std::sync::Arc;

use minio_admin::ServiceAccountChange;
use serde::Deserialize;
use serde_json::{Map, Value};
use vault_plugin_sdk::{
    Error, Field, LeasedSecret, Request, Response, Result, Secret, SecretType, Storage, handler,
};

use crate::made::{Kind, Made};
use crate::roles::{CredentialType, Role};
use crate::{Engine, failure, lengths};

/// The Go plugin's name for its leases; hosts find the revoke handler of old leases by it.
const USER: &str = "minio_access_key";
const SERVICE_ACCOUNT: &str = "minio_service_account";
const SESSION: &str = "minio_session";

/// The secret types, with their renew and revoke.
pub(crate) fn secret_types(engine: &Arc<Engine>) -> [SecretType; 3] {
    let keys = |kind: SecretType| {
        kind.field(Field::string("accessKeyId").describe("The access key"))
            .field(Field::string("secretAccessKey").describe("Its secret key").sensitive())
    };
    [
        keys(
            SecretType::new(USER, handler(engine, Engine::revoke_user))
                .renew(handler(engine, Engine::renew_user)),
        ),
        keys(
            SecretType::new(SERVICE_ACCOUNT, handler(engine, Engine::revoke_account))
                .renew(handler(engine, Engine::renew_account)),
        ),
        keys(SecretType::new(SESSION, handler(engine, Engine::revoke_session)))
            .field(Field::string("sessionToken").describe("Goes with the keys").sensitive()),
    ]
}

/// A lease of what was made.
///
/// # Errors
/// HTTP 500 when it has no JSON form.
pub(crate) fn lease(kind: CredentialType, made: &Made) -> Result<Secret> {
    let kind = match kind {
        CredentialType::User => USER,
        CredentialType::ServiceAccount => SERVICE_ACCOUNT,
        CredentialType::Sts => SESSION,
    };
    match serde_json::to_value(made).map_err(Error::internal)? {
        Value::Object(data) => Ok(Secret::new(kind, data)),
        _ => Ok(Secret::new(kind, Map::new())),
    }
}

/// The lease of a renew or revoke, and what was made for it.
fn read(req: &Request) -> Result<(&LeasedSecret, Made)> {
    let lease = req.secret.as_ref().ok_or_else(|| Error::internal("the host sent no lease"))?;
    // The serde text quotes the value.
    let made = Made::deserialize(&Value::Object(lease.internal_data.clone())).map_err(|_| {
        Error::internal(format!("lease {}: its internal data is not this engine's", lease.lease_id))
    })?;
    Ok((lease, made))
}

async fn role_of(req: &Request, made: &Made) -> Result<Role> {
    Role::load(&req.storage, &made.role).await?.ok_or_else(|| {
        // As an error of its own: the host prints a plain bad request with all its insides.
        Error::status(400, format!("role {:?} no longer exists: its leases end at their time", made.role))
    })
}

impl Engine {
    async fn revoke_user(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        self.revoke(&req, Kind::User).await
    }

    async fn revoke_account(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        self.revoke(&req, Kind::ServiceAccount).await
    }

    /// MinIO has no call that ends one session; it ends by itself.
    async fn revoke_session(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let (_, made) = read(&req)?;
        tracing::info!(access_key = made.access_key_id, "a revoked session ends at its expiry");
        Ok(None)
    }

    async fn revoke(&self, req: &Request, kind: Kind) -> Result<Option<Response>> {
        let (_, made) = read(req)?;
        if let Err(error) = self.remove(&req.storage, kind, &made).await {
            made.announce_again(&req.wal(), kind).await;
            return Err(error);
        }
        made.withdraw(&req.wal()).await;
        Ok(None)
    }

    async fn remove(&self, storage: &Storage, kind: Kind, made: &Made) -> Result<()> {
        let minio = self.client(storage, &made.cluster).await?;
        made.remove(kind, &minio).await.map_err(|error| error.explain())
    }

    async fn renew_user(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let (lease, made) = read(&req)?;
        let role = role_of(&req, &made).await?;
        made.withdraw(&req.wal()).await;
        Ok(Some(Response::renewed(lease, role.default_ttl, role.max_ttl)))
    }

    /// MinIO's expiry moves first: a lease that is longer than its key would be a lie.
    async fn renew_account(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let (lease, made) = read(&req)?;
        let role = role_of(&req, &made).await?;
        let granted = lengths::of_renewal(&req.system, &role, lease).await?;
        let minio = self.client(&req.storage, &made.cluster).await?;
        let change = ServiceAccountChange {
            expiration: Some(lengths::expiry(granted.ttl)?),
            ..ServiceAccountChange::default()
        };
        minio
            .update_service_account(&made.access_key_id, &change)
            .await
            .map_err(|error| failure::explain(&error))?;
        made.withdraw(&req.wal()).await;
        let mut response = Response::renewed(lease, granted.ttl, role.max_ttl);
        response.warnings.extend(granted.warnings);
        Ok(Some(response))
    }
}
