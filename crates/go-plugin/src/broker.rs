//! Calling services the host offers.
//!
//! The host numbers them, listens for each, and sends the address down a stream it opened to us.
//! The number reaches the plugin by an ordinary request, which may overtake the address: so either
//! side of the meeting may come first. With multiplexing there are no addresses; the plugin knocks
//! on the same stream and opens a yamux stream once the host agreed.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csi_proto::plugin::plugin::conn_info::Knock;
use csi_proto::plugin::plugin::{ConnInfo, grpc_broker_server};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status, Streaming};
use tower::service_fn;

use crate::conn::Conn;
use crate::mux::Opener;
use crate::tls::{SERVER_NAME, TlsMode};

/// How long a dial waits for the host, as in go-plugin.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before knocking again at a service the host has not put up yet.
const KNOCK_AGAIN: Duration = Duration::from_millis(50);
/// How long a call to the host may take. An engine holds locks while it waits for its storage.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A service of the host cannot be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The host never said where the service is.
    #[error("brokered service {service_id}: the host sent no address within {} s", PATIENCE.as_secs())]
    NoAddress {
        /// The host's number of the service.
        service_id: u32,
    },
    /// The host's address is not a unix socket.
    #[error("brokered service {service_id}: cannot dial network \"{network}\"")]
    Network {
        /// The host's number of the service.
        service_id: u32,
        /// What the host sent.
        network: String,
    },
    /// The host refused a knock.
    #[error("brokered service {service_id}: the host refused: {reason}")]
    Refused {
        /// The host's number of the service.
        service_id: u32,
        /// The host's text.
        reason: String,
    },
    /// The host has not opened its broker stream in time, or closed it.
    #[error("brokered service {service_id}: the host's broker stream is not open")]
    NoStream {
        /// The host's number of the service.
        service_id: u32,
    },
    /// The connection failed.
    #[error("brokered service {service_id}: {source}")]
    Connect {
        /// The host's number of the service.
        service_id: u32,
        /// Why.
        source: io::Error,
    },
}

enum Slot {
    Arrived(ConnInfo),
    Waiting(oneshot::Sender<ConnInfo>),
}

struct Shared {
    slots: Mutex<HashMap<u32, Slot>>,
    /// Our direction of the host's broker stream.
    to_host: watch::Sender<Option<mpsc::Sender<ConnInfo>>>,
    tls: TlsMode,
    mux: Option<Opener>,
    /// One knock at a time: the yamux stream opened next must be the one it announced.
    knocking: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

/// Dials services of the host. Clones share one broker.
#[derive(Clone)]
pub struct Broker(Arc<Shared>);

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker {
    pub(crate) fn new(tls: TlsMode, mux: Option<Opener>, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared {
            slots: Mutex::default(),
            to_host: watch::Sender::default(),
            tls,
            mux,
            knocking: tokio::sync::Mutex::default(),
            stop,
        }))
    }

    /// A channel to the host's service `service_id`. Keep it: the host accepts each number once.
    ///
    /// # Errors
    /// [`BrokerError`], after 5 s at most when the host says nothing.
    pub async fn dial(&self, service_id: u32) -> Result<Channel, BrokerError> {
        let target = match self.0.mux {
            Some(_) => Target::Mux,
            None => self.address(service_id).await?,
        };
        // Connected here rather than by the channel, so that the first failure keeps its type.
        let first = self.connect(service_id, &target).await?;
        let first = Arc::new(Mutex::new(Some(first)));
        let broker = self.clone();
        let connector = service_fn(move |_: Uri| {
            let (broker, target) = (broker.clone(), target.clone());
            let ready = lock(&first).take();
            async move {
                let conn = match ready {
                    Some(conn) => conn,
                    None => broker.connect(service_id, &target).await.map_err(io::Error::other)?,
                };
                Ok::<_, io::Error>(TokioIo::new(conn))
            }
        });
        // The scheme is plain because TLS, if any, is below what tonic sees.
        Endpoint::from_static("http://localhost")
            .timeout(CALL_TIMEOUT)
            .connect_with_connector(connector)
            .await
            .map_err(|error| BrokerError::Connect { service_id, source: io::Error::other(error) })
    }

    async fn address(&self, service_id: u32) -> Result<Target, BrokerError> {
        let info = self
            .meet(service_id, Instant::now() + PATIENCE)
            .await
            .ok_or(BrokerError::NoAddress { service_id })?;
        match info.network.as_str() {
            "unix" => Ok(Target::Unix(info.address)),
            other => Err(BrokerError::Network { service_id, network: other.to_owned() }),
        }
    }

    /// Waits for the host's message about `service_id`, or takes the one that came already.
    async fn meet(&self, service_id: u32, deadline: Instant) -> Option<ConnInfo> {
        let receiver = {
            let mut slots = lock(&self.0.slots);
            if let Some(Slot::Arrived(info)) = slots.remove(&service_id) {
                return Some(info);
            }
            let (sender, receiver) = oneshot::channel();
            slots.insert(service_id, Slot::Waiting(sender));
            receiver
        };
        let met = timeout_at(deadline, receiver).await.ok().and_then(Result::ok);
        if met.is_none() {
            lock(&self.0.slots).remove(&service_id);
        }
        met
    }

    /// A message of the host.
    fn arrived(&self, info: ConnInfo) {
        let service_id = info.service_id;
        // With multiplexing only answers to our knocks matter; we offer the host nothing to knock at.
        if info.knock.as_ref().is_some_and(|knock| !knock.ack) {
            tracing::debug!(service_id, "the host knocked at a service this plugin does not offer");
            return;
        }
        let mut slots = lock(&self.0.slots);
        match slots.remove(&service_id) {
            Some(Slot::Waiting(waiter)) => {
                // A waiter that just timed out does not take it; nobody else will.
                let _ = waiter.send(info);
            }
            Some(Slot::Arrived(_)) | None => {
                slots.insert(service_id, Slot::Arrived(info));
            }
        }
    }

    async fn connect(&self, service_id: u32, target: &Target) -> Result<Conn, BrokerError> {
        let failed = |source| BrokerError::Connect { service_id, source };
        let conn = match (target, &self.0.mux) {
            (Target::Unix(path), _) => Conn::new(UnixStream::connect(path).await.map_err(failed)?),
            (Target::Mux, Some(opener)) => {
                let _turn = self.0.knocking.lock().await;
                self.knock(service_id).await?;
                opener.open().await.map_err(failed)?
            }
            (Target::Mux, None) => return Err(BrokerError::NoStream { service_id }),
        };
        match &self.0.tls {
            TlsMode::Plain => Ok(conn),
            TlsMode::Mutual(mtls) => {
                let name = ServerName::try_from(SERVER_NAME)
                    .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
                let connector = TlsConnector::from(Arc::clone(&mtls.client));
                let tls = timeout_at(Instant::now() + PATIENCE, connector.connect(name, conn))
                    .await
                    .map_err(|_| failed(io::Error::new(io::ErrorKind::TimedOut, "TLS handshake timed out")))?
                    .map_err(failed)?;
                Ok(Conn::new(tls))
            }
        }
    }

    /// Our direction of the host's stream. The host opens that when it starts, and its first request may overtake it.
    async fn to_host(&self, deadline: Instant) -> Option<mpsc::Sender<ConnInfo>> {
        let mut opened = self.0.to_host.subscribe();
        let found = timeout_at(deadline, opened.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    /// Announces the next yamux stream and waits for the host's consent.
    async fn knock(&self, service_id: u32) -> Result<(), BrokerError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let to_host = self.to_host(deadline).await.ok_or(BrokerError::NoStream { service_id })?;
            let knock = Knock { knock: true, ..Knock::default() };
            let info = ConnInfo { service_id, knock: Some(knock), ..ConnInfo::default() };
            to_host.send(info).await.map_err(|_| BrokerError::NoStream { service_id })?;
            let answer =
                self.meet(service_id, deadline).await.ok_or(BrokerError::NoAddress { service_id })?;
            let reason = answer.knock.unwrap_or_default().error;
            if reason.is_empty() {
                return Ok(());
            }
            // Requests overtake the set-up of the service they speak of.
            if Instant::now() + KNOCK_AGAIN >= deadline {
                return Err(BrokerError::Refused { service_id, reason });
            }
            sleep(KNOCK_AGAIN).await;
        }
    }
}

#[derive(Clone)]
enum Target {
    Unix(String),
    Mux,
}

#[tonic::async_trait]
impl grpc_broker_server::GrpcBroker for Broker {
    type StartStreamStream = BoxStream<'static, Result<ConnInfo, Status>>;

    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        let mut from_host = request.into_inner();
        let (sender, to_host) = mpsc::channel(8);
        self.0.to_host.send_replace(Some(sender));
        let broker = self.clone();
        tokio::spawn(async move {
            // Ends with the connection.
            while let Ok(Some(info)) = from_host.message().await {
                broker.arrived(info);
            }
        });
        let stop = self.0.stop.clone().cancelled_owned();
        Ok(Response::new(ReceiverStream::new(to_host).map(Ok).take_until(stop).boxed()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use csi_proto::plugin::pb::StorageGetArgs;
    use csi_proto::plugin::pb::storage_client::StorageClient;

    use super::*;

    fn broker() -> Broker {
        Broker::new(TlsMode::Plain, None, CancellationToken::new())
    }

    fn info(service_id: u32, address: &str) -> ConnInfo {
        ConnInfo {
            service_id,
            network: "unix".to_owned(),
            address: address.to_owned(),
            ..ConnInfo::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_hosts_stream_may_come_after_the_first_request() {
        let broker = broker();
        let waiting = tokio::spawn({
            let broker = broker.clone();
            async move { broker.knock(1).await }
        });
        sleep(Duration::from_secs(1)).await;
        let (sender, mut to_host) = mpsc::channel(8);
        broker.0.to_host.send_replace(Some(sender));
        assert_eq!(to_host.recv().await.unwrap().service_id, 1);
        broker.arrived(ConnInfo {
            service_id: 1,
            knock: Some(Knock { knock: true, ack: true, ..Knock::default() }),
            ..ConnInfo::default()
        });
        waiting.await.unwrap().unwrap();
        let without = super::tests::broker().knock(1).await;
        assert!(matches!(without, Err(BrokerError::NoStream { service_id: 1 })), "{without:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn address_before_the_dial() {
        let broker = broker();
        broker.arrived(info(1, "/a"));
        broker.arrived(info(2, "/b"));
        assert!(matches!(broker.address(2).await, Ok(Target::Unix(path)) if path == "/b"));
        assert!(matches!(broker.address(1).await, Ok(Target::Unix(path)) if path == "/a"));
    }

    #[tokio::test(start_paused = true)]
    async fn address_after_the_dial() {
        let broker = broker();
        let waiting = tokio::spawn({
            let broker = broker.clone();
            async move { broker.address(7).await }
        });
        sleep(Duration::from_secs(4)).await;
        broker.arrived(info(8, "/other"));
        broker.arrived(info(7, "/mine"));
        assert!(matches!(waiting.await.unwrap(), Ok(Target::Unix(path)) if path == "/mine"));
    }

    #[tokio::test(start_paused = true)]
    async fn no_address_in_time() {
        let broker = broker();
        let start = Instant::now();
        assert!(matches!(broker.address(3).await, Err(BrokerError::NoAddress { service_id: 3 })));
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(lock(&broker.0.slots).is_empty());
    }

    #[tokio::test]
    async fn other_networks_and_dead_sockets_are_named() {
        let broker = broker();
        broker.arrived(ConnInfo { network: "tcp".to_owned(), ..info(1, "127.0.0.1:1") });
        assert!(matches!(broker.dial(1).await, Err(BrokerError::Network { .. })));
        broker.arrived(info(2, "/nonexistent/socket"));
        let error = broker.dial(2).await.unwrap_err();
        assert!(error.to_string().starts_with("brokered service 2: "), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_hangs_is_not_waited_for_for_ever() {
        // The kernel accepts, and nobody answers; time, being paused, jumps to the deadline.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silent");
        let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let broker = broker();
        broker.arrived(info(4, path.to_str().unwrap()));
        let mut storage = StorageClient::new(broker.dial(4).await.unwrap());
        let start = Instant::now();
        let status = storage.get(StorageGetArgs { key: "k".to_owned() }).await.unwrap_err();
        assert!(status.message().contains("imeout"), "{status}");
        assert!(start.elapsed() <= CALL_TIMEOUT + Duration::from_secs(1), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn knocks_until_the_host_is_ready() {
        let broker = broker();
        let (sender, mut to_host) = mpsc::channel(8);
        broker.0.to_host.send_replace(Some(sender));
        let host = tokio::spawn({
            let broker = broker.clone();
            async move {
                for error in ["not yet", "not yet", ""] {
                    let asked: ConnInfo = to_host.recv().await.unwrap();
                    assert!(asked.knock.unwrap().knock && asked.address.is_empty());
                    let knock = Knock { knock: true, ack: true, error: error.to_owned() };
                    broker.arrived(ConnInfo { knock: Some(knock), ..info(asked.service_id, "") });
                }
                to_host
            }
        });
        broker.knock(5).await.unwrap();
        drop(host.await.unwrap());
        assert!(matches!(broker.knock(5).await, Err(BrokerError::NoStream { .. })));
    }
}
