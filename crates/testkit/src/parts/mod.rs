//! The third-party programs, by name and pin, built or unpacked once per machine.
//!
//! A part lives in `<user cache>/boathouse/<part>-<key>/bin/<program>`. The key is made from the files under
//! `tools/<part>/` (compiled into this crate), the recipe's version and the architecture. It is
//! built in a directory beside that one and renamed, so what exists is whole; a lock file keeps two runs from
//! building the same part.

mod cache;
mod go;
mod neighbours;
mod progress;
mod recipe;
mod wheel;

use crate::requirement::{self, Missing};
use cache::{Cache, Slot};
use recipe::Recipe;
use std::path::{Path, PathBuf};

pub use neighbours::NeighbourParts;
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
    /// OpenBao server and client, the newest.
    pub bao: PathBuf,
    /// OpenBao 2.6.2.
    pub bao_2_6: PathBuf,
    /// Vault 1.4.0, whose plugins start the old way.
    pub vault_1_4: PathBuf,
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
        obtain_all(&recipe::all(), requirement::FREE, progress).map(Self::from)
    }

    /// Vault 1.21.0, if [`Parts::obtain_vault_1_21`] made it on this machine. Nothing else does.
    pub fn vault_1_21() -> Option<PathBuf> {
        let cache = Cache::of_user().ok()?;
        cache.slot(&recipe::vault_1_21()).program()
    }

    /// Builds Vault 1.21.0 if it is not there: about ten minutes on two cores.
    ///
    /// # Errors
    /// As [`Parts::obtain`].
    pub fn obtain_vault_1_21(progress: &mut dyn Progress) -> Result<PathBuf, PartsError> {
        let [path] = obtain_all(&[recipe::vault_1_21()], requirement::FREE_FOR_VAULT_1_21, progress)?;
        Ok(path)
    }

    /// Finds every part in the cache; builds nothing.
    ///
    /// # Errors
    /// [`PartsError::NotBuilt`] with the names of all that are missing.
    pub fn locate() -> Result<Self, PartsError> {
        find_all(&recipe::all()).map(Self::from)
    }

    /// All programs with the name to call them by.
    pub fn named(&self) -> [(&'static str, &Path); 6] {
        [
            ("OpenBao 2.7.2", &self.bao),
            ("OpenBao 2.6.2", &self.bao_2_6),
            ("Vault 1.4.0", &self.vault_1_4),
            ("MinIO", &self.minio),
            ("goofys 0.24.0", &self.goofys),
            ("csi-sanity 5.5.0", &self.csi_sanity),
        ]
    }
}

impl From<[PathBuf; 6]> for Parts {
    /// In the order of `recipe::all`.
    fn from([bao, bao_2_6, goofys, csi_sanity, minio, vault_1_4]: [PathBuf; 6]) -> Self {
        Self { bao, bao_2_6, vault_1_4, minio, goofys, csi_sanity }
    }
}

/// The programs of a one-node Kubernetes cluster that are built; the others come with the distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesParts {
    /// Command-line client.
    pub kubectl: PathBuf,
    /// Puts pods on nodes.
    pub scheduler: PathBuf,
    /// Runs the controllers.
    pub controller_manager: PathBuf,
    /// API server.
    pub apiserver: PathBuf,
    /// Runs the node's pods.
    pub kubelet: PathBuf,
    /// Upstream's end-to-end tests.
    pub e2e: PathBuf,
}

impl KubernetesParts {
    /// Finds every program in the cache and builds those that are not there.
    ///
    /// # Errors
    /// As [`Parts::obtain`].
    pub fn obtain(progress: &mut dyn Progress) -> Result<Self, PartsError> {
        obtain_all(&recipe::kubernetes(), requirement::FREE_FOR_KUBERNETES, progress).map(Self::from)
    }

    /// Finds every program in the cache; builds nothing.
    ///
    /// # Errors
    /// [`PartsError::NotBuilt`] with the names of those that are missing.
    pub fn locate() -> Result<Self, PartsError> {
        find_all(&recipe::kubernetes()).map(Self::from)
    }

    /// All programs with the name to call them by.
    pub fn named(&self) -> [(&'static str, &Path); 6] {
        [
            ("kubectl 1.36.3", &self.kubectl),
            ("kube-scheduler", &self.scheduler),
            ("kube-ctrl-manager", &self.controller_manager),
            ("kube-apiserver", &self.apiserver),
            ("kubelet 1.36.3", &self.kubelet),
            ("Kubernetes e2e", &self.e2e),
        ]
    }
}

impl From<[PathBuf; 6]> for KubernetesParts {
    /// In the order of `recipe::kubernetes`.
    fn from([kubectl, scheduler, controller_manager, apiserver, kubelet, e2e]: [PathBuf; 6]) -> Self {
        Self { kubectl, scheduler, controller_manager, apiserver, kubelet, e2e }
    }
}

/// The programs that render the chart and the kustomize base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagingParts {
    /// Renders and installs charts.
    pub helm: PathBuf,
    /// Builds kustomizations.
    pub kustomize: PathBuf,
}

impl PackagingParts {
    /// Finds both in the cache and builds what is not there.
    ///
    /// # Errors
    /// As [`Parts::obtain`].
    pub fn obtain(progress: &mut dyn Progress) -> Result<Self, PartsError> {
        obtain_all(&recipe::packaging(), requirement::FREE, progress).map(Self::from)
    }

    /// Finds both in the cache; builds nothing.
    ///
    /// # Errors
    /// [`PartsError::NotBuilt`] with the names of those that are missing.
    pub fn locate() -> Result<Self, PartsError> {
        find_all(&recipe::packaging()).map(Self::from)
    }

    /// Both with the name to call them by.
    pub fn named(&self) -> [(&'static str, &Path); 2] {
        [("helm 3.22.0", &self.helm), ("kustomize 5.8.2", &self.kustomize)]
    }
}

impl From<[PathBuf; 2]> for PackagingParts {
    /// In the order of `recipe::packaging`.
    fn from([kustomize, helm]: [PathBuf; 2]) -> Self {
        Self { helm, kustomize }
    }
}

/// Makes those of `recipes` that are not there, on a machine with `free` bytes for them; where all their programs are.
fn obtain_all<const N: usize>(
    recipes: &[Recipe; N],
    free: u64,
    progress: &mut dyn Progress,
) -> Result<[PathBuf; N], PartsError> {
    let cache = Cache::of_user()?;
    prepare(&cache, recipes, free)?;
    for recipe in recipes {
        cache.slot(recipe).obtain(recipe, progress)?;
    }
    Ok(recipes.each_ref().map(|recipe| cache.slot(recipe).path()))
}

/// Where the programs of all of `recipes` are, or the names of those that are not there.
fn find_all<const N: usize>(recipes: &[Recipe; N]) -> Result<[PathBuf; N], PartsError> {
    let cache = Cache::of_user()?;
    let slots = recipes.each_ref().map(|recipe| cache.slot(recipe));
    let absent: Vec<&str> = slots.iter().filter(|slot| slot.program().is_none()).map(Slot::part).collect();
    if !absent.is_empty() {
        return Err(PartsError::NotBuilt { names: absent.join(", ") });
    }
    Ok(slots.map(|slot| slot.path()))
}

/// Before anything is built: what the absent ones of these parts need.
fn prepare(cache: &Cache, recipes: &[Recipe], free: u64) -> Result<(), PartsError> {
    let absent: Vec<&Recipe> =
        recipes.iter().filter(|recipe| cache.slot(recipe).program().is_none()).collect();
    if absent.is_empty() {
        return Ok(());
    }
    cache.create()?;
    let go = absent.iter().any(|recipe| recipe.needs_go());
    let python = absent.iter().any(|recipe| recipe.needs_python());
    Ok(requirement::for_building(cache.directory(), go, python, free)?)
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PartsError {
    move |source| PartsError::Io { operation, path: path.to_owned(), source }
}
