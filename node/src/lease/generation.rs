//! One login and the lease it made.

use crate::clock::{Millis, millis, now};
use boathouse_bucket::Keys;
use csi_proto::keeper::v1 as wire;
use secrecy::{ExposeSecret as _, SecretString};
use std::time::Duration;
use vault_client::{Leased, Session};
use volume_spec::static_keys::StaticKeys;

/// One Vault login and the one lease it made, or one static key pair.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Unique on this node.
    pub id: String,
    /// Vault's name for the lease; empty for static keys.
    pub lease_id: String,
    /// The token that made the lease; revoking it revokes the lease. None for static keys.
    pub token: Option<SecretString>,
    /// What the FUSE daemon signs with.
    pub keys: Keys,
    /// When it was made.
    pub issued_at: Millis,
    /// When Vault ends it; none for static keys.
    pub expires_at: Option<Millis>,
}

/// A fresh generation id.
pub(super) fn new_id() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}

impl Generation {
    /// The generation that a login and a read made. It ends when the first of token and lease does: a lease
    /// dies with its token, and tokens of an hour under leases of a day are common.
    pub(super) fn of_lease(id: String, issued_at: Millis, session: Session, leased: Leased) -> Self {
        let life = [session.lease_duration, leased.lease_duration]
            .into_iter()
            // Vault says 0 for what never expires.
            .filter(|duration| *duration > Duration::ZERO)
            .min();
        let credentials = leased.credentials;
        Self {
            id,
            lease_id: leased.lease_id,
            token: Some(session.token),
            keys: Keys {
                access_key: credentials.access_key,
                secret_key: credentials.secret_key,
                session_token: credentials.session_token,
            },
            issued_at,
            expires_at: life.map(|life| issued_at.saturating_add(millis(life))),
        }
    }

    /// The one generation static keys ever have.
    pub(super) fn of_static(keys: StaticKeys) -> Self {
        Self {
            id: new_id(),
            lease_id: String::new(),
            token: None,
            keys: Keys {
                access_key: keys.access_key_id.expose_secret().to_owned(),
                secret_key: keys.secret_access_key,
                session_token: keys.session_token,
            },
            issued_at: now(),
            expires_at: None,
        }
    }

    /// Whether Vault has ended it.
    #[must_use]
    pub fn expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= now())
    }
}

impl From<&Generation> for wire::Generation {
    fn from(generation: &Generation) -> Self {
        let plain = |secret: &SecretString| secret.expose_secret().to_owned();
        Self {
            id: generation.id.clone(),
            lease_id: generation.lease_id.clone(),
            token: generation.token.as_ref().map(plain).unwrap_or_default(),
            access_key: generation.keys.access_key.clone(),
            secret_key: plain(&generation.keys.secret_key),
            session_token: generation.keys.session_token.as_ref().map(plain).unwrap_or_default(),
            issued_at_ms: generation.issued_at,
            expires_at_ms: generation.expires_at.unwrap_or(0),
        }
    }
}

impl From<wire::Generation> for Generation {
    fn from(wire: wire::Generation) -> Self {
        let filled = |text: String| (!text.is_empty()).then(|| SecretString::from(text));
        Self {
            id: wire.id,
            lease_id: wire.lease_id,
            token: filled(wire.token),
            keys: Keys {
                access_key: wire.access_key,
                secret_key: SecretString::from(wire.secret_key),
                session_token: filled(wire.session_token),
            },
            issued_at: wire.issued_at_ms,
            expires_at: (wire.expires_at_ms != 0).then_some(wire.expires_at_ms),
        }
    }
}
