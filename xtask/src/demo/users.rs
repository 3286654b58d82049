//! The MinIO users of one volume, as they come and go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// One generation of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) user: String,
    /// Since the watch began.
    pub(super) seen: Duration,
    /// Since the watch began; none while the user exists.
    pub(super) gone: Option<Duration>,
}

/// Watches for users that are not among those known before.
#[derive(Debug)]
pub(super) struct Watch {
    known: BTreeSet<String>,
    generations: Vec<Generation>,
    began: Instant,
}

/// Something that was noticed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Made(String),
    Gone(String, Duration),
}

impl Watch {
    pub(super) fn new(known: BTreeSet<String>) -> Self {
        Self { known, generations: Vec::new(), began: Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Compares with the users there are now.
    pub(super) fn look(&mut self, now: &BTreeSet<String>) -> Vec<Event> {
        let at = self.began.elapsed();
        let mut events = Vec::new();
        for user in now.difference(&self.known) {
            if !self.generations.iter().any(|one| one.user == *user) {
                self.generations.push(Generation { user: user.clone(), seen: at, gone: None });
                events.push(Event::Made(user.clone()));
            }
        }
        for one in self.generations.iter_mut().filter(|one| one.gone.is_none()) {
            if !now.contains(&one.user) {
                one.gone = Some(at);
                events.push(Event::Gone(one.user.clone(), at.saturating_sub(one.seen)));
            }
        }
        events
    }

    /// All that were seen, in the order they came.
    pub(super) fn seen(&self) -> usize {
        self.generations.len()
    }

    /// Those that exist.
    pub(super) fn alive(&self) -> Vec<&str> {
        self.generations.iter().filter(|one| one.gone.is_none()).map(|one| one.user.as_str()).collect()
    }

    /// Whether only the newest exists.
    pub(super) fn only_newest(&self) -> bool {
        self.generations.split_last().is_some_and(|(newest, older)| {
            newest.gone.is_none() && older.iter().all(|one| one.gone.is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(users: &[&str]) -> BTreeSet<String> {
        users.iter().map(|user| (*user).to_owned()).collect()
    }

    #[test]
    fn generations_come_and_go() {
        let mut watch = Watch::new(set(&["other"]));
        assert!(watch.look(&set(&["other"])).is_empty() && !watch.only_newest());
        assert_eq!(watch.look(&set(&["other", "a"])), [Event::Made("a".into())]);
        watch.look(&set(&["a", "b"]));
        assert!(!watch.only_newest() && watch.alive() == ["a", "b"]);
        assert!(matches!(&watch.look(&set(&["b"]))[..], [Event::Gone(user, _)] if user == "a"));
        assert!(watch.only_newest());
        assert_eq!(watch.seen(), 2);
    }
}
