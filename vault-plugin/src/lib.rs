//! `vault-plugin-secrets-minio`: a Vault and OpenBao secrets engine that makes a MinIO user for
//! each lease and deletes it when the lease ends.
//!
//! It takes the place of the Go plugin of the same name (Statistics Canada): paths, field names,
//! answers, storage and lease data are that plugin's. Where it behaves differently on purpose, the
//! item that does so says it.
//!
//! | path | what |
//! |---|---|
//! | `config` | where MinIO is, and the admin user ([`mod@config`]) |
//! | `roles`, `roles/<role>` | which policy, which names, how long ([`roles`]) |
//! | `keys/<role>` | a fresh user under a lease ([`keys`]) |

pub mod config;
mod engine;
pub mod keys;
mod leases;
pub mod roles;

use std::sync::Arc;

use vault_plugin_sdk::{Backend, Plugin};

pub use engine::Engine;

/// The name under which hosts register the plugin.
pub const NAME: &str = "vault-plugin-secrets-minio";

/// The version told to hosts: this crate's.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// The plugin as the program serves it.
#[must_use]
pub fn plugin() -> Plugin {
    Plugin::new(NAME, VERSION, |_setup| backend())
}

/// The engine of one mount.
#[must_use]
pub fn backend() -> Backend {
    let engine = Arc::new(Engine::default());
    let (rollback, invalidate) = (Arc::clone(&engine), Arc::clone(&engine));
    Backend::new("Makes MinIO users with a policy, one for each lease.")
        .path(config::path(&engine))
        .paths(roles::paths(&engine))
        .path(keys::path(&engine))
        .secret(leases::secret_type(&engine))
        .seal_wrap([config::KEY])
        .on_rollback(move |context, entry| leases::roll_back(Arc::clone(&rollback), context, entry))
        .on_invalidate(move |key| invalidate.invalidate(key))
}
