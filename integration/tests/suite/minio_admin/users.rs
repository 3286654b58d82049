//! Users, their groups, and the policies of both.

use super::{SECRET, bucket, code, end, failure, keys, only_list, service_account, tenant};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_bucket::Failure;
use boathouse_testkit::stack::Stack;
use minio_admin::{Code, Removal, UserStatus};

pub(super) async fn policies_come_and_go(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (admin, name) = (stack.minio().admin(), "api-policies");
    ensure!(admin.policy(name).await?.is_none());
    admin.add_policy(name, &only_list("one")).await?;
    admin.add_policy(name, &only_list("two")).await?;
    let document: serde_json::Value = serde_json::from_str(&admin.policy(name).await?.context("absent")?)?;
    ensure!(document["Statement"][0]["Resource"][0] == "arn:aws:s3:::two", "not replaced: {document}");
    let refused = admin.add_policy("api-wrong", r#"{"Version":"2012-10-17","Statement":[{}]}"#).await;
    ensure!(refused.as_ref().is_err_and(|error| error.status() == Some(400)), "{refused:?}");
    // A document without a version is JSON, and no policy.
    let refused = admin.add_policy("api-wrong", "{}").await;
    ensure!(refused.as_ref().is_err_and(|error| error.status() == Some(400)), "{refused:?}");

    admin.add_user(name, &SECRET.into()).await?;
    admin.set_user_policy(name, &[name, "readonly"]).await?;
    let info = admin.user_info(name).await?;
    ensure!(info.policies().collect::<Vec<_>>() == [name, "readonly"], "{info:?}");
    ensure!(code(admin.remove_policy(name).await)? == Code::PolicyInUse);
    admin.remove_user(name).await?;
    ensure!(admin.remove_policy(name).await? == Removal::Removed);
    ensure!(admin.policy(name).await?.is_none());
    // MinIO does not tell, and the documentation says so.
    ensure!(admin.remove_policy(name).await? == Removal::Removed);
    Ok(())
}

pub(super) async fn a_disabled_user_cannot_log_in(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (admin, name) = (stack.minio().admin(), "api-disabled");
    tenant(stack, name).await?;
    let theirs = bucket(stack, name, &keys(name, SECRET))?;
    admin.add_service_account(&service_account(name, "api-disabled-svc")).await?;
    let below = bucket(stack, name, &keys("api-disabled-svc", SECRET))?;
    below.get("hello").await?;
    admin.set_user_status(name, UserStatus::Disabled).await?;
    ensure!(admin.user_info(name).await?.status == UserStatus::Disabled);
    for client in [&theirs, &below] {
        let failure = failure(client.get("hello").await)?;
        ensure!(matches!(failure, Failure::InvalidKeys { .. } | Failure::AccessDenied), "{failure:?}");
    }
    admin.set_user_status(name, UserStatus::Enabled).await?;
    theirs.get("hello").await?;
    below.get("hello").await?;
    ensure!(code(admin.set_user_status("api-nobody", UserStatus::Disabled).await)? == Code::NoSuchUser);
    end(stack, name).await
}

pub(super) async fn a_group_gives_its_policy_to_its_members(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (admin, group) = (stack.minio().admin(), "api-group");
    tenant(stack, group).await?;
    for user in ["api-member-1", "api-member-2"] {
        admin.add_user(user, &SECRET.into()).await?;
    }
    let theirs = bucket(stack, group, &keys("api-member-1", SECRET))?;
    ensure!(failure(theirs.get("hello").await)? == Failure::AccessDenied);
    ensure!(code(admin.add_to_group(group, &["api-member-1", "api-nobody"]).await)? == Code::NoSuchUser);
    ensure!(admin.user_info("api-member-1").await?.member_of.is_empty(), "all or none");

    admin.add_to_group(group, &["api-member-1", "api-member-2"]).await?;
    admin.add_to_group(group, &["api-member-1"]).await?;
    admin.set_group_policy(group, &[group]).await?;
    ensure!(admin.user_info("api-member-2").await?.member_of == [group]);
    theirs.get("hello").await?;

    for _ in 0..2 {
        admin.remove_from_group(group, &["api-member-1"]).await?;
        ensure!(admin.user_info("api-member-1").await?.member_of.is_empty());
    }
    ensure!(failure(theirs.get("hello").await)? == Failure::AccessDenied);
    admin.remove_from_group(group, &[]).await?;
    ensure!(admin.user_info("api-member-2").await?.member_of == [group], "the group is still there");
    admin.remove_from_group("api-no-group", &["api-member-1"]).await?;
    ensure!(code(admin.set_group_policy("api-no-group", &[group]).await)? == Code::NoSuchGroup);

    admin.set_group_policy(group, &[]).await?;
    admin.remove_user("api-member-1").await?;
    admin.remove_user("api-member-2").await?;
    end(stack, group).await
}
