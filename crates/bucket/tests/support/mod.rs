//! `FakeS3`: answers what a test tells it to, one answer per request. It exists for faults only, which a real
//! server does not show on demand; what MinIO answers when all is well is tested against a real one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use boathouse_bucket::{BucketClient, Http, HttpConfig, Keys, S3Target};
use tokio::net::TcpListener;

/// An answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// A status with a body.
    Answer(u16, String),
    /// Nothing, ever.
    Hang,
    /// A body of that many bytes.
    Huge(usize),
}

impl Fault {
    /// The error document of S3 and MinIO.
    pub(crate) fn code(status: u16, code: &str, message: &str, more: &str) -> Self {
        Self::Answer(
            status,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
                 {more}<Resource>/b/</Resource></Error>"
            ),
        )
    }

    /// A listing of that many keys, as MinIO writes it.
    pub(crate) fn listing(keys: &[&str]) -> Self {
        let contents: String = keys
            .iter()
            .map(|key| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                     <ETag>&#34;e&#34;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>"
                )
            })
            .collect();
        Self::Answer(
            200,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
                 xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix><KeyCount>{}\
                 </KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated>{contents}\
                 <EncodingType>url</EncodingType></ListBucketResult>",
                keys.len()
            ),
        )
    }
}

/// A server on a free loopback port, gone with the test's runtime.
pub(crate) struct FakeS3 {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl FakeS3 {
    /// Gives the answers in turn; the last one for ever.
    pub(crate) async fn new(answers: impl IntoIterator<Item = Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let answers: Arc<Mutex<VecDeque<Fault>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
        let log = Arc::clone(&seen);
        let router = Router::new().fallback(move |request: Request| async move {
            log.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            let next = {
                let mut answers = answers.lock().unwrap();
                if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
            };
            answer(next.unwrap()).await
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, seen }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn client(&self) -> BucketClient {
        client(&format!("http://{}", self.address))
    }
}

/// A client for bucket `b` with a 400 ms bound per call.
pub(crate) fn client(endpoint: &str) -> BucketClient {
    let http =
        Http::new(HttpConfig { timeout: Duration::from_millis(400), ..HttpConfig::default() }).unwrap();
    BucketClient::new(&http, target(endpoint), &keys()).unwrap()
}

pub(crate) fn target(endpoint: &str) -> S3Target {
    S3Target {
        endpoint: endpoint.parse().unwrap(),
        region: "us-east-1".into(),
        bucket: "b".into(),
        path_style: true,
    }
}

pub(crate) fn keys() -> Keys {
    Keys {
        access_key: "user-1".into(),
        secret_key: "SENTINEL-KEY".into(),
        session_token: Some("SENTINEL-SESSION".into()),
    }
}

async fn answer(fault: Fault) -> Response {
    match fault {
        Fault::Answer(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Fault::Hang => std::future::pending().await,
        Fault::Huge(length) => vec![b'x'; length].into_response(),
    }
}
