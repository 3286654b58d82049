//! The gRPC services a host calls.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use csi_proto::plugin::logical::{self, plugin_version_server};
use csi_proto::plugin::multiplexing::{
    MultiplexingSupportRequest, MultiplexingSupportResponse, plugin_multiplexing_server,
};
use csi_proto::plugin::pb::{self, backend_server};
use go_plugin::Broker;
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::backend::Context;
use crate::convert;
use crate::dispatch::{Call, Engine, Existence};
use crate::error::{Error, Result};
use crate::instances::{Instance, Instances};
use crate::request::Operation;
use crate::response::Response as Answer;
use crate::serve::Plugin;
use crate::storage::Storage;
use crate::storage::grpc::HostStorage;
use crate::system::{HostSystem, SystemView};

/// The metadata key that tells mounts apart.
const MULTIPLEX_ID: &str = "multiplex_id";
/// The name of the mount whose host sends no id.
const THE_ONLY_MOUNT: &str = "";
/// `logical.TypeLogical`: a secrets engine.
const SECRETS_ENGINE: u32 = 1;

/// All services of the plugin.
#[derive(Clone)]
pub(crate) struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    plugin: Plugin,
    broker: Broker,
    instances: Instances,
    /// The host only asks what the plugin is.
    metadata_mode: bool,
}

impl Service {
    pub(crate) fn new(plugin: Plugin, broker: Broker, metadata_mode: bool) -> Self {
        let instances = Instances::default();
        Self { shared: Arc::new(Shared { plugin, broker, instances, metadata_mode }) }
    }

    /// The mount of a call that does something, which metadata mode, being unprotected, refuses.
    fn working<T>(&self, request: &Request<T>) -> Result<Arc<Instance>, Status> {
        if self.shared.metadata_mode {
            return Err(Status::failed_precondition("the plugin was started in metadata mode"));
        }
        self.instance(request)
    }

    fn instance<T>(&self, request: &Request<T>) -> Result<Arc<Instance>, Status> {
        let id = multiplex_id(request.metadata())?;
        self.shared.instances.get(id).ok_or_else(|| Status::failed_precondition("Setup has not been called"))
    }

    /// Storage and system view through the broker. While a plugin is registered the host offers
    /// neither; the mount is then set up all the same, with storage that fails when used.
    async fn context(&self, broker_id: u32) -> Result<Context, String> {
        let channel = self.shared.broker.dial(broker_id).await.map_err(|error| error.to_string())?;
        Ok(Context {
            storage: Storage::new(Arc::new(HostStorage::new(channel.clone()))),
            system: SystemView::new(Arc::new(HostSystem::new(channel))),
        })
    }

    async fn set_up(&self, id: &str, args: pb::SetupArgs) -> Result<(), String> {
        let context = self.context(args.broker_id).await?;
        let setup = convert::setup(args);
        let factory = AssertUnwindSafe(|| (self.shared.plugin.factory)(&setup));
        let backend =
            std::panic::catch_unwind(factory).map_err(|_| "the engine's factory panicked".to_owned())?;
        let engine = Engine::new(backend, context).map_err(|error| error.to_string())?;
        self.shared.instances.insert(id.to_owned(), Instance { engine });
        Ok(())
    }
}

/// The mount a call is for. Hosts that start a process for each mount name none.
fn multiplex_id(metadata: &MetadataMap) -> Result<&str, Status> {
    let mut ids = metadata.get_all(MULTIPLEX_ID).iter();
    match (ids.next().map(|id| id.to_str()), ids.next()) {
        (None, _) => Ok(THE_ONLY_MOUNT),
        (Some(Ok(id)), None) if id != THE_ONLY_MOUNT => Ok(id),
        _ => Err(Status::invalid_argument(format!(
            "at most one {MULTIPLEX_ID}, and no empty one, may be sent"
        ))),
    }
}

/// A crash would end every mount of the process: a handler that panics fails alone.
///
/// The handler runs in a task of its own, so that a caller that goes away does not drop it
/// half-way through its side effects.
async fn guarded<T: Send + 'static>(
    what: &'static str,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Error::internal(format!("{what}: the handler panicked"))))
}

/// A handler's answer. When the host stops waiting (its client hung up, it is sealed), the handler runs on, and a
/// lease it then answers with is revoked: nobody else ever would.
async fn heard(instance: Arc<Instance>, call: Call) -> Result<Option<Answer>> {
    // A renewed lease is the host's already.
    let issues = !matches!(call.operation, Operation::Renew | Operation::Revoke);
    let (answer, waiting) = oneshot::channel();
    let mut ear = Ear { instance: Arc::clone(&instance), issues, waiting };
    tokio::spawn(async move {
        let engine = Arc::clone(&instance);
        let result = guarded("request", async move { engine.engine.handle(call).await }).await;
        if let Err(unheard) = answer.send(result)
            && issues
        {
            instance.engine.disown(unheard).await;
        }
    });
    (&mut ear.waiting).await.unwrap_or_else(|_| Err(Error::internal("request: the plugin is ending")))
}

/// Waits for a handler's answer. When it is dropped in the moment between the answer's sending and its hearing, the
/// handler's task believes it heard, and so the lease is revoked from here.
struct Ear {
    instance: Arc<Instance>,
    issues: bool,
    waiting: oneshot::Receiver<Result<Option<Answer>>>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        // Whatever comes after this, its sender keeps.
        self.waiting.close();
        if !self.issues {
            return;
        }
        // Without a runtime the process is ending.
        if let Ok(unheard) = self.waiting.try_recv()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let instance = Arc::clone(&self.instance);
            runtime.spawn(async move { instance.engine.disown(unheard).await });
        }
    }
}

#[tonic::async_trait]
impl backend_server::Backend for Service {
    async fn setup(&self, request: Request<pb::SetupArgs>) -> Result<Response<pb::SetupReply>, Status> {
        let id = multiplex_id(request.metadata())?.to_owned();
        let err = match self.set_up(&id, request.into_inner()).await {
            Ok(()) => String::new(),
            Err(error) => {
                tracing::error!(%error, "setup failed");
                error
            }
        };
        Ok(Response::new(pb::SetupReply { err }))
    }

    async fn initialize(
        &self,
        request: Request<pb::InitializeArgs>,
    ) -> Result<Response<pb::InitializeReply>, Status> {
        let instance = self.working(&request)?;
        let done = guarded("initialize", async move { instance.engine.initialize().await }).await;
        let err = done.err().map(|error| convert::proto_error(&error));
        Ok(Response::new(pb::InitializeReply { err }))
    }

    async fn handle_request(
        &self,
        request: Request<pb::HandleRequestArgs>,
    ) -> Result<Response<pb::HandleRequestReply>, Status> {
        let instance = self.working(&request)?;
        let Some(request) = request.into_inner().request else {
            return Err(Status::invalid_argument("HandleRequest without a request"));
        };
        let result = match convert::call(request) {
            Ok(call) => {
                let (operation, path) = (call.operation, call.path.clone());
                let result = heard(instance, call).await;
                if let Err(error) = &result {
                    tracing::debug!(%operation, path, %error, "request failed");
                }
                result
            }
            Err(error) => Err(error),
        };
        Ok(Response::new(convert::reply(result)))
    }

    async fn handle_existence_check(
        &self,
        request: Request<pb::HandleExistenceCheckArgs>,
    ) -> Result<Response<pb::HandleExistenceCheckReply>, Status> {
        let instance = self.working(&request)?;
        let Some(request) = request.into_inner().request else {
            return Err(Status::invalid_argument("HandleExistenceCheck without a request"));
        };
        let found = match convert::call(request) {
            Ok(call) => guarded("existence check", async move { instance.engine.exists(&call).await }).await,
            Err(error) => Err(error),
        };
        let mut reply = pb::HandleExistenceCheckReply::default();
        match found {
            Ok(existence) => {
                reply.check_found = existence != Existence::Unchecked;
                reply.exists = existence == Existence::Present;
            }
            Err(error) => reply.err = Some(convert::proto_error(&error)),
        }
        Ok(Response::new(reply))
    }

    async fn special_paths(
        &self,
        request: Request<pb::Empty>,
    ) -> Result<Response<pb::SpecialPathsReply>, Status> {
        let instance = self.instance(&request)?;
        Ok(Response::new(convert::special_paths(&instance.engine.backend().special)))
    }

    async fn cleanup(&self, request: Request<pb::Empty>) -> Result<Response<pb::Empty>, Status> {
        self.shared.instances.remove(multiplex_id(request.metadata())?);
        Ok(Response::new(pb::Empty {}))
    }

    async fn invalidate_key(
        &self,
        request: Request<pb::InvalidateKeyArgs>,
    ) -> Result<Response<pb::Empty>, Status> {
        let instance = self.working(&request)?;
        let key = request.into_inner().key;
        let hook = AssertUnwindSafe(|| instance.engine.invalidate(&key));
        if std::panic::catch_unwind(hook).is_err() {
            tracing::error!(key, "the invalidate hook panicked");
        }
        Ok(Response::new(pb::Empty {}))
    }

    async fn r#type(&self, _request: Request<pb::Empty>) -> Result<Response<pb::TypeReply>, Status> {
        Ok(Response::new(pb::TypeReply { r#type: SECRETS_ENGINE }))
    }
}

#[tonic::async_trait]
impl plugin_version_server::PluginVersion for Service {
    async fn version(
        &self,
        _request: Request<logical::Empty>,
    ) -> Result<Response<logical::VersionReply>, Status> {
        Ok(Response::new(logical::VersionReply { plugin_version: self.shared.plugin.version.clone() }))
    }
}

#[tonic::async_trait]
impl plugin_multiplexing_server::PluginMultiplexing for Service {
    async fn multiplexing_support(
        &self,
        _request: Request<MultiplexingSupportRequest>,
    ) -> Result<Response<MultiplexingSupportResponse>, Status> {
        Ok(Response::new(MultiplexingSupportResponse { supported: true }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::time::Duration;

    use serde_json::Map;

    use super::*;
    use crate::response::Secret;
    use crate::{Backend, Request, SecretType, handler};

    struct Notes;

    impl Notes {
        async fn revoke(self: Arc<Self>, req: Request) -> Result<Option<Answer>> {
            req.storage.put("revoked", &true).await?;
            Ok(None)
        }
    }

    /// An answer that was sent and not heard when its `Ear` went, and whether it was revoked.
    async fn dropped_with_an_answer(issues: bool, hear: bool) -> bool {
        let storage = Storage::memory();
        let hour = Duration::from_hours(1);
        let context = Context { storage: storage.clone(), system: SystemView::fixed(hour, hour) };
        let backend =
            Backend::new("").secret(SecretType::new("note", handler(&Arc::new(Notes), Notes::revoke)));
        let instance = Arc::new(Instance { engine: Engine::new(backend, context).unwrap() });
        let (answer, waiting) = oneshot::channel();
        let mut ear = Ear { instance, issues, waiting };
        let mut secret = Secret::new("note", Map::new());
        secret.internal_data.insert(crate::dispatch::SECRET_TYPE.to_owned(), "note".into());
        answer.send(Ok(Some(Answer::new().with_secret(secret)))).unwrap();
        if hear {
            (&mut ear.waiting).await.unwrap().unwrap();
        }
        drop(ear);
        // One thread, and nothing to wait for: each turn runs what is ready.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        storage.get_bytes("revoked").await.unwrap().is_some()
    }

    #[tokio::test]
    async fn an_answer_sent_and_not_heard_is_revoked() {
        assert!(dropped_with_an_answer(true, false).await);
        assert!(!dropped_with_an_answer(true, true).await, "somebody has it");
        assert!(!dropped_with_an_answer(false, false).await, "a renewed lease is the host's");
    }
}
