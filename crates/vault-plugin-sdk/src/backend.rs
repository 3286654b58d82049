//! The declaration of an engine.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::field::Field;
use crate::path::{Handler, Path};
use crate::storage::Storage;
use crate::system::SystemView;
use crate::wal::{Wal, WalEntry};

/// What the host says about a mount when it sets it up. Storage is not available yet.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Setup {
    /// `plugin_name`, `plugin_type`, `plugin_version` and the mount's options.
    pub config: BTreeMap<String, String>,
    /// The mount's UUID.
    pub backend_uuid: String,
}

/// Storage and settings of a mount, for the parts of an engine that no request starts.
#[derive(Clone, Debug)]
pub struct Context {
    /// The mount's storage.
    pub storage: Storage,
    /// The mount's settings.
    pub system: SystemView,
}

impl Context {
    /// The mount's write-ahead log.
    pub fn wal(&self) -> Wal {
        Wal::new(self.storage.clone())
    }
}

type UnitFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
pub(crate) type ContextHook = Arc<dyn Fn(Context) -> UnitFuture + Send + Sync>;
pub(crate) type RollbackHook = Arc<dyn Fn(Context, WalEntry) -> UnitFuture + Send + Sync>;
pub(crate) type InvalidateHook = Arc<dyn Fn(&str) + Send + Sync>;

/// A kind of secret the engine leases out.
#[derive(Clone)]
pub struct SecretType {
    pub(crate) name: String,
    pub(crate) fields: BTreeMap<String, Field>,
    pub(crate) renew: Option<Handler>,
    pub(crate) revoke: Handler,
}

impl SecretType {
    /// A secret type with its revoke handler. Revoke must be idempotent: hosts retry it until it
    /// succeeds, and may run it twice.
    pub fn new(name: impl Into<String>, revoke: Handler) -> Self {
        Self { name: name.into(), fields: BTreeMap::new(), renew: None, revoke }
    }

    /// Makes the secrets renewable. The handler answers with
    /// [`Response::renewed`](crate::Response::renewed); `Ok(None)` keeps length and maximum.
    pub fn renew(mut self, handler: Handler) -> Self {
        self.renew = Some(handler);
        self
    }

    /// Declares a field of the data that comes with renew and revoke.
    pub fn field(mut self, field: Field) -> Self {
        self.fields.insert(field.name.clone(), field);
        self
    }
}

impl fmt::Debug for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretType")
            .field("name", &self.name)
            .field("renewable", &self.renew.is_some())
            .finish_non_exhaustive()
    }
}

/// The paths that hosts treat specially. All are mount-relative; a trailing `*` is a prefix match.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpecialPaths {
    pub(crate) root: Vec<String>,
    pub(crate) unauthenticated: Vec<String>,
    pub(crate) local_storage: Vec<String>,
    pub(crate) seal_wrap_storage: Vec<String>,
}

/// An engine of one mount.
#[derive(Clone)]
pub struct Backend {
    pub(crate) help: String,
    pub(crate) paths: Vec<Path>,
    pub(crate) secrets: BTreeMap<String, SecretType>,
    pub(crate) special: SpecialPaths,
    pub(crate) initialize: Option<ContextHook>,
    pub(crate) periodic: Option<ContextHook>,
    pub(crate) invalidate: Option<InvalidateHook>,
    pub(crate) rollback: Option<RollbackHook>,
    pub(crate) wal_min_age: Duration,
}

impl Backend {
    /// An engine without paths, with its text for `path-help <mount>`.
    pub fn new(help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            paths: Vec::new(),
            secrets: BTreeMap::new(),
            // The WAL belongs to one cluster: it must not be replicated to others.
            special: SpecialPaths {
                local_storage: vec![crate::wal::PREFIX.to_owned()],
                ..SpecialPaths::default()
            },
            initialize: None,
            periodic: None,
            invalidate: None,
            rollback: None,
            wal_min_age: crate::wal::MIN_AGE,
        }
    }

    /// Adds a path.
    pub fn path(mut self, path: Path) -> Self {
        self.paths.push(path);
        self
    }

    /// Adds several paths, in order.
    pub fn paths(mut self, paths: impl IntoIterator<Item = Path>) -> Self {
        self.paths.extend(paths);
        self
    }

    /// Adds a secret type.
    pub fn secret(mut self, secret: SecretType) -> Self {
        self.secrets.insert(secret.name.clone(), secret);
        self
    }

    /// Paths that need a sudo policy (`config/rotate-root`).
    pub fn root_paths<I: IntoIterator<Item = S>, S: Into<String>>(mut self, paths: I) -> Self {
        self.special.root.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Paths that need no token.
    pub fn unauthenticated_paths<I: IntoIterator<Item = S>, S: Into<String>>(mut self, paths: I) -> Self {
        self.special.unauthenticated.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Storage keys to seal-wrap where the host can (`config`).
    pub fn seal_wrap<I: IntoIterator<Item = S>, S: Into<String>>(mut self, keys: I) -> Self {
        self.special.seal_wrap_storage.extend(keys.into_iter().map(Into::into));
        self
    }

    /// Runs after mount, unseal and reload, when storage is usable. It may fail to write on a
    /// standby; an error is reported to the host and does not unmount the engine.
    pub fn on_initialize<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.initialize = Some(Arc::new(move |context| Box::pin(hook(context))));
        self
    }

    /// Runs about once a minute, before the WAL is looked at.
    pub fn on_periodic<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.periodic = Some(Arc::new(move |context| Box::pin(hook(context))));
        self
    }

    /// Called with a storage key that a peer of the cluster wrote: drop what was cached from it.
    pub fn on_invalidate<F: Fn(&str) + Send + Sync + 'static>(mut self, hook: F) -> Self {
        self.invalidate = Some(Arc::new(hook));
        self
    }

    /// Undoes what a [WAL](crate::Wal) entry announced. Called for entries older than the minimum
    /// age; on success the entry is deleted, on failure it is tried again at the next tick.
    /// An entry of a kind the engine does not know should fail, so that it stays.
    pub fn on_rollback<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Context, WalEntry) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.rollback = Some(Arc::new(move |context, entry| Box::pin(hook(context, entry))));
        self
    }

    /// How old a WAL entry must be before it is rolled back. It must exceed the longest time a
    /// request can take between its WAL entry and its answer. Default: 10 minutes.
    pub fn wal_min_age(mut self, age: Duration) -> Self {
        self.wal_min_age = age;
        self
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("paths", &self.paths)
            .field("secrets", &self.secrets)
            .field("wal_min_age", &self.wal_min_age)
            .finish_non_exhaustive()
    }
}
