//! Paths and their handlers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Result;
use crate::field::Field;
use crate::request::{Operation, Request};
use crate::response::Response;

/// What a handler returns while it works.
pub type HandlerFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// An async function of a request. Make one with [`handler`] or from a closure.
pub type Handler<T = Option<Response>> = Arc<dyn Fn(Request) -> HandlerFuture<T> + Send + Sync>;

/// Binds an engine's async method, `async fn read(self: Arc<Self>, req: Request) -> Result<_>`, to
/// the engine.
///
/// The result type is `Option<Response>` for operations, renew and revoke, and `bool` for
/// existence checks.
pub fn handler<E, F, Fut, T>(engine: &Arc<E>, method: F) -> Handler<T>
where
    E: Send + Sync + 'static,
    F: Fn(Arc<E>, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    let engine = Arc::clone(engine);
    Arc::new(move |request| Box::pin(method(Arc::clone(&engine), request)))
}

/// One path of an engine: a pattern, the fields it takes and the operations it answers.
#[derive(Clone)]
pub struct Path {
    pub(crate) pattern: String,
    pub(crate) fields: BTreeMap<String, Field>,
    pub(crate) operations: BTreeMap<Operation, Handler>,
    pub(crate) existence_check: Option<Handler<bool>>,
    pub(crate) synopsis: String,
    pub(crate) description: String,
}

impl Path {
    /// A path for all requests that match `pattern` as a whole (a regular expression, anchored
    /// here; see [`crate::pattern`]). The first declared match wins.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            fields: BTreeMap::new(),
            operations: BTreeMap::new(),
            existence_check: None,
            synopsis: String::new(),
            description: String::new(),
        }
    }

    /// Declares a field. Named groups of the pattern are fields too and should be declared.
    pub fn field(mut self, field: Field) -> Self {
        self.fields.insert(field.name.clone(), field);
        self
    }

    /// Answers `operation` with `handler`.
    pub fn on(mut self, operation: Operation, handler: Handler) -> Self {
        self.operations.insert(operation, handler);
        self
    }

    /// Answers both kinds of write, create and update, with `handler`. Without an
    /// [existence check](Self::exists) the host only sends updates.
    pub fn on_write(self, handler: Handler) -> Self {
        self.on(Operation::Create, Arc::clone(&handler)).on(Operation::Update, handler)
    }

    /// Tells create from update, which policies may allow separately.
    pub fn exists(mut self, check: Handler<bool>) -> Self {
        self.existence_check = Some(check);
        self
    }

    /// One line and a longer text for `path-help` and the OpenAPI document.
    pub fn help(mut self, synopsis: impl Into<String>, description: impl Into<String>) -> Self {
        self.synopsis = synopsis.into();
        self.description = description.into();
        self
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path")
            .field("pattern", &self.pattern)
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .field("operations", &self.operations.keys().collect::<Vec<_>>())
            .field("existence_check", &self.existence_check.is_some())
            .finish_non_exhaustive()
    }
}
