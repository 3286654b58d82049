//! Is it readable? Asked from a thread that may be left behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What reading the root of a mount came to.
#[derive(Debug)]
pub(super) enum Read {
    /// It was listed.
    Answered,
    /// It answered with an error.
    Failed(std::io::Error),
    /// No answer in time. The thread that asked ends when the FUSE session does.
    Silent(Duration),
}

/// Lists the first entry of a directory. A FUSE daemon that hangs blocks whoever asks and no signal ends that,
/// so the question is asked by a thread of its own.
pub(super) async fn read(directory: &Path, deadline: Instant) -> Read {
    ask(directory.to_owned(), deadline, |path| {
        let first = std::fs::read_dir(path)?.next();
        first.transpose().map(drop)
    })
    .await
}

/// Runs a question about a path that may never be answered.
pub(super) async fn ask(
    path: PathBuf,
    deadline: Instant,
    question: impl FnOnce(&Path) -> std::io::Result<()> + Send + 'static,
) -> Read {
    let (tell, told) = tokio::sync::oneshot::channel();
    // Not tokio's blocking pool: a stuck thread there would be missing for everybody.
    let thread = std::thread::Builder::new().name("ask-fuse".into()).spawn(move || {
        let _ = tell.send(question(&path));
    });
    if let Err(error) = thread {
        return Read::Failed(error);
    }
    let limit = deadline.saturating_duration_since(Instant::now());
    match tokio::time::timeout(limit, told).await {
        Ok(Ok(Ok(()))) => Read::Answered,
        Ok(Ok(Err(error))) => Read::Failed(error),
        Ok(Err(_)) => Read::Failed(std::io::Error::other("the asking thread died")),
        Err(_) => Read::Silent(limit),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn answers_fails_or_gives_up() {
        let soon = || Instant::now() + Duration::from_millis(200);
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read(directory.path(), soon()).await, Read::Answered));
        assert!(matches!(read(Path::new("/none"), soon()).await, Read::Failed(_)));
        let began = Instant::now();
        let silent = ask("/".into(), soon(), |_| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        })
        .await;
        assert!(matches!(silent, Read::Silent(_)), "{silent:?}");
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
