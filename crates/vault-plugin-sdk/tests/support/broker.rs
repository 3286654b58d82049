//! What a host serves to its plugin over the broker: storage and the system view.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

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

macro_rules! absent {
    ($($name:ident($request:ty) -> $reply:ty;)*) => { $(
        fn $name<'a, 'b>(
            &'a self,
            _request: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$reply>, Status>> + Send + 'b>>
        where 'a: 'b, Self: 'b {
            Box::pin(async { Err(Status::unimplemented("not in this test")) })
        }
    )* };
}

const HOUR: i64 = 3_600_000_000_000;

impl system_view_server::SystemView for System {
    fn default_lease_ttl<'a, 'b>(
        &'a self,
        _: Request<pb::Empty>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<pb::TtlReply>, Status>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { Ok(Response::new(pb::TtlReply { ttl: HOUR })) })
    }

    fn max_lease_ttl<'a, 'b>(
        &'a self,
        _: Request<pb::Empty>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<pb::TtlReply>, Status>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async { Ok(Response::new(pb::TtlReply { ttl: 2 * HOUR })) })
    }

    absent! {
        tainted(pb::Empty) -> pb::TaintedReply;
        caching_disabled(pb::Empty) -> pb::CachingDisabledReply;
        replication_state(pb::Empty) -> pb::ReplicationStateReply;
        local_mount(pb::Empty) -> pb::LocalMountReply;
        plugin_env(pb::Empty) -> pb::PluginEnvReply;
        generate_password_from_policy(pb::GeneratePasswordFromPolicyRequest) -> pb::GeneratePasswordFromPolicyReply;
        cluster_info(pb::Empty) -> pb::ClusterInfoReply;
        generate_identity_token(pb::GenerateIdentityTokenRequest) -> pb::GenerateIdentityTokenResponse;
        register_rotation_job(pb::RegisterRotationJobRequest) -> pb::RegisterRotationJobResponse;
        deregister_rotation_job(pb::DeregisterRotationJobRequest) -> pb::Empty;
    }
}
