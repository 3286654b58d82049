//! `roles` and `roles/<role>`: which policy a user gets, what it is called, how long it lives.
//!
//! Differences from the Go plugin: an update keeps the fields it does not name; a role without a
//! policy, or with a default lease above its maximum, is refused.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vault_plugin_sdk::{Error, Field, Operation, Path, Request, Response, Result, Storage, handler, pattern};

use crate::Engine;

const FOLDER: &str = "roles/";
pub(crate) const ROLE: &str = "role";
const POLICY: &str = "policy";
const USER_NAME_PREFIX: &str = "user_name_prefix";
const DEFAULT_TTL: &str = "default_ttl";
const MAX_TTL: &str = "max_ttl";

/// A role as it is stored: the Go plugin's JSON, durations in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// MinIO policy; several names are separated by commas.
    pub policy: String,
    /// What user names begin with; the request id follows.
    pub user_name_prefix: String,
    /// Length of a lease; zero means the mount's.
    #[serde(serialize_with = "to_nanos", deserialize_with = "from_nanos")]
    pub default_ttl: Duration,
    /// The longest a lease may be renewed to; zero means the mount's.
    #[serde(serialize_with = "to_nanos", deserialize_with = "from_nanos")]
    pub max_ttl: Duration,
}

fn to_nanos<S: Serializer>(ttl: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX))
}

fn from_nanos<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    // Go's durations can be negative; a negative lease means nothing.
    Ok(Duration::from_nanos(u64::try_from(i64::deserialize(from)?).unwrap_or(0)))
}

impl Role {
    /// The stored role of this name.
    ///
    /// # Errors
    /// The storage's.
    pub async fn load(storage: &Storage, name: &str) -> Result<Option<Self>> {
        Ok(storage.get(&key(name)).await?)
    }

    fn check(&self) -> Result<()> {
        if self.policy.trim().is_empty() {
            return Err(Error::bad_request(
                "a role needs a policy: write policy=<name of a MinIO policy>, for instance policy=readwrite",
            ));
        }
        if !self.max_ttl.is_zero() && self.default_ttl > self.max_ttl {
            return Err(Error::bad_request(format!(
                "default_ttl ({} s) is longer than max_ttl ({} s): write a shorter default_ttl, a longer max_ttl, \
                 or max_ttl=0 for the mount's maximum",
                self.default_ttl.as_secs(),
                self.max_ttl.as_secs()
            )));
        }
        Ok(())
    }
}

fn key(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// HTTP 400, as the Go plugin answers.
fn not_found() -> Error {
    Error::bad_request("role not found")
}

/// The paths.
pub(crate) fn paths(engine: &Arc<Engine>) -> [Path; 2] {
    let list = Path::new(pattern::list("roles"))
        .on(Operation::List, handler(engine, Engine::list_roles))
        .help("The roles' names", "Lists the roles.");
    let one = Path::new(format!("{FOLDER}{}", pattern::name(ROLE)))
        .field(Field::string(ROLE).describe("Name of the role"))
        .field(Field::string(POLICY).describe("MinIO policy of the users; several, separated by commas"))
        .field(Field::string(USER_NAME_PREFIX).describe("What user names begin with").default_str(""))
        .field(Field::duration(DEFAULT_TTL).describe("Length of a lease; 0 means the mount's"))
        .field(Field::duration(MAX_TTL).describe("Longest life of a lease; 0 means the mount's"))
        .exists(handler(engine, Engine::role_exists))
        .on_write(handler(engine, Engine::write_role))
        .on(Operation::Read, handler(engine, Engine::read_role))
        .on(Operation::Delete, handler(engine, Engine::delete_role))
        .help(
            "Which policy, which names, how long",
            "A write changes the fields it names. Deleting a role leaves its leases as they are, but they can \
             no longer be renewed.",
        );
    [list, one]
}

impl Engine {
    async fn list_roles(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list(FOLDER).await?)))
    }

    async fn role_exists(self: Arc<Self>, req: Request) -> Result<bool> {
        // As in the Go plugin: who cannot be looked up is created, and that says what is wrong.
        Ok(matches!(Role::load(&req.storage, req.fields.str(ROLE)).await, Ok(Some(_))))
    }

    async fn read_role(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let role = Role::load(&req.storage, req.fields.str(ROLE)).await?.ok_or_else(not_found)?;
        let response = Response::new()
            .with(POLICY, &role.policy)
            .with(USER_NAME_PREFIX, &role.user_name_prefix)
            .with(DEFAULT_TTL, role.default_ttl.as_secs())
            .with(MAX_TTL, role.max_ttl.as_secs());
        Ok(Some(response))
    }

    async fn write_role(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let _writing = self.writing.lock().await;
        let fields = &req.fields;
        let name = fields.str(ROLE);
        let mut role = Role::load(&req.storage, name).await?.unwrap_or_default();
        if fields.is_set(POLICY) {
            fields.str(POLICY).clone_into(&mut role.policy);
        }
        if fields.is_set(USER_NAME_PREFIX) {
            fields.str(USER_NAME_PREFIX).clone_into(&mut role.user_name_prefix);
        }
        if fields.is_set(DEFAULT_TTL) {
            role.default_ttl = fields.duration(DEFAULT_TTL);
        }
        if fields.is_set(MAX_TTL) {
            role.max_ttl = fields.duration(MAX_TTL);
        }
        role.check()?;
        req.storage.put(&key(name), &role).await?;
        Ok(None)
    }

    async fn delete_role(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let _writing = self.writing.lock().await;
        let name = req.fields.str(ROLE);
        if Role::load(&req.storage, name).await?.is_none() {
            return Err(not_found());
        }
        req.storage.delete(&key(name)).await?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

    use super::*;

    /// As the Go plugin writes it.
    const LEGACY: &str = r#"{"policy":"readwrite","user_name_prefix":"p-","default_ttl":3600000000000,"max_ttl":86400000000000}"#;

    #[test]
    fn the_go_plugins_role_is_read_and_written_as_it_is() {
        let role: Role = serde_json::from_str(LEGACY).unwrap();
        let hour = Duration::from_secs(3600);
        let expected = Role {
            policy: "readwrite".into(),
            user_name_prefix: "p-".into(),
            default_ttl: hour,
            max_ttl: hour * 24,
        };
        assert_eq!(role, expected);
        assert_eq!(serde_json::to_string(&role).unwrap(), LEGACY);
    }

    #[test]
    fn a_negative_stored_ttl_counts_as_none() {
        let role: Role = serde_json::from_str(r#"{"policy":"x","default_ttl":-5,"max_ttl":0}"#).unwrap();
        assert_eq!(role.default_ttl, Duration::ZERO);
    }
}
