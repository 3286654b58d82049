//! Where the controller's own S3 keys come from. They make folders and records; pods never get them.

use boathouse_bucket::Keys;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use thiserror::Error;
use volume_spec::static_keys::{StaticKeys, StaticKeysError};

/// The operator's keys, for StorageClasses without a Secret.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Two files, read at every call so that they can be replaced (a mounted Kubernetes Secret).
    Files {
        /// Holds the access key id.
        access_key: PathBuf,
        /// Holds the secret access key.
        secret_key: PathBuf,
    },
    /// The environment's, read at start.
    Environment(StaticKeys),
    /// None: each StorageClass must name a Secret.
    None,
}

/// There are no usable keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The StorageClass' Secret is wrong.
    #[error(transparent)]
    Secret(#[from] StaticKeysError),
    /// A key file cannot be read.
    #[error("cannot read the S3 key file {}", .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A key file holds no key.
    #[error("the S3 key file {} is empty or holds more than one word", .0.display())]
    Content(PathBuf),
    /// Nobody gave any.
    #[error(
        "no S3 keys: give the StorageClass a Secret with accessKeyId and secretAccessKey, or the controller \
         --access-key-file and --secret-key-file"
    )]
    None,
}

impl KeySource {
    /// The keys of one call: the request's Secret if it holds any, else the operator's.
    ///
    /// # Errors
    /// See [`KeysError`]; no key is part of it.
    pub fn keys(&self, secrets: &HashMap<String, String>) -> Result<Keys, KeysError> {
        if let Some(keys) = StaticKeys::from_secret(secrets)? {
            return Ok(convert(keys));
        }
        match self {
            Self::Files { access_key, secret_key } => Ok(Keys {
                access_key: read(access_key)?.expose_secret().to_owned(),
                secret_key: read(secret_key)?,
                session_token: None,
            }),
            Self::Environment(keys) => Ok(convert(keys.clone())),
            Self::None => Err(KeysError::None),
        }
    }
}

fn convert(keys: StaticKeys) -> Keys {
    Keys {
        access_key: keys.access_key_id.expose_secret().to_owned(),
        secret_key: keys.secret_access_key,
        session_token: keys.session_token,
    }
}

fn read(path: &Path) -> Result<SecretString, KeysError> {
    let content = std::fs::read_to_string(path)
        .map(SecretString::from)
        .map_err(|source| KeysError::File { path: path.to_owned(), source })?;
    // An editor's line end is not part of the key.
    let key = content.expose_secret().trim();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(KeysError::Content(path.to_owned()));
    }
    Ok(SecretString::from(key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn secret(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_request_comes_before_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let (access_key, secret_key) = (dir.path().join("id"), dir.path().join("key"));
        let source = KeySource::Files { access_key: access_key.clone(), secret_key: secret_key.clone() };
        assert!(matches!(source.keys(&secret(&[])), Err(KeysError::File { .. })));
        std::fs::write(&access_key, "file-id\n").unwrap();
        std::fs::write(&secret_key, "file-key\n").unwrap();
        let keys = source.keys(&secret(&[("vault-token", "unrelated")])).unwrap();
        assert_eq!((keys.access_key.as_str(), keys.secret_key.expose_secret()), ("file-id", "file-key"));

        let given = secret(&[("accessKeyId", "id"), ("secretAccessKey", "key")]);
        assert_eq!(source.keys(&given).unwrap().access_key, "id");
        let half = source.keys(&secret(&[("accessKeyId", "hidden-id")])).unwrap_err();
        assert!(matches!(half, KeysError::Secret(StaticKeysError::Missing("secretAccessKey"))), "{half}");

        std::fs::write(&secret_key, "two words").unwrap();
        let err = source.keys(&secret(&[])).unwrap_err();
        assert!(matches!(err, KeysError::Content(_)) && !format!("{err:?}").contains("words"), "{err:?}");
    }

    #[test]
    fn none_says_what_to_do() {
        let err = KeySource::None.keys(&HashMap::new()).unwrap_err();
        assert!(err.to_string().contains("--access-key-file"), "{err}");
    }
}
