//! What is below the calls: sealed bodies, the breaker.

use super::{SECRET, client, code};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Stack;
use minio_admin::body::Algorithm;
use minio_admin::{BodyEncryption, Breaker, Client, Code, Credentials, Error, Removal};
use std::time::Duration;

pub(super) async fn the_server_opens_all_three_body_encryptions(
    _: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let minio = stack.minio();
    for (algorithm, user) in [
        (Algorithm::Argon2idAesGcm, "api-argon-aes"),
        (Algorithm::Argon2idChaCha20Poly1305, "api-argon-chacha"),
        (Algorithm::Pbkdf2AesGcm, "api-pbkdf2-aes"),
    ] {
        let credentials = Credentials::new(minio.root_user(), minio.root_password().clone());
        let client = Client::builder(minio.admin().endpoint().clone(), credentials)
            .body_encryption(BodyEncryption::Always(algorithm))
            .build()?;
        client.add_user(user, &SECRET.into()).await.with_context(|| format!("{algorithm:?}"))?;
        // Who can log in has the secret that was sealed.
        code(self::client(stack, user, SECRET)?.user_info("api-nobody").await)?;
        self::client(stack, user, SECRET)?.assume_role(None, None).await?;
        ensure!(client.list_users().await?.contains_key(user));
        ensure!(client.remove_user(user).await? == Removal::Removed);
    }
    Ok(())
}

pub(super) async fn a_silent_server_is_left_alone_and_found_again(
    _: &Shared,
    stack: &mut Stack,
) -> anyhow::Result<()> {
    let pause = Duration::from_secs(1);
    let minio = stack.minio();
    let credentials = Credentials::new(minio.root_user(), minio.root_password().clone());
    let client = Client::builder(minio.admin().endpoint().clone(), credentials)
        .timeout(Duration::from_secs(1))
        .breaker(Breaker::new(2, pause))
        .build()?;
    ensure!(code(client.user_info("api-nobody").await)? == Code::NoSuchUser);
    minio.pause()?;
    for _ in 0..2 {
        let lost = client.user_info("api-nobody").await;
        ensure!(matches!(lost, Err(Error::Timeout { .. })), "{lost:?}");
    }
    let resting = client.user_info("api-nobody").await;
    ensure!(matches!(resting, Err(Error::Resting { .. })), "{resting:?}");
    minio.resume()?;
    tokio::time::sleep(pause).await;
    ensure!(code(client.user_info("api-nobody").await)? == Code::NoSuchUser);
    Ok(())
}
