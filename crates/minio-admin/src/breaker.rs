//! Leaving a server alone that does not answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;

/// When to stop asking a server that does not answer.
///
/// After `failures` calls in a row that were lost (no connection, no answer in time, or a connection that
/// broke) calls fail at once with [`Error::Resting`] for `pause`. Then one call goes through, and the others
/// go on failing until it has ended: an answer, also a refusal, ends the rest, a loss begins another
/// pause. Clones are one and the same: give them to all clients of a server, so that what one of them finds
/// out is known to all.
#[derive(Debug, Clone)]
pub struct Breaker {
    guard: Arc<Guard>,
}

#[derive(Debug)]
struct Guard {
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Calls go through; so many were lost since the last answer.
    Closed(u32),
    /// None goes through before then.
    Open { until: Instant },
    /// One is under way to see.
    Probing,
}

/// What lets one call through. Dropped unsettled, it counts as no answer if it was the probe's, and as
/// nothing otherwise: the caller may have had its reasons.
pub(crate) struct Pass<'a> {
    guard: &'a Guard,
    is_probe: bool,
}

impl Breaker {
    /// One that lets `failures` calls in a row be lost (0 is taken for 1), and then leaves the server alone for
    /// `pause`.
    #[must_use]
    pub fn new(failures: u32, pause: Duration) -> Self {
        Self { guard: Arc::new(Guard { failures, pause, state: Mutex::new(State::Closed(0)) }) }
    }

    /// Lets a call through, or says how long none will be.
    pub(crate) fn admit(&self, now: Instant) -> Result<Pass<'_>, Duration> {
        let mut state = self.guard.state();
        if let Some(for_another) = self.guard.rest_in(*state, now) {
            return Err(for_another);
        }
        let is_probe = matches!(*state, State::Open { .. });
        if is_probe {
            *state = State::Probing;
        }
        Ok(Pass { guard: &self.guard, is_probe })
    }

    /// How long no call will be let through, if one that came now would not be.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        self.guard.rest_in(*self.guard.state(), now)
    }
}

impl Guard {
    fn rest_in(&self, state: State, now: Instant) -> Option<Duration> {
        match state {
            State::Closed(_) => None,
            State::Open { until } => (until > now).then(|| until - now),
            // It may take as long as a call's limit; one more pause is a guess, and an honest one.
            State::Probing => Some(self.pause),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A state is written whole, so a panic elsewhere leaves none half-made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, now: Instant) -> State {
        State::Open { until: now + self.pause }
    }
}

impl Pass<'_> {
    /// Notes how the call ended.
    pub(crate) fn settle<T>(mut self, outcome: &Result<T, Error>, now: Instant) {
        let was_probe = std::mem::take(&mut self.is_probe);
        let mut state = self.guard.state();
        if !is_lost(outcome) {
            *state = State::Closed(0);
        } else if was_probe {
            *state = self.guard.open(now);
        } else if let State::Closed(lost) = *state {
            let lost = lost + 1;
            *state = if lost >= self.guard.failures { self.guard.open(now) } else { State::Closed(lost) };
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            *self.guard.state() = self.guard.open(Instant::now());
        }
    }
}

const fn is_lost<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Unreachable { .. } | Error::Timeout { .. } | Error::Broken { .. }))
}
