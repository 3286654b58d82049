//! Which MinIO.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::FOLDER;

/// The storage key, and the path, of the default cluster's config.
pub(crate) const KEY: &str = "config";

/// A cluster's name; the empty one is the default cluster, whose config is the plain `config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cluster(String);

impl Cluster {
    /// The cluster of this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name; empty for the default cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether this is the default cluster.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// Storage key and path of its config.
    #[must_use]
    pub fn key(&self) -> String {
        if self.is_default() { KEY.to_owned() } else { format!("{FOLDER}{}", self.0) }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() { f.write_str("the default cluster") } else { write!(f, "cluster {:?}", self.0) }
    }
}
