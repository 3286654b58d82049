//! Making admin calls: signing, sealing, deadlines.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::body::{self, Algorithm, BodyError};
use crate::reply::{self, ReadError, Reply};
use crate::{Code, Endpoint, Error, sigv4, tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// One derivation of 64 MiB at a time in this process.
static HEAVY: Semaphore = Semaphore::const_new(1);

/// An admin user's keys. The secret key also is the password of sealed bodies.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: SecretString,
}

impl Credentials {
    /// A pair of keys.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<SecretString>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into() }
    }
}

/// How request bodies are sealed; see [`body`] for what the choice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyEncryption {
    /// [`Algorithm::Pbkdf2AesGcm`]; when the server cannot open that, [`Algorithm::Argon2idAesGcm`]
    /// from then on.
    #[default]
    Auto,
    /// Always this one.
    Always(Algorithm),
}

/// Settings for a [`Client`].
#[derive(Debug, Clone)]
pub struct Builder {
    endpoint: Endpoint,
    credentials: Credentials,
    region: String,
    connect_timeout: Duration,
    timeout: Duration,
    encryption: BodyEncryption,
}

impl Builder {
    /// Region in signatures. Default `us-east-1`; MinIO takes any for admin calls.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Limit for making a connection. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Limit for a whole call, key derivation included. Default 30 s.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How bodies are sealed. Default [`BodyEncryption::Auto`].
    #[must_use]
    pub fn body_encryption(mut self, encryption: BodyEncryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// Proxies named in the environment are used, except for a server on this machine. Redirects
    /// are not followed: a signature is for one host.
    ///
    /// # Errors
    /// [`Error::Setup`], for instance when TLS is wanted and the system has no root certificates.
    pub fn build(self) -> Result<Client, Error> {
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&self.endpoint)?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true);
        if self.endpoint.is_loopback() {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| Error::Setup(causes(&error)))?;
        Ok(Client { inner: Arc::new(Inner { settings: self, http, argon2: AtomicBool::new(false) }) })
    }
}

/// A MinIO server's admin API, called as one admin user. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Builder,
    http: reqwest::Client,
    /// The server cannot open PBKDF2 bodies; set once, when [`BodyEncryption::Auto`] found out.
    argon2: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.inner.settings.endpoint)
            .field("access_key", &self.inner.settings.credentials.access_key)
            .finish_non_exhaustive()
    }
}

/// One call, before it is signed.
pub(crate) struct Call<'a> {
    /// What error texts call it.
    pub(crate) operation: String,
    pub(crate) method: Method,
    /// Last part of the path.
    pub(crate) name: &'a str,
    pub(crate) query: &'a [(&'a str, &'a str)],
}

impl Client {
    /// A client with the default settings.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Result<Self, Error> {
        Self::builder(endpoint, credentials).build()
    }

    /// Settings to change before the client is made.
    #[must_use]
    pub fn builder(endpoint: Endpoint, credentials: Credentials) -> Builder {
        Builder {
            endpoint,
            credentials,
            region: "us-east-1".to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
            encryption: BodyEncryption::Auto,
        }
    }

    /// Where this client's server is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.settings.endpoint
    }

    /// Makes a call whose body, if any, goes as it is; gives the answer's body.
    pub(crate) async fn call(&self, call: Call<'_>, body: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.in_time(&call.operation, async { self.send(&call, body).await?.success(&call.operation) }).await
    }

    /// Makes a call whose body is sealed.
    pub(crate) async fn call_sealed(
        &self,
        call: Call<'_>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let body = Arc::new(body);
        self.in_time(&call.operation, async {
            let algorithm = self.algorithm();
            let sealed = self.seal(&call.operation, algorithm, Arc::clone(&body)).await?;
            let first = self.send(&call, sealed).await?.success(&call.operation);
            let undecided = self.inner.settings.encryption == BodyEncryption::Auto && !algorithm.is_heavy();
            match first {
                Err(error) if undecided && error.code() == Some(&Code::ConfigBadJson) => {
                    let algorithm = Algorithm::Argon2idAesGcm;
                    let sealed = self.seal(&call.operation, algorithm, body).await?;
                    let answer = self.send(&call, sealed).await?.success(&call.operation)?;
                    self.inner.argon2.store(true, Ordering::Relaxed);
                    Ok(answer)
                }
                first => first,
            }
        })
        .await
    }

    /// Opens a sealed answer.
    pub(crate) async fn open(
        &self,
        operation: &str,
        sealed: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |source| Error::Body { operation: operation.to_owned(), source };
        let algorithm = body::algorithm_of(&sealed).map_err(failed)?;
        let password = self.inner.settings.credentials.secret_key.clone();
        self.in_time(operation, async {
            derive(algorithm, move || body::open(password.expose_secret().as_bytes(), &sealed))
                .await
                .map_err(failed)
        })
        .await
    }

    fn algorithm(&self) -> Algorithm {
        match self.inner.settings.encryption {
            BodyEncryption::Always(algorithm) => algorithm,
            BodyEncryption::Auto if self.inner.argon2.load(Ordering::Relaxed) => Algorithm::Argon2idAesGcm,
            BodyEncryption::Auto => Algorithm::Pbkdf2AesGcm,
        }
    }

    async fn seal(
        &self,
        operation: &str,
        algorithm: Algorithm,
        text: Arc<Zeroizing<Vec<u8>>>,
    ) -> Result<Vec<u8>, Error> {
        let password = self.inner.settings.credentials.secret_key.clone();
        derive(algorithm, move || body::seal(password.expose_secret().as_bytes(), algorithm, &text))
            .await
            .map_err(|source| Error::Body { operation: operation.to_owned(), source })
    }

    async fn send(&self, call: &Call<'_>, body: Vec<u8>) -> Result<Reply, Error> {
        let Builder { endpoint, credentials, region, .. } = &self.inner.settings;
        let path = format!("/minio/admin/v3/{}", call.name);
        let query = sigv4::query(call.query);
        let host = endpoint.host_header();
        let hash = sigv4::payload_hash(&body);
        let date = sigv4::amz_date(jiff::Timestamp::now());
        let headers =
            [("host", host.as_str()), ("x-amz-content-sha256", hash.as_str()), ("x-amz-date", date.as_str())];
        let authorization = sigv4::authorization(
            &sigv4::Request {
                method: call.method.as_str(),
                path: &path,
                query: &query,
                headers: &headers,
                payload_hash: &hash,
            },
            &sigv4::Signer {
                access_key: &credentials.access_key,
                secret_key: credentials.secret_key.expose_secret(),
                region,
                service: "s3",
                date: &date,
            },
        );
        let sent = self
            .inner
            .http
            .request(call.method.clone(), endpoint.at(&path, &query))
            .header("authorization", authorization)
            .header("x-amz-content-sha256", &hash)
            .header("x-amz-date", &date)
            .body(body)
            .send()
            .await
            .map_err(|error| self.transport(&call.operation, error))?;
        reply::read(sent, &call.operation).await.map_err(|error| match error {
            ReadError::Transport(error) => self.transport(&call.operation, error),
            ReadError::Answer(error) => error,
        })
    }

    async fn in_time<T>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = self.inner.settings.timeout;
        tokio::time::timeout(after, work).await.unwrap_or_else(|_| {
            Err(Error::Timeout {
                operation: operation.to_owned(),
                endpoint: self.endpoint().to_string(),
                after,
            })
        })
    }

    fn transport(&self, operation: &str, error: reqwest::Error) -> Error {
        let (operation, endpoint) = (operation.to_owned(), self.endpoint().to_string());
        let is_connect = error.is_connect();
        if error.is_timeout() {
            let after = self.inner.settings.connect_timeout;
            return Error::Timeout { operation, endpoint, after };
        }
        let cause = causes(&error.without_url());
        if is_connect {
            Error::Unreachable { operation, endpoint, cause }
        } else {
            Error::Broken { operation, endpoint, cause }
        }
    }
}

/// Runs a key derivation where it blocks nobody.
async fn derive<T: Send + 'static>(
    algorithm: Algorithm,
    work: impl FnOnce() -> Result<T, BodyError> + Send + 'static,
) -> Result<T, BodyError> {
    let stopped = |_| BodyError::Refused("the program is stopping");
    let permit = if algorithm.is_heavy() {
        // Never closed, so this only waits.
        HEAVY.acquire().await.ok()
    } else {
        None
    };
    // The permit goes along: a caller who stops waiting does not free the memory.
    let task = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    task.await.unwrap_or_else(|error| Err(stopped(error)))
}

/// An error and its causes, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}
