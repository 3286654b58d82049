//! The agent socket: what the FlexVolume shim asks. The shim keeps the time: work is bounded by the node
//! plugin's own limits, and a mount that is ready after the shim has hung up is taken back.

use super::request::Policy;
use crate::publish::{PublishError, Publisher, TargetDir};
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
        if caller.uid() != 0 {
            let reason = format!("the agent socket is for root; the caller is user {}", caller.uid());
            return send(stream, failure(reason)).await;
        }
        match request.call {
            Some(Call::Mount(mount)) => self.mount(stream, mount).await,
            Some(Call::Unmount(unmount)) => {
                let answer = self
                    .unmount(unmount)
                    .await
                    .map_or_else(|status| failure(status.message().to_owned()), success);
                send(stream, answer).await
            }
            None => {
                let message = "this version of boathouse-node does not know the request".to_owned();
                send(stream, Response { status: Status::NotSupported as i32, message }).await
            }
        }
    }

    /// Answers by itself: a mount that is ready after the shim has hung up is taken back, because kubelet has been
    /// told that it failed, and never unmounts what has failed.
    async fn mount(&self, stream: UnixStream, request: MountRequest) -> anyhow::Result<()> {
        const OP: &str = "mount";
        let target = request.target_path;
        let (publish, warnings) = match self.policy.flex(&target, &request.options_json) {
            Ok(publish) => publish,
            Err(error) => {
                let status = border::report(OP, &target, &error, error.code());
                return send(stream, failure(status.message().to_owned())).await;
            }
        };
        for warning in warnings {
            tracing::warn!(target, warning, "FlexVolume option");
        }
        let publisher = self.publisher.clone();
        let named = target.clone();
        let work = async move {
            let tell = async |done: Result<(), &PublishError>| {
                let answer = match done {
                    Ok(()) => success(format!("mounted {named}")),
                    Err(error) => {
                        failure(border::report(OP, &named, error, error.code()).message().to_owned())
                    }
                };
                send(stream, answer).await.is_ok()
            };
            // The caller has heard of the outcome, and so has the log.
            let _ = publisher.publish_for(publish, tell).await;
            Ok(())
        };
        Ok(self.workers.run(OP, &target, work).await?)
    }

    async fn unmount(&self, request: UnmountRequest) -> Result<String, tonic::Status> {
        const OP: &str = "unmount";
        let target = request.target_path;
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

async fn send(stream: UnixStream, answer: Response) -> anyhow::Result<()> {
    Ok(tokio::task::spawn_blocking(move || frame::write(&mut &stream, &answer)).await??)
}

fn success(message: String) -> Response {
    Response { status: Status::Success as i32, message }
}

fn failure(message: String) -> Response {
    Response { status: Status::Failure as i32, message }
}
