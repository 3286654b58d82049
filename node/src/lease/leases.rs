//! Leases as publishes see them: acquired, attached to a mount's keeper, released.

use super::journal::{Journal, Pending};
use super::lineage::{Lineage, LoginSource};
use super::vault::{IssueError, OpenSession, VaultAccess};
use super::{Generation, LeaseKey, Revoker, RotationPolicy, rotate};
use crate::clock::now;
use crate::identity::{Identity, Requester, StatedIdentity};
use crate::keeper::Keeper;
use crate::locks::{Held, KeyedLocks};
use crate::metrics::Metrics;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Longest time for which a token that Vault has accepted proves its owner's identity again without another
/// login. The same pod's second volume brings the same token moments later.
const KNOWN_FOR: Duration = Duration::from_secs(300);

/// A generation that a keeper hands out now is in use without an end.
pub const HELD: u64 = u64::MAX;

/// Why a lease could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Vault, its token or its journal.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The token belongs to somebody else than kubelet says asks.
    #[error(
        "the service-account token is for {token}, but the pod runs as {pod}: \
         it does not come from kubelet; remove csi.storage.k8s.io/serviceAccount.tokens from volumeAttributes and \
         from the volume's secret"
    )]
    WrongToken {
        /// What the token says.
        token: String,
        /// What kubelet says.
        pod: String,
    },
    /// Another request of the same identity is getting the keys and did not end in time.
    #[error("{0}: another request is getting these keys, and did not end in time")]
    Waited(String),
}

/// All lineages of this node. Clones share them.
#[derive(Debug, Clone)]
pub struct Leases {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    vault: VaultAccess,
    pub(super) policy: RotationPolicy,
    journal: Journal,
    pub(super) revoker: Revoker,
    pub(super) metrics: Metrics,
    lineages: Mutex<HashMap<LeaseKey, Arc<Lineage>>>,
    making: KeyedLocks<LeaseKey>,
    /// Tokens Vault has accepted, by digest, and until when that counts.
    known: Mutex<HashMap<[u8; 32], (Identity, u64)>>,
}

/// Keys for one publish. Until it is attached or dropped, its generation is not revoked.
#[derive(Debug)]
pub struct Lease {
    /// The lineage it belongs to.
    pub lineage: Arc<Lineage>,
    /// The keys.
    pub generation: Arc<Generation>,
    shared: Arc<Shared>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.lineage.unreserve();
        self.shared.settle(&self.lineage);
    }
}

impl Leases {
    /// No leases yet.
    #[must_use]
    pub fn new(
        vault: VaultAccess,
        policy: RotationPolicy,
        journal: Journal,
        revoker: Revoker,
        metrics: Metrics,
    ) -> Self {
        let shared = Shared {
            vault,
            policy,
            journal,
            revoker,
            metrics,
            lineages: Mutex::default(),
            making: KeyedLocks::default(),
            known: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keys for a requester: those of a running lineage once the requester has proven its identity, or new ones.
    ///
    /// # Errors
    /// See [`LeaseError`]. Whatever was made by then is being revoked.
    pub async fn acquire(
        &self,
        who: &Requester,
        vault_path: &str,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<Lease, LeaseError> {
        let key = |identity| LeaseKey { identity, vault_path: vault_path.to_owned(), ttl };
        match who {
            Requester::Static(keys) => {
                let generation = Generation::of_static(keys.clone());
                let identity = Identity::of_keys(&generation.keys.access_key, &generation.keys.secret_key);
                let key = LeaseKey { identity, vault_path: String::new(), ttl: None };
                let _making = self.making(&key, deadline).await?;
                match self.running(&key) {
                    Some(lease) => Ok(lease),
                    None => Ok(self.begin(key, LoginSource::Static, Arc::new(generation))),
                }
            }
            Requester::Node { namespace } => {
                let key = key(Identity::Node { namespace: namespace.clone() });
                let _making = self.making(&key, deadline).await?;
                if let Some(lease) = self.running(&key) {
                    return Ok(lease);
                }
                let vault = &self.shared.vault;
                let (jwt, auth) = vault.node_token().await?;
                let open = vault.log_in(auth, &jwt, &self.shared.journal, &self.shared.revoker).await?;
                self.issue(open, key, LoginSource::Node).await
            }
            Requester::Workload { jwt, stated } => {
                let vault = &self.shared.vault;
                check_stated(jwt, stated.as_ref())?;
                if let Some(identity) = self.known(jwt)
                    && let Some(lease) = self.running(&key(identity))
                {
                    self.refresh(&lease.lineage, jwt).await;
                    return Ok(lease);
                }
                let open = vault.log_in(&vault.auth, jwt, &self.shared.journal, &self.shared.revoker).await?;
                let identity = Identity::of_login(&open.session.entity_id, jwt);
                self.remember(jwt, identity.clone());
                let key = key(identity);
                let making = self.making(&key, deadline).await;
                let Ok(_making) = making else {
                    self.shared.revoker.revoke(open.into_pending());
                    return Err(LeaseError::Waited(key.vault_path));
                };
                if let Some(lease) = self.running(&key) {
                    self.shared.revoker.revoke(open.into_pending());
                    self.refresh(&lease.lineage, jwt).await;
                    return Ok(lease);
                }
                self.issue(open, key, LoginSource::Workload(Some(jwt.clone()))).await
            }
        }
    }

    /// Hands a lease over to the keeper of a mount: from now on the mount holds the lineage.
    pub async fn attach(&self, lease: Lease, mount: &str, keeper: Keeper) {
        let current = lease.lineage.attach(mount, keeper.clone());
        self.shared.metrics.expires(mount, current.expires_at);
        if current.id != lease.generation.id {
            rotate::hand_out(mount, &keeper, &current).await;
        }
    }

    /// A mount is gone. When it was the last of its lineage, everything is revoked; the handles end when that is
    /// done.
    pub fn detach(&self, lineage: &Arc<Lineage>, mount: &str) -> Vec<JoinHandle<()>> {
        lineage.detach(mount);
        self.shared.metrics.expires(mount, None);
        self.shared.settle(lineage)
    }

    /// A republish brought a token of a pod that already uses a lineage: keep it for the next login if it is
    /// the newer one, here and with the keepers.
    pub async fn refresh(&self, lineage: &Arc<Lineage>, jwt: &SecretString) {
        // Only a token of the same subject may replace the one that logs in. Vault decides at the next login
        // whether it is genuine; a wrong one would only be denied.
        let same = match &lineage.key.identity {
            Identity::Workload { subject, .. } => volume_spec::tokens::claims_unverified(jwt)
                .is_some_and(|claims| claims.sub.as_deref() == Some(subject)),
            Identity::Node { .. } | Identity::Static { .. } => false,
        };
        if !same || !lineage.offer(jwt) {
            return;
        }
        let login = lineage.login().to_wire();
        for (mount, keeper) in lineage.keepers() {
            if let Err(error) = keeper.set_login(login.clone()).await {
                tracing::debug!(mount, %error, "hand the newer service-account token to a keeper");
            }
        }
        if lineage.failure().is_some() {
            lineage.nudge.notify_one();
        }
    }

    /// Takes over the keepers that an earlier run left: `found` is what each of them holds now. The newest
    /// generation among them becomes the current one of all.
    pub fn adopt(&self, key: LeaseKey, login: LoginSource, found: Vec<Adopted>) -> Option<Arc<Lineage>> {
        let newest = found.iter().max_by_key(|one| one.current.issued_at)?.current.clone();
        let lineage = Lineage::new(key.clone(), login, Arc::new(newest.clone()));
        for one in &found {
            lineage.attach(&one.mount, one.keeper.clone());
            self.shared.metrics.expires(&one.mount, newest.expires_at);
        }
        self.lineages().insert(key, lineage.clone());
        let behind: Vec<Adopted> = found.into_iter().filter(|one| one.current.id != newest.id).collect();
        let mut old: HashMap<String, Arc<Generation>> = HashMap::new();
        for one in &behind {
            old.entry(one.current.id.clone()).or_insert_with(|| Arc::new(one.current.clone()));
        }
        let current = lineage.current();
        tokio::spawn(async move {
            for one in behind {
                rotate::hand_out(&one.mount, &one.keeper, &current).await;
            }
        });
        for generation in old.into_values() {
            lineage.also_retiring(generation.clone());
            tokio::spawn(rotate::retire(self.shared.clone(), lineage.clone(), generation));
        }
        self.shared.start_rotation(&lineage);
        Some(lineage)
    }

    /// Revokes what an earlier run noted and no keeper hands out any more. `held` says of each generation that
    /// keepers know until when it is in use; [`HELD`] for the ones they hand out now.
    pub fn revoke_orphans(&self, held: &HashMap<String, u64>) -> usize {
        let free = |pending: &Pending| held.get(&pending.generation).copied().unwrap_or(0);
        let orphans: Vec<Pending> =
            self.shared.journal.pending().into_iter().filter(|pending| free(pending) != HELD).collect();
        let count = orphans.len();
        for orphan in orphans {
            // What no keeper knows is in nobody's hands; the rest drains from when it was last in use.
            let wait = match free(&orphan) {
                0 => Duration::ZERO,
                free => {
                    crate::clock::until(free.saturating_add(crate::clock::millis(self.shared.policy.drain)))
                }
            };
            let revoker = self.shared.revoker.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                revoker.revoke(orphan);
            });
        }
        count
    }

    /// Revokes a generation of which only the id is known, by its note.
    pub fn revoke_noted(&self, generation: &str) -> Option<JoinHandle<()>> {
        let noted =
            self.shared.journal.pending().into_iter().find(|pending| pending.generation == generation)?;
        Some(self.shared.revoker.revoke(noted))
    }

    async fn making(&self, key: &LeaseKey, deadline: Instant) -> Result<Held, LeaseError> {
        let held = self.shared.making.lock_until(key, deadline).await;
        held.ok_or_else(|| LeaseError::Waited(key.vault_path.clone()))
    }

    fn lineages(&self) -> std::sync::MutexGuard<'_, HashMap<LeaseKey, Arc<Lineage>>> {
        self.shared.lineages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lineage that runs and whose keys are alive, reserved.
    fn running(&self, key: &LeaseKey) -> Option<Lease> {
        let lineage = self.lineages().get(key)?.clone();
        if lineage.current().expired() {
            return None;
        }
        let generation = lineage.reserve()?;
        Some(Lease { lineage, generation, shared: self.shared.clone() })
    }

    async fn issue(&self, open: OpenSession, key: LeaseKey, login: LoginSource) -> Result<Lease, LeaseError> {
        let generation = Arc::new(self.shared.vault.read_keys(open, &key, &self.shared.revoker).await?);
        let expired = self.lineages().get(&key).cloned();
        // Reserved, it cannot end meanwhile.
        if let Some(lineage) = expired
            && let Some(old) = lineage.reserve()
        {
            let mut lease = Lease { lineage, generation: old, shared: self.shared.clone() };
            // Its mounts outlived their keys while Vault was away: they get the new ones as well.
            if let LoginSource::Workload(Some(jwt)) = &login {
                // It has just logged in; the one known before may belong to a pod that is gone.
                lease.lineage.replace_login(jwt);
            }
            return Ok(match rotate::install(&self.shared, &lease.lineage, generation).await {
                Ok(()) => {
                    lease.generation = lease.lineage.current();
                    lease
                }
                Err(unused) => self.begin(key, login, unused),
            });
        }
        Ok(self.begin(key, login, generation))
    }

    fn begin(&self, key: LeaseKey, login: LoginSource, first: Arc<Generation>) -> Lease {
        let lineage = Lineage::new(key.clone(), login, first);
        let generation = lineage.current();
        let _ = lineage.reserve();
        self.lineages().insert(key, lineage.clone());
        self.shared.start_rotation(&lineage);
        Lease { lineage, generation, shared: self.shared.clone() }
    }

    fn known(&self, jwt: &SecretString) -> Option<Identity> {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&crate::proof::of(jwt))
            .filter(|(_, until)| *until > now())
            .map(|(identity, _)| identity.clone())
    }

    fn remember(&self, jwt: &SecretString, identity: Identity) {
        let token_end = volume_spec::tokens::claims_unverified(jwt)
            .and_then(|claims| claims.exp)
            .and_then(|exp| u64::try_from(exp).ok())
            .map_or(0, |exp| exp.saturating_mul(1000));
        let until = token_end.min(now() + crate::clock::millis(KNOWN_FOR));
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, until)| *until > now());
        known.insert(crate::proof::of(jwt), (identity, until));
    }
}

/// What a keeper holds when it is found again.
#[derive(Debug)]
pub struct Adopted {
    /// The mount it keeps.
    pub mount: String,
    /// The keeper.
    pub keeper: Keeper,
    /// The generation it hands out.
    pub current: Generation,
}

impl Shared {
    /// Ends a lineage nobody uses and revokes its generations.
    pub(super) fn settle(&self, lineage: &Arc<Lineage>) -> Vec<JoinHandle<()>> {
        let Some(generations) = lineage.close_if_idle() else { return Vec::new() };
        {
            let mut lineages = self.lineages.lock().unwrap_or_else(PoisonError::into_inner);
            if lineages.get(&lineage.key).is_some_and(|other| Arc::ptr_eq(other, lineage)) {
                lineages.remove(&lineage.key);
            }
        }
        generations.iter().filter_map(|generation| self.revoke(generation)).collect()
    }

    /// Revokes a generation, if there is anything to revoke.
    pub(super) fn revoke(&self, generation: &Generation) -> Option<JoinHandle<()>> {
        let token = generation.token.clone()?;
        let pending = Pending { generation: generation.id.clone(), token, expires_at: generation.expires_at };
        Some(self.revoker.revoke(pending))
    }

    fn start_rotation(self: &Arc<Self>, lineage: &Arc<Lineage>) {
        if lineage.current().expires_at.is_some() {
            tokio::spawn(rotate::run(self.clone(), lineage.clone()));
        }
    }

    /// A next generation for a lineage: a new login and a new read.
    pub(super) async fn next(&self, lineage: &Lineage) -> Result<Generation, IssueError> {
        let vault = &self.vault;
        let (jwt, auth) = match lineage.login() {
            LoginSource::Workload(Some(jwt)) => (jwt, &vault.auth),
            LoginSource::Node => vault.node_token().await?,
            LoginSource::Workload(None) | LoginSource::Static => return Err(IssueError::NoToken),
        };
        let open = vault.log_in(auth, &jwt, &self.journal, &self.revoker).await?;
        vault.read_keys(open, &lineage.key, &self.revoker).await
    }
}

/// Refuses a token of somebody else before it is used. What the token says is not proven yet, but a token that
/// lies about its owner is refused by Vault right after.
fn check_stated(jwt: &SecretString, stated: Option<&StatedIdentity>) -> Result<(), LeaseError> {
    let Some(stated) = stated else { return Ok(()) };
    let claims = volume_spec::tokens::claims_unverified(jwt);
    let subject = claims.and_then(|claims| claims.sub).unwrap_or_default();
    let pod = format!("system:serviceaccount:{}:{}", stated.namespace, stated.service_account);
    if subject == pod { Ok(()) } else { Err(LeaseError::WrongToken { token: subject, pod }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn jwt(subject: &str) -> SecretString {
        // {"sub":"…"} between a header and a signature nobody checks here.
        let encode = |text: &str| {
            use std::fmt::Write as _;
            let mut out = String::new();
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            for chunk in text.as_bytes().chunks(3) {
                let mut word = [0_u8; 4];
                word[1..=chunk.len()].copy_from_slice(chunk);
                let bits = u32::from_be_bytes(word);
                for sextet in 0..=chunk.len() {
                    let index = usize::try_from((bits >> (18 - 6 * sextet)) & 63).unwrap();
                    write!(out, "{}", char::from(alphabet[index])).unwrap();
                }
            }
            out
        };
        format!("{}.{}.x", encode(r#"{"alg":"ES256"}"#), encode(&format!(r#"{{"sub":"{subject}"}}"#))).into()
    }

    #[test]
    fn a_token_of_another_account_is_refused_by_name() {
        let stated = StatedIdentity { namespace: "alice".into(), service_account: "default".into() };
        check_stated(&jwt("system:serviceaccount:alice:default"), Some(&stated)).unwrap();
        check_stated(&jwt("system:serviceaccount:bob:default"), None).unwrap();
        let error = check_stated(&jwt("system:serviceaccount:bob:default"), Some(&stated)).unwrap_err();
        assert!(error.to_string().contains("bob") && error.to_string().contains("alice"), "{error}");
        check_stated(&"garbage".into(), Some(&stated)).unwrap_err();
    }
}
