//! Making calls: sealing, deadlines, the breaker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::body::{self, Algorithm, BodyError};
use crate::{BodyEncryption, Builder, Code, Credentials, Endpoint, Error, reply, transport};

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
        self.exchange(&call, &body, self.deadline()).await
    }

    /// As [`Client::call`], for a call whose success says nothing.
    pub(crate) async fn call_empty(&self, call: Call<'_>, body: Vec<u8>) -> Result<(), Error> {
        let operation = call.operation.clone();
        reply::empty(&self.call(call, body).await?, &operation)
    }

    /// Makes a call without a body, and opens the sealed answer.
    pub(crate) async fn call_for_sealed(&self, call: Call<'_>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let deadline = self.deadline();
        let answer = self.exchange(&call, &[], deadline).await?;
        self.open(&call.operation, answer, deadline).await
    }

    /// Makes a call whose body is sealed.
    pub(crate) async fn call_sealed(
        &self,
        call: Call<'_>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let body = Arc::new(body);
        let deadline = self.deadline();
        self.check_rest(&call.operation)?;
        let algorithm = self.algorithm();
        let sealed = self.seal(&call.operation, algorithm, Arc::clone(&body), deadline).await?;
        let first = self.exchange(&call, &sealed, deadline).await;
        let undecided = self.inner.settings.encryption == BodyEncryption::Auto && !algorithm.is_heavy();
        match first {
            Err(error) if undecided && error.code() == Some(&Code::ConfigBadJson) => {
                let sealed = self.seal(&call.operation, Algorithm::Argon2idAesGcm, body, deadline).await?;
                let answer = self.exchange(&call, &sealed, deadline).await?;
                self.inner.argon2.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            first => first,
        }
    }

    /// As [`Client::call_sealed`], for a call whose success says nothing.
    pub(crate) async fn call_sealed_empty(
        &self,
        call: Call<'_>,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(), Error> {
        let operation = call.operation.clone();
        reply::empty(&self.call_sealed(call, body).await?, &operation)
    }

    /// When a call that begins now has to have ended.
    fn deadline(&self) -> Instant {
        Instant::now() + self.inner.settings.timeout
    }

    /// Sends a call and reads its answer within its limit, if the breaker lets it through. Key derivations stay
    /// outside: that this machine is busy says nothing about the server.
    async fn exchange(
        &self,
        call: &Call<'_>,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let operation = &call.operation;
        if Instant::now() >= deadline {
            return Err(self.busy(operation));
        }
        let pass = match &self.inner.settings.breaker {
            None => None,
            Some(breaker) => {
                let pass = breaker.admit(Instant::now());
                Some(pass.map_err(|for_another| self.resting(operation, for_another))?)
            }
        };
        let work = self.deliver(call, body, deadline);
        let outcome = tokio::time::timeout_at(deadline.into(), work).await.unwrap_or_else(|_| {
            Err(Error::Timeout {
                operation: operation.clone(),
                endpoint: self.endpoint().to_string(),
                after: self.inner.settings.timeout,
            })
        });
        if let Some(pass) = pass {
            pass.settle(&outcome, Instant::now());
        }
        outcome
    }

    /// Fails when the breaker would let nothing through: before a key is derived for nothing.
    fn check_rest(&self, operation: &str) -> Result<(), Error> {
        match self.inner.settings.breaker.as_ref().and_then(|breaker| breaker.rest(Instant::now())) {
            Some(for_another) => Err(self.resting(operation, for_another)),
            None => Ok(()),
        }
    }

    fn resting(&self, operation: &str, for_another: Duration) -> Error {
        Error::Resting { operation: operation.to_owned(), endpoint: self.endpoint().to_string(), for_another }
    }

    fn busy(&self, operation: &str) -> Error {
        Error::Busy { operation: operation.to_owned(), after: self.inner.settings.timeout }
    }

    async fn open(
        &self,
        operation: &str,
        sealed: Zeroizing<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let algorithm = body::algorithm_of(&sealed)
            .map_err(|source| Error::Body { operation: operation.to_owned(), source })?;
        let password = self.inner.settings.credentials.secret_key.clone();
        let work = derive(algorithm, move || body::open(password.expose_secret().as_bytes(), &sealed));
        self.in_time(operation, deadline, work).await
    }

    /// Waits for a key derivation as long as its call may take.
    async fn in_time<T>(
        &self,
        operation: &str,
        deadline: Instant,
        work: impl Future<Output = Result<T, BodyError>>,
    ) -> Result<T, Error> {
        let done = tokio::time::timeout_at(deadline.into(), work).await.map_err(|_| self.busy(operation))?;
        done.map_err(|source| Error::Body { operation: operation.to_owned(), source })
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
        deadline: Instant,
    ) -> Result<Vec<u8>, Error> {
        let password = self.inner.settings.credentials.secret_key.clone();
        let work =
            derive(algorithm, move || body::seal(password.expose_secret().as_bytes(), algorithm, &text));
        self.in_time(operation, deadline, work).await
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::Breaker;

    #[tokio::test]
    async fn waiting_for_a_key_derivation_is_no_lost_call() {
        // Bound and not listening: nobody else gets the port, and connections are refused.
        let vacant = tokio::net::TcpSocket::new_v4().unwrap();
        vacant.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let endpoint = Endpoint::new(&vacant.local_addr().unwrap().to_string(), false).unwrap();
        let client = Client::builder(endpoint, Credentials::new("admin", "an-admins-secret"))
            .timeout(Duration::from_millis(100))
            .body_encryption(BodyEncryption::Always(Algorithm::Argon2idAesGcm))
            .breaker(Breaker::new(1, Duration::from_secs(3600)))
            .build()
            .unwrap();
        let others = HEAVY.acquire().await.unwrap();
        for _ in 0..2 {
            let error = client.add_user("someone", &"a-users-secret".into()).await.unwrap_err();
            assert!(matches!(error, Error::Busy { .. }) && error.is_retryable(), "{error:?}");
        }
        let late = client.exchange(&Call::new("late", Method::GET, "x", &[]), &[], Instant::now()).await;
        assert!(matches!(late, Err(Error::Busy { .. })), "{late:?}");

        let lost = client.user_info("someone").await.unwrap_err();
        assert!(matches!(lost, Error::Unreachable { .. } | Error::Timeout { .. }), "{lost:?}");
        let error = client.add_user("someone", &"a-users-secret".into()).await.unwrap_err();
        assert!(matches!(error, Error::Resting { .. }), "no key is derived for nothing: {error:?}");
        drop(others);
    }
}
