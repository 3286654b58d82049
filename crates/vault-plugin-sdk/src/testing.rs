//! An engine without a host: requests go through the same routing and field conversion as behind
//! Vault or OpenBao, storage is in memory.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use csi_proto::plugin::pb;
use prost::Message as _;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::backend::{Backend, Context};
use crate::convert;
use crate::dispatch::{Call, Engine, Existence};
use crate::error::{Error, Result};
use crate::request::{LeasedSecret, Operation};
use crate::response::Response;
use crate::storage::Storage;
use crate::system::fixed::Extended;
use crate::system::{Entity, SystemView};

/// One mount of an engine.
pub struct Mount {
    engine: Engine,
    host: Arc<Extended>,
    /// The mount's storage, to look at or to prepare.
    pub storage: Storage,
}

impl Mount {
    /// Mounts `backend` on memory, with a default lease of 32 days, as hosts have it.
    ///
    /// # Panics
    /// When a path's pattern is no regular expression.
    pub fn new(backend: Backend) -> Self {
        let month = Duration::from_hours(32 * 24);
        Self::with(backend, Storage::memory(), SystemView::fixed(month, month))
    }

    /// Mounts `backend` on this storage and system view.
    ///
    /// # Panics
    /// When a path's pattern is no regular expression.
    pub fn with(backend: Backend, storage: Storage, system: SystemView) -> Self {
        let host = Arc::new(Extended::new(system));
        let context = Context { storage: storage.clone(), system: SystemView::new(Arc::clone(&host) as _) };
        let engine = Engine::new(backend, context).unwrap_or_else(|error| panic!("{error}"));
        Self { engine, host, storage }
    }

    /// Makes the host know `entity`. Ask in its name with [`request_as`](Self::request_as).
    pub fn add_entity(&self, entity: Entity) {
        self.host.add_entity(entity);
    }

    /// Gives the host a password policy that makes this password, until the name is added again.
    pub fn add_password_policy(&self, name: impl Into<String>, password: impl Into<SecretString>) {
        self.host.add_policy(name.into(), password.into());
    }

    /// Makes the mount one that is being disabled, for the last [`tick`](Self::tick).
    pub fn taint(&self) {
        self.host.taint();
    }

    /// A request as the host sends it: writes go through the existence check first.
    ///
    /// # Errors
    /// The handler's, or the routing's. A field that cannot be converted is a
    /// [`Error::BadRequest`].
    pub async fn request(&self, operation: Operation, path: &str, data: Value) -> Result<Option<Response>> {
        self.request_as("", operation, path, data).await
    }

    /// A request of the entity with this id.
    ///
    /// # Errors
    /// See [`request`](Self::request).
    pub async fn request_as(
        &self,
        entity_id: &str,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Result<Option<Response>> {
        let mut call = Call { entity_id: entity_id.to_owned(), ..call(operation, path, data) };
        if matches!(operation, Operation::Update | Operation::Create) {
            call.operation = match self.engine.exists(&call).await? {
                Existence::Absent => Operation::Create,
                Existence::Present | Existence::Unchecked => Operation::Update,
            };
        }
        self.engine.handle(call).await
    }

    /// A request as its bytes come off the wire (`pb.HandleRequestArgs`), and the bytes of the answer
    /// (`pb.HandleRequestReply`). `None` when they are no such message; of a host, the transport refuses those.
    ///
    /// Writes go through the existence check first; what it finds does not change the operation, since a host has
    /// chosen that already.
    pub async fn exchange(&self, args: &[u8]) -> Option<Vec<u8>> {
        let request = pb::HandleRequestArgs::decode(args).ok()?.request?;
        let result = match convert::call(request) {
            Ok(call) => self.answer(call).await,
            Err(error) => Err(error),
        };
        Some(convert::reply(result).encode_to_vec())
    }

    async fn answer(&self, call: Call) -> Result<Option<Response>> {
        if matches!(call.operation, Operation::Create | Operation::Update) {
            self.engine.exists(&call).await?;
        }
        self.engine.handle(call).await
    }

    /// A read with query parameters (`Value::Null` for none).
    ///
    /// # Errors
    /// See [`request`](Self::request).
    pub async fn read(&self, path: &str, query: Value) -> Result<Option<Response>> {
        self.request(Operation::Read, path, query).await
    }

    /// A write.
    ///
    /// # Errors
    /// See [`request`](Self::request).
    pub async fn write(&self, path: &str, data: Value) -> Result<Option<Response>> {
        self.request(Operation::Update, path, data).await
    }

    /// A delete.
    ///
    /// # Errors
    /// See [`request`](Self::request).
    pub async fn delete(&self, path: &str) -> Result<Option<Response>> {
        self.request(Operation::Delete, path, Value::Null).await
    }

    /// A list; a host answers `keys`, or 404 when there are none.
    ///
    /// # Errors
    /// See [`request`](Self::request).
    pub async fn list(&self, path: &str) -> Result<Option<Response>> {
        self.request(Operation::List, path, Value::Null).await
    }

    /// Ends the lease of `response`, as the host does with what it stored.
    ///
    /// # Errors
    /// The revoke handler's; [`Error::Internal`] when the response has no lease.
    pub async fn revoke(&self, response: &Response) -> Result<Option<Response>> {
        self.lease(Operation::Revoke, response, Duration::ZERO).await
    }

    /// Renews the lease of `response` by `increment`.
    ///
    /// # Errors
    /// The renew handler's; [`Error::Internal`] when the response has no lease.
    pub async fn renew(&self, response: &Response, increment: Duration) -> Result<Option<Response>> {
        self.lease(Operation::Renew, response, increment).await
    }

    /// The minute tick: periodic function and WAL rollback.
    ///
    /// # Errors
    /// What failed, all in one text.
    pub async fn tick(&self) -> Result<Option<Response>> {
        self.request(Operation::Rollback, "", Value::Null).await
    }

    /// The hook after mount and unseal.
    ///
    /// # Errors
    /// The hook's.
    pub async fn initialize(&self) -> Result<()> {
        self.engine.initialize().await
    }

    /// A peer wrote this storage key.
    pub fn invalidate(&self, key: &str) {
        self.engine.invalidate(key);
    }

    async fn lease(
        &self,
        operation: Operation,
        from: &Response,
        increment: Duration,
    ) -> Result<Option<Response>> {
        let secret = from.secret.as_ref().ok_or_else(|| Error::internal("the response has no lease"))?;
        let mut call = call(operation, "", Value::Null);
        call.secret = Some(LeasedSecret { lease_id: "test/lease".to_owned(), increment, ..secret.noted() });
        self.engine.handle(call).await
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("engine", &self.engine).finish_non_exhaustive()
    }
}

fn call(operation: Operation, path: &str, data: Value) -> Call {
    let data = match data {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    Call {
        id: uuid::Uuid::new_v4().to_string(),
        operation,
        path: path.to_owned(),
        mount_point: "test/".to_owned(),
        data,
        ..Call::default()
    }
}
