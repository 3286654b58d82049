//! One tenant cannot reach another, whatever it writes into its volume.

use crate::scene::{LIFE, Scene, refused, write_and_close};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::kubelet::TOKENS;
use boathouse_testkit::stack::{Claims, Identities, Stack};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tonic::Code;
use vault_client::{VaultClient, VaultConfig, VaultError};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(another_tenants_path_is_denied),
        beside!(another_tenants_bucket_is_denied),
        beside!(tokens_that_are_not_good_are_denied),
        beside!(a_clock_that_is_an_hour_wrong_is_told),
        beside!(a_token_of_another_pods_account_is_denied),
        beside!(tenants_never_share_a_mount),
        beside!(a_token_that_is_gone_is_known_by_vaults_words),
    ]
}

async fn another_tenants_path_is_denied(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "path-a").await?;
    let other = stack.tenant("path-b", LIFE).await?;
    let volume = scene.volume("nb").with("vault-path", &other.vault_path);
    let status = refused(
        scene.node.publish(stack.identities(), &volume).await,
        Code::PermissionDenied,
        &["Vault denied", &other.vault_path],
    )?;
    ensure!(!status.message().contains("eyJ"), "a token is in the message: {status}");
    ensure!(other.users_among(&stack.minio_users().await?).is_empty());
    let missing = scene.volume("nb").with("vault-path", "nowhere/keys/profile-path-a");
    let answer = scene.node.publish(stack.identities(), &missing).await;
    refused(answer, Code::PermissionDenied, &["nowhere/keys/profile-path-a"])?;
    scene.finish(stack).await
}

async fn another_tenants_bucket_is_denied(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "bucket-a").await?;
    stack.tenant("bucket-b", LIFE).await?;
    let volume = scene.volume("nb").with("bucket", "bucket-b");
    refused(
        scene.node.publish(stack.identities(), &volume).await,
        Code::PermissionDenied,
        &["bucket-b", "access denied"],
    )?;
    scene.finish(stack).await
}

async fn tokens_that_are_not_good_are_denied(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "tokens").await?;
    let volume = scene.volume("nb");
    let stranger = Identities::generate()?;
    refused(scene.node.publish(&stranger, &volume).await, Code::PermissionDenied, &["Vault denied login"])?;
    let mut expired = volume.clone();
    // Well beyond the minute that clocks may differ by.
    expired.claims.lifetime = -600;
    refused(scene.node.publish(stack.identities(), &expired).await, Code::PermissionDenied, &["login"])?;
    // A good token does not vouch for a bad one of the same account: the mount of the first is not shared.
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let mut second = scene.volume("other-pod");
    second.claims = Claims { lifetime: 600, ..second.claims };
    refused(scene.node.publish(&stranger, &second).await, Code::PermissionDenied, &["Vault denied login"])?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

/// Tokens are dated by the API server's clock and checked by Vault's. Lives of leases are durations: no clock but the
/// node's own counts them.
async fn a_clock_that_is_an_hour_wrong_is_told(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "clock").await?;
    let mut volume = scene.volume("nb");
    // kubelet asks for tokens of an hour.
    volume.claims.lifetime = 3600;
    for (ahead, words) in [(3600, "before"), (-3700, "expired")] {
        volume.claims.clock = ahead;
        let answer = scene.node.publish(stack.identities(), &volume).await;
        refused(answer, Code::PermissionDenied, &["Vault denied login", words])?;
    }
    volume.claims.clock = 0;
    let target = scene.node.publish(stack.identities(), &volume).await?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn a_token_of_another_pods_account_is_denied(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "stated-a").await?;
    let other = stack.tenant("stated-b", LIFE).await?;
    let volume = scene.volume("nb").with("vault-path", &other.vault_path).with("bucket", &other.bucket);
    let mut request = volume.request(stack.identities(), &scene.node.pods());
    boathouse_testkit::kubelet::make_parent(request.target_path.as_ref())?;
    // What a pod's own Secret could carry: a genuine token of somebody else.
    let theirs = boathouse_testkit::kubelet::PodVolume::new(other.pod("victim", LIFE), "v", &[]);
    let theirs = theirs.request(stack.identities(), &scene.node.pods());
    request.secrets.insert(TOKENS.into(), theirs.volume_context[TOKENS].clone());
    let answer = scene.node.send_publish(request).await;
    refused(answer, Code::PermissionDenied, &["stated-a", "stated-b"])?;
    ensure!(other.users_among(&stack.minio_users().await?).is_empty());
    scene.finish(stack).await
}

async fn tenants_never_share_a_mount(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "share-a").await?;
    let other = stack.tenant("share-b", LIFE).await?;
    let mine = scene.volume("nb").with("bucket", "shared");
    let mut theirs = mine.clone().with("vault-path", &other.vault_path);
    theirs.claims = other.pod("nb-b", LIFE);
    let a = scene.node.publish(stack.identities(), &mine).await?;
    let b = scene.node.publish(stack.identities(), &theirs).await?;
    ensure!(scene.mounts().len() == 2 && scene.users(stack).await?.len() == 1);
    ensure!(other.users_among(&stack.minio_users().await?).len() == 1);
    std::fs::create_dir(a.join("share-a"))?;
    std::fs::write(a.join("share-a/x"), "mine")?;
    let written = write_and_close(&b.join("share-a/y"), b"theirs");
    ensure!(written.is_err(), "b writes into a's folder");
    scene.node.unpublish(&mine.id(), &a).await?;
    ensure!(std::fs::read_dir(&b).is_ok());
    scene.node.unpublish(&theirs.id(), &b).await?;
    scene.finish(stack).await
}

/// The words the node plugin tells a token that is gone from one that may not revoke itself by.
async fn a_token_that_is_gone_is_known_by_vaults_words(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let vault = VaultClient::new(&VaultConfig::new(stack.bao().address().parse()?))?;
    let token = async |body: Value| -> anyhow::Result<SecretString> {
        let made = stack.vault().write("auth/token/create", &body).await?;
        Ok(made["auth"]["client_token"].as_str().context("no token")?.into())
    };
    let gone = token(json!({ "ttl": "60s" })).await?;
    vault.revoke_self(&gone).await?;
    for unknown in [&gone, &"s.neverwasatoken".into()] {
        let Err(error) = vault.revoke_self(unknown).await else { bail!("revoked a token that is gone") };
        ensure!(matches!(error, VaultError::UnknownToken { .. }), "{error}");
    }
    let powerless = token(json!({ "ttl": "60s", "no_default_policy": true, "policies": ["none"] })).await?;
    let Err(error) = vault.revoke_self(&powerless).await else { bail!("revoked without a policy for it") };
    ensure!(matches!(error, VaultError::Denied { .. }), "{error}");
    stack.vault().write("auth/token/revoke", &json!({ "token": powerless.expose_secret() })).await?;
    Ok(())
}
