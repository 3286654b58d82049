//! What can go wrong.

use crate::description::Architecture;
use std::path::PathBuf;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the image or the archive could not be read or written.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The file on this machine.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Not a path in an image.
    #[error("path {path:?} in the image: {problem}; write it like /usr/local/bin/program")]
    Path {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not the name of an image.
    #[error("{field} {value:?} of the image: {rule}")]
    Reference {
        /// `repository` or `tag`.
        field: &'static str,
        /// As it was given.
        value: String,
        /// What it has to be.
        rule: &'static str,
    },
    /// Something lies below what is no directory.
    #[error("{path} cannot be in the image: {parent} is there too and is no directory")]
    Parent {
        /// What was to be added.
        path: String,
        /// What is in its way.
        parent: String,
    },
    /// A program of another processor.
    #[error("{} is a program for {found}, the image is for {wanted}", path.display())]
    Machine {
        /// The program on this machine.
        path: PathBuf,
        /// What it was compiled for.
        found: String,
        /// What the image is for.
        wanted: Architecture,
    },
    /// A program that needs what the image does not have.
    #[error("{} is linked dynamically, and an image has no libraries; use a static build of it", path.display())]
    Dynamic {
        /// The program on this machine.
        path: PathBuf,
    },
    /// This machine's processor has no images.
    #[error("no images are made for {0} machines, only for amd64 and arm64")]
    Host(&'static str),
    /// busybox did not list its applets.
    #[error("`{} --list` {outcome}; install a static one (Debian: apt-get install busybox-static)", program.display())]
    Busybox {
        /// Where it was looked for.
        program: PathBuf,
        /// What happened.
        outcome: String,
    },
    /// A document of the image could not be written as JSON.
    #[error("write the image's documents as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Somebody wrote to a file in the meantime.
    #[error("{} became shorter while it was read; try again when nobody writes to it", path.display())]
    Changed {
        /// The file on this machine.
        path: PathBuf,
    },
}

pub(crate) fn io(
    operation: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> ImageError {
    let path = path.into();
    move |source| ImageError::Io { operation, path, source }
}
