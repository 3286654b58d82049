//! Secret keys.

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};
use vault_plugin_sdk::{Error, Result, SystemView};

use crate::limits;

/// Characters in a secret key: 24 out of 62 are 142 bits. MinIO takes at most 40.
const LENGTH: usize = 24;

/// A random secret key, as the Go plugin makes them.
pub(crate) fn random() -> SecretString {
    SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), LENGTH))
}

/// A secret key by the host's password policy of this name; with an empty name a random one.
///
/// # Errors
/// The host's, when there is no such policy; HTTP 500 when MinIO would not take what it makes.
pub(crate) async fn generate(system: &SystemView, policy: &str) -> Result<SecretString> {
    if policy.is_empty() {
        return Ok(random());
    }
    let secret = system.generate_password(policy).await?;
    let text = secret.expose_secret();
    let length = text.chars().count();
    let (least, most) = (limits::GENERATED_SECRET.start(), limits::GENERATED_SECRET.end());
    if !limits::GENERATED_SECRET.contains(&length) {
        return Err(Error::internal(format!(
            "password policy {policy:?} makes {length} characters, and MinIO takes {least} to {most}: change its length"
        )));
    }
    if text.chars().any(|c| c.is_control()) {
        return Err(Error::internal(format!("password policy {policy:?} makes control characters")));
    }
    Ok(secret)
}
