//! Ctrl-C and its relatives.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The first signal asks for a clean end, the second ends the process.
pub(super) struct Signals {
    asked: watch::Receiver<bool>,
    /// Where things are that a forced end leaves behind.
    directory: Arc<OnceLock<PathBuf>>,
}

impl Signals {
    /// From now on signals are taken; call it inside a runtime with threads of its own.
    pub(super) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (tell, asked) = watch::channel(false);
        let directory = Arc::new(OnceLock::new());
        let leaving = directory.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if tell.send_replace(true) {
                    force(leaving.get());
                }
            }
        });
        Ok(Self { asked, directory })
    }

    /// From now on a forced end leaves things behind there.
    pub(super) fn leaves(&self, directory: &Path) {
        // Told once.
        let _ = self.directory.set(directory.to_owned());
    }

    /// Returns once a signal has come.
    pub(super) async fn asked(&self) {
        // The sender lives as long as the runtime.
        let _ = self.asked.clone().wait_for(|asked| *asked).await;
    }
}

/// Servers and the node plugin die with this process; keepers and mounts outlive it by design.
#[allow(clippy::exit, reason = "the person asked twice")]
fn force(directory: Option<&PathBuf>) {
    match directory {
        None => eprintln!("\nEnded at once."),
        Some(directory) => {
            let directory = directory.display();
            eprintln!(
                "\nEnded at once. Mounts and their processes are left; this removes them:\n  \
                 pkill -KILL -f {directory}/\n  \
                 grep -o '{directory}/[^ ]*' /proc/self/mountinfo | tac | xargs -r umount -l\n  \
                 rm -r {directory}"
            );
        }
    }
    std::process::exit(130);
}
