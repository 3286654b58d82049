//! The node plugin as a process, and a CSI client for it.

use crate::guard::{GuardError, ProcessGuard, TempTree};
use crate::parts::Parts;
use crate::programs::Programs;
use crate::stack::{AUTH_MOUNT, AUTH_ROLE, NODE_ROLE, Stack};
use csi_proto::csi::v1::identity_client::IdentityClient;
use csi_proto::csi::v1::node_client::NodeClient;
use csi_proto::csi::v1::{ProbeRequest, ProbeResponse};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};

const START_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(10);

/// What can go wrong with the node plugin as a process.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It did not start, or broke.
    #[error(transparent)]
    Process(#[from] GuardError),
    /// Its directories could not be made.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The path it was about.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Its socket could not be connected to.
    #[error("connect to {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// tonic's answer.
        source: tonic::transport::Error,
    },
}

/// Arguments and environment beside what [`NodeProcess`] sets itself.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Further flags, each word by itself; they come last and so win.
    pub arguments: Vec<OsString>,
    /// Environment; otherwise it is empty.
    pub environment: Vec<(OsString, OsString)>,
}

impl NodeOptions {
    /// Adds `--name value`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.arguments.push(name.into());
        self.arguments.push(value.into());
        self
    }

    /// Points the node plugin at a stack: its Vault, its logins, its MinIO as the default endpoint. Keys are
    /// picked up and drained within a second or so, that tests need not wait for them.
    ///
    /// # Errors
    /// When the system has no port left for the metrics.
    pub fn for_stack(stack: &Stack) -> std::io::Result<Self> {
        Ok(Self::default()
            .flag("--vault-addr", stack.bao().address())
            .flag("--vault-auth-mount", AUTH_MOUNT)
            .flag("--vault-auth-kind", "jwt")
            .flag("--vault-role", AUTH_ROLE)
            .flag("--s3-endpoint", stack.minio().url())
            .flag("--metrics-addr", format!("127.0.0.1:{}", crate::free_port()?))
            .flag("--key-poll", "1s")
            .flag("--key-drain", "500ms"))
    }

    /// Switches FlexVolume on, with a token of the node's own in `token_file`.
    #[must_use]
    pub fn with_flex(mut self, token_file: &Path) -> Self {
        self.arguments.push("--flex".into());
        self.flag("--flex-token-file", token_file).flag("--flex-vault-role", NODE_ROLE)
    }
}

/// A `boathouse-node` with sockets and state in a directory of its own. Dropping it ends the process, not the
/// keepers: that is the product's promise. The directory's [`TempTree`] ends those.
#[derive(Debug)]
pub struct NodeProcess {
    process: Option<ProcessGuard>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
}

impl NodeProcess {
    /// Starts it in `tree/<name>` and waits until it answers `Probe` with ready. The run directory is a tmpfs.
    ///
    /// # Errors
    /// [`NodeError`] with the end of its log.
    pub async fn start(
        name: &str,
        parts: &Parts,
        programs: &Programs,
        tree: &TempTree,
        options: NodeOptions,
    ) -> Result<Self, NodeError> {
        let io = |operation| {
            let path = tree.path().join(name);
            move |source| NodeError::Io { operation, path, source }
        };
        let directory = tree.directory(name).map_err(io("make"))?;
        for child in ["state", "run", "pods"] {
            tree.directory(&format!("{name}/{child}")).map_err(io("make a directory in"))?;
        }
        // What is needed to revoke may only lie in memory.
        let tmpfs = mount(
            Some("tmpfs"),
            &directory.join("run"),
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some("mode=0700,size=4m"),
        );
        tmpfs.map_err(|errno| io("mount a tmpfs in")(errno.into()))?;
        let mut arguments: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        flag("--endpoint", prefixed("unix://", &directory.join("csi.sock")));
        flag("--agent-socket", directory.join("agent.sock").into());
        flag("--state-dir", directory.join("state").into());
        flag("--run-dir", directory.join("run").into());
        flag("--goofys", parts.goofys.clone().into());
        flag("--keeper", programs.keeper.clone().into());
        arguments.extend(options.arguments);
        let mut node = Self {
            process: None,
            program: programs.node.clone(),
            arguments,
            environment: options.environment,
            directory,
        };
        node.restart().await?;
        Ok(node)
    }

    /// Starts it (again) with the same arguments and directories, and waits until it is ready. A process that is
    /// still there is ended with SIGTERM first.
    ///
    /// # Errors
    /// [`NodeError`] with the end of its log.
    pub async fn restart(&mut self) -> Result<(), NodeError> {
        self.stop();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = ProcessGuard::start("boathouse-node", command, &self.log())?;
        let deadline = Instant::now() + START_LIMIT;
        while !self.is_ready().await {
            if !process.is_running() {
                return Err(process.broken("ended while starting").into());
            }
            if Instant::now() >= deadline {
                return Err(process.broken(format!("was not ready within {START_LIMIT:?}")).into());
            }
            tokio::time::sleep(POLL).await;
        }
        self.process = Some(process);
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let Ok(channel) = self.channel().await else { return false };
        let answer = IdentityClient::new(channel).probe(ProbeRequest {}).await;
        // No value means ready (CSI specification, Probe).
        answer.is_ok_and(|answer| matches!(answer.into_inner(), ProbeResponse { ready: None | Some(true) }))
    }

    /// Ends it with SIGTERM, and SIGKILL when it does not go.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.process.take().and_then(|mut process| process.stop(Duration::from_secs(10)))
    }

    /// Ends it with SIGKILL, alone.
    pub fn crash(&mut self) -> Option<ExitStatus> {
        self.process.take().and_then(|mut process| process.crash())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), GuardError> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(signal))
    }

    /// Its process id; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ProcessGuard::pid)
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The socket for CSI.
    pub fn csi_socket(&self) -> PathBuf {
        self.directory.join("csi.sock")
    }

    /// The socket for the FlexVolume shim.
    pub fn agent_socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// Where kubelet would make target paths.
    pub fn pods(&self) -> PathBuf {
        self.directory.join("pods")
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// A connection to its CSI socket.
    ///
    /// # Errors
    /// [`NodeError::Connect`].
    pub async fn channel(&self) -> Result<Channel, NodeError> {
        connect(&self.csi_socket()).await
    }

    /// A client of its Node service.
    ///
    /// # Errors
    /// [`NodeError::Connect`].
    pub async fn client(&self) -> Result<NodeClient<Channel>, NodeError> {
        Ok(NodeClient::new(self.channel().await?))
    }
}

/// A gRPC connection over a unix socket.
///
/// # Errors
/// [`NodeError::Connect`].
pub async fn connect(socket: &Path) -> Result<Channel, NodeError> {
    let failed = |source| NodeError::Connect { path: socket.to_owned(), source };
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(failed)?;
    endpoint.connect().await.map_err(failed)
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}
