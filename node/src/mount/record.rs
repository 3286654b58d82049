//! What is written down about a mount: enough to take it over, nothing secret.

use crate::lease::LeaseKey;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use volume_spec::VolumeSpec;

/// What decides whether two targets share one FUSE mount.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MountKey {
    /// Whose keys it uses, and which.
    pub lease: LeaseKey,
    /// What it shows, with every default filled in.
    pub spec: VolumeSpec,
    /// The installed PEM bundle with the authorities of its https server; none for the system's. A bundle that has changed
    /// since is another one: who comes later is not served by a mount that trusts what the operator has withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// `mount.json` of one mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MountRecord {
    /// Unique on this node.
    pub id: String,
    /// What it is for.
    pub key: MountKey,
    /// The user its FUSE daemon runs as; no other mount has the same.
    pub daemon_uid: u32,
    /// The installed files it runs from.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

/// A record that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}: {source}")]
pub struct RecordError {
    operation: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

fn file(directory: &Path) -> PathBuf {
    directory.join("mount.json")
}

impl MountRecord {
    /// Writes it into the mount's directory.
    pub(super) fn write(&self, directory: &Path) -> Result<(), RecordError> {
        let path = file(directory);
        let error = |operation| {
            let path = path.clone();
            move |source| RecordError { operation, path, source }
        };
        let document = serde_json::to_vec_pretty(self).map_err(|source| error("encode")(source.into()))?;
        std::fs::write(&path, document).map_err(error("write"))
    }

    /// Reads the record of a mount's directory.
    pub(super) fn read(directory: &Path) -> Result<Self, RecordError> {
        let path = file(directory);
        let error = |operation| {
            let path = path.clone();
            move |source| RecordError { operation, path, source }
        };
        let document = std::fs::read(&path).map_err(error("read"))?;
        serde_json::from_slice(&document).map_err(|source| error("understand")(source.into()))
    }

    /// Removes it, if it is there.
    pub(super) fn remove(directory: &Path) {
        let _ = std::fs::remove_file(file(directory));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::identity::Identity;
    use std::collections::BTreeMap;
    use volume_spec::{Parameters, Strictness};

    #[test]
    fn holds_the_key_but_no_proof_of_a_secret() {
        let attributes: BTreeMap<String, String> =
            [("bucket", "alice:data"), ("vault-ttl", "24h"), ("uid", "1000")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        let spec = Parameters::parse(&attributes, Strictness::Refuse).unwrap().spec;
        let identity = Identity::of_keys("AK", &"super-secret".into());
        let lease = LeaseKey { identity, vault_path: String::new(), ttl: None };
        let key = MountKey { lease, spec, ca_file: Some("/bin/0/ca.pem".into()) };
        let record = MountRecord { id: "m".into(), key, daemon_uid: 5, files: Vec::new() };
        let directory = tempfile::tempdir().unwrap();
        record.write(directory.path()).unwrap();
        let text = std::fs::read_to_string(directory.path().join("mount.json")).unwrap();
        assert!(!text.contains("proof") && !text.contains("super-secret"), "{text}");
        let read = MountRecord::read(directory.path()).unwrap();
        assert_eq!((&read.key.spec, &read.key.ca_file), (&record.key.spec, &record.key.ca_file));
        let Identity::Static { access_key, proof } = read.key.lease.identity else {
            panic!("identity changed")
        };
        assert_eq!((access_key.as_str(), proof), ("AK", [0; 32]));
    }
}
