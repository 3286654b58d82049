//! Where errors leave the process: turned into a [`Status`], logged once.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

/// Longest status message in bytes: it travels in an HTTP/2 header and ends up in a pod's event, which
/// Kubernetes cuts at 1 KiB anyway.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Turns an error into the answer of operation `op` and logs it, with its volume, once.
///
/// Callers log nothing themselves: kubelet and the sidecars would otherwise hold the only copy, or there would
/// be two. `volume` may be empty where an operation has none. What the caller did wrong is a warning, what we
/// or our backends did wrong an error.
pub fn report(op: &str, volume: &str, err: &(dyn Error + 'static), code: Code) -> Status {
    let message = chain(err);
    match code {
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented => tracing::warn!(operation = op, volume, ?code, error = message, "refused"),
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => tracing::error!(operation = op, volume, ?code, error = message, "failed"),
    }
    Status::new(code, format!("{op}: {message}"))
}

/// An error and everything that caused it, outermost first, separated by `: `.
///
/// A cause whose text the message already ends with is left out: many errors print their source themselves.
#[must_use]
pub fn chain(err: &(dyn Error + 'static)) -> String {
    let mut message = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let text = err.to_string();
        if !text.is_empty() && !message.ends_with(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = err.source();
    }
    truncate(message)
}

fn truncate(mut message: String) -> String {
    if message.len() > MAX_MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES - '…'.len_utf8()));
        message.push('…');
    }
    message
}

/// The end of a `main`: logs why the program failed, as one line, and gives its exit code.
pub fn finish<E: Into<Box<dyn Error + Send + Sync>>>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!(error = chain(err.into().as_ref()), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Work that goes on when its caller has given up.
///
/// tonic drops a handler's future when the client's deadline passes, at whatever await it is; a mount would be
/// left half made. So a handler only waits for the work, which runs as a task of its own. Clones share the work.
#[derive(Clone, Debug, Default)]
pub struct Workers(TaskTracker);

impl Workers {
    /// No work yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work` to its end, even if the returned future is dropped, and gives its answer.
    ///
    /// # Errors
    /// Those of `work`; INTERNAL when it panicked, UNAVAILABLE when the runtime stops first.
    pub async fn run<T, F>(&self, op: &'static str, volume: &str, work: F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        let task = self.0.spawn(work);
        match task.await {
            Ok(answer) => answer,
            Err(err) => Err(match err.try_into_panic() {
                Ok(payload) => {
                    let panic = crate::panics::message(payload.as_ref());
                    tracing::error!(operation = op, volume, panic, "handler panicked");
                    Status::internal(format!("{op}: internal error (panic): {panic}"))
                }
                Err(_) => Status::unavailable(format!("{op}: the server is stopping")),
            }),
        }
    }

    /// Waits until nothing runs any more, at most `limit`. Answers whether that was reached; if not, says in the
    /// log how many are left.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.0.close();
        let done = tokio::time::timeout(limit, self.0.wait()).await.is_ok();
        if !done {
            tracing::warn!(left = self.0.len(), ?limit, "stopping with operations under way");
        }
        done
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot open volume v1")]
        Quiet(#[source] std::io::Error),
        #[error("cannot open volume v1: {0}")]
        Loud(#[source] std::io::Error),
        #[error(transparent)]
        Through(std::io::Error),
    }

    #[test]
    fn a_status_says_everything_once() {
        let io = || std::io::Error::other("disk on fire");
        for err in [Outer::Quiet(io()), Outer::Loud(io())] {
            let status = report("NodePublishVolume", "v1", &err, Code::Unavailable);
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.message(), "NodePublishVolume: cannot open volume v1: disk on fire");
        }
        assert_eq!(chain(&Outer::Through(io())), "disk on fire");
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let long = std::io::Error::other("é".repeat(MAX_MESSAGE_BYTES));
        let message = chain(&long);
        assert!(message.len() <= MAX_MESSAGE_BYTES && message.ends_with("é…"), "{} bytes", message.len());
    }

    #[tokio::test]
    async fn work_outlives_its_caller() {
        let (workers, done) = (Workers::new(), Arc::new(AtomicBool::new(false)));
        let flag = done.clone();
        let call = workers.run("Op", "v1", async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            flag.store(true, Ordering::SeqCst);
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
        assert!(!done.load(Ordering::SeqCst));
        assert!(workers.drain(Duration::from_secs(5)).await);
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn drain_is_bounded() {
        let workers = Workers::new();
        let call = workers.run("Op", "v1", std::future::pending::<Result<(), Status>>());
        assert!(tokio::time::timeout(Duration::from_millis(5), call).await.is_err());
        assert!(!workers.drain(Duration::from_millis(20)).await);
    }

    #[tokio::test]
    async fn a_panic_is_internal_and_says_what() {
        let work = async { panic!("bad luck") };
        let status = Workers::new().run::<(), _>("Op", "v1", work).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(status.message().contains("bad luck"), "{status}");
    }
}
