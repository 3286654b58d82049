//! The instances file: of which MinIO instances pods get directories, and in which containers.
//!
//! YAML, or JSON as a part of it. Everything a value can be wrong in is found when the file is read, by the
//! same checks that the driver applies to a volume later ([`volume_spec`]); the error says on which line.

mod check;
mod error;
mod file;
mod rules;
mod volume;

pub use error::InstancesError;
pub(crate) use rules::{Pick, Rule};
pub(crate) use volume::Volume;

/// A checked instances file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One for each directory of each instance, in the file's order.
    pub(crate) volumes: Vec<Volume>,
    /// The first that applies to a pod counts.
    pub(crate) rules: Vec<Rule>,
}

impl Config {
    /// Reads an instances file.
    ///
    /// # Errors
    /// [`InstancesError`] names the first line and field that is wrong.
    pub fn parse(text: &str) -> Result<Self, InstancesError> {
        check::check(serde_saphyr::from_str(text).map_err(|error| InstancesError::shape(&error, text))?)
    }
}
