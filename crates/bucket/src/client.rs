//! The calls.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::error::{BucketError, Failure};
use crate::http::{BODY_LIMIT, Http};
use crate::target::{Keys, S3Target};

/// How long [`BucketClient::probe_fresh_keys`] waits for a distributed server to know new keys everywhere.
pub const FRESH_KEYS_GRACE: Duration = Duration::from_secs(2);

/// Validity of a signature. It is used at once; the length is S3's own tolerance for clocks that differ.
const SIGNATURE_VALID_FOR: Duration = Duration::from_secs(15 * 60);

/// Whether something had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It did not exist and was made.
    Created,
    /// It existed.
    Found,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The whole key, prefix included.
    pub key: String,
    /// Size in bytes; zero when the server does not say.
    pub size: u64,
}

/// A bucket with keys for it. Cloning shares the connections.
#[derive(Clone)]
pub struct BucketClient {
    http: Http,
    target: S3Target,
    bucket: Bucket,
    credentials: Credentials,
}

impl fmt::Debug for BucketClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketClient")
            .field("target", &self.target)
            .field("access_key", &self.credentials.key())
            .finish_non_exhaustive()
    }
}

impl BucketClient {
    /// Puts a bucket and keys on top of shared connections. Sends nothing.
    ///
    /// # Errors
    /// [`Failure::InvalidInput`] when endpoint, bucket name or region cannot make a request.
    pub fn new(http: &Http, target: S3Target, keys: &Keys) -> Result<Self, BucketError> {
        if let Some(problem) = target.problem() {
            return Err(error(&target, Failure::InvalidInput(problem)));
        }
        let style = if target.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket =
            Bucket::new(target.endpoint.clone(), style, target.bucket.clone(), target.region.clone())
                .map_err(|_| error(&target, Failure::InvalidInput("bucket and endpoint make no URL")))?;
        let secret = keys.secret_key.expose_secret();
        let credentials = match &keys.session_token {
            None => Credentials::new(&keys.access_key, secret),
            Some(token) => Credentials::new_with_token(&keys.access_key, secret, token.expose_secret()),
        };
        Ok(Self { http: http.clone(), target, bucket, credentials })
    }

    /// Proves that the bucket can be listed with these keys, below `prefix` if there is one: one `ListObjectsV2` of
    /// at most one key, answered before `within` has passed. An empty bucket or prefix is fine.
    ///
    /// # Errors
    /// Whatever is in the way; [`Failure::Timeout`] with `within` when that was shorter than the connections' own
    /// bounds.
    pub async fn probe(&self, prefix: Option<&str>, within: Duration) -> Result<(), BucketError> {
        match timeout(within, self.list(prefix.unwrap_or_default(), 1)).await {
            Ok(listing) => listing.map(drop),
            Err(_) => Err(error(&self.target, Failure::Timeout(within))),
        }
    }

    /// [`probe`](Self::probe) for keys that were made a moment ago. A distributed MinIO tells its peers about a new
    /// user after it has answered, so the first request can meet a node that answers `InvalidAccessKeyId`. Only that
    /// code is retried, for at most [`FRESH_KEYS_GRACE`] and never beyond `within`.
    ///
    /// # Errors
    /// As `probe`; the last answer when the grace is over.
    pub async fn probe_fresh_keys(&self, prefix: Option<&str>, within: Duration) -> Result<(), BucketError> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let outcome = self.probe(prefix, within.saturating_sub(start.elapsed())).await;
            let unknown_yet = matches!(
                &outcome,
                Err(BucketError { failure: Failure::InvalidKeys { code }, .. }) if code == "InvalidAccessKeyId"
            );
            if !unknown_yet || start.elapsed() + pause >= within.min(FRESH_KEYS_GRACE) {
                return outcome.map_err(|e| match e.failure {
                    // The time left of a later attempt is not what the caller asked for.
                    Failure::Timeout(_) if start.elapsed() >= within => {
                        error(&self.target, Failure::Timeout(within))
                    }
                    _ => e,
                });
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    /// Makes sure that something lies below `prefix`, by a zero-byte object `<prefix>/` if nothing does.
    ///
    /// # Errors
    /// [`Failure::InvalidInput`] for a prefix that is no path, and those of any call.
    pub async fn ensure_prefix(&self, prefix: &str) -> Result<Found, BucketError> {
        let marker = directory(prefix);
        if marker.is_empty() {
            return Err(error(&self.target, Failure::InvalidInput("the prefix is empty")));
        }
        if !self.list(prefix, 1).await?.is_empty() {
            return Ok(Found::Found);
        }
        self.put(&marker, Vec::new()).await?;
        Ok(Found::Created)
    }

    /// The first `max` (1 to 1000) objects below `prefix/`, or of the bucket when `prefix` is empty, in key order.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn list(&self, prefix: &str, max: usize) -> Result<Vec<ObjectInfo>, BucketError> {
        let prefix = directory(prefix);
        if !prefix.is_empty() {
            self.check_key(&prefix)?;
        }
        let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
        action.with_max_keys(max.clamp(1, 1000));
        if !prefix.is_empty() {
            action.with_prefix(prefix.as_str());
        }
        let body = self.send(Method::GET, action.sign(SIGNATURE_VALID_FOR), Vec::new()).await?;
        let listing = std::str::from_utf8(&body).ok().and_then(|xml| ListObjectsV2::parse_response(xml).ok());
        let Some(listing) = listing else {
            return Err(error(&self.target, Failure::Other { status: 200, code: String::new() }));
        };
        let objects = listing.contents.into_iter();
        Ok(objects.map(|o| ObjectInfo { key: o.key, size: o.size.unwrap_or_default() }).collect())
    }

    /// Writes an object.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn put(&self, key: &str, content: Vec<u8>) -> Result<(), BucketError> {
        self.check_key(key)?;
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(SIGNATURE_VALID_FOR);
        self.send(Method::PUT, url, content).await.map(drop)
    }

    /// Reads an object of at most [`BODY_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`Failure::NoSuchKey`], and those of any call.
    pub async fn get(&self, key: &str) -> Result<Vec<u8>, BucketError> {
        self.check_key(key)?;
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(SIGNATURE_VALID_FOR);
        self.send(Method::GET, url, Vec::new()).await
    }

    /// Deletes an object; one that does not exist counts as deleted.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.check_key(key)?;
        let url = self.bucket.delete_object(Some(&self.credentials), key).sign(SIGNATURE_VALID_FOR);
        self.send(Method::DELETE, url, Vec::new()).await.map(drop)
    }

    /// Makes the bucket itself.
    ///
    /// # Errors
    /// `BucketAlreadyExists` as [`Failure::Other`] when it is somebody else's, and those of any call.
    pub async fn create_bucket(&self) -> Result<Found, BucketError> {
        let action = self.bucket.create_bucket(&self.credentials);
        let url = action.sign(SIGNATURE_VALID_FOR);
        match self.send(Method::PUT, url, action.body().into_bytes()).await {
            Ok(_) => Ok(Found::Created),
            Err(BucketError { failure: Failure::Other { code, .. }, .. })
                if code == "BucketAlreadyOwnedByYou" =>
            {
                Ok(Found::Found)
            }
            Err(e) => Err(e),
        }
    }

    /// An empty key, or one with dots for segments, would make a URL for something else.
    fn check_key(&self, key: &str) -> Result<(), BucketError> {
        let dots = key.split('/').any(|segment| matches!(segment, "." | ".."));
        if key.is_empty() || key.starts_with('/') || dots || key.chars().any(char::is_control) {
            let problem =
                "the key or prefix is empty, absolute, or has a . or .. segment or a control character";
            return Err(error(&self.target, Failure::InvalidInput(problem)));
        }
        Ok(())
    }

    async fn send(&self, method: Method, url: Url, body: Vec<u8>) -> Result<Vec<u8>, BucketError> {
        self.exchange(method, url, body).await.map_err(|failure| error(&self.target, failure))
    }

    async fn exchange(&self, method: Method, url: Url, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let client = self.http.client(url.scheme())?;
        let request = client.request(method, url).body(body);
        let mut response = request.send().await.map_err(|e| self.http.failure(&e))?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.http.failure(&e))? {
            if answer.len() + chunk.len() > BODY_LIMIT {
                return Err(Failure::Other { status: status.as_u16(), code: "AnswerTooLong".to_owned() });
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(answer);
        }
        Err(Failure::from_answer(status.as_u16(), &String::from_utf8_lossy(&answer), &self.target.region))
    }
}

/// The prefix as a directory: no slash before it, one after it; empty for the bucket's root.
fn directory(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        trimmed => format!("{trimmed}/"),
    }
}

fn error(target: &S3Target, failure: Failure) -> BucketError {
    let endpoint = target.endpoint.origin().ascii_serialization();
    BucketError { bucket: target.bucket.clone(), endpoint, failure }
}
