//! Files that are replaced while they are in use.
//!
//! Kubernetes swaps a symbolic link above a mounted Secret or ConfigMap, an editor renames, a script writes in
//! place. All of them show in what `stat` says of the file behind the path, so that is looked at every few seconds;
//! inotify would have to follow every link on the way.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

/// What is in use now. Clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Live<T> {
    /// In use from now on.
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// What is in use at this moment; it stays the same for the holder.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Which file is at a path, and since when: device, inode, size, time of change. `None` where there is none.
type Fingerprint = Option<(u64, u64, u64, i64, i64)>;

/// Something that is read from files, and read again when they change.
pub struct Watched<T, E> {
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
    seen: Vec<Fingerprint>,
    live: Live<T>,
}

impl<T, E> Watched<T, E> {
    /// Reads `files` by `load` for the first time.
    ///
    /// # Errors
    /// Those of `load`: at the start there is nothing else to go on with.
    pub fn open(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Before the content: what changes between the two is then noticed at the next look.
        let seen = fingerprints(&files);
        let live = Live::new(load()?);
        Ok(Self { files, load: Box::new(load), seen, live })
    }

    /// What is in use.
    #[must_use]
    pub fn live(&self) -> Live<T> {
        self.live.clone()
    }

    /// Looks at the files. `None` when they are as they were; else how reading them again went. What is broken
    /// leaves in use what was, and is told once, not at every look.
    pub fn look(&mut self) -> Option<Result<(), E>> {
        let now = fingerprints(&self.files);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some((self.load)().map(|value| self.live.set(value)))
    }
}

fn fingerprints(files: &[PathBuf]) -> Vec<Fingerprint> {
    let fingerprint = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.size(), file.ctime(), file.ctime_nsec()))
    };
    files.iter().map(fingerprint).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn number(path: &Path) -> Watched<u32, String> {
        let file = path.to_owned();
        let load = move || {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|_| format!("{text:?} is no number"))
        };
        Watched::open(vec![path.to_owned()], load).unwrap()
    }

    #[test]
    fn a_swapped_link_above_the_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, text) in [("..1", "1"), ("..2", "2")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("n"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/n", at("n")).unwrap();
        let mut watched = number(&at("n"));
        assert!(watched.look().is_none());
        symlink("..2", at("..tmp")).unwrap();
        fs::rename(at("..tmp"), at("..data")).unwrap();
        assert_eq!(watched.look(), Some(Ok(())));
        assert_eq!(*watched.live().get(), 2);
    }

    #[test]
    fn what_is_broken_is_told_once_and_leaves_the_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        fs::write(&path, "1").unwrap();
        let mut watched = number(&path);
        let live = watched.live();
        fs::write(&path, "one").unwrap();
        assert!(watched.look().unwrap().unwrap_err().contains("one"));
        assert!(watched.look().is_none());
        fs::remove_file(&path).unwrap();
        assert!(watched.look().unwrap().is_err());
        assert_eq!(*live.get(), 1);
        fs::write(&path, "3").unwrap();
        assert_eq!(watched.look(), Some(Ok(())));
        assert_eq!(*live.get(), 3);
    }
}
