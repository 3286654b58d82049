//! The MinIO admin client on a real MinIO: every call, and what comes of it for those who use the keys.

mod service_accounts;
mod sessions;
mod users;
mod wire;

use crate::world::{Case, alone, beside};
use anyhow::{Context as _, ensure};
use boathouse_bucket::{BucketClient, BucketError, Failure, Http, HttpConfig, Keys, S3Target};
use boathouse_testkit::stack::Stack;
use minio_admin::{Client, Code, Credentials, Error, NewServiceAccount, Removal};
use secrecy::SecretString;
use std::time::Duration;

const SECRET: &str = "a-secret-of-the-users";
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(users::policies_come_and_go),
        beside!(users::a_disabled_user_cannot_log_in),
        beside!(users::a_group_gives_its_policy_to_its_members),
        beside!(service_accounts::are_limited_by_their_policy),
        beside!(service_accounts::change_and_end),
        beside!(service_accounts::end_with_their_user),
        beside!(service_accounts::are_gone_after_a_removal_given_up_half_way),
        beside!(sessions::are_limited_and_end_with_their_user),
        beside!(sessions::are_for_users_and_not_for_service_accounts),
        beside!(wire::the_server_opens_all_three_body_encryptions),
        alone!(wire::a_silent_server_is_left_alone_and_found_again),
    ]
}

/// A policy document that allows everything in one bucket.
fn everything_in(bucket: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}]}}"#
    )
}

/// One that allows listing it.
fn only_list(bucket: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["s3:ListBucket"],"Resource":["arn:aws:s3:::{bucket}"]}}]}}"#
    )
}

/// The admin client as somebody else than root.
fn client(stack: &Stack, access_key: &str, secret_key: impl Into<SecretString>) -> Result<Client, Error> {
    Client::new(stack.minio().admin().endpoint().clone(), Credentials::new(access_key, secret_key))
}

fn keys(access_key: &str, secret_key: impl Into<SecretString>) -> Keys {
    Keys { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
}

/// A bucket, as seen with these keys.
pub(crate) fn bucket(stack: &Stack, name: &str, keys: &Keys) -> anyhow::Result<BucketClient> {
    let target = S3Target {
        endpoint: stack.minio().url().parse()?,
        region: "us-east-1".into(),
        bucket: name.into(),
        path_style: true,
    };
    Ok(BucketClient::new(&Http::new(HttpConfig::default())?, target, keys)?)
}

pub(crate) fn failure<T>(outcome: Result<T, BucketError>) -> anyhow::Result<Failure> {
    outcome.err().map(|error| error.failure).context("it was allowed")
}

fn code<T>(outcome: Result<T, Error>) -> anyhow::Result<Code> {
    let error = outcome.err().context("it was allowed")?;
    error.code().cloned().with_context(|| format!("not MinIO's refusal: {error}"))
}

/// A bucket, a policy of the same name for all of it, and a user of the same name who has it.
async fn tenant(stack: &Stack, name: &str) -> anyhow::Result<()> {
    let admin = stack.minio().admin();
    stack.minio().create_bucket(name).await?;
    stack.minio().put_object(name, "hello", b"hi").await?;
    admin.add_policy(name, &everything_in(name)).await?;
    admin.add_user(name, &SECRET.into()).await?;
    admin.set_user_policy(name, &[name]).await?;
    ensure!(bucket(stack, name, &keys(name, SECRET))?.get("hello").await? == b"hi");
    Ok(())
}

/// Removes the user and the policy.
async fn end(stack: &Stack, name: &str) -> anyhow::Result<()> {
    let admin = stack.minio().admin();
    ensure!(admin.remove_user(name).await? == Removal::Removed);
    ensure!(admin.remove_policy(name).await? == Removal::Removed);
    ensure!(admin.remove_user(name).await? == Removal::Absent);
    Ok(())
}

fn service_account(parent: &str, access_key: &str) -> NewServiceAccount {
    NewServiceAccount {
        parent: Some(parent.into()),
        access_key: access_key.into(),
        secret_key: SECRET.into(),
        policy: None,
        name: None,
        description: None,
        expiration: None,
    }
}
