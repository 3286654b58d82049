//! From the environment to a plugin that serves until it is told to stop.

use std::io::{self, Write};
use std::time::Duration;

use csi_proto::plugin::plugin::{
    grpc_broker_server::GrpcBrokerServer, grpc_controller_server::GrpcControllerServer,
    grpc_stdio_server::GrpcStdioServer,
};
use futures::StreamExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::broker::Broker;
use crate::conn::Conn;
use crate::control::{Controller, Stdio};
use crate::handshake::{self, Config, Environment, HandshakeError};
use crate::liveness::Liveness;
use crate::mux;
use crate::socket::Socket;
use crate::tls::{TlsError, TlsMode};

/// A TLS handshake that takes longer is given up.
const TLS_PATIENCE: Duration = Duration::from_secs(10);
/// How long requests may run on after the end was asked for; the host kills at 2 s.
const DRAIN: Duration = Duration::from_millis(1200);
/// How long a multiplexed connection may take to send what the drained server left in it.
const FLUSH: Duration = Duration::from_millis(300);

/// Why the plugin stopped serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// The host asked for it.
    Asked,
    /// SIGTERM.
    Terminated,
    /// The host is gone.
    HostGone,
}

/// The plugin cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Host and plugin do not fit.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket cannot be made.
    #[error(transparent)]
    Socket(io::Error),
    /// The handshake line cannot be written.
    #[error("writing the handshake line: {0}")]
    Announce(io::Error),
    /// Signals cannot be watched.
    #[error("watching signals: {0}")]
    Signals(io::Error),
    /// The gRPC server failed.
    #[error("serving: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Announces the plugin on `stdout` and serves `services` beside go-plugin's own until the host
/// asks for the end, SIGTERM comes or the host has been gone for [`Config::host_gone_after`].
///
/// SIGINT is ignored: a Ctrl-C at a host in the foreground reaches its plugins too, and the host
/// decides when they go. Nothing else may be written to stdout after this.
///
/// # Errors
/// [`ServeError`]; all but `Transport` come before anything is served.
pub async fn serve<F>(
    config: &Config,
    env: &Environment,
    stdout: &mut (dyn Write + Send),
    services: F,
) -> Result<Stopped, ServeError>
where
    F: FnOnce(Broker) -> Routes,
{
    handshake::check_cookie(config, env)?;
    let version = handshake::choose_version(config, env)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let tls = TlsMode::for_host(env.client_cert.as_deref(), config.tls.clone())?;
    let socket = Socket::listen(env).map_err(ServeError::Socket)?;

    let stop = CancellationToken::new();
    let multiplex = env.wants_multiplexing();
    let (opener, opens) = mux::opener();
    let broker = Broker::new(tls.clone(), multiplex.then_some(opener), stop.clone());
    let (asked, mut shutdown) = mpsc::channel(1);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("plugin", tonic_health::ServingStatus::Serving).await;
    let routes = services(broker.clone())
        .add_service(health)
        .add_service(unlimited_broker(broker))
        .add_service(GrpcControllerServer::new(Controller { asked }))
        .add_service(GrpcStdioServer::new(Stdio { stop: stop.clone() }));

    let line =
        handshake::line(version, socket.path(), tls.announced(), env.multiplex.as_ref().map(|_| multiplex));
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).map_err(ServeError::Announce)?;
    tracing::debug!(version, multiplex, mtls = matches!(tls, TlsMode::Mutual(_)), "serving");

    let liveness = Liveness::new();
    let (ready, incoming) = mpsc::unbounded_channel();
    let acceptor = Acceptor { tls, liveness: liveness.clone(), ready };
    let drained = CancellationToken::new();
    let ended = drained.clone();
    // Owns the socket, and removes it at its end. It outlives the server: a multiplexed connection
    // moves no bytes without it.
    let mut accepting =
        tokio::spawn(async move { acceptor.run(&socket.listener, multiplex.then_some(opens), ended).await });

    let incoming = UnboundedReceiverStream::new(incoming).map(Ok::<_, io::Error>);
    let server = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::pin!(server);
    let interrupts = async {
        while interrupt.recv().await.is_some() {
            tracing::debug!("ignoring SIGINT");
        }
        std::future::pending::<()>().await;
    };
    let stopped = tokio::select! {
        // Only when no connection can come any more: the multiplexed one closed.
        ended = &mut server => {
            ended?;
            return Ok(Stopped::HostGone);
        }
        Some(()) = shutdown.recv() => Stopped::Asked,
        _ = terminate.recv() => Stopped::Terminated,
        () = liveness.host_gone(config.host_gone_after) => Stopped::HostGone,
        () = interrupts => Stopped::Terminated,
    };
    stop.cancel();
    // The answer to the host's request is still on its way; requests get their chance to end.
    if timeout(DRAIN, &mut server).await.is_err() {
        tracing::warn!("stopping with requests still running");
    }
    drained.cancel();
    if timeout(FLUSH, &mut accepting).await.is_err() {
        accepting.abort();
        let _ = accepting.await;
    }
    Ok(stopped)
}

fn unlimited_broker(broker: Broker) -> GrpcBrokerServer<Broker> {
    GrpcBrokerServer::new(broker).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
}

/// Takes connections from the socket to the server, through yamux and TLS where asked.
struct Acceptor {
    tls: TlsMode,
    liveness: Liveness,
    ready: mpsc::UnboundedSender<Conn>,
}

impl Acceptor {
    /// Accepts until `drained`, or until the multiplexed connection ends.
    async fn run(&self, listener: &UnixListener, opens: Option<mux::Opens>, drained: CancellationToken) {
        let Some(opens) = opens else {
            while let Some(socket) = accept(listener, &drained).await {
                self.admit(Conn::new(socket));
            }
            return;
        };
        // One connection carries them all.
        let Some(socket) = accept(listener, &drained).await else { return };
        let (inbound, mut streams) = mpsc::unbounded_channel();
        tokio::join!(mux::drive(socket, opens, inbound, drained), async {
            while let Some(stream) = streams.recv().await {
                self.admit(stream);
            }
        });
    }

    /// TLS in a task of its own, so that a stuck handshake holds up nobody else.
    fn admit(&self, conn: Conn) {
        let (liveness, ready) = (self.liveness.clone(), self.ready.clone());
        match &self.tls {
            TlsMode::Plain => {
                let _ = ready.send(conn.counted(liveness.connection()));
            }
            TlsMode::Mutual(mtls) => {
                let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&mtls.server));
                tokio::spawn(async move {
                    match timeout(TLS_PATIENCE, acceptor.accept(conn)).await {
                        Ok(Ok(tls)) => {
                            let _ = ready.send(Conn::new(tls).counted(liveness.connection()));
                        }
                        Ok(Err(error)) => tracing::warn!(%error, "TLS handshake failed"),
                        Err(_) => tracing::warn!("TLS handshake timed out"),
                    }
                });
            }
        }
    }
}

/// The next connection; `None` at the end.
async fn accept(listener: &UnixListener, ended: &CancellationToken) -> Option<UnixStream> {
    loop {
        let accepted = tokio::select! {
            () = ended.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => return Some(socket),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                // Out of file descriptors: give others time to close some.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
