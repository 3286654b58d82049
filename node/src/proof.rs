//! Comparing secrets without keeping them: a digest under a key that only this process has.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

static KEY: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// Equal for equal secrets within this process, useless outside it.
pub fn of(secret: &SecretString) -> [u8; 32] {
    // The key fills one block's half and comes first; the digest never leaves the process, so length
    // extension is of no use to anybody.
    let mut digest = Sha256::new();
    digest.update(*KEY);
    digest.update(secret.expose_secret().as_bytes());
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_secrets_only() {
        let (a, b) = (SecretString::from("a"), SecretString::from("b"));
        assert_eq!(of(&a), of(&SecretString::from("a")));
        assert_ne!(of(&a), of(&b));
    }
}
