//! What a keeper does to itself before it touches a secret: nothing inherited, nothing dumped, nobody's child.

use std::fs::OpenOptions;
use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// A step of the start that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {cause}")]
pub struct HygieneError {
    /// The system call and what it was for.
    step: &'static str,
    /// What the kernel said.
    #[source]
    cause: io::Error,
}

/// Turns a failed call into an error that names it.
trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, HygieneError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &'static str) -> Result<T, HygieneError> {
        self.map_err(|cause| HygieneError { step, cause: cause.into() })
    }
}

/// Whether stdin is a socket, as it is under the node plugin and under nobody's fingers.
#[must_use]
pub fn stdin_is_socket() -> bool {
    fstat(io::stdin())
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFSOCK)
}

/// Makes this process a quiet daemon of its own: own session, no descriptors but stdio, no core dumps, not
/// traceable by its peers, among the last to be killed for memory, private files, no signals from terminals.
///
/// Must run first: it closes descriptors that nobody may own yet, and changes settings of the whole process.
///
/// # Errors
/// The step that failed. `close_range(2)` needs Linux 5.9, the later use of `CLOSE_RANGE_CLOEXEC` 5.11.
pub fn detach() -> Result<(), HygieneError> {
    one_heap();
    match setsid() {
        // EPERM: already a group leader, which the node plugin made us.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(cause) => return Err(cause).step("setsid"),
    }
    close_range(3, 0).step("close_range of inherited descriptors")?;
    chdir("/").step("chdir to /")?;
    umask(Mode::from_bits_truncate(0o077));
    setrlimit(Resource::RLIMIT_CORE, 0, 0).step("setrlimit of RLIMIT_CORE")?;
    prctl::set_dumpable(false).step("prctl PR_SET_DUMPABLE")?;
    // Whatever the node plugin's pod had: a keeper that is killed for memory frees next to none. Not everywhere allowed.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
        dispose(ignored, SigHandler::SigIgn)?;
    }
    // An inherited "ignore" of SIGCHLD would lose the daemon's exit; of SIGTERM, make us hard to stop.
    for default in [Signal::SIGCHLD, Signal::SIGTERM] {
        dispose(default, SigHandler::SigDfl)?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).step("sigprocmask")?;
    let null = dev_null()?;
    dup2_stdout(&null).step("dup2 of /dev/null to stdout")?;
    dup2_stderr(&null).step("dup2 of /dev/null to stderr")
}

/// Lets go of the socket that stdin was.
///
/// # Errors
/// `/dev/null` cannot be opened.
pub fn close_stdin() -> Result<(), HygieneError> {
    dup2_stdin(dev_null()?).step("dup2 of /dev/null to stdin")
}

fn dev_null() -> Result<std::fs::File, HygieneError> {
    OpenOptions::new().read(true).write(true).open("/dev/null").step("open /dev/null")
}

fn dispose(which: Signal, handler: SigHandler) -> Result<(), HygieneError> {
    // SAFETY: SIG_IGN and SIG_DFL run no code of ours.
    unsafe { signal(which, handler) }.map(drop).step("signal")
}

/// `close_range(2)` from `first` up; `flags` as in `linux/close_range.h`. Async-signal-safe.
///
/// # Errors
/// What the kernel said; `ENOSYS` before Linux 5.9.
pub fn close_range(first: libc::c_uint, flags: libc::c_uint) -> nix::Result<()> {
    // SAFETY: three integers by value. The callers own no descriptor from `first` up, or only mark them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) };
    Errno::result(result).map(drop)
}

/// One malloc arena for all threads: each further one would cost pages in every mount's keeper.
fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: called before the first thread; a refusal (0) leaves the default, which is only larger.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Unmaps this program's code and constants before a long sleep; the kernel maps back what is used next, out of
/// its page cache.
///
/// A keeper works for a millisecond a minute and should not weigh as if it were about to use all of its code:
/// measured alone on a machine, 1.4 MiB of proportional set size without this and 0.7 to 1.05 MiB with it, of
/// which 0.13 MiB are its own.
pub fn rest() {
    // SAFETY: the callback matches the C signature, keeps no pointer and only reads what it is given.
    unsafe { libc::dl_iterate_phdr(Some(unmap_code), std::ptr::null_mut()) };
}

/// Called by `dl_iterate_phdr(3)` with the program itself first; returns 1 to be called no more.
unsafe extern "C" fn unmap_code(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    const PAGE: u64 = 4096;
    // SAFETY: `dl_iterate_phdr` passes a valid structure whose headers stay where they are, in constant memory.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    // Never a writable segment: its relocations and data are not in the file.
    let fixed = headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_W == 0);
    for header in fixed {
        let from = (base + header.p_vaddr) & !(PAGE - 1);
        let to = (base + header.p_vaddr + header.p_memsz).next_multiple_of(PAGE);
        // SAFETY: a read-only private mapping of a file that is never written (it is executing): pages dropped
        // come back with the same content. A refusal changes nothing.
        unsafe {
            libc::madvise(from as *mut libc::c_void, (to - from) as usize, libc::MADV_DONTNEED);
        }
    }
    1
}
