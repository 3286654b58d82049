//! Static S3 keys from a Kubernetes Secret, for use without Vault.

use secrecy::SecretString;

use crate::Lookup;

const ACCESS_KEY_ID: &str = "accessKeyId";
const SECRET_ACCESS_KEY: &str = "secretAccessKey";
const SESSION_TOKEN: &str = "sessionToken";

/// An S3 key pair that does not rotate.
#[derive(Clone, Debug)]
pub struct StaticKeys {
    /// The access key's id.
    pub access_key_id: SecretString,
    /// The secret access key.
    pub secret_access_key: SecretString,
    /// The session token that goes with temporary keys.
    pub session_token: Option<SecretString>,
}

/// A Secret that was meant to hold keys and does not. Never repeats a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaticKeysError {
    /// Some of the keys are there, this one is not.
    #[error(
        "the Secret has no {0}; static keys need {ACCESS_KEY_ID} and {SECRET_ACCESS_KEY}, and {SESSION_TOKEN} when they are temporary"
    )]
    Missing(&'static str),
    /// The value cannot be a key: empty, blanks around it, control characters, or far too long.
    #[error(
        "the Secret's {0} is not usable: it is empty, too long, or has blanks, line ends or control characters in it"
    )]
    Malformed(&'static str),
}

impl StaticKeys {
    /// Reads the Secret's map. `None` when it has none of the three keys.
    ///
    /// # Errors
    /// [`StaticKeysError`] names the key that is missing or malformed.
    pub fn from_secret(secret: &impl Lookup) -> Result<Option<Self>, StaticKeysError> {
        let all = [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN];
        if all.iter().all(|key| secret.value(key).is_none()) {
            return Ok(None);
        }
        let required = |key| read(secret, key)?.ok_or(StaticKeysError::Missing(key));
        Ok(Some(Self {
            access_key_id: required(ACCESS_KEY_ID)?,
            secret_access_key: required(SECRET_ACCESS_KEY)?,
            session_token: read(secret, SESSION_TOKEN)?,
        }))
    }
}

fn read(secret: &impl Lookup, key: &'static str) -> Result<Option<SecretString>, StaticKeysError> {
    let Some(value) = secret.value(key) else { return Ok(None) };
    // A line end is what `echo` leaves in a Secret; saying so beats a signature error from the server.
    let usable = !value.is_empty() && value.len() <= 16 * 1024 && value.bytes().all(|b| b.is_ascii_graphic());
    if usable { Ok(Some(SecretString::from(value))) } else { Err(StaticKeysError::Malformed(key)) }
}
