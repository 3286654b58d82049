//! `vault-path`: where in Vault the keys of a volume are read.

use crate::SpecError;
use crate::error::{checked_string, plain};

const FIELD: &str = "vault-path";
const WRITE: &str =
    "write the path of the keys without the API version, such as \"minio_tenant1/keys/profile-alice\"";

checked_string! {
    /// A path below Vault's `/v1/`: at least two segments of `A-Z a-z 0-9 _ . @ : + = ~ -`, joined by single
    /// slashes, at most 512 bytes. Nothing in it needs escaping in a URL and nothing in it can leave it:
    /// no leading hyphen, no `.` or `..` segment, `%`, `?`, `#`, blank or control character.
    VaultPath
}

impl VaultPath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `vault-path`.
    pub fn parse(path: &str) -> Result<Self, SpecError> {
        plain(FIELD, path, 512, WRITE)?;
        let invalid = |reason: String| Err(SpecError::invalid(FIELD, path, reason, WRITE));
        if path.starts_with('/') || path.ends_with('/') {
            return invalid("starts or ends with a slash".to_owned());
        }
        if path.starts_with('-') {
            return invalid("starts with a hyphen and could be taken for a flag".to_owned());
        }
        for segment in path.split('/') {
            if segment.is_empty() {
                return invalid("holds an empty segment".to_owned());
            }
            if segment == "." || segment == ".." {
                return invalid("holds a \".\" or \"..\" segment".to_owned());
            }
            if let Some(c) = segment.chars().find(|c| !is_path_char(*c)) {
                return invalid(format!("holds the character {c:?}"));
            }
        }
        if !path.contains('/') {
            return invalid("names only the secrets engine".to_owned());
        }
        Ok(Self(path.to_owned()))
    }

    /// The path's segments, at least two.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// Whether a path segment may hold `c`.
pub(crate) fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | ':' | '+' | '=' | '~' | '-')
}
