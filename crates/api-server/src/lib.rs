//! The Kubernetes API server, as a pod with a service account sees it.
//!
//! Boathouse makes a handful of requests to it in all, so they are written out, each over a connection of its own. The
//! `kube` crate, and also the client that Vault and S3 use, would bring some MiB into processes of a few; and of what
//! that does, name resolution is not needed: a pod is told the API server's address.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Where every pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Bound of one request, from connecting to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer in bytes; objects have at most 3 MiB.
const ANSWER: usize = 8 << 20;

/// Longest text of the API server's that goes into an error, in characters.
const MESSAGE: usize = 400;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address in the environment is none.
    #[error("API server: {0:?} is not the name or address of a host")]
    Address(String),
    /// The authorities of the service account are none.
    #[error("{}: {reason}", path.display())]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// A file of the service account cannot be read.
    #[error("read {}: {source}; the pod needs its service-account token", path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// No answer.
    #[error("{operation} {path}: {reason}")]
    Call {
        /// The request's method.
        operation: Method,
        /// The object.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer that is none.
    #[error("{operation} {path}: HTTP {status}: {message}{hint}")]
    Refused {
        /// The request's method.
        operation: Method,
        /// The object.
        path: String,
        /// The status code.
        status: u16,
        /// The API server's words.
        message: String,
        /// What to do about it.
        hint: &'static str,
    },
}

impl ApiError {
    /// The status of an answer, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// The API server and the service account that asks it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    name: ServerName<'static>,
    host: String,
    port: u16,
    encrypted: bool,
    account: PathBuf,
}

impl ApiServer {
    /// The cluster that this pod runs in; `None` outside of one.
    ///
    /// # Errors
    /// When the environment names an API server that cannot be one.
    pub fn in_cluster() -> Result<Option<Self>, ApiError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        match (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) {
            (Some(host), Some(port)) => Self::new("https", &host, &port, Path::new(ACCOUNT)).map(Some),
            _ => Ok(None),
        }
    }

    /// One at another place, by the scheme `https` or `http`, with the service account whose files are in `account`. Over
    /// https, its `ca.crt` is the only authority.
    ///
    /// # Errors
    /// [`ApiError::Address`].
    pub fn new(scheme: &str, host: &str, port: &str, account: &Path) -> Result<Self, ApiError> {
        let address = |_| ApiError::Address(format!("{host}:{port}"));
        Ok(Self {
            name: ServerName::try_from(host.to_owned()).map_err(|_| ApiError::Address(host.to_owned()))?,
            host: host.to_owned(),
            port: port.parse().map_err(address)?,
            encrypted: scheme == "https",
            account: account.to_owned(),
        })
    }

    /// The namespace of the service account.
    ///
    /// # Errors
    /// [`ApiError::Account`].
    pub fn namespace(&self) -> Result<String, ApiError> {
        Ok(self.read("namespace")?.trim().to_owned())
    }

    /// A client, with the authorities as they are now.
    ///
    /// # Errors
    /// [`ApiError::Authorities`], for instance without `ca.crt`.
    pub fn connect(&self) -> Result<ApiClient, ApiError> {
        let tls = if self.encrypted { Some(self.tls()?) } else { None };
        Ok(ApiClient { server: self.clone(), tls })
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, ApiError> {
        let path = self.account.join("ca.crt");
        let failed = |reason: String| ApiError::Authorities { path: path.clone(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| failed(error.to_string()))? {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| failed(error.to_string()))?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    }

    fn read(&self, name: &str) -> Result<String, ApiError> {
        let path = self.account.join(name);
        std::fs::read_to_string(&path).map_err(|source| ApiError::Account { path, source })
    }
}

/// Makes requests. Paths are those of the API, such as `/api/v1/nodes/n1`; names in them are DNS names and need
/// no escaping.
#[derive(Clone, Debug)]
pub struct ApiClient {
    server: ApiServer,
    tls: Option<Arc<ClientConfig>>,
}

impl ApiClient {
    /// Reads an object.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send(Method::GET, path, None).await
    }

    /// Makes an object in the collection `path`.
    ///
    /// # Errors
    /// [`ApiError`]; status 409 when there is one of this name.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.send(Method::POST, path, Some(("application/json", object))).await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// [`ApiError`]; status 409 when it is not the version that `object` says any more.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.send(Method::PUT, path, Some(("application/json", object))).await
    }

    /// Changes an object by a JSON patch (RFC 6902).
    ///
    /// # Errors
    /// [`ApiError`]; status 422 when one of the patch's tests fails.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.send(Method::PATCH, path, Some(("application/json-patch+json", patch))).await
    }

    async fn send(
        &self,
        operation: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, ApiError> {
        // Read each time: kubelet replaces it.
        let token = SecretString::from(self.server.read("token")?.trim());
        let failed = |reason: String| ApiError::Call {
            operation: operation.clone(),
            path: path.to_owned(),
            reason: one_line(&reason),
        };
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| failed("the service-account token holds characters that no token has".to_owned()))?;
        bearer.set_sensitive(true);
        let (kind, content) = body.map_or(("", String::new()), |(kind, value)| (kind, value.to_string()));
        let mut request = Request::builder()
            .method(&operation)
            .uri(path)
            .header(header::HOST, "kubernetes.default.svc")
            .header(header::USER_AGENT, concat!("boathouse/", env!("CARGO_PKG_VERSION")))
            .header(header::AUTHORIZATION, bearer);
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request =
            request.body(Full::new(Bytes::from(content))).map_err(|error| failed(error.to_string()))?;
        let (status, answer) = match timeout(TIMEOUT, self.exchange(request)).await {
            Ok(answer) => answer.map_err(|error| failed(innermost(error.as_ref())))?,
            Err(_) => return Err(failed(format!("no answer within {} s", TIMEOUT.as_secs()))),
        };
        if (200..300).contains(&status) {
            return serde_json::from_slice(&answer).map_err(|error| failed(error.to_string()));
        }
        let document: Value = serde_json::from_slice(&answer).unwrap_or_default();
        Err(ApiError::Refused {
            operation,
            path: path.to_owned(),
            status,
            message: one_line(document["message"].as_str().unwrap_or("it says no more")),
            hint: match status {
                403 => "; a Role or ClusterRole of the pod's service account must allow it",
                _ => "",
            },
        })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(u16, Bytes), Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect((self.server.host.as_str(), self.server.port)).await?;
        match &self.tls {
            Some(tls) => {
                let tls = TlsConnector::from(tls.clone());
                converse(tls.connect(self.server.name.clone(), stream).await?, request).await
            }
            None => converse(stream, request).await,
        }
    }
}

/// One request over a connection; gives status and body.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes), Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        Ok((status, Limited::new(answer.into_body(), ANSWER).collect().await?.to_bytes()))
    };
    let mut answered = std::pin::pin!(answered);
    tokio::select! {
        answer = &mut answered => answer,
        // It ends first when the API server closes it with its answer.
        ended = connection => {
            ended?;
            answered.await
        }
    }
}

/// The error at the bottom, which says most.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Somebody else's text, fit for an error.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_no_address_is_named() {
        assert!(ApiServer::new("https", "fd00::1", "443", Path::new("/a")).is_ok());
        for (host, port) in [("no host", "443"), ("10.0.0.1", "https")] {
            let error = ApiServer::new("https", host, port, Path::new("/a")).unwrap_err().to_string();
            assert!(error.contains(host), "{error}");
        }
    }

    #[tokio::test]
    async fn errors_say_what_to_do_and_no_secret() {
        let refuse = || async { (axum::http::StatusCode::FORBIDDEN, r#"{"message":"not so"}"#) };
        let routes = axum::Router::new().route("/api/v1/nodes/n1", axum::routing::get(refuse));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let account = tempfile::tempdir().unwrap();
        std::fs::write(account.path().join("token"), "secret-token\n").unwrap();
        let client = ApiServer::new("http", "127.0.0.1", &port, account.path()).unwrap().connect().unwrap();

        let error = client.get("/api/v1/nodes/n1").await.unwrap_err();
        assert_eq!(error.status(), Some(403));
        let error = error.to_string();
        assert!(error.starts_with("GET /api/v1/nodes/n1: HTTP 403: not so; a Role"), "{error}");
        assert!(!error.contains("secret-token"), "{error}");
        let closed = ApiServer::new("http", "127.0.0.1", "1", account.path()).unwrap().connect().unwrap();
        let error = closed.get("/api").await.unwrap_err().to_string();
        assert!(error.starts_with("GET /api: Connection refused"), "{error}");
        std::fs::remove_file(account.path().join("token")).unwrap();
        let error = client.get("/api/v1/nodes/n1").await.unwrap_err().to_string();
        assert!(error.contains("token") && error.contains("service-account"), "{error}");
    }
}
