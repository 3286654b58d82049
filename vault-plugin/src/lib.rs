//! `vault-plugin-secrets-minio`: a Vault and OpenBao secrets engine that makes MinIO keys for each
//! lease and ends them with it.
//!
//! It takes the place of the Go plugin of the same name (Statistics Canada): paths, field names,
//! answers, storage and lease data are that plugin's. Where it behaves differently on purpose, the
//! item that does so says it.
//!
//! | path | what |
//! |---|---|
//! | `config`, `config/<name>` | where each MinIO is, and the admin user ([`mod@config`]) |
//! | `config/rotate-root`, `config/rotate-root/<name>` | a new secret for the admin user |
//! | `roles`, `roles/<role>` | which rights, which names, how long ([`roles`]) |
//! | `keys/<role>`, `creds/<role>` | fresh keys under a lease ([`credentials`]) |
//! | `static-roles/<name>` | MinIO users whose secret the engine changes ([`statics`]) |
//! | `static-creds/<name>`, `rotate-role/<name>` | their keys; new ones now |
//!
//! [`limits`] has what each field takes.

mod clients;
pub mod config;
pub mod credentials;
mod engine;
mod failure;
mod leases;
mod lengths;
pub mod limits;
mod made;
mod names;
mod noting;
mod parents;
mod passwords;
mod periodic;
mod policy;
pub mod roles;
pub mod statics;
mod stored;
mod template;

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
    let [rollback, invalidate, ticking] = [0; 3].map(|_| Arc::clone(&engine));
    let backend = Backend::new("Makes MinIO keys with a policy, one pair for each lease.")
        .paths(config::paths(&engine))
        .paths(roles::paths(&engine))
        .paths(credentials::paths(&engine))
        .paths(statics::paths(&engine))
        .root_paths([config::ROTATE_ROOT.to_owned(), format!("{}/*", config::ROTATE_ROOT)])
        // Folders end in a slash. The log holds no secrets.
        .seal_wrap([config::KEY, config::FOLDER, parents::FOLDER, statics::FOLDER])
        .on_periodic(move |context| periodic::tick(Arc::clone(&ticking), context))
        .on_rollback(move |context, entry| made::roll_back(Arc::clone(&rollback), context, entry))
        .on_invalidate(move |key| invalidate.invalidate(key));
    leases::secret_types(&engine).into_iter().fold(backend, Backend::secret)
}
