//! FUSE mounts: made on a private source directory, bound to targets, found again after a restart.
//!
//! ```text
//!  <state>/mounts/<id>/mount.json    what it is for (no secret)
//!                      keeper.sock   its keeper
//!                      source/       the FUSE mount ──bind──▶ target of pod 1
//!                                                   ──bind──▶ target of pod 2
//! ```
//! Which targets a source has is never written down: the kernel's mount table knows (same device number).

mod adopt;
mod ask;
mod create;
mod mounts;
mod record;
mod source;

pub use adopt::{AdoptError, Found};
pub use ask::{Answer, ask};
pub use create::CreateError;
pub(crate) use create::{EXIT_PATIENCE, obituary, session_over};
pub use mounts::{At, Mounts, MountsConfig};
pub use record::{MountKey, MountRecord, RecordError};
pub use source::{Binding, Health, Source};

use boathouse_mounts::Entry;

/// Start of the mount source of every FUSE mount of ours, followed by the mount's id.
const SOURCE_PREFIX: &str = "boathouse:";

/// The mount id of a mount table entry, if it is one of ours.
#[must_use]
pub fn ours(entry: &Entry) -> Option<&str> {
    let id = entry.source.to_str()?.strip_prefix(SOURCE_PREFIX)?;
    entry.fs_type.starts_with("fuse.").then_some(id)
}
