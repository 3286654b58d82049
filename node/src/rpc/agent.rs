//! The agent socket: what the FlexVolume shim asks. The shim keeps the time: work is bounded by the node
//! plugin's own limits, and a mount that is ready after the shim has hung up is taken back.

use super::request::Policy;
use crate::publish::{Publisher, TargetDir};
use boathouse_service::border::{self, Workers};
use boathouse_service::uds::PrivateListener;
use csi_proto::agent::v1::{MountRequest, Request, Response, Status, UnmountRequest, request::Call};
use csi_proto::frame;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// How long a caller may take to write its request or to take its answer.
const PROMPT: Duration = Duration::from_secs(5);

/// Serves the agent API.
#[derive(Debug, Clone)]
pub struct Agent {
    publisher: Publisher,
    policy: Arc<Policy>,
    workers: Workers,
}

impl Agent {
    /// An agent. `workers` carries the work that must not stop when the shim hangs up.
    #[must_use]
    pub fn new(publisher: Publisher, policy: Arc<Policy>, workers: Workers) -> Self {
        Self { publisher, policy, workers }
    }

    /// Answers callers for as long as the future is polled.
    pub async fn serve(self, listener: PrivateListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let this = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = this.talk(stream).await {
                            tracing::warn!(%error, "talk to a caller of the agent socket");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept on the agent socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn talk(&self, stream: tokio::net::UnixStream) -> anyhow::Result<()> {
        let caller = stream.peer_cred()?;
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PROMPT))?;
        stream.set_write_timeout(Some(PROMPT))?;
        let (stream, request) = tokio::task::spawn_blocking(move || receive(stream)).await??;
        // The socket's mode says the same; this also holds if somebody changes that.
        let answer = if caller.uid() == 0 {
            self.answer(&request).await
        } else {
            failure(format!("the agent socket is for root; the caller is user {}", caller.uid()))
        };
        let mounted = answer.status == Status::Success as i32;
        let told = tokio::task::spawn_blocking(move || frame::write(&mut &stream, &answer)).await?;
        if let (Err(_), true, Some(Call::Mount(mount))) = (&told, mounted, &request.call) {
            // kubelet has been told that the mount failed, and never unmounts what has failed.
            tracing::warn!(target = mount.target_path, "mounted after the caller had given up; unmounting");
            self.publisher.unpublish(Path::new(&mount.target_path), TargetDir::Kubelets).await?;
        }
        Ok(told?)
    }

    async fn answer(&self, request: &Request) -> Response {
        let done = match &request.call {
            Some(Call::Mount(mount)) => self.mount(mount).await,
            Some(Call::Unmount(unmount)) => self.unmount(unmount).await,
            None => {
                return Response {
                    status: Status::NotSupported as i32,
                    message: "this version of boathouse-node does not know the request".to_owned(),
                };
            }
        };
        match done {
            Ok(message) => Response { status: Status::Success as i32, message },
            Err(status) => failure(status.message().to_owned()),
        }
    }

    async fn mount(&self, request: &MountRequest) -> Result<String, tonic::Status> {
        const OP: &str = "mount";
        let target = request.target_path.clone();
        let (publish, warnings) = self
            .policy
            .flex(&request.target_path, &request.options_json)
            .map_err(|error| border::report(OP, &target, &error, error.code()))?;
        for warning in warnings {
            tracing::warn!(target, warning, "FlexVolume option");
        }
        let publisher = self.publisher.clone();
        let named = target.clone();
        let work = async move {
            publisher.publish(publish).await.map_err(|error| border::report(OP, &named, &error, error.code()))
        };
        self.workers.run(OP, &target, work).await?;
        Ok(format!("mounted {target}"))
    }

    async fn unmount(&self, request: &UnmountRequest) -> Result<String, tonic::Status> {
        const OP: &str = "unmount";
        let target = request.target_path.clone();
        // kubelet unmounts only directories that exist. One that does not is a caller's mistake, which the legacy
        // driver also refused; a directory with nothing mounted on it (after a reboot) is done already.
        let parent_only = boathouse_mounts::resolve(Path::new(&target));
        let publisher = self.publisher.clone();
        let named = target.clone();
        let work = async move {
            let done = publisher.unpublish(&PathBuf::from(&named), TargetDir::Kubelets).await;
            done.map_err(|error| border::report(OP, &named, &error, error.code()))
        };
        let was_mounted = self.workers.run(OP, &target, work).await?;
        let there = parent_only.is_ok_and(|path| path.symlink_metadata().is_ok());
        if was_mounted {
            Ok(format!("unmounted {target}"))
        } else if there {
            Ok(format!("nothing is mounted on {target}"))
        } else {
            let error =
                std::io::Error::other(format!("{target}: no such directory, and nothing was mounted there"));
            Err(border::report(OP, &target, &error, Code::NotFound))
        }
    }
}

fn receive(stream: UnixStream) -> anyhow::Result<(UnixStream, Request)> {
    let request = frame::read(&mut &stream)?;
    Ok((stream, request))
}

fn failure(message: String) -> Response {
    Response { status: Status::Failure as i32, message }
}
