//! The CSI Identity service, the same for the node and the controller.

use crate::metrics::Readiness;
use csi_proto::csi::v1::identity_server::{Identity, IdentityServer};
use csi_proto::csi::v1::plugin_capability::{Service, Type, service};
use csi_proto::csi::v1::{
    GetPluginCapabilitiesRequest, GetPluginCapabilitiesResponse, GetPluginInfoRequest, GetPluginInfoResponse,
    PluginCapability, ProbeRequest, ProbeResponse,
};
use std::collections::HashMap;
use tonic::{Request, Response, Status};

/// The name of the driver: of the CSIDriver object, of PVs, of inline volumes.
pub const DRIVER_NAME: &str = "boathouse.statcan.gc.ca";

/// Version of every program of this workspace, as CSI's `vendor_version` and as a metric label.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// CSI Identity: who we are, what we can, whether we are ready.
pub struct CsiIdentity {
    services: Vec<service::Type>,
    ready: Readiness,
}

impl CsiIdentity {
    /// An Identity that announces `services`: of the plugin as a whole, so the same from node and controller.
    #[must_use]
    pub fn new(services: Vec<service::Type>, ready: Readiness) -> Self {
        Self { services, ready }
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_service(self) -> IdentityServer<Self> {
        IdentityServer::new(self)
    }
}

#[tonic::async_trait]
impl Identity for CsiIdentity {
    async fn get_plugin_info(
        &self,
        _: Request<GetPluginInfoRequest>,
    ) -> Result<Response<GetPluginInfoResponse>, Status> {
        Ok(Response::new(GetPluginInfoResponse {
            name: DRIVER_NAME.into(),
            vendor_version: VERSION.into(),
            manifest: HashMap::default(),
        }))
    }

    async fn get_plugin_capabilities(
        &self,
        _: Request<GetPluginCapabilitiesRequest>,
    ) -> Result<Response<GetPluginCapabilitiesResponse>, Status> {
        let capability =
            |&kind| PluginCapability { r#type: Some(Type::Service(Service { r#type: kind as i32 })) };
        let capabilities = self.services.iter().map(capability).collect();
        Ok(Response::new(GetPluginCapabilitiesResponse { capabilities }))
    }

    /// Not ready is `ready: false`, which the CO asks again about; an error code would have it restart us.
    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        let ready = (self.ready)();
        if let Err(why) = &ready {
            tracing::warn!(why, "probed while not ready");
        }
        Ok(Response::new(ProbeResponse { ready: Some(ready.is_ok()) }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn says_who_it_is_and_whether_it_is_ready() {
        let identity =
            CsiIdentity::new(vec![service::Type::ControllerService], Arc::new(|| Err("starting".to_owned())));
        let info = identity.get_plugin_info(Request::new(Default::default())).await.unwrap().into_inner();
        assert_eq!((info.name.as_str(), info.vendor_version.as_str()), (DRIVER_NAME, VERSION));
        let can =
            identity.get_plugin_capabilities(Request::new(Default::default())).await.unwrap().into_inner();
        assert_eq!(can.capabilities.len(), 1);
        let probe = identity.probe(Request::new(Default::default())).await.unwrap().into_inner();
        assert_eq!(probe.ready, Some(false));
    }
}
