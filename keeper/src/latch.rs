//! Something that happens once and that many can wait for, together with a peer's hang-up.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A pipe whose write end is closed when the moment comes: its read end then reports a hang-up to everyone,
/// for ever, and can be polled beside sockets.
#[derive(Debug)]
pub struct Latch {
    reader: PipeReader,
    writer: Mutex<Option<PipeWriter>>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The latch was tripped.
    Tripped,
    /// The peer hung up first.
    PeerGone,
    /// Neither, in the time given.
    TimedOut,
}

impl Latch {
    /// A latch that has not been tripped.
    ///
    /// # Errors
    /// The pipe cannot be made.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader, writer: Mutex::new(Some(writer)) })
    }

    /// The moment has come; again is no different from once.
    pub fn trip(&self) {
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Waits at most `limit` (`None`: for ever); whether the latch was tripped.
    pub fn wait(&self, limit: Option<Duration>) -> bool {
        self.wait_for(None, limit) == Woken::Tripped
    }

    /// Waits for ever, or until `peer` hangs up.
    pub fn wait_beside(&self, peer: BorrowedFd<'_>) -> Woken {
        self.wait_for(Some(peer), None)
    }

    fn wait_for(&self, peer: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> Woken {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let mut polled = vec![PollFd::new(self.reader.as_fd(), PollFlags::empty())];
            // A hang-up is reported without being asked for.
            polled.extend(peer.map(|peer| PollFd::new(peer, PollFlags::empty())));
            match poll(&mut polled, until(deadline)) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Woken::TimedOut;
                }
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if polled[0].any().unwrap_or(true) => return Woken::Tripped,
                Ok(_) => return Woken::PeerGone,
                // ENOMEM is all that is left for valid arguments: try again, later.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// The time left until `deadline`, rounded up, as poll(2) takes it; no deadline waits for ever.
#[must_use]
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now());
    let milliseconds = left.as_millis().saturating_add(u128::from(left.subsec_nanos() % 1_000_000 != 0));
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_wait_ends_by_the_latch_the_peer_or_the_clock() {
        let latch = Latch::new().unwrap();
        assert!(!latch.wait(Some(Duration::from_millis(5))));
        let (here, there) = UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| latch.wait_beside(here.as_fd()));
            drop(there);
            assert_eq!(waiting.join().unwrap(), Woken::PeerGone);
            let waiting = scope.spawn(|| latch.wait(None));
            latch.trip();
            assert!(waiting.join().unwrap());
        });
        latch.trip();
        assert!(latch.wait(Some(Duration::ZERO)), "stays tripped");
        assert_eq!(latch.wait_beside(here.as_fd()), Woken::Tripped, "the latch wins over the peer");
    }
}
