//! What the three encryptions of request bodies cost.

use super::super::statistics::Series;
use boathouse_testkit::stack::Stack;
use minio_admin::body::{Algorithm, seal};
use minio_admin::{BodyEncryption, Client, Credentials};
use secrecy::{ExposeSecret as _, SecretString};
use std::hint::black_box;
use std::time::Instant;

/// As large as the body that makes a user.
const BODY: &[u8] = br#"{"secretKey":"twenty-four random chars","status":"enabled"}"#;
const USER: &str = "bodies";

/// One of the three.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    pub(super) name: &'static str,
    /// Sealing by itself, our side of it.
    pub(super) seal: Series,
    /// The call that makes a user: both sides.
    pub(super) call: Series,
}

/// The algorithms take turns.
pub(super) async fn measure(stack: &Stack, rounds: u32) -> anyhow::Result<Vec<Cost>> {
    let minio = stack.minio();
    let credentials = Credentials::new(minio.root_user(), minio.root_password().clone());
    let mut all = Vec::new();
    for (name, algorithm) in [
        ("PBKDF2, AES-256-GCM", Algorithm::Pbkdf2AesGcm),
        ("Argon2id, AES-256-GCM", Algorithm::Argon2idAesGcm),
        ("Argon2id, ChaCha20-Poly1305", Algorithm::Argon2idChaCha20Poly1305),
    ] {
        let client = Client::builder(minio.admin().endpoint().clone(), credentials.clone())
            .body_encryption(BodyEncryption::Always(algorithm))
            .build()?;
        all.push((Cost { name, seal: Series::default(), call: Series::default() }, algorithm, client));
    }
    let secret = SecretString::from("twenty-four random chars");
    // The first round opens connections and does not count.
    for round in 0..=rounds {
        for (cost, algorithm, client) in &mut all {
            let (password, algorithm) = (minio.root_password().clone(), *algorithm);
            let sealing = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let sealed = seal(password.expose_secret().as_bytes(), algorithm, BODY);
                black_box(sealed).map(|_| began.elapsed())
            });
            let sealed = sealing.await??;
            let began = Instant::now();
            client.add_user(USER, &secret).await?;
            let called = began.elapsed();
            if round > 0 {
                cost.seal.push(sealed);
                cost.call.push(called);
            }
        }
    }
    minio.admin().remove_user(USER).await?;
    Ok(all.into_iter().map(|(cost, ..)| cost).collect())
}
