//! Real third-party parts for tests and demonstrations, and guards that clean up after them.
//!
//! - [`parts`]: OpenBao, Vault, MinIO, goofys and csi-sanity, by name and pin, built once per machine.
//! - [`programs`]: our own programs, built by cargo.
//! - [`images`]: container images of both.
//! - [`stack`]: an OpenBao with our plugin and a MinIO, running and configured; tenants and their tokens.
//! - [`node`]: the node plugin as a process, and a CSI client for it.
//! - [`kubelet`]: what kubelet asks of it, call by call.
//! - [`guard`]: processes, mounts and directories that go away when their guard is dropped.
//! - [`leftovers`]: what a run left on the machine.
//! - [`requirement`]: what a machine must have, all that is missing named at once.

pub mod guard;
pub mod images;
pub mod kubelet;
pub mod leftovers;
pub mod node;
pub mod parts;
pub mod programs;
pub mod requirement;
pub mod stack;

mod text;

use std::path::{Path, PathBuf};

/// The repository this crate was compiled in.
pub fn repository() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.ancestors().nth(2).unwrap_or(crate_directory).to_owned()
}

/// `<user cache>/boathouse`: `$XDG_CACHE_HOME`, else `$HOME/.cache` (XDG Base Directory specification). `None`
/// when neither is set to an absolute path.
pub fn cache_directory() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("boathouse"))
}

/// A TCP port on 127.0.0.1 that nobody listened on a moment ago. Somebody else may take it before the caller
/// does; who starts a server on it tries again with another one.
///
/// # Errors
/// When the system has no port to give.
pub fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?
        .local_addr()
        .map(|address| address.port())
}

/// `bytes` random bytes in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    hex::encode((0..bytes).map(|_| rand::random::<u8>()).collect::<Vec<u8>>())
}
