//! An engine without a host: requests go through the same routing and field conversion as behind
//! Vault or OpenBao, storage is in memory.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::backend::{Backend, Context};
use crate::dispatch::{Call, Engine, Existence};
use crate::error::{Error, Result};
use crate::request::{LeasedSecret, Operation};
use crate::response::Response;
use crate::storage::Storage;
use crate::system::SystemView;

/// One mount of an engine.
#[derive(Debug)]
pub struct Mount {
    engine: Engine,
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
        let context = Context { storage: storage.clone(), system };
        let engine = Engine::new(backend, context).unwrap_or_else(|error| panic!("{error}"));
        Self { engine, storage }
    }

    /// A request as the host sends it: writes go through the existence check first.
    ///
    /// # Errors
    /// The handler's, or the routing's. A field that cannot be converted is a
    /// [`Error::BadRequest`].
    pub async fn request(&self, operation: Operation, path: &str, data: Value) -> Result<Option<Response>> {
        let mut call = call(operation, path, data);
        if matches!(operation, Operation::Update | Operation::Create) {
            call.operation = match self.engine.exists(&call).await? {
                Existence::Absent => Operation::Create,
                Existence::Present | Existence::Unchecked => Operation::Update,
            };
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
        call.secret = Some(LeasedSecret {
            lease_id: "test/lease".to_owned(),
            internal_data: secret.internal_data.clone(),
            ttl: secret.ttl,
            max_ttl: secret.max_ttl,
            renewable: secret.renewable,
            increment,
            issue_time: Some(SystemTime::now()),
        });
        self.engine.handle(call).await
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
