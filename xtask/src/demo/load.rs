//! A continuous read and write load on a mount.

use super::files::{self, LIMIT};
use super::story::{brief, count};
use boathouse_testkit::stack::Minio;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Objects that are read, and listed.
const IN: &str = "in";
/// Objects that are written. Nobody lists this directory: goofys 0.24 forgets a file that is being made while its
/// directory is read from the server for the first time (`internal/dir.go`, removal of children older than the
/// listing), and answers EIO for it for a minute, whatever its keys do.
const OUT: &str = "out";
const INPUTS: usize = 4;
const INPUT_SIZE: usize = 64 << 10;
/// Objects that are written, round and round.
const OUTPUTS: u64 = 8;

/// Two threads: one writes files, one reads objects and lists the directory. Ends when it is dropped.
pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    reads: AtomicU64,
    writes: AtomicU64,
    listings: AtomicU64,
    longest: AtomicU64,
    errors: Mutex<Vec<String>>,
    written: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// What has happened so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) listings: u64,
    /// The slowest operation.
    pub(super) longest: Duration,
    pub(super) errors: Vec<String>,
    /// What was last written to each object that was ever written.
    pub(super) written: BTreeMap<String, Vec<u8>>,
}

impl Tally {
    pub(super) fn total(&self) -> u64 {
        self.reads + self.writes + self.listings
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        format!(
            "{} operations ({} reads, {} writes, {} listings, the slowest {})",
            count(self.total()),
            count(self.reads),
            count(self.writes),
            count(self.listings),
            brief(self.longest),
        )
    }

    /// `0 failed`, or how many and the first.
    pub(super) fn failures(&self) -> String {
        match self.errors.first() {
            None => "0 failed".to_owned(),
            Some(first) => format!("{} failed, the first: {first}", self.errors.len()),
        }
    }
}

fn input(number: usize) -> Vec<u8> {
    format!("input {number} ").into_bytes().into_iter().cycle().take(INPUT_SIZE).collect()
}

/// Puts the objects that are read into the bucket.
pub(super) async fn seed(minio: &Minio, bucket: &str) -> anyhow::Result<()> {
    for number in 0..INPUTS {
        minio.put_object(bucket, &format!("{IN}/{number}"), &input(number)).await?;
    }
    // A directory is there when an object is in it.
    Ok(minio.put_object(bucket, &format!("{OUT}/.here"), b"").await?)
}

impl Load {
    pub(super) fn on(target: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let (writing, reading) = (shared.clone(), shared.clone());
        let (to, from) = (target.join(OUT), target.join(IN));
        let threads = vec![
            std::thread::spawn(move || writing.write(&to)),
            std::thread::spawn(move || reading.read(&from)),
        ];
        Self { shared, threads }
    }

    pub(super) fn tally(&self) -> Tally {
        let load = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Tally {
            reads: load(&self.shared.reads),
            writes: load(&self.shared.writes),
            listings: load(&self.shared.listings),
            longest: Duration::from_micros(load(&self.shared.longest)),
            errors: self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            written: self.shared.written.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Ends it and answers for all of it. An operation that does not end is an error.
    pub(super) async fn end(self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + LIMIT;
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                self.shared
                    .fail("an operation", &io::Error::other(format!("has not ended within {LIMIT:?}")));
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.tally()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Not joined: an operation on a mount that hangs ends when the mount is removed.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn write(&self, folder: &Path) {
        for number in 0_u64.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let name = (number % OUTPUTS).to_string();
            let content = format!("output {name}, write {number}\n").repeat(100).into_bytes();
            let path = folder.join(&name);
            if self.time(&path, &self.writes, "write", || files::write(&path, &content)) {
                let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                written.insert(format!("{OUT}/{name}"), content);
            }
        }
    }

    fn read(&self, folder: &Path) {
        let inputs: Vec<(PathBuf, Vec<u8>)> =
            (0..INPUTS).map(|number| (folder.join(number.to_string()), input(number))).collect();
        for (path, expected) in inputs.iter().cycle() {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            self.time(path, &self.reads, "read", || {
                let same = files::read(path)? == *expected;
                if same { Ok(()) } else { Err(io::Error::other("the content is not what was put there")) }
            });
            self.time(folder, &self.listings, "list", || {
                let names = files::list(folder)?;
                if names.len() == INPUTS {
                    Ok(())
                } else {
                    Err(io::Error::other(format!("{INPUTS} names expected, listed: {names:?}")))
                }
            });
        }
    }

    fn time(
        &self,
        path: &Path,
        counter: &AtomicU64,
        what: &str,
        work: impl FnOnce() -> io::Result<()>,
    ) -> bool {
        let began = Instant::now();
        let done = work();
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.longest.fetch_max(took, Ordering::SeqCst);
        match done {
            Ok(()) => {
                counter.fetch_add(1, Ordering::SeqCst);
                true
            }
            Err(error) => {
                self.fail(&format!("{what} {}", path.display()), &error);
                // A mount that is gone fails fast; nobody needs a million messages.
                std::thread::sleep(Duration::from_millis(20));
                false
            }
        }
    }

    fn fail(&self, what: &str, error: &io::Error) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.push(format!("{what}: {error}"));
    }
}
