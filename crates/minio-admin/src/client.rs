//! Making calls: sealing, deadlines, the breaker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use reqwest::Method;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::body::{self, Algorithm, BodyError};
use crate::breaker::Guard;
use crate::{BodyEncryption, Builder, Code, Credentials, Endpoint, Error, transport};

/// One derivation of 64 MiB at a time in this process.
static HEAVY: Semaphore = Semaphore::const_new(1);

/// A MinIO server's admin API, called as one user. Clones share their connections and their breaker.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Builder,
    pub(crate) http: reqwest::Client,
    /// The server cannot open PBKDF2 bodies; set once, when [`BodyEncryption::Auto`] found out.
    argon2: AtomicBool,
    /// The server speaks version 4 of the admin API and not 3; set once it has said so.
    pub(crate) version_4: AtomicBool,
    breaker: Option<Guard>,
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
    pub(crate) target: Target<'a>,
    pub(crate) query: &'a [(&'a str, &'a str)],
    /// Making it twice does what making it once does.
    pub(crate) is_repeatable: bool,
}

/// What a call is for.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The admin API; last part of the path.
    Admin(&'a str),
    /// The security token service. The body is a form.
    Sts,
}

impl<'a> Call<'a> {
    /// An admin call that can be repeated.
    pub(crate) fn new(
        operation: impl Into<String>,
        method: Method,
        name: &'a str,
        query: &'a [(&'a str, &'a str)],
    ) -> Self {
        Self { operation: operation.into(), method, target: Target::Admin(name), query, is_repeatable: true }
    }

    /// A call to the token service. Each makes keys of its own.
    pub(crate) fn sts(operation: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            method: Method::POST,
            target: Target::Sts,
            query: &[],
            is_repeatable: false,
        }
    }

    /// Not to be repeated.
    pub(crate) fn once(self) -> Self {
        Self { is_repeatable: false, ..self }
    }
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
        Builder::new(endpoint, credentials)
    }

    pub(crate) fn from_settings(settings: Builder) -> Result<Self, Error> {
        let inner = Inner {
            http: transport::http(&settings)?,
            breaker: settings.breaker.map(Guard::new),
            argon2: AtomicBool::new(false),
            version_4: AtomicBool::new(false),
            settings,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where this client's server is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.settings.endpoint
    }

    /// Makes a call whose body, if any, goes as it is; gives the answer's body.
    pub(crate) async fn call(&self, call: Call<'_>, body: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let deadline = self.deadline();
        self.guarded(&call.operation, deadline, self.deliver(&call, &body, deadline)).await
    }

    /// Makes a call without a body, and opens the sealed answer.
    pub(crate) async fn call_for_sealed(&self, call: Call<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let deadline = self.deadline();
        self.guarded(&call.operation, deadline, async {
            let answer = self.deliver(&call, &[], deadline).await?;
            self.open(&call.operation, answer).await
        })
        .await
    }

    /// Makes a call whose body is sealed.
    pub(crate) async fn call_sealed(
        &self,
        call: Call<'_>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let body = Arc::new(body);
        let deadline = self.deadline();
        self.guarded(&call.operation, deadline, async {
            let algorithm = self.algorithm();
            let sealed = self.seal(&call.operation, algorithm, Arc::clone(&body)).await?;
            let first = self.deliver(&call, &sealed, deadline).await;
            let undecided = self.inner.settings.encryption == BodyEncryption::Auto && !algorithm.is_heavy();
            match first {
                Err(error) if undecided && error.code() == Some(&Code::ConfigBadJson) => {
                    let sealed =
                        self.seal(&call.operation, Algorithm::Argon2idAesGcm, Arc::clone(&body)).await?;
                    let answer = self.deliver(&call, &sealed, deadline).await?;
                    self.inner.argon2.store(true, Ordering::Relaxed);
                    Ok(answer)
                }
                first => first,
            }
        })
        .await
    }

    /// When a call that begins now has to have ended.
    fn deadline(&self) -> Instant {
        Instant::now() + self.inner.settings.timeout
    }

    /// Runs a call within its limit, if the breaker lets it through.
    async fn guarded<T>(
        &self,
        operation: &str,
        deadline: Instant,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let pass = match &self.inner.breaker {
            None => None,
            Some(guard) => Some(guard.admit(Instant::now()).map_err(|for_another| Error::Resting {
                operation: operation.to_owned(),
                endpoint: self.endpoint().to_string(),
                for_another,
            })?),
        };
        let outcome = tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(|_| {
            Err(Error::Timeout {
                operation: operation.to_owned(),
                endpoint: self.endpoint().to_string(),
                after: self.inner.settings.timeout,
            })
        });
        if let Some(pass) = pass {
            pass.settle(&outcome, Instant::now());
        }
        outcome
    }

    async fn open(&self, operation: &str, sealed: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |source| Error::Body { operation: operation.to_owned(), source };
        let algorithm = body::algorithm_of(&sealed).map_err(failed)?;
        let password = self.inner.settings.credentials.secret_key.clone();
        derive(algorithm, move || body::open(password.expose_secret().as_bytes(), &sealed))
            .await
            .map_err(failed)
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
