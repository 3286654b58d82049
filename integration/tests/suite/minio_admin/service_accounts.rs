//! Service accounts.

use super::{
    MINUTE, SECRET, bucket, client, code, end, everything_in, failure, keys, only_list, service_account,
    tenant,
};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_bucket::Failure;
use boathouse_testkit::stack::{SHARED_BUCKET, Stack};
use jiff::Timestamp;
use minio_admin::{Code, NewServiceAccount, Removal, ServiceAccountChange, UserStatus};
use std::time::Duration;

pub(super) async fn are_limited_by_their_policy(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (admin, name) = (stack.minio().admin(), "api-svc-policy");
    tenant(stack, name).await?;
    let whole = service_account(name, "api-svc-whole");
    let listing =
        NewServiceAccount { policy: Some(only_list(name)), ..service_account(name, "api-svc-list") };
    // More than the parent may is not given.
    let greedy =
        NewServiceAccount { policy: Some(everything_in("*")), ..service_account(name, "api-svc-all") };
    for account in [&whole, &listing, &greedy] {
        admin.add_service_account(account).await?;
    }
    ensure!(admin.service_account("api-svc-whole").await?.context("absent")?.policy.is_none());
    let policy = admin.service_account("api-svc-list").await?.context("absent")?.policy;
    ensure!(policy.as_deref().is_some_and(|policy| policy.contains("s3:ListBucket")), "{policy:?}");

    bucket(stack, name, &keys("api-svc-whole", SECRET))?.get("hello").await?;
    let theirs = bucket(stack, name, &keys("api-svc-list", SECRET))?;
    theirs.probe(None, MINUTE).await?;
    ensure!(failure(theirs.get("hello").await)? == Failure::AccessDenied);
    bucket(stack, name, &keys("api-svc-all", SECRET))?.get("hello").await?;
    let elsewhere = bucket(stack, SHARED_BUCKET, &keys("api-svc-all", SECRET))?;
    ensure!(failure(elsewhere.probe(None, MINUTE).await)? == Failure::AccessDenied);

    // The user itself can make one below itself, and its secret key is the body's password then.
    let own = NewServiceAccount { parent: None, ..service_account(name, "api-svc-own") };
    client(stack, name, SECRET)?.add_service_account(&own).await?;
    let info = client(stack, name, SECRET)?.service_account("api-svc-own").await?.context("absent")?;
    ensure!(info.parent == name, "{info:?}");
    end(stack, name).await
}

pub(super) async fn change_and_end(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (admin, name, key) = (stack.minio().admin(), "api-svc-change", "api-svc-changing");
    tenant(stack, name).await?;
    let in_an_hour = Timestamp::from_second(Timestamp::now().as_second() + 3600)?;
    let account = NewServiceAccount {
        expiration: Some(in_an_hour),
        name: Some("a name".into()),
        description: Some("\"quoted\" & é".into()),
        ..service_account(name, key)
    };
    admin.add_service_account(&account).await?;
    let info = admin.service_account(key).await?.context("absent")?;
    ensure!(info.parent == name && info.status == UserStatus::Enabled, "{info:?}");
    ensure!(info.expiration == Some(in_an_hour) && info.policy.is_none(), "{info:?}");
    let taken = admin.add_service_account(&account).await;
    ensure!(taken.as_ref().is_err_and(|error| !error.is_retryable()), "a key is taken once: {taken:?}");

    let later = Timestamp::from_second(in_an_hour.as_second() + 3600)?;
    let change = ServiceAccountChange {
        secret_key: Some("another-secret".into()),
        policy: Some(only_list(name)),
        expiration: Some(later),
        status: None,
    };
    admin.update_service_account(key, &change).await?;
    let info = admin.service_account(key).await?.context("absent")?;
    ensure!(info.expiration == Some(later) && info.policy.is_some(), "{info:?}");
    let theirs = bucket(stack, name, &keys(key, "another-secret"))?;
    theirs.probe(None, MINUTE).await?;
    ensure!(failure(theirs.get("hello").await)? == Failure::AccessDenied);
    let before = failure(bucket(stack, name, &keys(key, SECRET))?.probe(None, MINUTE).await)?;
    ensure!(matches!(before, Failure::InvalidKeys { .. }), "the old secret: {before:?}");

    for (status, works) in [(UserStatus::Disabled, false), (UserStatus::Enabled, true)] {
        let change = ServiceAccountChange { status: Some(status), ..ServiceAccountChange::default() };
        admin.update_service_account(key, &change).await?;
        ensure!(admin.service_account(key).await?.context("absent")?.status == status);
        ensure!(theirs.probe(None, MINUTE).await.is_ok() == works, "{status:?}");
    }

    ensure!(admin.remove_service_account(key).await? == Removal::Removed);
    ensure!(admin.remove_service_account(key).await? == Removal::Absent);
    ensure!(admin.service_account(key).await?.is_none());
    let gone = admin.update_service_account(key, &change).await;
    ensure!(gone.as_ref().is_err_and(|error| error.status() == Some(404)), "{gone:?}");
    let orphan = admin.add_service_account(&service_account("api-nobody", "api-svc-orphan")).await;
    ensure!(code(orphan)? == Code::NoSuchUser);
    end(stack, name).await
}

pub(super) async fn end_with_their_user(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (admin, name) = (stack.minio().admin(), "api-svc-parent");
    tenant(stack, name).await?;
    admin.add_service_account(&service_account(name, "api-svc-child")).await?;
    end(stack, name).await?;
    ensure!(admin.service_account("api-svc-child").await?.is_none());
    let failure = failure(bucket(stack, name, &keys("api-svc-child", SECRET))?.get("hello").await)?;
    ensure!(matches!(failure, Failure::InvalidKeys { .. }), "{failure:?}");
    // A user of the same name later does not have it back.
    admin.add_user(name, &SECRET.into()).await?;
    ensure!(admin.service_account("api-svc-child").await?.is_none());
    ensure!(admin.remove_user(name).await? == Removal::Removed);
    Ok(())
}

/// MinIO forgets an account whose removal was given up, and finds it on its disk when somebody logs in.
pub(super) async fn are_gone_after_a_removal_given_up_half_way(
    _: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let (admin, name) = (stack.minio().admin(), "api-svc-given-up");
    tenant(stack, name).await?;
    let names: Vec<String> = (0..24).map(|number| format!("api-given-up-{number}")).collect();
    for (number, key) in (0..).zip(&names) {
        admin.add_service_account(&service_account(name, key)).await?;
        let given_up = Duration::from_micros(200 * number);
        let _ = tokio::time::timeout(given_up, admin.remove_service_account(key)).await;
    }
    for key in &names {
        admin.remove_service_account(key).await?;
        let failure =
            failure(bucket(stack, name, &keys(key, SECRET))?.get("hello").await).context(key.clone())?;
        ensure!(matches!(failure, Failure::InvalidKeys { .. }), "{key}: {failure:?}");
    }
    end(stack, name).await
}
