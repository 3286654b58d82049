//! Removing installed programs that nobody uses any more.

use super::{InstallError, io_error};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What the kernel keeps of a program's name for `/proc/<pid>/comm`.
const COMM: usize = 15;

/// Removes the directories below `bin` that hold none of the `kept` files and no program that a process runs; answers
/// how many.
///
/// # Errors
/// When a directory cannot be listed or removed.
pub fn collect(bin: &Path, kept: &[PathBuf]) -> Result<usize, InstallError> {
    let running = Running::look(Path::new("/proc")).map_err(io_error("list", Path::new("/proc")))?;
    let mut removed = 0;
    for directory in entries(bin)? {
        if kept.iter().any(|file| file.parent() == Some(&directory)) || !directory.is_dir() {
            continue;
        }
        let files = entries(&directory)?;
        if files.iter().any(|file| running.includes(file)) {
            continue;
        }
        for file in &files {
            fs::remove_file(file).map_err(io_error("remove", file))?;
        }
        fs::remove_dir(&directory).map_err(io_error("remove", &directory))?;
        removed += 1;
    }
    Ok(removed)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let list = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>();
    list().map_err(io_error("list", directory))
}

/// The programs of all processes.
#[derive(Default)]
struct Running {
    /// By device and inode: a path means another file in another mount namespace.
    files: HashSet<(u64, u64)>,
    /// Names of those that do not show what they run.
    hidden: HashSet<String>,
}

impl Running {
    fn look(proc: &Path) -> io::Result<Self> {
        let mut running = Self::default();
        for entry in fs::read_dir(proc)? {
            let process = entry?.path();
            match fs::metadata(process.join("exe")) {
                Ok(file) => drop(running.files.insert((file.dev(), file.ino()))),
                // Ended meanwhile, a thread of the kernel, or no process.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(_) => {
                    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
                    running.hidden.insert(name.trim_end().to_owned());
                }
            }
        }
        Ok(running)
    }

    fn includes(&self, file: &Path) -> bool {
        let name: String =
            file.file_name().unwrap_or_default().to_string_lossy().chars().take(COMM).collect();
        let id = fs::metadata(file).map(|file| (file.dev(), file.ino()));
        self.hidden.contains(&name) || id.is_ok_and(|id| self.files.contains(&id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::process::Command;

    #[test]
    fn only_what_nobody_uses_goes() {
        let bin = tempfile::tempdir().unwrap();
        let file = |digest: &str, name: &str| {
            let directory = bin.path().join(digest);
            fs::create_dir_all(&directory).unwrap();
            directory.join(name)
        };
        let (old, running, recorded) =
            (file("1", "goofys"), file("2", "sleep"), file("3", "boathouse-keeper"));
        fs::write(&old, "").unwrap();
        fs::hard_link(&old, old.with_file_name("fusermount")).unwrap();
        fs::copy("/bin/sleep", &running).unwrap();
        fs::write(&recorded, "").unwrap();
        let mut child = Command::new(&running).arg("60").spawn().unwrap();

        let removed = collect(bin.path(), std::slice::from_ref(&recorded)).unwrap();
        let there = (old.exists(), running.exists(), recorded.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((removed, there), (1, (false, true, true)));
        assert_eq!(collect(bin.path(), &[]).unwrap(), 2);
        assert_eq!(fs::read_dir(bin.path()).unwrap().count(), 0);
    }

    /// A fake /proc: no real process hides from root everywhere.
    #[test]
    fn a_process_that_hides_is_known_by_its_name() {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("17");
        fs::create_dir(&process).unwrap();
        fs::write(process.join("comm"), "boathouse-keepe\n").unwrap();
        // Neither there nor absent, for root too.
        std::os::unix::fs::symlink("exe", process.join("exe")).unwrap();
        let running = Running::look(proc.path()).unwrap();
        assert!(running.includes(Path::new("/bin/boathouse-keeper")));
        assert!(!running.includes(Path::new("/none/goofys")));
    }
}
