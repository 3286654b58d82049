//! The host's side, as go-plugin and OpenBao behave.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use csi_proto::plugin::logical::{Empty as LogicalEmpty, plugin_version_client::PluginVersionClient};
use csi_proto::plugin::multiplexing::{
    MultiplexingSupportRequest, plugin_multiplexing_client::PluginMultiplexingClient,
};
use csi_proto::plugin::pb::{
    self, backend_client::BackendClient, storage_server::StorageServer, system_view_server::SystemViewServer,
};
use csi_proto::plugin::plugin::conn_info::Knock;
use csi_proto::plugin::plugin::grpc_broker_client::GrpcBrokerClient;
use csi_proto::plugin::plugin::grpc_controller_client::GrpcControllerClient;
use csi_proto::plugin::plugin::{ConnInfo, Empty as PluginEmpty};
use futures::future::poll_fn;
use go_plugin::Stopped;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use tonic::metadata::MetadataValue;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Status};
use tower::service_fn;
use vault_plugin_sdk::Plugin;
use vault_plugin_sdk::legacy::Start;

use crate::broker::{Storage, System};
use crate::tls::{Identity, Tls};

const COOKIE: &str = "6669da05-b1c8-4f49-97d9-c8e5bed98e20";

#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) mtls: bool,
    pub(crate) multiplex: bool,
    /// As a host that knows protocols 3 and 4 starts the plugin.
    pub(crate) old: Option<Old>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// To ask what it is.
    Metadata,
    /// For requests, with a wrapping token.
    Working,
}

/// The plugin's stdout.
struct Stdout(mpsc::UnboundedSender<u8>);

impl Write for Stdout {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        buf.iter().try_for_each(|byte| self.0.send(*byte)).map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

struct Conn(Box<dyn Io>);

impl Connected for Conn {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

type Inbound = Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Conn>>>;

pub(crate) struct Host {
    channel: Channel,
    broker: mpsc::Sender<ConnInfo>,
    /// Services the host has put up, when multiplexing.
    knockable: Arc<Mutex<BTreeMap<u32, oneshot::Sender<Conn>>>>,
    next_service: u32,
    tls: Option<Tls>,
    multiplex: bool,
    plugin: JoinHandle<Result<Stopped, vault_plugin_sdk::ServeError>>,
    socket: PathBuf,
    dir: tempfile::TempDir,
}

impl Host {
    pub(crate) async fn start(plugin: Plugin, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::new();
        let mut variables = BTreeMap::from([
            ("VAULT_BACKEND_PLUGIN", COOKIE.to_owned()),
            ("PLUGIN_PROTOCOL_VERSIONS", if options.old.is_some() { "3,4" } else { "5" }.to_owned()),
            ("PLUGIN_UNIX_SOCKET_DIR", dir.path().to_str().unwrap().to_owned()),
        ]);
        if options.mtls {
            variables.insert("PLUGIN_CLIENT_CERT", identity.pem.clone());
        }
        if options.multiplex {
            variables.insert("PLUGIN_MULTIPLEX_GRPC", "true".to_owned());
        }
        match options.old {
            None => {}
            Some(Old::Metadata) => drop(variables.insert("VAULT_PLUGIN_METADATA_MODE", "true".to_owned())),
            Some(Old::Working) => {
                variables.insert("VAULT_PLUGIN_METADATA_MODE", "false".to_owned());
                let token = crate::unwrap::FakeUnwrap::answering(&identity).await.token();
                variables.insert("VAULT_UNWRAP_TOKEN", token);
            }
        }
        let start = Start::from_lookup("VAULT_BACKEND_PLUGIN", [], |name| variables.get(name).cloned());
        let (stdout, mut bytes) = mpsc::unbounded_channel();
        let serving =
            tokio::spawn(async move { vault_plugin_sdk::serve(plugin, &start, &mut Stdout(stdout)).await });
        let mut line = Vec::new();
        while let Some(byte) = bytes.recv().await {
            if byte == b'\n' {
                break;
            }
            line.push(byte);
        }
        let line = String::from_utf8(line).unwrap();
        let fields: Vec<&str> = line.split('|').collect();
        assert_eq!(fields.len(), if options.multiplex { 7 } else { 6 }, "{line}");
        let version = if options.old.is_some() { "4" } else { "5" };
        assert_eq!((fields[0], fields[1], fields[2], fields[4]), ("1", version, "unix", "grpc"));
        let tls = if options.mtls {
            let cert = CertificateDer::from(STANDARD_NO_PAD.decode(fields[5]).unwrap());
            Some(Tls::new(&identity, &cert))
        } else {
            assert_eq!(fields[5], "");
            (options.old == Some(Old::Working)).then(|| Tls::new(&identity, identity.certificate()))
        };
        let socket = PathBuf::from(fields[3]);
        let knockable: Arc<Mutex<BTreeMap<u32, oneshot::Sender<Conn>>>> = Arc::default();

        let (opens, inbound) = if options.multiplex {
            assert_eq!(fields[6], "true");
            let (opens, inbound) = yamux(UnixStream::connect(&socket).await.unwrap());
            (Some(opens), Some(inbound))
        } else {
            (None, None)
        };
        let channel = dial(socket.clone(), opens, tls.clone()).await;
        let (broker, to_plugin) = mpsc::channel(8);
        let mut from_plugin = GrpcBrokerClient::new(channel.clone())
            .start_stream(ReceiverStream::new(to_plugin))
            .await
            .unwrap()
            .into_inner();
        let (answer, services) = (broker.clone(), Arc::clone(&knockable));
        tokio::spawn(async move {
            while let Ok(Some(asked)) = from_plugin.message().await {
                let Some(inbound) = inbound.clone() else { continue };
                assert!(asked.knock.is_some_and(|knock| knock.knock));
                let service = services.lock().unwrap().remove(&asked.service_id);
                let error = if service.is_some() { "" } else { "no such service yet" };
                let knock = Knock { knock: true, ack: true, error: error.to_owned() };
                let reply =
                    ConnInfo { service_id: asked.service_id, knock: Some(knock), ..Default::default() };
                answer.send(reply).await.unwrap();
                if let Some(service) = service {
                    let conn = inbound.lock().await.recv().await.unwrap();
                    assert!(service.send(conn).is_ok());
                }
            }
        });
        Self {
            channel,
            broker,
            knockable,
            next_service: 1,
            tls,
            multiplex: options.multiplex,
            plugin: serving,
            socket,
            dir,
        }
    }

    pub(crate) fn backend(&self) -> BackendClient<Channel> {
        BackendClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    pub(crate) async fn health(&self, service: &str) -> i32 {
        let mut client = tonic_health::pb::health_client::HealthClient::new(self.channel.clone());
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        client.check(request).await.unwrap().into_inner().status
    }

    pub(crate) async fn version(&self) -> String {
        let mut client = PluginVersionClient::new(self.channel.clone());
        client.version(LogicalEmpty {}).await.unwrap().into_inner().plugin_version
    }

    pub(crate) async fn supports_multiplexing(&self) -> bool {
        let mut client = PluginMultiplexingClient::new(self.channel.clone());
        client.multiplexing_support(MultiplexingSupportRequest {}).await.unwrap().into_inner().supported
    }

    /// Sets up a mount; its storage is served as OpenBao does: beside the request, not before it.
    pub(crate) async fn mount(&mut self, id: &str) -> Result<Mount, String> {
        let service_id = self.next_service;
        self.next_service += 1;
        let storage = Storage::default();
        let routes = Server::builder()
            .add_service(
                StorageServer::new(storage.clone())
                    .max_decoding_message_size(usize::MAX)
                    .max_encoding_message_size(usize::MAX),
            )
            .add_service(SystemViewServer::new(System));
        let tls = self.tls.clone();
        let (broker, knockable, multiplex) =
            (self.broker.clone(), Arc::clone(&self.knockable), self.multiplex);
        let path = self.dir.path().join(format!("service-{service_id}"));
        tokio::spawn(async move {
            // Later than the Setup that speaks of it.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let conn = if multiplex {
                let (sender, conn) = oneshot::channel();
                knockable.lock().unwrap().insert(service_id, sender);
                conn.await.unwrap()
            } else {
                let listener = UnixListener::bind(&path).unwrap();
                let address = path.to_str().unwrap().to_owned();
                let info = ConnInfo { service_id, network: "unix".to_owned(), address, ..Default::default() };
                broker.send(info).await.unwrap();
                Conn(Box::new(listener.accept().await.unwrap().0))
            };
            let conn = match tls {
                Some(tls) => Conn(Box::new(tls.server.accept(conn).await.unwrap())),
                None => conn,
            };
            let incoming = futures::StreamExt::chain(
                tokio_stream::once(Ok::<_, io::Error>(conn)),
                futures::stream::pending(),
            );
            routes.serve_with_incoming(incoming).await.unwrap();
        });
        let mount = Mount { backend: self.backend(), id: id.to_owned(), storage };
        let reply = mount.setup(service_id).await;
        if reply.is_empty() { Ok(mount) } else { Err(reply) }
    }

    pub(crate) async fn mount_without_broker(&mut self, id: &str) -> String {
        Mount { backend: self.backend(), id: id.to_owned(), storage: Storage::default() }.setup(99).await
    }

    /// Ends the plugin as hosts do.
    pub(crate) async fn shutdown(self) -> Stopped {
        let mut client = GrpcControllerClient::new(self.channel.clone());
        client.shutdown(PluginEmpty {}).await.expect("the answer comes before the end");
        let stopped =
            tokio::time::timeout(Duration::from_secs(2), self.plugin).await.expect("hosts kill after 2 s");
        assert!(!self.socket.exists());
        stopped.unwrap().unwrap()
    }
}

async fn dial(
    socket: PathBuf,
    opens: Option<mpsc::Sender<oneshot::Sender<Conn>>>,
    tls: Option<Tls>,
) -> Channel {
    let connector = service_fn(move |_: Uri| {
        let (socket, opens, tls) = (socket.clone(), opens.clone(), tls.clone());
        async move {
            let conn = match opens {
                Some(opens) => {
                    let (reply, conn) = oneshot::channel();
                    opens.send(reply).await.map_err(io::Error::other)?;
                    conn.await.map_err(io::Error::other)?
                }
                None => Conn(Box::new(UnixStream::connect(socket).await?)),
            };
            let conn = match tls {
                Some(tls) => {
                    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                    Conn(Box::new(tls.client.connect(name, conn).await?))
                }
                None => conn,
            };
            Ok::<_, io::Error>(TokioIo::new(conn))
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

/// The client side of the one connection.
fn yamux(socket: UnixStream) -> (mpsc::Sender<oneshot::Sender<Conn>>, Inbound) {
    let (opens, mut asked) = mpsc::channel::<oneshot::Sender<Conn>>(1);
    let (accepted, inbound) = mpsc::unbounded_channel();
    let mut connection =
        yamux::Connection::new(socket.compat(), yamux::Config::default(), yamux::Mode::Client);
    tokio::spawn(async move {
        let mut waiting: Option<oneshot::Sender<Conn>> = None;
        poll_fn(|cx| {
            loop {
                if waiting.is_none()
                    && let Poll::Ready(Some(reply)) = asked.poll_recv(cx)
                {
                    waiting = Some(reply);
                }
                if waiting.is_some()
                    && let Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx)
                {
                    let _ = waiting.take().unwrap().send(Conn(Box::new(stream.compat())));
                    continue;
                }
                match connection.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        let _ = accepted.send(Conn(Box::new(stream.compat())));
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    });
    (opens, Arc::new(tokio::sync::Mutex::new(inbound)))
}

pub(crate) struct Mount {
    backend: BackendClient<Channel>,
    /// Empty for a host that sends none.
    id: String,
    pub(crate) storage: Storage,
}

impl Mount {
    fn with_id<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.id.is_empty() {
            request.metadata_mut().insert("multiplex_id", MetadataValue::try_from(self.id.as_str()).unwrap());
        }
        request
    }

    pub(crate) fn renamed(&self, id: &str) -> Self {
        Self { backend: self.backend.clone(), id: id.to_owned(), storage: self.storage.clone() }
    }

    async fn setup(&self, broker_id: u32) -> String {
        let args = pb::SetupArgs { broker_id, ..Default::default() };
        self.backend.clone().setup(self.with_id(args)).await.unwrap().into_inner().err
    }

    pub(crate) async fn try_request(
        &self,
        operation: &str,
        path: &str,
    ) -> Result<pb::HandleRequestReply, Status> {
        self.send(operation, path, Value::Null).await
    }

    pub(crate) async fn request(&self, operation: &str, path: &str, data: Value) -> pb::HandleRequestReply {
        self.send(operation, path, data).await.unwrap()
    }

    async fn send(&self, operation: &str, path: &str, data: Value) -> Result<pb::HandleRequestReply, Status> {
        let request = pb::Request {
            operation: operation.to_owned(),
            path: path.to_owned(),
            data: data.to_string(),
            ..Default::default()
        };
        let args = pb::HandleRequestArgs { storage_id: 0, request: Some(request) };
        Ok(self.backend.clone().handle_request(self.with_id(args)).await?.into_inner())
    }

    pub(crate) async fn exists(&self, path: &str) -> pb::HandleExistenceCheckReply {
        let request =
            pb::Request { operation: "create".to_owned(), path: path.to_owned(), ..Default::default() };
        let args = pb::HandleExistenceCheckArgs { storage_id: 0, request: Some(request) };
        self.backend.clone().handle_existence_check(self.with_id(args)).await.unwrap().into_inner()
    }

    pub(crate) async fn special_paths(&self) -> pb::Paths {
        let reply = self.backend.clone().special_paths(self.with_id(pb::Empty {})).await.unwrap();
        reply.into_inner().paths.unwrap()
    }

    pub(crate) async fn clean_up(&self) {
        self.backend.clone().cleanup(self.with_id(pb::Empty {})).await.unwrap();
    }
}
