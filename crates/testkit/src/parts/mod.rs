//! The third-party programs, by name and pin, built or unpacked once per machine.
//!
//! A part lives in `<user cache>/boathouse/<part>-<key>/bin/<program>`. The key is made from the files under
//! `tools/<part>/` (compiled into this crate), the recipe's version and the architecture. It is
//! built in a directory beside that one and renamed, so what exists is whole; a lock file keeps two runs from
//! building the same part.

mod cache;
mod go;
mod progress;
mod recipe;
mod wheel;

use crate::requirement::{self, Missing};
use cache::{Cache, Slot};
use recipe::Recipe;
use std::path::{Path, PathBuf};

pub use progress::{Event, Progress};

/// What can go wrong on the way to a part.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// The machine lacks something; all of it is named.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A file of the cache or of a build could not be read or written.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The path it was about.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A tool ran and failed.
    #[error("{part}: `{command}` {outcome}; its last lines (all of them in {log}):\n{tail}")]
    Tool {
        /// The part that was being made.
        part: &'static str,
        /// The command line.
        command: String,
        /// How it ended.
        outcome: String,
        /// Where everything it said is.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// What was downloaded is not what is pinned.
    #[error("{part}: {detail}")]
    Pin {
        /// The part.
        part: &'static str,
        /// What differs.
        detail: String,
    },
    /// [`Parts::locate`] did not find everything.
    #[error("not built yet: {names}; `cargo xtask tools` gets them")]
    NotBuilt {
        /// The parts that are missing.
        names: String,
    },
}

/// Where the programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// OpenBao server and client.
    pub bao: PathBuf,
    /// MinIO server.
    pub minio: PathBuf,
    /// The FUSE daemon.
    pub goofys: PathBuf,
    /// CSI conformance suite.
    pub csi_sanity: PathBuf,
}

impl Parts {
    /// Finds every part in the cache and makes those that are not there.
    ///
    /// # Errors
    /// [`PartsError::Missing`] before anything is built, when a tool or disk space is missing that a build would
    /// need; otherwise whatever the build ran into.
    pub fn obtain(progress: &mut dyn Progress) -> Result<Self, PartsError> {
        let cache = Cache::of_user()?;
        let recipes = recipe::all();
        let absent: Vec<&Recipe> =
            recipes.iter().filter(|recipe| cache.slot(recipe).program().is_none()).collect();
        if !absent.is_empty() {
            cache.create()?;
            requirement::for_building(
                cache.directory(),
                absent.iter().any(|recipe| recipe.needs_go()),
                absent.iter().any(|recipe| recipe.needs_python()),
            )?;
        }
        Self::assemble(&recipes, |recipe| cache.slot(recipe).obtain(recipe, progress))
    }

    /// Finds every part in the cache; builds nothing.
    ///
    /// # Errors
    /// [`PartsError::NotBuilt`] with the names of all that are missing.
    pub fn locate() -> Result<Self, PartsError> {
        let cache = Cache::of_user()?;
        let recipes = recipe::all();
        let slots: Vec<Slot> = recipes.iter().map(|recipe| cache.slot(recipe)).collect();
        let absent: Vec<&str> =
            slots.iter().filter(|slot| slot.program().is_none()).map(Slot::part).collect();
        if !absent.is_empty() {
            return Err(PartsError::NotBuilt { names: absent.join(", ") });
        }
        Self::assemble(&recipes, |recipe| Ok(cache.slot(recipe).path()))
    }

    fn assemble(
        [bao, goofys, csi_sanity, minio]: &[Recipe; 4],
        mut find: impl FnMut(&Recipe) -> Result<PathBuf, PartsError>,
    ) -> Result<Self, PartsError> {
        Ok(Self {
            bao: find(bao)?,
            goofys: find(goofys)?,
            csi_sanity: find(csi_sanity)?,
            minio: find(minio)?,
        })
    }

    /// All programs with the name to call them by.
    pub fn named(&self) -> [(&'static str, &Path); 4] {
        [
            ("OpenBao 2.7.2", &self.bao),
            ("MinIO", &self.minio),
            ("goofys 0.24.0", &self.goofys),
            ("csi-sanity 5.5.0", &self.csi_sanity),
        ]
    }
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PartsError {
    move |source| PartsError::Io { operation, path: path.to_owned(), source }
}
