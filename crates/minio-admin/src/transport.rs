//! Requests over the wire: signed, repeated where that is safe, and what becomes of their failures.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::client::{Call, Target};
use crate::reply::{self, ReadError};
use crate::{Builder, Client, Code, Error, sigv4};

const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// The longest wait before the first repetition; it doubles with each.
const BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// The HTTP client for these settings.
pub(crate) fn http(settings: &Builder) -> Result<reqwest::Client, Error> {
    let mut http = reqwest::Client::builder()
        .tls_backend_preconfigured(settings.tls.config(&settings.endpoint)?)
        .http1_only()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION)
        .tcp_nodelay(true);
    if settings.endpoint.is_loopback() {
        http = http.no_proxy();
    }
    http.build().map_err(|error| Error::Setup(causes(&error)))
}

impl Client {
    /// Sends a call, again where [`Builder::retries`] says so; gives the body of a success.
    pub(crate) async fn deliver(
        &self,
        call: &Call<'_>,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let retries = if call.is_repeatable { self.inner.settings.retries } else { 0 };
        let mut attempt = 0;
        loop {
            let outcome = self.speak(call, body).await;
            let Err(error) = &outcome else { return outcome };
            let pause = backoff(attempt);
            // Better the server's word than a deadline passed in waiting.
            if attempt >= retries || !is_passing(error) || Instant::now() + pause >= deadline {
                return outcome;
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a call in the version of the admin API that the server speaks.
    async fn speak(&self, call: &Call<'_>, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let version_4 = self.inner.version_4.load(Ordering::Relaxed);
        let first = self.send(call, body, version_4).await;
        match &first {
            Err(error) if error.code() == Some(&Code::VersionMismatch) => {
                let second = self.send(call, body, !version_4).await;
                // Any other word than this one is said by a server that understood.
                let is_spoken = match &second {
                    Ok(_) => true,
                    Err(error) => error.code().is_some_and(|code| *code != Code::VersionMismatch),
                };
                if is_spoken {
                    self.inner.version_4.store(!version_4, Ordering::Relaxed);
                }
                second
            }
            _ => first,
        }
    }

    async fn send(&self, call: &Call<'_>, body: &[u8], version_4: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
        let Builder { endpoint, credentials, region, .. } = &self.inner.settings;
        let (path, service) = match call.target {
            Target::Admin(name) => {
                (format!("/minio/admin/{}/{name}", if version_4 { "v4" } else { "v3" }), "s3")
            }
            Target::Sts => ("/".to_owned(), "sts"),
        };
        let query = sigv4::query(call.query);
        let host = endpoint.host_header();
        let hash = sigv4::payload_hash(body);
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
                service,
                date: &date,
            },
        );
        let mut request = self
            .inner
            .http
            .request(call.method.clone(), endpoint.at(&path, &query))
            .header("authorization", authorization)
            .header("x-amz-content-sha256", &hash)
            .header("x-amz-date", &date)
            .body(body.to_vec());
        if matches!(call.target, Target::Sts) {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let sent = request.send().await.map_err(|error| self.transport(&call.operation, error))?;
        let reply = reply::read(sent, &call.operation).await.map_err(|error| match error {
            ReadError::Transport(error) => self.transport(&call.operation, error),
            ReadError::Answer(error) => error,
        })?;
        reply.success(&call.operation)
    }

    fn transport(&self, operation: &str, error: reqwest::Error) -> Error {
        let (operation, endpoint) = (operation.to_owned(), self.endpoint().to_string());
        let is_connect = error.is_connect();
        if error.is_timeout() {
            let after = self.inner.settings.connect_timeout;
            return Error::Timeout { operation, endpoint, after };
        }
        let error = error.without_url();
        let (cause, tls) = (reply::quotable(&causes(&error)), tls(&error));
        if let Some(tls) = tls.filter(|tls| is_connect || is_refusal_of_us(tls)) {
            let is_untrusted = matches!(tls, rustls::Error::InvalidCertificate(_));
            Error::Tls { operation, endpoint, is_untrusted, cause }
        } else if is_connect {
            Error::Unreachable { operation, endpoint, cause }
        } else {
            Error::Broken { operation, endpoint, cause }
        }
    }
}

/// Whether the next moment may be better. Narrower than [`Error::is_retryable`], which is about later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Broken { .. } => true,
        Error::Refused { status, code, .. } => code.is_temporary() || matches!(status, 408 | 429 | 502 | 503),
        Error::Garbage { status, .. } => matches!(status, 408 | 429 | 502 | 503),
        _ => false,
    }
}

/// Between half of the longest wait and all of it, so that clients that failed together come back apart.
fn backoff(attempt: u32) -> Duration {
    let longest = BACKOFF.saturating_mul(1 << attempt.min(16)).min(MAX_BACKOFF);
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

/// What rustls said. Its error travels inside (nested) I/O errors, which `source()` skips over.
fn tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let inside = inside.and_then(|inside| tls(inside));
    error.downcast_ref().or(inside).or_else(|| error.source().and_then(tls))
}

/// With TLS 1.3 a client believes the handshake done before the server has looked at its certificate.
fn is_refusal_of_us(error: &rustls::Error) -> bool {
    use rustls::AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, UnknownCA, UnsupportedCertificate,
    };
    matches!(
        error,
        rustls::Error::AlertReceived(
            AccessDenied
                | BadCertificate
                | CertificateExpired
                | CertificateRequired
                | CertificateRevoked
                | CertificateUnknown
                | UnknownCA
                | UnsupportedCertificate
        )
    )
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
