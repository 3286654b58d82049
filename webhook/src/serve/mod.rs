//! The webhook over HTTP: routes and what a request may cost.

mod body;
mod listener;

pub use listener::{ListenError, Listener};

use crate::instances::Config;
use crate::metrics::Metrics;
use crate::mutate::Output;
use crate::reload::Live;
use crate::review::{self, ReviewError};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use body::{Bodies, BodyError};
use std::time::Instant;

pub use body::BODY_LIMIT;

/// What answers are made of. Clones share it.
#[derive(Clone, Debug)]
pub struct Webhook {
    config: Live<Config>,
    output: Output,
    metrics: Metrics,
    bodies: Bodies,
}

impl Webhook {
    /// A webhook that answers by `config`, with `output` where the path names none.
    #[must_use]
    pub fn new(config: Live<Config>, output: Output, metrics: Metrics) -> Self {
        Self { config, output, metrics, bodies: Bodies::default() }
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
        let (outcome, response) = match self.review(body, output).await {
            Ok(answer) => {
                (answer.outcome, ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response())
            }
            Err(refusal) => ("error", refusal.into_response()),
        };
        self.metrics.reviewed(outcome, output, begun.elapsed());
        response
    }

    /// Waits for the body alone: what follows is work without a pause, so that no more reviews are in hand than there are
    /// threads.
    async fn review(&self, body: Body, output: Output) -> Result<review::Answer, Refusal> {
        let body = self.bodies.read(body).await?;
        review::answer(body.bytes(), &self.config.get(), output).map_err(Refusal::Review)
    }
}

/// Why a request is answered with a status alone.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Review(ReviewError),
}

impl Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Body(BodyError::TooLong) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::Broken(_)) => StatusCode::BAD_REQUEST,
            Self::Body(BodyError::TooSlow | BodyError::NoRoom) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Review(error) if error.is_internal() => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Review(_) => StatusCode::BAD_REQUEST,
        };
        tracing::warn!(status = status.as_u16(), error = %self, "refused a request");
        let mut response = (status, format!("{self}\n")).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // The API server's client asks again by itself, but only if it is told when.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
