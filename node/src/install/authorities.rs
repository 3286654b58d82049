//! Who vouches for S3 servers: one bundle for all of them, or the one that a volume names.

use super::{InstallError, Kind, copy};
use boathouse_bucket::{Http, HttpError};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use volume_spec::{AuthorityName, VolumeSpec};

const DEFAULT: Kind =
    Kind { name: "ca.pem", what: "authorities of S3 servers", flag: "--s3-ca-file", mode: 0o644 };
const NAMED: Kind = Kind { flag: "--s3-ca-dir", ..DEFAULT };

/// Most names that an error lists.
const LISTED: usize = 20;

/// The bundles of this node.
#[derive(Debug)]
pub struct Authorities {
    bin: PathBuf,
    default: Trust,
    directory: Option<PathBuf>,
    /// By name, as it was when last asked for: connections are kept while the bundle stays the same. Held while a bundle
    /// is copied, since two copies at once would be in each other's way.
    named: Mutex<HashMap<AuthorityName, Trust>>,
}

/// Who vouches for one server.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The installed PEM bundle; none for the system's authorities and for plain http.
    pub ca_file: Option<PathBuf>,
    /// Connections that trust no others.
    pub http: Http,
}

/// Nobody vouches for a server.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is no bundle of that name.
    #[error(
        "ca \"{name}\": there is no {name}.pem in {directory}; {}; write another name, or have the bundle added there",
        there(.names)
    )]
    Unknown {
        /// The name the volume has.
        name: AuthorityName,
        /// Where bundles are.
        directory: PathBuf,
        /// The names of those that are there, sorted.
        names: Vec<String>,
    },
    /// No volume of this node can name a bundle.
    #[error("ca \"{0}\": this node plugin has no named bundles; set --s3-ca-dir, or leave ca out")]
    NoDirectory(AuthorityName),
    /// The bundle holds no authorities.
    #[error("authorities of S3 servers {file}: {reason}; write certificates in PEM form")]
    Unusable {
        /// The file as the operator knows it.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory cannot be listed.
    #[error("list {directory}: {source}; --s3-ca-dir names a directory with a <name>.pem for each bundle")]
    List {
        /// The directory.
        directory: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A bundle cannot be read or copied.
    #[error(transparent)]
    Install(#[from] InstallError),
}

fn there(names: &[String]) -> String {
    let listed: Vec<_> = names.iter().take(LISTED).map(|name| format!("\"{name}\"")).collect();
    match (listed.join(", "), names.len().saturating_sub(LISTED)) {
        (none, _) if none.is_empty() => "there are no bundles yet".to_owned(),
        (listed, 0) => format!("there are {listed}"),
        (listed, more) => format!("there are {listed} and {more} more"),
    }
}

impl Authorities {
    /// The bundle for all servers (the system's authorities without `ca_file`), and a directory with `<name>.pem` for
    /// volumes that name one. What they hold is copied below `bin`; connections are as those of `http`.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn open(
        bin: &Path,
        http: Http,
        ca_file: Option<&Path>,
        directory: Option<PathBuf>,
    ) -> Result<Self, AuthorityError> {
        let default = match ca_file {
            Some(file) => trust(&http, copy(bin, file, &DEFAULT)?).map_err(unusable(file))?,
            None => Trust { ca_file: None, http },
        };
        if let Some(directory) = &directory {
            names(directory)?;
        }
        Ok(Self { bin: bin.to_owned(), default, directory, named: Mutex::default() })
    }

    /// The installed bundle for all servers, if there is one.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.default.ca_file.as_deref()
    }

    /// Who vouches for a volume's server. A named bundle is read each time, so that a new or changed one counts at once.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn of(&self, spec: &VolumeSpec) -> Result<Trust, AuthorityError> {
        if spec.endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_https()) {
            return Ok(Trust { ca_file: None, ..self.default.clone() });
        }
        let Some(name) = &spec.ca else { return Ok(self.default.clone()) };
        let Some(directory) = &self.directory else { return Err(AuthorityError::NoDirectory(name.clone())) };
        let file = directory.join(format!("{name}.pem"));
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let copied = match copy(&self.bin, &file, &NAMED) {
            Err(InstallError::Missing { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let (name, names) = (name.clone(), names(directory)?);
                return Err(AuthorityError::Unknown { name, directory: directory.clone(), names });
            }
            copied => copied?,
        };
        match named.get(name) {
            Some(known) if known.ca_file.as_ref() == Some(&copied) => Ok(known.clone()),
            _ => {
                let new = trust(&self.default.http, copied).map_err(unusable(&file))?;
                named.insert(name.clone(), new.clone());
                Ok(new)
            }
        }
    }
}

fn trust(http: &Http, ca_file: PathBuf) -> Result<Trust, HttpError> {
    Ok(Trust { http: http.trusting(&ca_file)?, ca_file: Some(ca_file) })
}

fn unusable(file: &Path) -> impl FnOnce(HttpError) -> AuthorityError {
    move |error| AuthorityError::Unusable { file: file.to_owned(), reason: error.reason() }
}

/// The names of the bundles in a directory, sorted. What else is there, such as the links of a mounted ConfigMap, is passed
/// over.
fn names(directory: &Path) -> Result<Vec<String>, AuthorityError> {
    let list = || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        let files = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = files
            .filter_map(|file| Some(file.strip_suffix(".pem")?.to_owned()))
            .filter(|name| AuthorityName::parse(name).is_ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    };
    list().map_err(|source| AuthorityError::List { directory: directory.to_owned(), source })
}

#[cfg(test)]
#[path = "authorities_tests.rs"]
mod tests;
