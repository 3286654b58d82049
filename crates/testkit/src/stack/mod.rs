//! An OpenBao with our secrets engine in it and a MinIO, running on loopback and configured as a cluster would
//! have them.

mod bao;
mod host;
mod http;
mod identities;
mod minio;
mod mount;
mod setup;
mod tenant;
mod tls;
mod vault;

use crate::guard::{GuardError, TempTree};
use crate::parts::Parts;
use crate::programs::Programs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

pub use bao::Bao;
pub use host::Host;
pub use identities::{Claims, Identities, Pod};
pub use minio::Minio;
pub use mount::{Issued, Mount};
pub use setup::{AUTH_MOUNT, AUTH_ROLE, ENGINE_MOUNT, NODE_ROLE, PLUGIN, SHARED_BUCKET};
pub use tenant::Tenant;
pub use vault::VaultAdmin;

/// What can go wrong with the servers.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// A process did not start or broke.
    #[error(transparent)]
    Process(#[from] GuardError),
    /// A file or port.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The path it was about.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A request got no answer.
    #[error("{operation}: {detail}")]
    Http {
        /// Method and path.
        operation: String,
        /// The error with its causes.
        detail: String,
    },
    /// A request got an answer that says no.
    #[error("{operation}: status {status}: {message}")]
    Refused {
        /// Method and path.
        operation: String,
        /// HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// An answer lacks something.
    #[error("{operation}: the answer has no {field}")]
    Answer {
        /// Method and path.
        operation: String,
        /// The missing field.
        field: &'static str,
    },
    /// The end of a mount did not take its users along.
    #[error("MinIO users left by the mount {mount}: {users:?}")]
    Left {
        /// Its path.
        mount: String,
        /// Their names.
        users: Vec<String>,
    },
    /// MinIO's admin API.
    #[error(transparent)]
    MinioAdmin(#[from] minio_admin::Error),
    /// Keys, tokens, URLs that could not be made.
    #[error("make {what}: {detail}")]
    Make {
        /// The thing.
        what: &'static str,
        /// Why not.
        detail: String,
    },
}

impl StackError {
    /// The HTTP status when a server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

pub(crate) fn io(
    operation: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> StackError {
    move |source| StackError::Io { operation, path: path.to_owned(), source }
}

/// Everything that runs. Dropping it ends the servers, then removes their files.
#[derive(Debug)]
pub struct Stack {
    bao: Bao,
    minio: Minio,
    identities: Identities,
    tree: TempTree,
}

impl Stack {
    /// Starts both servers, enables the engine at [`ENGINE_MOUNT`] and `jwt` auth at [`AUTH_MOUNT`], and makes the
    /// bucket [`SHARED_BUCKET`].
    ///
    /// # Errors
    /// [`StackError`]; what had started has ended again.
    pub async fn start(parts: &Parts, programs: &Programs) -> Result<Self, StackError> {
        Self::start_on(Host::openbao(parts), parts, programs).await
    }

    /// The same on another host.
    ///
    /// # Errors
    /// [`StackError`]; what had started has ended again.
    pub async fn start_on(host: Host, parts: &Parts, programs: &Programs) -> Result<Self, StackError> {
        Self::assemble(host, minio::LOCAL, parts, programs).await
    }

    /// As [`Stack::start`], with a MinIO at all addresses, for pods: in a network namespace that leads nowhere.
    ///
    /// # Errors
    /// [`StackError`]; what had started has ended again.
    pub async fn start_for_pods(parts: &Parts, programs: &Programs) -> Result<Self, StackError> {
        Self::assemble(Host::openbao(parts), Ipv4Addr::UNSPECIFIED.into(), parts, programs).await
    }

    async fn assemble(
        host: Host,
        address: IpAddr,
        parts: &Parts,
        programs: &Programs,
    ) -> Result<Self, StackError> {
        let tree = TempTree::new().map_err(io("make a directory in", &std::env::temp_dir()))?;
        let (bao, minio) = tokio::join!(
            Bao::start(host, Some(&programs.vault_plugin), &tree),
            Minio::start_at(address, &parts.minio, &tree)
        );
        let stack = Self { bao: bao?, minio: minio?, identities: Identities::generate()?, tree };
        setup::configure(&stack).await?;
        Ok(stack)
    }

    /// OpenBao: address, admin calls, outages.
    pub fn bao(&self) -> &Bao {
        &self.bao
    }

    /// OpenBao, to take it down and bring it back.
    pub fn bao_mut(&mut self) -> &mut Bao {
        &mut self.bao
    }

    /// MinIO: address, admin calls, buckets.
    pub fn minio(&self) -> &Minio {
        &self.minio
    }

    /// MinIO, to take it down and bring it back.
    pub fn minio_mut(&mut self) -> &mut Minio {
        &mut self.minio
    }

    /// Admin calls with the root token.
    pub fn vault(&self) -> &VaultAdmin {
        self.bao.admin()
    }

    /// Who may sign tokens that this OpenBao accepts.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The directory everything lies in.
    pub fn tree(&self) -> &TempTree {
        &self.tree
    }

    /// Makes a tenant: a bucket named like the namespace, a MinIO policy for it and for its folder of
    /// [`SHARED_BUCKET`], and the engine role `profile-<namespace>`. Leases live for `ttl` unless asked otherwise.
    ///
    /// # Errors
    /// [`StackError`].
    pub async fn tenant(&self, namespace: &str, ttl: Duration) -> Result<Tenant, StackError> {
        tenant::make(self, namespace, ttl).await
    }

    /// Names of the users MinIO has now: one per lease.
    ///
    /// # Errors
    /// When MinIO does not answer.
    pub async fn minio_users(&self) -> Result<Vec<String>, StackError> {
        Ok(self.minio.admin().list_users().await?.into_keys().collect())
    }

    /// A token as the node plugin's own service account would have it: it may read every tenant's keys.
    ///
    /// # Errors
    /// When signing fails.
    pub fn node_token(&self, ttl: Duration) -> Result<secrecy::SecretString, StackError> {
        self.identities.sign(&Claims::new(setup::NODE_NAMESPACE, setup::NODE_SERVICE_ACCOUNT, ttl))
    }
}
