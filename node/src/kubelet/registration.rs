//! Kubelet's plugin registration API, served by the node plugin itself.
//!
//! Kubelet watches its `plugins_registry` directory. For a socket that appears there it calls `GetInfo` (within a
//! second), then `NodeGetInfo` on the CSI socket that it was told, then `NotifyRegistrationStatus`.
//!
//! **The socket's file stays when the node plugin stops.** Were it removed, kubelet would take the driver out of the
//! node's CSINode object at once, and every unpublish between two versions of the DaemonSet would fail because the
//! driver is unknown, until it is registered anew. With the file in place the driver stays known, such a call
//! is refused by the missing CSI socket, and the next attempt reaches the successor. A successor replaces the file, as
//! it does after a crash. Uninstalled for good, the file is what remains of us, and nobody calls it.
//!
//! It replaces it by rename(2) of a socket that already listens ([`bind_private`]): to kubelet that is one `Create`,
//! hence a new registration, and never a `Remove` (`pluginwatcher/plugin_watcher.go`, fsnotify's
//! `backend_inotify.go`). Kubelet passes over names that begin with a dot. When it looks after the rename, it logs
//! once that the hidden name is gone.

use boathouse_service::uds::{BindError, PrivateListener, bind_private};
use boathouse_service::{DRIVER_NAME, ServeError, serve};
use csi_proto::kubelet::pluginregistration::registration_server::{Registration, RegistrationServer};
use csi_proto::kubelet::pluginregistration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The version of CSI that kubelet knows under this name: 1.x.
const CSI_VERSION: &str = "1.0.0";

/// The socket's name, after the driver's.
///
/// Kubelet's gRPC makes the socket's path the `:authority` of each request, its slashes as `%2F`. Before an `@` that is
/// a valid user (RFC 3986, section 3.2.1); without one our HTTP/2 library takes it for a malformed host name and resets
/// the stream.
const SUFFIX: &str = "@reg.sock";

/// How long a call under way may take at the end.
const GRACE: Duration = Duration::from_secs(1);

/// No place to register.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// Kubelet makes its directory, and nobody else should.
    #[error(
        "registration directory {directory} is not there: kubelet makes it (plugins_registry below kubelet's \
         --root-dir); mount it into the container at the same path, and set --registration-dir to it"
    )]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The socket.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A node plugin that can be registered.
#[derive(Debug)]
pub struct Registrar {
    listener: PrivateListener,
    service: Service,
}

#[derive(Debug)]
struct Service {
    csi_socket: PathBuf,
    registered: Arc<Notify>,
}

impl Registrar {
    /// Puts the socket into kubelet's directory. To be called once `csi_socket` is listened on.
    ///
    /// # Errors
    /// See [`RegistrationError`].
    pub async fn bind(directory: &Path, csi_socket: &Path) -> Result<Self, RegistrationError> {
        if !directory.is_dir() {
            return Err(RegistrationError::NoDirectory { directory: directory.to_owned() });
        }
        let listener = bind_private(directory.join(format!("{DRIVER_NAME}{SUFFIX}"))).await?.leave_file();
        let service = Service { csi_socket: csi_socket.to_owned(), registered: Arc::default() };
        Ok(Self { listener, service })
    }

    /// Told each time kubelet says that it has registered us.
    #[must_use]
    pub fn registered(&self) -> Arc<Notify> {
        self.service.registered.clone()
    }

    /// Answers kubelet until `stop`.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        serve(self.listener, Routes::new(RegistrationServer::new(self.service)), stop, GRACE).await
    }
}

#[tonic::async_trait]
impl Registration for Service {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: DRIVER_NAME.to_owned(),
            endpoint: self.csi_socket.to_string_lossy().into_owned(),
            supported_versions: vec![CSI_VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!("kubelet has registered the driver");
            self.registered.notify_one();
        } else {
            tracing::error!(error = status.error, "kubelet does not register the driver; it will try again");
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use csi_proto::kubelet::pluginregistration::registration_client::RegistrationClient;
    use tonic::transport::Endpoint;

    #[tokio::test]
    async fn kubelet_is_told_what_it_needs_and_its_word_is_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("boathouse.statcan.gc.ca@reg.sock");
        // What a crash leaves.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let registrar = Registrar::bind(directory.path(), Path::new("/csi.sock")).await.unwrap();
        let registered = registrar.registered();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tokio::spawn(registrar.serve(async { drop(stopped.await) }));

        let endpoint = Endpoint::try_from(format!("unix://{}", path.display())).unwrap();
        let mut kubelet = RegistrationClient::new(endpoint.connect().await.unwrap());
        let info = kubelet.get_info(InfoRequest {}).await.unwrap().into_inner();
        assert_eq!((info.r#type.as_str(), info.endpoint.as_str()), ("CSIPlugin", "/csi.sock"));
        assert_eq!((info.name.as_str(), info.supported_versions), (DRIVER_NAME, vec!["1.0.0".to_owned()]));

        let refused = RegistrationStatus { plugin_registered: false, error: "no".into() };
        kubelet.notify_registration_status(refused).await.unwrap();
        let word = tokio::time::timeout(Duration::from_millis(50), registered.notified()).await;
        assert!(word.is_err(), "a refusal is no registration");
        let accepted = RegistrationStatus { plugin_registered: true, error: String::new() };
        kubelet.notify_registration_status(accepted).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), registered.notified()).await.unwrap();

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(path.exists(), "kubelet would forget the driver");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_named() {
        let error = Registrar::bind(Path::new("/none/plugins_registry"), Path::new("/c")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/none/plugins_registry") && text.contains("--registration-dir"), "{text}");
        assert!(!Path::new("/none").exists());
    }
}
