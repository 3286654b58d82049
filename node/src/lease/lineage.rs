//! The generations of one key, and the keepers they are handed to.

use super::{Generation, LeaseKey};
use crate::keeper::Keeper;
use csi_proto::keeper::v1::Login;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What the next generation logs in with.
#[derive(Debug, Clone)]
pub enum LoginSource {
    /// The newest service-account token a pod of this identity brought; none after a restart with keepers that
    /// held none.
    Workload(Option<SecretString>),
    /// The node's own token file.
    Node,
    /// Nothing: static keys have no successor.
    Static,
}

impl LoginSource {
    /// As a keeper stores it.
    #[must_use]
    pub fn to_wire(&self) -> Login {
        match self {
            Self::Workload(Some(jwt)) => Login { jwt: jwt.expose_secret().to_owned() },
            Self::Workload(None) | Self::Node | Self::Static => Login::default(),
        }
    }
}

/// The sequence of generations for one [`LeaseKey`].
#[derive(Debug)]
pub struct Lineage {
    /// What it is for.
    pub key: LeaseKey,
    /// Rings when there is a reason to rotate, or to stop, before the time.
    pub(super) nudge: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    login: LoginSource,
    current: Arc<Generation>,
    retiring: Vec<Arc<Generation>>,
    keepers: BTreeMap<String, Keeper>,
    reserved: usize,
    closed: bool,
    failure: Option<String>,
}

/// A keeper that a generation must reach.
pub(super) type Attached = (String, Keeper);

impl Lineage {
    /// A lineage that begins with a generation. `reserved` counts the publishes under way that already use it.
    pub(super) fn new(key: LeaseKey, login: LoginSource, first: Arc<Generation>) -> Arc<Self> {
        Arc::new(Self {
            key,
            nudge: Notify::new(),
            state: Mutex::new(State {
                login,
                current: first,
                retiring: Vec::new(),
                keepers: BTreeMap::new(),
                reserved: 0,
                closed: false,
                failure: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation handed out now.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.state().current.clone()
    }

    /// What the next generation logs in with.
    #[must_use]
    pub fn login(&self) -> LoginSource {
        self.state().login.clone()
    }

    /// Why the last attempt at a next generation failed; none while all is well.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    pub(super) fn set_failure(&self, failure: Option<String>) {
        self.state().failure = failure;
    }

    /// Announces a publish that will use the current generation, which is then not retired under it. None when
    /// the lineage has ended.
    pub(super) fn reserve(&self) -> Option<Arc<Generation>> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        state.reserved += 1;
        Some(state.current.clone())
    }

    pub(super) fn unreserve(&self) {
        let mut state = self.state();
        state.reserved = state.reserved.saturating_sub(1);
    }

    /// Whether a publish is between its reservation and its keeper.
    pub(super) fn reserved(&self) -> bool {
        self.state().reserved > 0
    }

    /// Adds a keeper. Answers the current generation, which the caller hands to it if it has another.
    pub(super) fn attach(&self, mount: &str, keeper: Keeper) -> Arc<Generation> {
        let mut state = self.state();
        state.keepers.insert(mount.to_owned(), keeper);
        state.current.clone()
    }

    pub(super) fn detach(&self, mount: &str) {
        self.state().keepers.remove(mount);
    }

    pub(super) fn keepers(&self) -> Vec<Attached> {
        self.state().keepers.iter().map(|(mount, keeper)| (mount.clone(), keeper.clone())).collect()
    }

    /// Takes a service-account token if it lives longer than the one known, or if that one no longer logs in: it
    /// may belong to a pod that is gone, and die with it. Answers whether it was taken.
    pub(super) fn offer(&self, jwt: &SecretString) -> bool {
        let mut state = self.state();
        let failing = state.failure.is_some();
        let newer = match &state.login {
            LoginSource::Workload(Some(known)) if failing => jwt.expose_secret() != known.expose_secret(),
            LoginSource::Workload(Some(known)) => lives_until(jwt) > lives_until(known),
            LoginSource::Workload(None) => true,
            LoginSource::Node | LoginSource::Static => false,
        };
        if newer {
            state.login = LoginSource::Workload(Some(jwt.clone()));
        }
        newer
    }

    /// Takes a token that has just logged in.
    pub(super) fn replace_login(&self, jwt: &SecretString) {
        self.state().login = LoginSource::Workload(Some(jwt.clone()));
    }

    /// Makes a generation the current one; the one before it retires and is answered. `Err` gives the new one
    /// back when the lineage has ended meanwhile.
    pub(super) fn succeed(&self, next: Arc<Generation>) -> Result<Arc<Generation>, Arc<Generation>> {
        let mut state = self.state();
        if state.closed {
            return Err(next);
        }
        state.failure = None;
        let old = std::mem::replace(&mut state.current, next);
        state.retiring.push(old.clone());
        Ok(old)
    }

    /// Adds a generation that an earlier run of the node plugin left retiring.
    pub(super) fn also_retiring(&self, old: Arc<Generation>) {
        self.state().retiring.push(old);
    }

    /// Takes a generation off the list of retiring ones. False when it is not on it any more, because the
    /// lineage has ended and somebody else revokes it.
    pub(super) fn retired(&self, old: &Generation) -> bool {
        let mut state = self.state();
        let before = state.retiring.len();
        state.retiring.retain(|one| one.id != old.id);
        state.retiring.len() < before
    }

    pub(super) fn is_retiring(&self, old: &Generation) -> bool {
        self.state().retiring.iter().any(|one| one.id == old.id)
    }

    /// Ends the lineage if nobody uses it; answers what is then to be revoked.
    pub(super) fn close_if_idle(&self) -> Option<Vec<Arc<Generation>>> {
        let mut state = self.state();
        if state.closed || state.reserved > 0 || !state.keepers.is_empty() {
            return None;
        }
        state.closed = true;
        let mut all = std::mem::take(&mut state.retiring);
        all.push(state.current.clone());
        drop(state);
        self.nudge.notify_one();
        Some(all)
    }

    pub(super) fn closed(&self) -> bool {
        self.state().closed
    }
}

/// When a token ends, by its own unverified word: only used to prefer one of two tokens of the same identity.
fn lives_until(jwt: &SecretString) -> Option<i64> {
    volume_spec::tokens::claims_unverified(jwt).and_then(|claims| claims.exp)
}
