//! The life of a user after it was issued (renew, revoke), and the end of one that never was
//! (write-ahead log).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use minio_admin::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault_plugin_sdk::{
    Context, Error, Field, Request, Response, Result, Secret, SecretType, Storage, Wal, WalEntry, handler,
};

use crate::Engine;
use crate::roles::Role;

/// The Go plugin's name for its leases; hosts find the revoke handler of old leases by it.
const SECRET_TYPE: &str = "minio_access_key";

/// Keys of a lease's internal data. The Go plugin writes and reads only the first.
const ACCESS_KEY_ID: &str = "accessKeyId";
const ROLE: &str = "role";

/// Kind of the log entries that announce a user.
const WAL_KIND: &str = "user";

/// What such an entry holds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Announcement {
    access_key_id: String,
}

/// The secret type, with its renew and revoke.
pub(crate) fn secret_type(engine: &Arc<Engine>) -> SecretType {
    SecretType::new(SECRET_TYPE, handler(engine, Engine::revoke))
        .renew(handler(engine, Engine::renew))
        .field(Field::string(ACCESS_KEY_ID).describe("The MinIO user"))
        .field(Field::string("secretAccessKey").describe("Its secret key").sensitive())
}

/// A lease of this user.
pub(crate) fn lease(user: &str, role: &str) -> Secret {
    let data = [(ACCESS_KEY_ID, user), (ROLE, role)];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value)));
    Secret::new(SECRET_TYPE, Map::from_iter(data))
}

impl Engine {
    async fn revoke(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let lease = req.secret.as_ref().ok_or_else(|| Error::internal("revoke: the host sent no lease"))?;
        let user: String = lease.internal(ACCESS_KEY_ID)?;
        let minio = self.client(&req.storage).await?;
        // A user that is gone already is what revoke is for.
        minio.remove_user(&user).await.map_err(|error| {
            let hint = if error.is_retryable() {
                "MinIO may be down; the host tries again"
            } else {
                "this does not pass by itself; check the config and the admin user's rights"
            };
            Error::internal(format!("{error} ({hint})"))
        })?;
        Ok(None)
    }

    async fn renew(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let lease = req.secret.as_ref().ok_or_else(|| Error::internal("renew: the host sent no lease"))?;
        let name: String = lease.internal(ROLE)?;
        let role = Role::load(&req.storage, &name).await?.ok_or_else(|| {
            // As an error of its own: the host prints a plain bad request with all its insides.
            Error::status(400, format!("role {name:?} no longer exists: its leases end at their time"))
        })?;
        Ok(Some(Response::renewed(lease, role.default_ttl, role.max_ttl)))
    }
}

/// An entry in the write-ahead log that announces a user.
pub(crate) struct Announced {
    wal: Wal,
    id: String,
}

/// Announces a user. The entry has the request's id: a host that runs a request twice (it does when
/// the plugin dies) writes the same entry twice, and the second run's withdrawal is for both. With
/// an id of its own, the dead run's entry would have the second run's user deleted.
///
/// # Errors
/// The storage's, verbatim: hosts recognise read-only storage by it.
pub(crate) async fn announce(req: &Request, user: &str) -> Result<Announced> {
    if req.id.is_empty() {
        return Err(Error::internal("keys: the host sent no request id to make a user name of"));
    }
    put(&req.storage, &req.id, user).await?;
    Ok(Announced { wal: req.wal(), id: req.id.clone() })
}

/// The log's form is the one Vault's own framework has.
async fn put(storage: &Storage, id: &str, user: &str) -> Result<()> {
    let created_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let data = Announcement { access_key_id: user.to_owned() };
    let entry = json!({ "type": WAL_KIND, "data": data, "created_at": created_at });
    Ok(storage.put(&format!("wal/{id}"), &entry).await?)
}

impl Announced {
    /// Takes the entry back: the user is issued, or does not exist.
    pub(crate) async fn withdraw(&self) -> Result<()> {
        self.wal.delete(&self.id).await
    }

    /// The same where the entry may as well stay: deleting a user that does not exist is harmless.
    pub(crate) async fn withdraw_or_leave(&self) {
        if let Err(error) = self.withdraw().await {
            tracing::warn!(%error, entry = self.id, "a log entry stays until the next rollback");
        }
    }
}

/// Deletes a user that was made and cannot be issued. When that fails, the log stays and the host's
/// rollback does it later.
pub(crate) async fn remove_again(minio: &Client, announced: &Announced, user: &str) {
    match minio.remove_user(user).await {
        Ok(_) => announced.withdraw_or_leave().await,
        Err(error) => tracing::warn!(%error, "an unfinished user stays until the next rollback"),
    }
}

/// Deletes the user an old log entry announces.
pub(crate) async fn roll_back(engine: Arc<Engine>, context: Context, entry: WalEntry) -> Result<()> {
    if entry.kind != WAL_KIND {
        return Err(Error::internal(format!("log entry {} is of unknown kind {:?}", entry.id, entry.kind)));
    }
    let user = entry.decode::<Announcement>()?.access_key_id;
    let minio = engine.client(&context.storage).await?;
    let removal = minio.remove_user(&user).await.map_err(Error::internal)?;
    tracing::info!(user, ?removal, "rolled back an unfinished user");
    Ok(())
}
