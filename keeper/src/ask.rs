//! Questions about a mount that may hang, asked by a process of their own.
//!
//! Once a FUSE daemon has read a request, whoever waits for the answer cannot be killed before the session ends
//! (fuse.rst, "Interrupting filesystem operations"). In a thread that wait would hold the whole node plugin; here
//! it holds a small process that owns nothing. The answer is one line on stdout.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::statvfs::statvfs;

/// Exit code of a question that was answered with an error; stdout then holds its number.
pub(crate) const FAILED: u8 = 3;

/// `list` or `statfs` of `path`. `None` for anything else.
pub(crate) fn run(question: &OsStr, path: &Path) -> Option<ExitCode> {
    let answer = match question.to_str()? {
        "list" => list(path).map(|()| "answered".to_owned()),
        "statfs" => statfs(path),
        _ => return None,
    };
    let (line, code) = match answer {
        Ok(line) => (line, ExitCode::SUCCESS),
        Err(error) => (error.raw_os_error().unwrap_or_default().to_string(), ExitCode::from(FAILED)),
    };
    // Nobody listening any more is the asker's answer.
    let _ = writeln!(io::stdout(), "{line}");
    Some(code)
}

/// Whether the directory can be listed; the first entry is proof enough.
fn list(path: &Path) -> io::Result<()> {
    std::fs::read_dir(path)?.next().transpose().map(drop)
}

/// Bytes in all, bytes available, inodes in all, inodes free.
fn statfs(path: &Path) -> io::Result<String> {
    let answer = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.fragment_size());
    Ok(format!(
        "{} {} {} {}",
        bytes(answer.blocks()),
        bytes(answer.blocks_available()),
        answer.files(),
        answer.files_free()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_directory_answers_and_nothing_else_does() {
        list(Path::new("/")).unwrap();
        assert_eq!(list(Path::new("/nowhere")).unwrap_err().raw_os_error(), Some(nix::libc::ENOENT));
        let numbers = statfs(Path::new("/")).unwrap();
        assert_eq!(numbers.split(' ').filter(|number| number.parse::<u64>().is_ok()).count(), 4, "{numbers}");
        assert!(run(OsStr::new("dance"), Path::new("/")).is_none());
    }
}
