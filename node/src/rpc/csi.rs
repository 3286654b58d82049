//! CSI Node service.

use super::request::Policy;
use crate::publish::{Publisher, TargetDir};
use crate::stats::{VolumeStats, stats};
use boathouse_service::border::{self, Workers};
use csi_proto::csi::v1::node_server::{Node, NodeServer};
use csi_proto::csi::v1::node_service_capability::{Rpc, Type, rpc};
use csi_proto::csi::v1::volume_usage::Unit;
use csi_proto::csi::v1::{
    NodeExpandVolumeRequest, NodeExpandVolumeResponse, NodeGetCapabilitiesRequest,
    NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse, NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse, NodePublishVolumeRequest, NodePublishVolumeResponse, NodeServiceCapability,
    NodeStageVolumeRequest, NodeStageVolumeResponse, NodeUnpublishVolumeRequest, NodeUnpublishVolumeResponse,
    NodeUnstageVolumeRequest, NodeUnstageVolumeResponse, VolumeCondition, VolumeUsage,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tonic::{Code, Request, Response, Status};

/// The Node service.
#[derive(Debug, Clone)]
pub struct CsiNode {
    publisher: Publisher,
    policy: Arc<Policy>,
    node_id: String,
    workers: Workers,
}

impl CsiNode {
    /// A Node service. `workers` carries the work that must not stop when kubelet hangs up.
    #[must_use]
    pub fn new(publisher: Publisher, policy: Arc<Policy>, node_id: String, workers: Workers) -> Self {
        Self { publisher, policy, node_id, workers }
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_service(self) -> NodeServer<Self> {
        NodeServer::new(self)
    }
}

fn missing(op: &str, field: &str) -> Status {
    let error = std::io::Error::other(format!("{field}: is missing"));
    border::report(op, "", &error, Code::InvalidArgument)
}

#[tonic::async_trait]
impl Node for CsiNode {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        const OP: &str = "NodePublishVolume";
        let request = request.into_inner();
        let volume = request.volume_id.clone();
        let request =
            self.policy.csi(request).map_err(|error| border::report(OP, &volume, &error, error.code()))?;
        let publisher = self.publisher.clone();
        let named = volume.clone();
        let work = async move {
            publisher.publish(request).await.map_err(|error| border::report(OP, &named, &error, error.code()))
        };
        self.workers.run(OP, &volume, work).await?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        const OP: &str = "NodeUnpublishVolume";
        let NodeUnpublishVolumeRequest { volume_id: volume, target_path } = request.into_inner();
        if volume.is_empty() {
            return Err(missing(OP, "volume_id"));
        }
        if target_path.is_empty() {
            return Err(missing(OP, "target_path"));
        }
        let publisher = self.publisher.clone();
        let named = volume.clone();
        let work = async move {
            let done = publisher.unpublish(&PathBuf::from(target_path), TargetDir::Ours).await;
            done.map_err(|error| border::report(OP, &named, &error, error.code()))
        };
        self.workers.run(OP, &volume, work).await?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        const OP: &str = "NodeGetVolumeStats";
        let request = request.into_inner();
        if request.volume_id.is_empty() {
            return Err(missing(OP, "volume_id"));
        }
        if request.volume_path.is_empty() {
            return Err(missing(OP, "volume_path"));
        }
        let answer = stats(&self.publisher.mounts, Path::new(&request.volume_path)).await;
        let answer = answer.map_err(|error| border::report(OP, &request.volume_id, &error, error.code()))?;
        Ok(Response::new(answer.into()))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let can = [rpc::Type::GetVolumeStats, rpc::Type::VolumeCondition];
        let capability =
            |kind: rpc::Type| NodeServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: kind as i32 })) };
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities: can.map(capability).to_vec() }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        // No limit and no topology: a bucket is reachable from everywhere, and mounts cost only memory.
        Ok(Response::new(NodeGetInfoResponse { node_id: self.node_id.clone(), ..Default::default() }))
    }

    // Not announced: kubelet gives staging neither pod nor token, and mounts are shared by identity anyway.
    async fn node_stage_volume(
        &self,
        _: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        Err(Status::unimplemented("NodeStageVolume: this driver has no staging"))
    }

    async fn node_unstage_volume(
        &self,
        _: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        Err(Status::unimplemented("NodeUnstageVolume: this driver has no staging"))
    }

    async fn node_expand_volume(
        &self,
        _: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        Err(Status::unimplemented("NodeExpandVolume: a bucket has no size to expand"))
    }
}

impl From<VolumeStats> for NodeGetVolumeStatsResponse {
    fn from(stats: VolumeStats) -> Self {
        let usage = |unit: Unit, total: u64, available: u64| {
            let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
            let (total, available) = (number(total), number(available));
            VolumeUsage { unit: unit as i32, total, available, used: total.saturating_sub(available) }
        };
        let abnormal = stats.abnormal.is_some();
        Self {
            usage: vec![
                usage(Unit::Bytes, stats.usage.total_bytes, stats.usage.available_bytes),
                usage(Unit::Inodes, stats.usage.total_inodes, stats.usage.free_inodes),
            ],
            volume_condition: Some(VolumeCondition {
                abnormal,
                message: stats.abnormal.unwrap_or_else(|| "mounted and answering".to_owned()),
            }),
        }
    }
}
