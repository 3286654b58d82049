//! Giving a static role's user a new secret.

use std::sync::Arc;

use jiff::Timestamp;
use minio_admin::{Client, Code, UserStatus};
use vault_plugin_sdk::{Context, Error, Result, Storage, SystemView};

use super::{FOLDER, StaticRole, key};
use crate::{Engine, failure, passwords};

impl Engine {
    /// Gives the user of a static role a new secret, or ends a rotation that was cut short. The caller
    /// holds [`Engine::statics`].
    ///
    /// # Errors
    /// The storage's; HTTP 400 or 500 when MinIO does not do it. A secret that MinIO may have taken
    /// stays stored then, and is set again the next time; one it refused is dropped, and the old one holds.
    pub(super) async fn rotate(
        &self,
        storage: &Storage,
        system: &SystemView,
        name: &str,
        mut role: StaticRole,
    ) -> Result<StaticRole> {
        let minio = self.client(storage, &role.cluster).await?;
        must_exist(&minio, &role.username).await?;
        // What an earlier call left may be MinIO's, whatever MinIO says to this one.
        let is_new = role.next_secret.is_none();
        let next = match role.next_secret.clone() {
            Some(next) => next,
            None => {
                let next = passwords::generate(system, &role.password_policy).await?;
                role.next_secret = Some(next.clone());
                storage.put(&key(name), &role).await?;
                next
            }
        };
        if let Err(error) = minio.add_user(&role.username, &next).await {
            if is_new && !failure::may_have_happened(&error) {
                role.next_secret = None;
                storage.put(&key(name), &role).await?;
            }
            return Err(failure::explain(&error));
        }
        role.secret = role.next_secret.take();
        role.last_rotation = Some(Timestamp::now());
        storage.put(&key(name), &role).await?;
        Ok(role)
    }
}

/// `add user` would make a user that does not exist, and enable one that is disabled.
pub(super) async fn must_exist(minio: &Client, user: &str) -> Result<()> {
    match minio.user_info(user).await {
        Ok(info) if info.status == UserStatus::Enabled => Ok(()),
        Ok(_) => Err(Error::bad_request(format!("MinIO user {user} is disabled: enable it first"))),
        Err(error) if error.code() == Some(&Code::NoSuchUser) => Err(Error::bad_request(format!(
            "MinIO has no user {user}: make it first, with the policies it needs"
        ))),
        Err(error) => Err(failure::explain(&error)),
    }
}

/// The minute tick: rotates what is due. One that cannot be rotated does not keep the others from it.
///
/// # Errors
/// The storage's, and HTTP 500 naming the static roles that could not be rotated.
pub(crate) async fn rotate_due(engine: Arc<Engine>, context: Context) -> Result<()> {
    let Context { storage, system } = &context;
    let names = storage.list(FOLDER).await?;
    // Only the active node can store what it sets.
    if names.is_empty() || system.is_read_only().await? {
        return Ok(());
    }
    let mut failed = Vec::new();
    for name in names {
        let _statics = engine.statics.lock().await;
        let Some(role) = StaticRole::load(storage, &name).await? else { continue };
        if !role.time_left(Timestamp::now()).is_zero() {
            continue;
        }
        match engine.rotate(storage, system, &name, role).await {
            Ok(role) => tracing::info!(name, user = role.username, "rotated a static role"),
            Err(error) => failed.push(format!("static role {name}: {error}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::internal(failed.join("; "))) }
}
