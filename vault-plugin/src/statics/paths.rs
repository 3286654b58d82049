//! The paths of static roles.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use vault_plugin_sdk::{
    Error, Field, FieldData, Operation, Path, Request, Response, Result, Storage, handler, pattern,
};

use super::rotate::must_exist;
use super::{FOLDER, StaticRole, key};
use crate::config::{Cluster, Config};
use crate::{Engine, limits};

const NAME: &str = "name";
const USERNAME: &str = "username";
const ROTATION_PERIOD: &str = "rotation_period";
const CLUSTER: &str = "cluster";
const PASSWORD_POLICY: &str = "password_policy";

/// The host's tick comes once a minute.
const SHORTEST_PERIOD: Duration = Duration::from_mins(1);

fn not_found(name: &str) -> Error {
    Error::bad_request(format!("static role {name:?} not found"))
}

/// The paths.
pub(crate) fn paths(engine: &Arc<Engine>) -> [Path; 4] {
    let named = |folder: &str| {
        Path::new(format!("{folder}{}", pattern::name(NAME)))
            .field(Field::string(NAME).describe("Name of the static role"))
    };
    let list = Path::new(pattern::list("static-roles"))
        .on(Operation::List, handler(engine, Engine::list_statics))
        .help("The static roles' names", "Lists the static roles.");
    let one = named(FOLDER)
        .field(Field::string(USERNAME).describe("MinIO user, which exists; cannot be changed"))
        .field(Field::duration(ROTATION_PERIOD).describe("Time between two secrets, a minute or longer"))
        .field(Field::string(CLUSTER).describe("Name of the cluster, from config/<name>; empty for the plain config"))
        .field(Field::string(PASSWORD_POLICY).describe("Password policy of the host that makes the secret keys"))
        .exists(handler(engine, Engine::static_exists))
        .on_write(handler(engine, Engine::write_static))
        .on(Operation::Read, handler(engine, Engine::read_static))
        .on(Operation::Delete, handler(engine, Engine::delete_static))
        .help(
            "A MinIO user whose secret the engine changes",
            "The first write gives the user a secret that only this engine knows. Deleting the static role leaves \
             the user with the secret it has.",
        );
    let creds = named("static-creds/")
        .on(Operation::Read, handler(engine, Engine::read_static_creds))
        .help("The user's keys", "They hold until the next rotation, in ttl seconds or sooner.");
    let rotate = named("rotate-role/")
        .on(Operation::Update, handler(engine, Engine::rotate_static))
        .help("A new secret now", "The old secret ends at once.");
    [list, one, creds, rotate]
}

impl StaticRole {
    /// Takes over the fields a write names.
    fn take(&mut self, fields: &FieldData) -> Result<()> {
        let fixed = |field: &str, now: &str| {
            let changed = fields.is_set(field) && fields.str(field) != now;
            let error = || {
                Error::bad_request(format!("{field} of a static role cannot be changed: write another role"))
            };
            if changed { Err(error()) } else { Ok(()) }
        };
        fixed(USERNAME, &self.username)?;
        fixed(CLUSTER, self.cluster.name())?;
        if fields.is_set(ROTATION_PERIOD) {
            self.rotation_period = fields.duration(ROTATION_PERIOD);
        }
        if fields.is_set(PASSWORD_POLICY) {
            fields.str(PASSWORD_POLICY).clone_into(&mut self.password_policy);
        }
        limits::line(PASSWORD_POLICY, &self.password_policy, limits::NAME)?;
        if self.rotation_period < SHORTEST_PERIOD {
            return Err(Error::bad_request(format!(
                "rotation_period is {} s: write {} s or longer",
                self.rotation_period.as_secs(),
                SHORTEST_PERIOD.as_secs()
            )));
        }
        Ok(())
    }

    fn new(fields: &FieldData) -> Result<Self> {
        let (username, cluster) = (fields.str(USERNAME), fields.str(CLUSTER));
        limits::line(USERNAME, username, limits::ACCESS_KEY)?;
        limits::line(CLUSTER, cluster, limits::NAME)?;
        if username.is_empty() {
            return Err(Error::bad_request(
                "a static role needs a user: write username=<name of a MinIO user>",
            ));
        }
        let mut role = Self {
            username: username.to_owned(),
            cluster: Cluster::named(cluster),
            rotation_period: Duration::ZERO,
            password_policy: String::new(),
            secret: None,
            next_secret: None,
            last_rotation: None,
        };
        role.take(fields)?;
        Ok(role)
    }
}

impl Engine {
    async fn list_statics(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        Ok(Some(Response::list(req.storage.list(FOLDER).await?)))
    }

    async fn static_exists(self: Arc<Self>, req: Request) -> Result<bool> {
        Ok(StaticRole::load(&req.storage, req.fields.str(NAME)).await?.is_some())
    }

    async fn read_static(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(NAME);
        let role = StaticRole::load(&req.storage, name).await?.ok_or_else(|| not_found(name))?;
        let mut response = Response::new()
            .with(USERNAME, &role.username)
            .with(ROTATION_PERIOD, role.rotation_period.as_secs())
            .with("last_rotation", role.last_rotation.map(|at| at.to_string()));
        for (field, value) in [(CLUSTER, role.cluster.name()), (PASSWORD_POLICY, &role.password_policy)] {
            if !value.is_empty() {
                response = response.with(field, value);
            }
        }
        Ok(Some(response))
    }

    async fn write_static(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(NAME);
        limits::line(NAME, name, limits::NAME)?;
        let _statics = self.statics.lock().await;
        if let Some(mut role) = StaticRole::load(&req.storage, name).await? {
            role.take(&req.fields)?;
            req.storage.put(&key(name), &role).await?;
            return Ok(None);
        }
        let role = StaticRole::new(&req.fields)?;
        Config::must_exist(&req.storage, &role.cluster).await?;
        self.may_be_rotated(&req.storage, &role).await?;
        let Err(error) = self.rotate(&req.storage, &req.system, name, role).await else { return Ok(None) };
        // MinIO may have taken the secret; only what is stored knows it.
        if StaticRole::load(&req.storage, name).await?.is_some() {
            let text = "the static role is kept, and its rotation tried again every minute";
            return Err(Error::internal(format!("{error}; {text}")));
        }
        Err(error)
    }

    /// Two that change one secret would take it from each other.
    async fn may_be_rotated(&self, storage: &Storage, role: &StaticRole) -> Result<()> {
        let config = Config::configured(storage, &role.cluster).await?;
        if config.access_key_id == role.username {
            return Err(Error::bad_request(format!(
                "{} is the admin user of {}: write to config/rotate-root instead",
                role.username, role.cluster
            )));
        }
        for other in storage.list(FOLDER).await? {
            let stored = StaticRole::load(storage, &other).await?;
            if stored.is_some_and(|stored| stored.username == role.username && stored.cluster == role.cluster)
            {
                return Err(Error::bad_request(format!(
                    "{} belongs to static role {other:?} already",
                    role.username
                )));
            }
        }
        must_exist(&self.client(storage, &role.cluster).await?, &role.username).await
    }

    async fn delete_static(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(NAME);
        let _statics = self.statics.lock().await;
        if StaticRole::load(&req.storage, name).await?.is_none() {
            return Err(not_found(name));
        }
        req.storage.delete(&key(name)).await?;
        Ok(None)
    }

    async fn rotate_static(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(NAME);
        let _statics = self.statics.lock().await;
        let role = StaticRole::load(&req.storage, name).await?.ok_or_else(|| not_found(name))?;
        self.rotate(&req.storage, &req.system, name, role).await?;
        Ok(None)
    }

    async fn read_static_creds(self: Arc<Self>, req: Request) -> Result<Option<Response>> {
        let name = req.fields.str(NAME);
        let load = async || StaticRole::load(&req.storage, name).await?.ok_or_else(|| not_found(name));
        let mut role = load().await?;
        if role.next_secret.is_some() {
            // A rotation runs, or was cut short: only its end says which secret MinIO has.
            let _statics = self.statics.lock().await;
            role = load().await?;
            if role.next_secret.is_some() {
                role = self.rotate(&req.storage, &req.system, name, role).await?;
            }
        }
        let secret = role.secret.as_ref().ok_or_else(|| {
            Error::internal(format!("static role {name:?} has no secret yet: write to rotate-role/{name}"))
        })?;
        let response = Response::new()
            .with("accessKeyId", &role.username)
            .with("secretAccessKey", secret.expose_secret())
            .with("last_rotation", role.last_rotation.map(|at| at.to_string()))
            .with(ROTATION_PERIOD, role.rotation_period.as_secs())
            .with("ttl", role.time_left(Timestamp::now()).as_secs());
        Ok(Some(response))
    }
}
