//! The small services every plugin has: controller and stdio.

use csi_proto::plugin::plugin::{Empty, StdioData, grpc_controller_server, grpc_stdio_server};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// `Shutdown`: answers, and asks `serve` to end. The host kills the process two seconds later.
pub(crate) struct Controller {
    pub(crate) asked: mpsc::Sender<()>,
}

#[tonic::async_trait]
impl grpc_controller_server::GrpcController for Controller {
    async fn shutdown(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        // Full means it was asked before.
        let _ = self.asked.try_send(());
        Ok(Response::new(Empty {}))
    }
}

/// `StreamStdio`: our stdout and stderr reach the host as they are, so the stream stays silent.
pub(crate) struct Stdio {
    pub(crate) stop: CancellationToken,
}

#[tonic::async_trait]
impl grpc_stdio_server::GrpcStdio for Stdio {
    type StreamStdioStream = BoxStream<'static, Result<StdioData, Status>>;

    async fn stream_stdio(&self, _request: Request<()>) -> Result<Response<Self::StreamStdioStream>, Status> {
        let stop = self.stop.clone().cancelled_owned();
        Ok(Response::new(stream::pending().take_until(stop).boxed()))
    }
}
