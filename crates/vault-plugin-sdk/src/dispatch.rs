//! From a request to the handler that answers it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use regex::Regex;
use serde_json::{Map, Value};

use crate::backend::{Backend, Context};
use crate::error::{Error, Result};
use crate::field::FieldData;
use crate::help;
use crate::path::Path;
use crate::pattern;
use crate::request::{LeasedSecret, Operation, Request};
use crate::response::Response;

/// The key in a lease's internal data that names its secret type.
pub(crate) const SECRET_TYPE: &str = "secret_type";

/// A request before its fields are known.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) operation: Operation,
    pub(crate) path: String,
    pub(crate) mount_point: String,
    pub(crate) mount_accessor: String,
    pub(crate) entity_id: String,
    pub(crate) display_name: String,
    pub(crate) data: Map<String, Value>,
    pub(crate) secret: Option<LeasedSecret>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            id: String::new(),
            operation: Operation::Read,
            path: String::new(),
            mount_point: String::new(),
            mount_accessor: String::new(),
            entity_id: String::new(),
            display_name: String::new(),
            data: Map::new(),
            secret: None,
        }
    }
}

/// What an existence check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existence {
    /// The path has no check.
    Unchecked,
    Present,
    Absent,
}

/// A path pattern that is no regular expression: a mistake of the engine.
#[derive(Debug, thiserror::Error)]
#[error("path pattern \"{pattern}\": {source}")]
pub(crate) struct PatternError {
    pattern: String,
    source: regex::Error,
}

/// An engine with its routes and its mount.
#[derive(Debug)]
pub(crate) struct Engine {
    backend: Backend,
    routes: Vec<Regex>,
    context: Context,
}

/// A request's path, with its fields and what to tell the caller about them.
struct Matched<'a> {
    path: &'a Path,
    raw: Map<String, Value>,
    warnings: Vec<String>,
}

impl Engine {
    pub(crate) fn new(backend: Backend, context: Context) -> std::result::Result<Self, PatternError> {
        let compile = |path: &Path| {
            Regex::new(&pattern::anchored(&path.pattern))
                .map_err(|source| PatternError { pattern: path.pattern.clone(), source })
        };
        let routes = backend.paths.iter().map(compile).collect::<std::result::Result<_, _>>()?;
        Ok(Self { backend, routes, context })
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) async fn handle(&self, call: Call) -> Result<Option<Response>> {
        match call.operation {
            Operation::Renew | Operation::Revoke => return self.lease(call).await,
            Operation::Rollback => return self.rollback().await.map(|()| None),
            Operation::Help if call.path.is_empty() => return Ok(Some(help::root(&self.backend))),
            _ => {}
        }
        let matched = self.route(&call.path, &call.data).ok_or(Error::UnsupportedPath)?;
        let Some(handler) = matched.path.operations.get(&call.operation) else {
            return match call.operation {
                // Never empty: a host that collects API documents dereferences the answer.
                Operation::Help => Ok(Some(help::path(&self.backend, matched.path, &call.path))),
                _ => Err(Error::UnsupportedOperation),
            };
        };
        let fields = FieldData::parse(&matched.path.fields, &matched.raw)
            .map_err(|error| Error::BadRequest(format!("Field validation failed: {error}")))?;
        let response = handler(self.request(call, fields)).await?;
        Ok(response.map(|mut response| {
            response.warnings.extend(matched.warnings);
            self.finish_secret(response)
        }))
    }

    /// Whether what a write addresses exists.
    pub(crate) async fn exists(&self, call: &Call) -> Result<Existence> {
        let matched = self.route(&call.path, &call.data).ok_or(Error::UnsupportedPath)?;
        let Some(check) = &matched.path.existence_check else { return Ok(Existence::Unchecked) };
        let fields = FieldData::parse(&matched.path.fields, &matched.raw)
            .map_err(|error| Error::BadRequest(error.to_string()))?;
        match check(self.request(call.clone(), fields)).await? {
            true => Ok(Existence::Present),
            false => Ok(Existence::Absent),
        }
    }

    pub(crate) async fn initialize(&self) -> Result<()> {
        match &self.backend.initialize {
            Some(hook) => hook(self.context.clone()).await,
            None => Ok(()),
        }
    }

    pub(crate) fn invalidate(&self, key: &str) {
        if let Some(hook) = &self.backend.invalidate {
            hook(key);
        }
    }

    fn route(&self, path: &str, body: &Map<String, Value>) -> Option<Matched<'_>> {
        let (route, declared) =
            self.routes.iter().zip(&self.backend.paths).find(|(route, _)| route.is_match(path))?;
        let captures = route.captures(path)?;
        let ignored: Vec<&str> =
            body.keys().filter(|key| !declared.fields.contains_key(*key)).map(String::as_str).collect();
        let mut raw = body.clone();
        let mut replaced = Vec::new();
        for name in route.capture_names().flatten() {
            let Some(found) = captures.name(name) else { continue };
            if raw.get(name).is_some_and(|value| !value.is_null()) {
                replaced.push(name);
            }
            raw.insert(name.to_owned(), Value::from(found.as_str()));
        }
        replaced.sort_unstable();
        let mut warnings = Vec::new();
        if !ignored.is_empty() {
            // serde_json's map is sorted, but only as long as nobody turns its insertion order on.
            let mut ignored = ignored;
            ignored.sort_unstable();
            warnings.push(format!("Endpoint ignored these unrecognized parameters: [{}]", ignored.join(" ")));
        }
        if !replaced.is_empty() {
            warnings.push(format!(
                "Endpoint replaced the value of these parameters with the values captured from the endpoint's \
                 path: [{}]",
                replaced.join(" ")
            ));
        }
        Some(Matched { path: declared, raw, warnings })
    }

    fn request(&self, call: Call, fields: FieldData) -> Request {
        Request {
            id: call.id,
            operation: call.operation,
            path: call.path,
            mount_point: call.mount_point,
            mount_accessor: call.mount_accessor,
            entity_id: call.entity_id,
            display_name: call.display_name,
            fields,
            secret: call.secret,
            storage: self.context.storage.clone(),
            system: self.context.system.clone(),
        }
    }

    /// Names the secret type in the internal data, where renew and revoke look for it.
    fn finish_secret(&self, mut response: Response) -> Response {
        if let Some(secret) = &mut response.secret {
            if !secret.secret_type.is_empty() {
                secret.internal_data.insert(SECRET_TYPE.to_owned(), Value::from(secret.secret_type.clone()));
            }
            let kind = secret.internal_data.get(SECRET_TYPE).and_then(Value::as_str).unwrap_or_default();
            let can_renew = self.backend.secrets.get(kind).is_some_and(|kind| kind.renew.is_some());
            secret.renewable &= can_renew;
        }
        response
    }

    async fn lease(&self, call: Call) -> Result<Option<Response>> {
        let lease = call.secret.clone().ok_or_else(|| Error::internal("request has no secret"))?;
        let unsupported = || Error::internal("secret is unsupported by this backend");
        let kind = lease.internal_data.get(SECRET_TYPE).and_then(Value::as_str).ok_or_else(unsupported)?;
        let kind = self.backend.secrets.get(kind).ok_or_else(unsupported)?;
        let fields = FieldData::parse(&kind.fields, &call.data)
            .map_err(|error| Error::BadRequest(format!("Field validation failed: {error}")))?;
        let operation = call.operation;
        let request = self.request(call, fields);
        if operation == Operation::Revoke {
            return (kind.revoke)(request).await;
        }
        let renew = kind.renew.as_ref().ok_or(Error::UnsupportedOperation)?;
        let mut response = renew(request).await?.unwrap_or_default();
        if response.secret.is_none() {
            // The host needs the lease back.
            response.secret = Response::renewed(&lease, lease.ttl, lease.max_ttl).secret;
        }
        Ok(Some(self.finish_secret(response)))
    }

    /// Revokes what was leased to a caller that had gone away: the host has no note of it, and will never ask for it.
    pub(crate) async fn disown(&self, answer: Result<Option<Response>>) {
        let Ok(Some(Response { secret: Some(secret), data, .. })) = answer else { return };
        let call =
            Call { operation: Operation::Revoke, data, secret: Some(secret.noted()), ..Call::default() };
        match self.lease(call).await {
            Ok(_) => tracing::info!("revoked a lease whose caller had gone away"),
            Err(error) => tracing::warn!(%error, "revoke a lease whose caller had gone away"),
        }
    }

    /// The minute tick: the engine's periodic work, then what requests left half-done.
    async fn rollback(&self) -> Result<()> {
        let mut failed = Vec::new();
        if let Some(periodic) = &self.backend.periodic
            && let Err(error) = periodic(self.context.clone()).await
        {
            failed.push(format!("periodic: {error}"));
        }
        if self.backend.rollback.is_some()
            && let Err(error) = self.rollback_wal(SystemTime::now(), &mut failed).await
        {
            failed.push(error.to_string());
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(Error::Internal(failed.join("; "))),
        }
    }

    pub(crate) async fn rollback_wal(&self, now: SystemTime, failed: &mut Vec<String>) -> Result<()> {
        let Some(undo) = &self.backend.rollback else { return Ok(()) };
        let wal = self.context.wal();
        for id in wal.list().await? {
            let entry = match wal.get(&id).await {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                // One unreadable entry must not keep the others from being undone.
                Err(error) => {
                    failed.push(error.to_string());
                    continue;
                }
            };
            // Entries from the future (a clock was set back) count as new.
            let age = now.duration_since(entry.created_at).unwrap_or(Duration::ZERO);
            if age < self.backend.wal_min_age {
                continue;
            }
            let kind = entry.kind.clone();
            let undone = match undo(self.context.clone(), entry).await {
                Ok(()) => wal.delete(&id).await,
                Err(error) => Err(error),
            };
            if let Err(error) = undone {
                failed.push(format!("wal entry {id} of kind \"{kind}\": {error}"));
            }
        }
        Ok(())
    }
}

/// The engine's paths by their OpenAPI template; the first declared wins.
pub(crate) fn templates(backend: &Backend) -> BTreeMap<String, &Path> {
    let mut templates = BTreeMap::new();
    for path in &backend.paths {
        templates.entry(pattern::template(&path.pattern)).or_insert(path);
    }
    templates
}
