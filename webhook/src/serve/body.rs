//! Bodies of requests: how long, how slow, and how many bytes of all of them are held.
//!
//! A pod is as large as whoever makes it wants, and anything in the cluster can connect. A body waits for room before it is
//! read, and then has a short time, so that one that does not come gives its room back soon. Large bodies are rare and have
//! room of their own, and never hold up the others. Whoever can send very many at once still makes others wait: that is
//! for a NetworkPolicy.

use axum::body::{Body, HttpBody as _};
use boathouse_service::memory;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

/// Largest body in bytes. The API server accepts objects of up to 3 MiB (`MaxRequestBodyBytes` in
/// k8s.io/apiserver); a review of a CREATE adds who asks, and the options.
pub const BODY_LIMIT: usize = 4 << 20;

/// A longer body is a large one; a review of a common pod has 10 to 20 KiB.
const SMALL: u64 = 256 << 10;
/// Bytes of all small bodies together. The memory limit of the chart stands on this and [`LARGE`]: `tests/server/limits.rs`.
const SMALL_TOTAL: usize = 8 << 20;
/// Large bodies at once.
const LARGE: usize = 2;

/// How long a body may wait for room. Together with [`READ`] less than the API server waits for an answer by the chart's
/// settings, 5 s.
const ROOM: Duration = Duration::from_secs(2);
/// From the first byte of a body to the last. The API server sends it at once.
const READ: Duration = Duration::from_secs(2);

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is longer than {BODY_LIMIT} bytes")]
    TooLong,
    #[error("the body broke off: {0}")]
    Broken(axum::Error),
    #[error("the body was not there within {} s", READ.as_secs())]
    TooSlow,
    #[error("too many other bodies for {} s; ask again", ROOM.as_secs())]
    NoRoom,
}

/// Room for all bodies that are being read or reviewed. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { small: Arc::new(Semaphore::new(SMALL_TOTAL)), large: Arc::new(Semaphore::new(LARGE)) }
    }
}

/// A whole body and the room it takes.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Held {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.len() as u64 > SMALL {
            drop(bytes);
            memory::give_back();
        }
    }
}

impl Bodies {
    /// Reads a body, once there is room.
    pub(super) async fn read(&self, body: Body) -> Result<Held, BodyError> {
        // The API server says how long it is.
        let announced = body.size_hint().exact();
        let room = match announced {
            Some(length) if length > BODY_LIMIT as u64 => return Err(BodyError::TooLong),
            Some(length) if length <= SMALL => {
                self.small.clone().acquire_many_owned(u32::try_from(length).unwrap_or(u32::MAX))
            }
            Some(_) | None => self.large.clone().acquire_many_owned(1),
        };
        // The semaphores are never closed.
        let Ok(Ok(room)) = timeout(ROOM, room).await else { return Err(BodyError::NoRoom) };
        let bytes = timeout(READ, collect(body)).await.unwrap_or(Err(BodyError::TooSlow))?;
        Ok(Held { bytes, _room: room })
    }
}

async fn collect(body: Body) -> Result<Vec<u8>, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or_default();
    let mut bytes = Vec::with_capacity(announced.min(BODY_LIMIT));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(BodyError::Broken)?;
        if bytes.len() + chunk.len() > BODY_LIMIT {
            return Err(BodyError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
