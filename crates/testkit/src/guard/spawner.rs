//! One thread that makes all guarded children.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, not the process (prctl(2)). Test threads and
//! runtime workers end early; this one lives as long as the process, so a child dies with the process even when
//! that is killed and no guard is dropped.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

struct Order {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

static SPAWNER: LazyLock<Option<Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = channel::<Order>();
    let thread = std::thread::Builder::new().name("spawner".into()).spawn(move || {
        for mut order in inbox {
            let child = order.command.spawn();
            if let Err(unwanted) = order.answer.send(child)
                && let Ok(mut child) = unwanted.0
            {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    });
    thread.is_ok().then_some(orders)
});

/// Starts `command` in a process group of its own that dies with this process.
pub(super) fn spawn(mut command: Command) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec. It makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            Ok(())
        });
    }
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (answer, inbox) = channel();
    SPAWNER.as_ref().ok_or_else(gone)?.send(Order { command, answer }).map_err(|_| gone())?;
    inbox.recv().map_err(|_| gone())?
}
