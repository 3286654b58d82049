//! Is it readable, how large is it? Asked by a process that may be left behind.
//!
//! A FUSE daemon that hangs blocks whoever asks, and no signal ends that wait. So the keeper's binary asks
//! (`boathouse-keeper --ask`): what is stuck then is a process without anything, not this one.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What a question came to.
#[derive(Debug)]
pub enum Answer {
    /// Its line.
    Line(String),
    /// The filesystem answered with an error, or the question could not be asked.
    Failed(io::Error),
    /// No answer in time.
    Silent(Duration),
}

/// Asks `question` (`list` or `statfs`) about a path.
pub async fn ask(keeper: &Path, question: &str, path: &Path, deadline: Instant) -> Answer {
    let limit = deadline.saturating_duration_since(Instant::now());
    let child = tokio::process::Command::new(keeper)
        .args([OsStr::new("--ask"), OsStr::new(question), path.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        // Killed when nobody waits any more; tokio collects it once the kernel lets it go.
        .kill_on_drop(true)
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => return Answer::Failed(error),
    };
    let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
        return Answer::Silent(limit);
    };
    match output {
        Ok(output) => {
            let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if output.status.success() {
                return Answer::Line(line);
            }
            Answer::Failed(match line.parse() {
                Ok(number) if number != 0 => io::Error::from_raw_os_error(number),
                _ => io::Error::other(format!("asking ended with {}", output.status)),
            })
        }
        Err(error) => Answer::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A fake keeper: a script, for what the real one does not do on command.
    fn fake(script: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fake-keeper");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    }

    #[tokio::test]
    async fn answers_fails_or_gives_up() {
        let soon = || Instant::now() + Duration::from_millis(500);
        let (_good, keeper) = fake("echo \"$2 $3\"");
        assert!(
            matches!(ask(&keeper, "list", Path::new("/x"), soon()).await, Answer::Line(line) if line == "list /x")
        );
        let (_bad, keeper) = fake("echo 13; exit 3");
        let Answer::Failed(error) = ask(&keeper, "list", Path::new("/x"), soon()).await else { panic!() };
        assert_eq!(error.raw_os_error(), Some(13));
        let began = Instant::now();
        let (_silent, keeper) = fake("exec sleep 60");
        assert!(matches!(ask(&keeper, "list", Path::new("/x"), soon()).await, Answer::Silent(_)));
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(matches!(ask(Path::new("/none"), "list", Path::new("/x"), soon()).await, Answer::Failed(_)));
    }
}
