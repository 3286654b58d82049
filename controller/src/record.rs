//! What is remembered about a volume, and where.
//!
//! CSI wants CreateVolume of a known name to answer the same volume, or to refuse when something else is asked
//! for. The controller keeps no state of its own, so the answer lies in the bucket, one JSON object a volume at
//! `.boathouse/volumes/<folder>.json`: beside the volumes' folders, never inside one, where pods would see it.
//! It holds no secret.

use crate::naming::{Folder, MAX_NAME_BYTES};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use volume_spec::VolumeSpec;

/// Where records lie in every bucket.
const FOLDER: &str = ".boathouse/volumes";
/// The format this program writes.
const VERSION: u32 = 1;

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of the record.
    version: u32,
    /// The name CreateVolume was called with.
    pub name: String,
    /// The capacity asked for, in bytes; 0 when none was. Remembered, not enforced: a bucket has no size.
    pub capacity_bytes: i64,
    /// What mounts the volume.
    pub spec: VolumeSpec,
}

/// A record that cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not JSON of this shape.
    #[error("the volume's record {key} is damaged: {source}")]
    Damaged {
        /// Its object key.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Written by a newer program.
    #[error("the volume's record {key} has format {version}; this controller reads format {VERSION}")]
    Version {
        /// Its object key.
        key: String,
        /// Its format.
        version: u32,
    },
}

impl Record {
    /// The record of a new volume.
    #[must_use]
    pub fn new(name: String, capacity_bytes: i64, spec: VolumeSpec) -> Self {
        Self { version: VERSION, name, capacity_bytes, spec }
    }

    /// The object that holds the record of the volume in `folder`.
    #[must_use]
    pub fn key(folder: &Folder) -> String {
        format!("{FOLDER}/{folder}.json")
    }

    /// Reads the content of the object `key`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn from_json(key: &str, json: &[u8]) -> Result<Self, RecordError> {
        /// Read first: a newer format may have any shape but this.
        #[derive(Deserialize)]
        struct Format {
            version: u32,
        }
        let damaged = |source| RecordError::Damaged { key: key.to_owned(), source };
        let Format { version } = serde_json::from_slice(json).map_err(damaged)?;
        if version != VERSION {
            return Err(RecordError::Version { key: key.to_owned(), version });
        }
        serde_json::from_slice(json).map_err(damaged)
    }

    /// The object's content.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain strings and numbers always serialise")
    }
}

/// What a CreateVolume asks for, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The volume's name, at most [`MAX_NAME_BYTES`].
    pub name: String,
    /// The smallest capacity in bytes that will do; 0 when any will.
    pub required_bytes: i64,
    /// The largest; 0 when there is none.
    pub limit_bytes: i64,
    /// What is to be mounted, with the controller's defaults filled in.
    pub spec: VolumeSpec,
}

/// Why a volume that exists is not the one asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Conflict {
    /// Two names of one folder.
    #[error("its folder belongs to the volume {0:?}")]
    Name(String),
    /// Another size.
    #[error("it was made with a capacity of {0} bytes")]
    Capacity(i64),
    /// Other parameters.
    #[error("it was made with another value of {}", .0.join(", "))]
    Parameters(Vec<String>),
}

impl Wanted {
    /// The record of a volume made to this wish.
    #[must_use]
    pub fn to_record(&self) -> Record {
        debug_assert!(self.name.len() <= MAX_NAME_BYTES);
        let capacity = if self.required_bytes > 0 { self.required_bytes } else { self.limit_bytes };
        Record::new(self.name.clone(), capacity, self.spec.clone())
    }

    /// Whether an existing volume is what is asked for (CSI: CreateVolume must be idempotent).
    ///
    /// # Errors
    /// [`Conflict`] says in what it differs.
    pub fn check(&self, existing: &Record) -> Result<(), Conflict> {
        if existing.name != self.name {
            return Err(Conflict::Name(existing.name.clone()));
        }
        let capacity = existing.capacity_bytes;
        if capacity < self.required_bytes || (self.limit_bytes > 0 && capacity > self.limit_bytes) {
            return Err(Conflict::Capacity(capacity));
        }
        let differing = difference(&self.spec, &existing.spec);
        if differing.is_empty() { Ok(()) } else { Err(Conflict::Parameters(differing)) }
    }
}

/// The keys in which two specs differ, sorted.
fn difference(a: &VolumeSpec, b: &VolumeSpec) -> Vec<String> {
    let (a, b) = (a.to_attributes(), b.to_attributes());
    let mut keys: Vec<_> =
        a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key)).cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use volume_spec::BucketName;

    fn wanted(name: &str, required_bytes: i64, limit_bytes: i64) -> Wanted {
        let mut spec = VolumeSpec::new(BucketName::parse("data").unwrap());
        spec.prefix = Some(Folder::of_name(name).to_prefix());
        Wanted { name: name.into(), required_bytes, limit_bytes, spec }
    }

    #[test]
    fn the_same_again_is_the_same() {
        for (required, limit) in [(0, 0), (5, 0), (5, 5), (0, 7)] {
            let first = wanted("v", required, limit);
            assert_eq!(first.check(&first.to_record()), Ok(()), "{required} {limit}");
        }
    }

    #[test]
    fn capacity_decides() {
        let existing = wanted("v", 10, 0).to_record();
        for (required, limit, fits) in [
            (0, 0, true),
            (10, 0, true),
            (9, 0, true),
            (9, 11, true),
            (11, 0, false),
            (5, 9, false),
            (20, 20, false),
        ] {
            let expected = if fits { Ok(()) } else { Err(Conflict::Capacity(10)) };
            assert_eq!(wanted("v", required, limit).check(&existing), expected, "{required} {limit}");
        }
    }

    #[test]
    fn parameters_decide_and_are_named() {
        let existing = wanted("v", 0, 0).to_record();
        let mut other = wanted("v", 0, 0);
        other.spec.uid = Some(1000);
        other.spec.dir_mode = volume_spec::Mode::parse("dirMode", "0700").unwrap();
        assert_eq!(other.check(&existing), Err(Conflict::Parameters(vec!["dirMode".into(), "uid".into()])));
    }

    #[test]
    fn a_name_made_to_look_like_anothers_folder_is_refused() {
        let existing = wanted("Some Name", 0, 0).to_record();
        let mapped = Folder::of_name("Some Name").to_string();
        assert_eq!(Folder::of_name(&mapped).as_str(), mapped);
        assert_eq!(wanted(&mapped, 0, 0).check(&existing), Err(Conflict::Name("Some Name".into())));
    }

    #[test]
    fn records_are_read_back() {
        let record = wanted("v", 3, 0).to_record();
        assert_eq!(Record::from_json("k", &record.to_json()).unwrap(), record);
        assert!(matches!(Record::from_json("k", b"{"), Err(RecordError::Damaged { .. })));
        let newer = br#"{"version":2,"anything":[]}"#;
        assert!(matches!(Record::from_json("k", newer), Err(RecordError::Version { version: 2, .. })));
        assert_eq!(Record::key(&Folder::of_name("v")), ".boathouse/volumes/v.json");
    }
}
