//! The webhook over HTTP: routes and what a request may cost.

mod listener;

pub use listener::{ListenError, Listener};

use crate::instances::Config;
use crate::metrics::Metrics;
use crate::mutate::Output;
use crate::reload::Live;
use crate::review::{self, ReviewError};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Largest body in bytes. The API server accepts objects of up to 3 MiB (`MaxRequestBodyBytes` in
/// k8s.io/apiserver); a review of a CREATE adds who asks, and the options.
pub const BODY_LIMIT: usize = 4 << 20;

/// Reviews looked at at the same time. With [`BODY_LIMIT`] this bounds memory.
const AT_ONCE: usize = 32;

/// From a request's head to its answer: a little more than the API server waits by the chart's settings.
const LIMIT: Duration = Duration::from_secs(10);

/// What answers are made of. Clones share it.
#[derive(Clone, Debug)]
pub struct Webhook {
    config: Live<Config>,
    output: Output,
    metrics: Metrics,
    turns: Arc<Semaphore>,
}

impl Webhook {
    /// A webhook that answers by `config`, with `output` where the path names none.
    #[must_use]
    pub fn new(config: Live<Config>, output: Output, metrics: Metrics) -> Self {
        Self { config, output, metrics, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The routes.
    pub fn router(self) -> Router {
        let default = self.output;
        let path = |output| post(move |State(webhook): State<Self>, body: Body| webhook.answer(body, output));
        Router::new()
            .route("/mutate", path(default))
            // Lower case: in the path of a webhook's Service the API server takes nothing else.
            .route("/mutate/flexvolume", path(Output::FlexVolume))
            .route("/mutate/csi", path(Output::Csi))
            .with_state(self)
    }

    async fn answer(self, body: Body, output: Output) -> Response {
        let begun = Instant::now();
        let (outcome, response) = match tokio::time::timeout(LIMIT, self.review(body, output)).await {
            Ok(Ok(answer)) => {
                (answer.outcome, ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response())
            }
            Ok(Err(refusal)) => ("error", refusal.into_response()),
            Err(_) => ("error", Refusal::TooSlow.into_response()),
        };
        self.metrics.reviewed(outcome, output, begun.elapsed());
        response
    }

    async fn review(&self, body: Body, output: Output) -> Result<review::Answer, Refusal> {
        // Before the body is read. The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let body: Bytes = to_bytes(body, BODY_LIMIT).await.map_err(|_| Refusal::Body)?;
        review::answer(&body, &self.config.get(), output).map_err(Refusal::Review)
    }
}

/// Why a request is answered with a status alone.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is longer than {BODY_LIMIT} bytes, or broke off")]
    Body,
    #[error("not answered within {} s", LIMIT.as_secs())]
    TooSlow,
    #[error(transparent)]
    Review(ReviewError),
}

impl Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Review(error) if error.is_internal() => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Review(_) => StatusCode::BAD_REQUEST,
        };
        tracing::warn!(status = status.as_u16(), error = %self, "refused a request");
        (status, format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests;
