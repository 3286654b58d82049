//! Which keys the FUSE daemon gets, and until when it may use what it was given. Pure: the clock is passed in.
//!
//! The daemon's AWS SDK fetches anew, before it signs, from five minutes before the `Expiration` it was told.
//! So that moment less five minutes is when it stops using an answer, and a generation is out of use when the
//! last such moment of its hand-outs has passed.

use std::collections::VecDeque;

use csi_proto::keeper::v1::{Generation, GenerationUse, Login};

use crate::secret::Wiped;

/// How long before `Expiration` the daemon fetches again (`ExpiryWindow` of the AWS SDK for Go v1,
/// `aws/defaults/defaults.go`).
pub const EXPIRY_WINDOW_MS: u64 = 5 * 60 * 1000;

/// How long a replaced generation is still reported after it went out of use.
pub const HISTORY_MS: u64 = 10 * 60 * 1000;

/// How many replaced generations are remembered, so that a late repetition does not bring one back.
const REMEMBERED: usize = 64;

/// Why keys were not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// A generation without one of the fields that make it one.
    #[error("generation {id:?} has no {field}")]
    Missing {
        /// The generation.
        id: String,
        /// The empty field.
        field: &'static str,
    },
    /// A hand-out that could never be used.
    #[error("poll_ms is 0: keys could never be used")]
    Poll,
    /// A generation that was current before.
    #[error("generation {id:?} was replaced by {current:?} and does not come back")]
    Replaced {
        /// The old generation.
        id: String,
        /// The current one.
        current: String,
    },
}

/// The current generation's lease is over; the daemon gets nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease of generation {id:?} expired {ago_ms} ms ago and there is no newer one")]
pub struct LeaseExpired {
    /// The generation.
    pub id: String,
    /// Since when, in milliseconds.
    pub ago_ms: u64,
}

/// One answer to the daemon.
#[derive(Debug)]
pub struct HandOut<'a> {
    /// The keys.
    pub generation: &'a Generation,
    /// The moment after which the daemon signs nothing with this answer.
    pub usable_until_ms: u64,
    /// What the daemon is told as `Expiration`.
    pub expiration_ms: u64,
}

/// The keys of one mount.
#[derive(Debug)]
pub struct Keys {
    current: Wiped<Generation>,
    login: Wiped<Login>,
    /// Newest first; at most one entry per generation.
    uses: Vec<GenerationUse>,
    replaced: VecDeque<String>,
    fetches: u64,
    poll_ms: u64,
}

impl Keys {
    /// Starts with `generation`; an answer may be used for `poll_ms`.
    ///
    /// # Errors
    /// An incomplete generation, or a `poll_ms` of 0.
    pub fn new(generation: Wiped<Generation>, login: Wiped<Login>, poll_ms: u64) -> Result<Self, KeysError> {
        complete(&generation)?;
        if poll_ms == 0 {
            return Err(KeysError::Poll);
        }
        Ok(Self {
            current: generation,
            login,
            uses: Vec::new(),
            replaced: VecDeque::new(),
            fetches: 0,
            poll_ms,
        })
    }

    /// Answers the daemon and records until when it may use the answer.
    ///
    /// # Errors
    /// The lease is over; nothing is recorded.
    pub fn hand_out(&mut self, now_ms: u64) -> Result<HandOut<'_>, LeaseExpired> {
        let expires_ms = self.current.expires_at_ms;
        if expires_ms != 0 && expires_ms <= now_ms {
            return Err(LeaseExpired { id: self.current.id.clone(), ago_ms: now_ms - expires_ms });
        }
        let mut usable_until_ms = now_ms.saturating_add(self.poll_ms);
        if expires_ms != 0 {
            usable_until_ms = usable_until_ms.min(expires_ms);
        }
        self.fetches += 1;
        match self.uses.iter_mut().find(|entry| entry.generation_id == self.current.id) {
            Some(entry) => {
                entry.last_handed_out_ms = now_ms;
                // The host's clock may have been set back since the last answer: the promise must not shrink.
                entry.usable_until_ms = entry.usable_until_ms.max(usable_until_ms);
            }
            None => self.uses.insert(
                0,
                GenerationUse {
                    generation_id: self.current.id.clone(),
                    last_handed_out_ms: now_ms,
                    usable_until_ms,
                },
            ),
        }
        Ok(HandOut {
            generation: &self.current,
            usable_until_ms,
            expiration_ms: usable_until_ms.saturating_add(EXPIRY_WINDOW_MS),
        })
    }

    /// From now on hands out `generation`. The current generation once more is taken as its update (a renewed
    /// lease has a later end), so repeating a call changes nothing.
    ///
    /// # Errors
    /// An incomplete generation, or one that was replaced before.
    pub fn set_generation(&mut self, generation: Wiped<Generation>) -> Result<(), KeysError> {
        complete(&generation)?;
        if self.replaced.contains(&generation.id) {
            return Err(KeysError::Replaced { id: generation.id.clone(), current: self.current.id.clone() });
        }
        if self.current.id != generation.id {
            self.replaced.truncate(REMEMBERED - 1);
            self.replaced.push_front(self.current.id.clone());
        }
        self.current = generation;
        Ok(())
    }

    /// Keeps the newest login.
    pub fn set_login(&mut self, login: Wiped<Login>) {
        self.login = login;
    }

    /// The generation that is handed out now.
    #[must_use]
    pub fn current(&self) -> &Generation {
        &self.current
    }

    /// What the next login needs.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// How many times keys were handed out.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.fetches
    }

    /// The generations that were handed out, newest first; replaced ones are forgotten [`HISTORY_MS`] after
    /// they went out of use.
    pub fn uses(&mut self, now_ms: u64) -> &[GenerationUse] {
        let current = &self.current.id;
        self.uses.retain(|entry| {
            entry.generation_id == *current || now_ms < entry.usable_until_ms.saturating_add(HISTORY_MS)
        });
        &self.uses
    }
}

fn complete(generation: &Generation) -> Result<(), KeysError> {
    let fields = [
        ("id", &generation.id),
        ("access_key", &generation.access_key),
        ("secret_key", &generation.secret_key),
    ];
    match fields.into_iter().find(|(_, value)| value.is_empty()) {
        Some((field, _)) => Err(KeysError::Missing { id: generation.id.clone(), field }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
