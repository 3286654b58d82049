//! Connections: TLS, HTTP/2 and 1.1, time limits, and an end that loses no answer.
//!
//! `axum-server` would do most of this. It bounds neither connections nor a handshake together with the first
//! request, and brings its own reloading of certificates; hyper-util and tokio-rustls are in the tree already and
//! what is missing between them fits in this file.

use crate::metrics::Metrics;
use axum::Router;
use axum::http::Request;
use boathouse_service::memory;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Open connections at once. Each API server keeps one or two.
const CONNECTIONS: usize = 96;
/// What may wait to be read on a stream of HTTP/2, in bytes; a large pod takes some more round trips.
const WINDOW: u32 = 16 << 10;
/// The same of all streams of a connection: bodies that wait for room do not take it from those that are read. With
/// [`CONNECTIONS`] this bounds memory.
const CONNECTION_WINDOW: u32 = STREAMS * WINDOW;
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// For the head of a request, the first one above all, and how long an HTTP/1.1 connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
/// Streams at once on one HTTP/2 connection.
const STREAMS: u32 = 32;
/// How often an HTTP/2 client must show that it is there, and how long it may take to.
const PING: Duration = Duration::from_secs(30);
/// After a failed accept, which is mostly for want of file descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}")]
pub struct ListenError {
    /// The address.
    pub addr: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// A socket that is listening.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Listener {
    /// Listens on `addr`.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(addr: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { addr, source };
        let socket = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, addr })
    }

    /// Where it listens; the real port when port 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `routes` until `stop`. Then no connection is accepted any more, clients are told to ask elsewhere,
    /// and requests under way have `grace` to end.
    pub async fn serve(
        self,
        tls: rustls::ServerConfig,
        routes: Router,
        metrics: Metrics,
        stop: impl Future<Output = ()>,
        grace: Duration,
    ) {
        let tls = TlsAcceptor::from(Arc::new(tls));
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let connections = GracefulShutdown::new();
        let mut stop = pin!(stop);
        tracing::info!(addr = %self.addr, "answering reviews");
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await;
                (place, self.socket.accept().await)
            };
            let (place, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let served = connection(stream, tls.clone(), routes.clone(), connections.watcher());
                    let connected = metrics.connected();
                    tokio::spawn(async move {
                        let (_place, _connected) = (place, connected);
                        if let Err(error) = served.await {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                        memory::give_back();
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a connection");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        drop(self.socket);
        if timeout(grace, connections.shutdown()).await.is_err() {
            tracing::warn!(?grace, "stopping with requests under way");
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    routes: Router,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Answers are short; none waits for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    let stream = timeout(HANDSHAKE, tls.accept(stream)).await??;
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(CONNECTION_WINDOW as usize);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    // hyper bounds neither the wait for the first byte nor that for the preface of HTTP/2.
    let asked = Arc::new(Notify::new());
    let routes = {
        let asked = asked.clone();
        routes.map_request(move |request: Request<_>| {
            asked.notify_one();
            request
        })
    };
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = pin!(watcher.watch(served.into_owned()));
    tokio::select! {
        served = &mut served => return served,
        asked = timeout(HEAD, asked.notified()) => asked?,
    }
    served.await
}
