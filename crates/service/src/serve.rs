//! A gRPC server on a private socket.

use crate::panics::CatchPanicLayer;
use crate::uds::PrivateListener;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;
use tonic::service::Routes;
use tonic::transport::Server;

/// A server ended by itself.
#[derive(Debug, Error)]
#[error("gRPC server on {} stopped", .path.display())]
pub struct ServeError {
    /// Its socket.
    pub path: PathBuf,
    /// Why.
    pub source: tonic::transport::Error,
}

/// Serves `routes` until `shutdown`, then lets calls under way finish for at most `grace`. The socket's file is
/// gone when this returns. A panicking handler answers INTERNAL.
///
/// The bound matters: a peer that keeps its connection open would otherwise hold the process until SIGKILL.
///
/// # Errors
/// When the transport fails.
pub async fn serve<F>(
    listener: PrivateListener,
    routes: Routes,
    shutdown: F,
    grace: Duration,
) -> Result<(), ServeError>
where
    F: Future<Output = ()> + Send,
{
    let path = listener.path().to_owned();
    let (asked, stopping) = tokio::sync::oneshot::channel();
    let signal = async move {
        shutdown.await;
        let _ = asked.send(());
    };
    tracing::info!(path = %path.display(), "serving gRPC");
    let server = Server::builder()
        .layer(CatchPanicLayer)
        .add_routes(routes)
        .serve_with_incoming_shutdown(listener, signal);
    let too_late = async {
        match stopping.await {
            Ok(()) => tokio::time::sleep(grace).await,
            // The server ended by itself; its branch answers.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = server => ended.map_err(|source| ServeError { path, source }),
        () = too_late => {
            tracing::warn!(path = %path.display(), ?grace, "stopping with calls under way");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::csi_identity::CsiIdentity;
    use crate::uds::bind_private;
    use csi_proto::csi::v1::ProbeRequest;
    use csi_proto::csi::v1::identity_client::IdentityClient;
    use std::path::Path;
    use std::sync::Arc;
    use tonic::Code;
    use tonic::transport::{Channel, Endpoint};

    async fn connect(path: &Path) -> IdentityClient<Channel> {
        let endpoint = Endpoint::try_from(format!("unix://{}", path.display())).unwrap();
        IdentityClient::new(endpoint.connect().await.unwrap())
    }

    #[tokio::test]
    async fn answers_panics_and_stops_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let identity = CsiIdentity::new(Vec::new(), Arc::new(|| panic!("oars lost")));
        let listener = bind_private(&path).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let routes = Routes::new(identity.into_service());
        let server =
            tokio::spawn(serve(listener, routes, async { drop(stopped.await) }, Duration::from_millis(200)));

        let mut client = connect(&path).await;
        for _ in 0..2 {
            let status = client.probe(ProbeRequest::default()).await.unwrap_err();
            assert_eq!(status.code(), Code::Internal, "{status}");
            assert!(status.message().contains("oars lost"), "{status}");
        }
        // The other calls of the same connection go on.
        client.get_plugin_info(csi_proto::csi::v1::GetPluginInfoRequest::default()).await.unwrap();

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(!path.exists());
    }
}
