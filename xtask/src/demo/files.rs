//! File operations on mounts: off the runtime, bounded, and with the error that close(2) may have.

use anyhow::{Context as _, bail};
use nix::fcntl::OFlag;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

/// No operation of the demonstration takes that long unless something hangs.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// Runs something that may block for as long as a mount hangs.
pub(super) async fn within<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.with_context(|| what.to_owned())?.with_context(|| what.to_owned()),
        Err(_) => bail!("{what}: no answer within {LIMIT:?}"),
    }
}

/// Writes a whole file. The FUSE daemon uploads it when it is closed, so closing is part of it.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let step = |what: &'static str| move |error: io::Error| io::Error::other(format!("{what}: {error}"));
    let mut file = File::create(path).map_err(step("create"))?;
    file.write_all(content).map_err(step("write"))?;
    nix::unistd::close(file).map_err(io::Error::from).map_err(step("close"))
}

/// Reads a whole file past the kernel's page cache: from the daemon, which gets it from the server.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::options().read(true).custom_flags(OFlag::O_DIRECT.bits()).open(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// The names in a directory, sorted.
pub(super) fn list(path: &Path) -> io::Result<Vec<String>> {
    let names: io::Result<Vec<String>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    names.map(|mut names| {
        names.sort();
        names
    })
}
