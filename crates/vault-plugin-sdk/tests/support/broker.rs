//! What a host serves to its plugin over the broker: storage and the system view.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use csi_proto::plugin::logical;
use csi_proto::plugin::pb::{self, storage_server, system_view_server};
use tonic::{Request, Response, Status};

/// A mount's storage.
#[derive(Clone, Default)]
pub(crate) struct Storage {
    map: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    failure: Arc<Mutex<String>>,
}

impl Storage {
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.map.lock().unwrap().get(key).cloned()
    }

    /// Writes fail with this text from now on.
    pub(crate) fn fail(&self, text: &str) {
        *self.failure.lock().unwrap() = text.to_owned();
    }
}

#[tonic::async_trait]
impl storage_server::Storage for Storage {
    async fn list(
        &self,
        request: Request<pb::StorageListArgs>,
    ) -> Result<Response<pb::StorageListReply>, Status> {
        let prefix = request.into_inner().prefix;
        let map = self.map.lock().unwrap();
        let keys = map.keys().filter_map(|key| key.strip_prefix(&prefix)).map(str::to_owned).collect();
        Ok(Response::new(pb::StorageListReply { keys, err: String::new() }))
    }

    async fn get(
        &self,
        request: Request<pb::StorageGetArgs>,
    ) -> Result<Response<pb::StorageGetReply>, Status> {
        let key = request.into_inner().key;
        let value = self.map.lock().unwrap().get(&key).cloned();
        let entry = value.map(|value| pb::StorageEntry { key, value, seal_wrap: false });
        Ok(Response::new(pb::StorageGetReply { entry, err: String::new() }))
    }

    async fn put(
        &self,
        request: Request<pb::StoragePutArgs>,
    ) -> Result<Response<pb::StoragePutReply>, Status> {
        let err = self.failure.lock().unwrap().clone();
        if err.is_empty() {
            let entry = request.into_inner().entry.unwrap();
            self.map.lock().unwrap().insert(entry.key, entry.value);
        }
        Ok(Response::new(pb::StoragePutReply { err }))
    }

    async fn delete(
        &self,
        request: Request<pb::StorageDeleteArgs>,
    ) -> Result<Response<pb::StorageDeleteReply>, Status> {
        self.map.lock().unwrap().remove(&request.into_inner().key);
        Ok(Response::new(pb::StorageDeleteReply::default()))
    }
}

pub(crate) struct System;

const HOUR: i64 = 3_600_000_000_000;

/// Each question's answer, as a function of what came with it.
macro_rules! answers {
    ($($name:ident: $request:ty => $reply:ty = $answer:expr;)*) => { $(
        fn $name<'a, 'b>(
            &'a self,
            request: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$reply>, Status>> + Send + 'b>>
        where 'a: 'b, Self: 'b {
            let answer: fn($request) -> Result<$reply, Status> = $answer;
            Box::pin(async move { answer(request.into_inner()).map(Response::new) })
        }
    )* };
}

fn absent<Q, A>(_: Q) -> Result<A, Status> {
    Err(Status::unimplemented("not in this test"))
}

/// One entity, a question that fails, and nobody else.
fn entity_info(asked: pb::EntityInfoArgs) -> Result<pb::EntityInfoReply, Status> {
    match asked.entity_id.as_str() {
        "e-alice" => {
            let alias = logical::Alias {
                mount_type: "kubernetes".to_owned(),
                mount_accessor: "auth_kubernetes_1".to_owned(),
                name: "uid-1".to_owned(),
                metadata: HashMap::from([("service_account_name".to_owned(), "default".to_owned())]),
                ..Default::default()
            };
            let entity = logical::Entity {
                id: asked.entity_id,
                name: "alice".to_owned(),
                aliases: vec![alias],
                metadata: HashMap::from([("team".to_owned(), "blue".to_owned())]),
                ..Default::default()
            };
            Ok(pb::EntityInfoReply { entity: Some(entity), err: String::new() })
        }
        "e-broken" => Ok(pb::EntityInfoReply { entity: None, err: "identity store is nil".to_owned() }),
        _ => Ok(pb::EntityInfoReply::default()),
    }
}

impl system_view_server::SystemView for System {
    answers! {
        default_lease_ttl: pb::Empty => pb::TtlReply = |_| Ok(pb::TtlReply { ttl: HOUR });
        max_lease_ttl: pb::Empty => pb::TtlReply = |_| Ok(pb::TtlReply { ttl: 2 * HOUR });
        tainted: pb::Empty => pb::TaintedReply = absent;
        caching_disabled: pb::Empty => pb::CachingDisabledReply = absent;
        replication_state: pb::Empty => pb::ReplicationStateReply = absent;
        local_mount: pb::Empty => pb::LocalMountReply = absent;
        entity_info: pb::EntityInfoArgs => pb::EntityInfoReply = entity_info;
        plugin_env: pb::Empty => pb::PluginEnvReply = absent;
        generate_password_from_policy: pb::GeneratePasswordFromPolicyRequest => pb::GeneratePasswordFromPolicyReply =
            |asked| match asked.policy_name.as_str() {
                "letters" => Ok(pb::GeneratePasswordFromPolicyReply { password: "abc".to_owned() }),
                _ => Err(Status::internal("failed to generate password")),
            };
        cluster_info: pb::Empty => pb::ClusterInfoReply = absent;
        generate_identity_token: pb::GenerateIdentityTokenRequest => pb::GenerateIdentityTokenResponse = absent;
        register_rotation_job: pb::RegisterRotationJobRequest => pb::RegisterRotationJobResponse = absent;
        deregister_rotation_job: pb::DeregisterRotationJobRequest => pb::Empty = absent;
    }
}
