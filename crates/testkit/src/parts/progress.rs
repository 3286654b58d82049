//! What a person who waits for a build wants to see.

use std::time::Duration;

/// Something to show.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The part was in the cache.
    Cached {
        /// The part.
        part: &'a str,
    },
    /// Another process is making this part; this one waits.
    Waiting {
        /// The part.
        part: &'a str,
    },
    /// A step began, or is still going on. Comes about once a second.
    Running {
        /// The part.
        part: &'a str,
        /// What is being done.
        step: &'a str,
        /// Since the part was begun.
        elapsed: Duration,
    },
    /// The part is there.
    Done {
        /// The part.
        part: &'a str,
        /// From begin to end.
        elapsed: Duration,
    },
}

/// Shows events.
pub trait Progress {
    /// Called from the building thread; must not block for long.
    fn show(&mut self, event: &Event<'_>);
}

impl<F: FnMut(&Event<'_>)> Progress for F {
    fn show(&mut self, event: &Event<'_>) {
        self(event);
    }
}
