//! The CSI Controller service: each call is parsed, done as a task of its own, measured, and its error reported.

use crate::create::{self, CreateVolumeError};
use crate::delete;
use crate::metrics::Metrics;
use crate::naming::VolumeId;
use crate::s3::Storage;
use crate::validate;
use boathouse_service::border::{Workers, report};
use csi_proto::csi::v1::controller_server::{Controller, ControllerServer};
use csi_proto::csi::v1::controller_service_capability::{Rpc, Type, rpc};
use csi_proto::csi::v1::*;
use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tonic::{Code, Request, Response, Status};

/// What the CO may call (CSI, "ControllerGetCapabilities"): nothing else is there.
const CAPABILITIES: [rpc::Type; 1] = [rpc::Type::CreateDeleteVolume];

/// The service. Clones share everything.
#[derive(Clone, Debug)]
pub struct CsiController {
    storage: Arc<Storage>,
    metrics: Metrics,
    workers: Workers,
    busy: Busy,
}

impl CsiController {
    /// A service that works in `storage`.
    #[must_use]
    pub fn new(storage: Storage, metrics: Metrics) -> Self {
        Self { storage: Arc::new(storage), metrics, workers: Workers::new(), busy: Busy::default() }
    }

    /// What is under way, to wait for at the end.
    #[must_use]
    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_service(self) -> ControllerServer<Self> {
        ControllerServer::new(self)
    }

    async fn run<T, F>(&self, op: &'static str, volume: &str, work: F) -> Result<Response<T>, Status>
    where
        F: Future<Output = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let metrics = self.metrics.clone();
        let begun = Instant::now();
        let measured = async move {
            let answer = work.await;
            metrics.observe(op, answer.as_ref().err().map_or(Code::Ok, Status::code), begun.elapsed());
            answer
        };
        self.workers.run(op, volume, measured).await.map(Response::new)
    }
}

/// The volumes being made right now.
#[derive(Clone, Debug, Default)]
struct Busy(Arc<Mutex<HashSet<VolumeId>>>);

/// One volume's turn; ends with it.
#[derive(Debug)]
struct Turn {
    busy: Busy,
    id: VolumeId,
}

impl Busy {
    /// `None` while another call has the volume: what CSI's ABORTED is for.
    fn take(&self, id: &VolumeId) -> Option<Turn> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(id.clone()).then(|| Turn { busy: self.clone(), id: id.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

async fn create(
    storage: &Storage,
    busy: &Busy,
    request: &CreateVolumeRequest,
) -> Result<Volume, CreateVolumeError> {
    let (id, wanted) = create::parse(storage, request)?;
    let _turn = busy.take(&id).ok_or(CreateVolumeError::Busy)?;
    create::ensure(storage, &id, &wanted, request).await
}

/// The answer to calls whose capability is not announced.
fn unsupported<T>(op: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!("{op}: this driver does not announce it")))
}

#[tonic::async_trait]
impl Controller for CsiController {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        const OP: &str = "CreateVolume";
        let request = request.into_inner();
        let (storage, busy, name) = (self.storage.clone(), self.busy.clone(), request.name.clone());
        let work = async move {
            match create(&storage, &busy, &request).await {
                Ok(volume) => Ok(CreateVolumeResponse { volume: Some(volume) }),
                Err(err) => Err(report(OP, &request.name, &err, err.code())),
            }
        };
        self.run(OP, &name, work).await
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        const OP: &str = "DeleteVolume";
        let request = request.into_inner();
        let id = request.volume_id.clone();
        let work = async move {
            match delete::retain(&request) {
                Ok(()) => Ok(DeleteVolumeResponse {}),
                Err(err) => Err(report(OP, &request.volume_id, &err, err.code())),
            }
        };
        self.run(OP, &id, work).await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        const OP: &str = "ValidateVolumeCapabilities";
        let request = request.into_inner();
        let (storage, id) = (self.storage.clone(), request.volume_id.clone());
        let work = async move {
            let id = request.volume_id.clone();
            validate::validate(&storage, request).await.map_err(|err| report(OP, &id, &err, err.code()))
        };
        self.run(OP, &id, work).await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        let capability =
            |kind| ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind as i32 })) };
        let capabilities = CAPABILITIES.into_iter().map(capability).collect();
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn controller_publish_volume(
        &self,
        _: Request<ControllerPublishVolumeRequest>,
    ) -> Result<Response<ControllerPublishVolumeResponse>, Status> {
        unsupported("ControllerPublishVolume")
    }

    async fn controller_unpublish_volume(
        &self,
        _: Request<ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<ControllerUnpublishVolumeResponse>, Status> {
        unsupported("ControllerUnpublishVolume")
    }

    async fn list_volumes(
        &self,
        _: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        unsupported("ListVolumes")
    }

    async fn get_capacity(
        &self,
        _: Request<GetCapacityRequest>,
    ) -> Result<Response<GetCapacityResponse>, Status> {
        unsupported("GetCapacity")
    }

    async fn create_snapshot(
        &self,
        _: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        unsupported("CreateSnapshot")
    }

    async fn delete_snapshot(
        &self,
        _: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        unsupported("DeleteSnapshot")
    }

    async fn list_snapshots(
        &self,
        _: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        unsupported("ListSnapshots")
    }

    async fn get_snapshot(
        &self,
        _: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        unsupported("GetSnapshot")
    }

    async fn controller_expand_volume(
        &self,
        _: Request<ControllerExpandVolumeRequest>,
    ) -> Result<Response<ControllerExpandVolumeResponse>, Status> {
        unsupported("ControllerExpandVolume")
    }

    async fn controller_get_volume(
        &self,
        _: Request<ControllerGetVolumeRequest>,
    ) -> Result<Response<ControllerGetVolumeResponse>, Status> {
        unsupported("ControllerGetVolume")
    }

    async fn controller_modify_volume(
        &self,
        _: Request<ControllerModifyVolumeRequest>,
    ) -> Result<Response<ControllerModifyVolumeResponse>, Status> {
        unsupported("ControllerModifyVolume")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_volume_has_one_turn_at_a_time() {
        let busy = Busy::default();
        let (a, b) = ("data/a".parse().unwrap(), "data/b".parse().unwrap());
        let first = busy.take(&a);
        assert!(first.is_some());
        assert!(busy.take(&a).is_none());
        assert!(busy.take(&b).is_some());
        drop(first);
        assert!(busy.take(&a).is_some());
    }
}
