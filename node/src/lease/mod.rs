//! Keys and their leases: made, rotated, handed to the keepers, revoked.
//!
//! ```text
//!  acquire ──login──▶ journal token ──read keys──▶ Generation ──▶ Lineage ──▶ keepers
//!                                                     ▲              │ at 60–75 % of its life
//!                                                     └── next one ──┘
//!                             old one: picked up everywhere, drained ──▶ revoke token (and with it the lease)
//! ```
//! A *generation* is one Vault login and the one lease it made: Vault revokes a lease with the token that made
//! it, so revoking the token is all it takes. A *lineage* is the sequence of generations for one
//! ([`LeaseKey`]); all mounts of that key share it.

mod generation;
mod journal;
mod leases;
mod lineage;
mod revoker;
mod rotate;
mod rotation;
mod vault;

pub use generation::Generation;
pub use journal::{Journal, JournalError, Pending};
pub use leases::{Adopted, HELD, Lease, LeaseError, Leases};
pub use lineage::{Lineage, LoginSource};
pub use revoker::Revoker;
pub use rotate::free_from;
pub use rotation::RotationPolicy;
pub use vault::{IssueError, NodeIdentity, VaultAccess};

use crate::identity::Identity;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What decides whether two mounts share keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseKey {
    /// Whose keys.
    pub identity: Identity,
    /// Where Vault makes them, `<mount>/keys/<role>`; empty for static keys.
    pub vault_path: String,
    /// The life asked for; none for the role's default.
    pub ttl: Option<Duration>,
}
