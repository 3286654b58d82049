//! Temporary keys.

use super::{MINUTE, SECRET, bucket, client, code, end, failure, keys, only_list, service_account, tenant};
use crate::world::Shared;
use anyhow::{Context as _, ensure};
use boathouse_bucket::{Failure, Keys};
use boathouse_testkit::stack::Stack;
use jiff::Timestamp;
use minio_admin::Code;
use std::time::Duration;

pub(super) async fn are_limited_and_end_with_their_user(_: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let name = "api-sts";
    tenant(stack, name).await?;
    let user = client(stack, name, SECRET)?;
    let quarter = Duration::from_secs(900);
    let session = user.assume_role(Some(quarter), Some(&only_list(name))).await?;
    let left = session.expiration.duration_since(Timestamp::now());
    ensure!((800..=905).contains(&left.as_secs()), "ends in {left:?}");
    let with_token = Keys {
        session_token: Some(session.session_token.clone()),
        ..keys(&session.access_key, session.secret_key.clone())
    };
    let theirs = bucket(stack, name, &with_token)?;
    theirs.probe(None, MINUTE).await?;
    ensure!(failure(theirs.get("hello").await)? == Failure::AccessDenied);
    let without_token = keys(&session.access_key, session.secret_key.clone());
    failure(bucket(stack, name, &without_token)?.probe(None, MINUTE).await).context("without the token")?;

    let whole = user.assume_role(None, None).await?;
    let left = whole.expiration.duration_since(Timestamp::now());
    ensure!((3500..=3605).contains(&left.as_secs()), "ends in {left:?}");
    let whole =
        Keys { session_token: Some(whole.session_token), ..keys(&whole.access_key, whole.secret_key) };
    let theirs = bucket(stack, name, &whole)?;
    theirs.get("hello").await?;

    for seconds in [899, 366 * 24 * 3600] {
        let refused = user.assume_role(Some(Duration::from_secs(seconds)), None).await;
        ensure!(refused.as_ref().is_err_and(|error| error.status() == Some(400)), "{seconds}: {refused:?}");
    }
    let long = only_list(&"b".repeat(2100));
    let refused = user.assume_role(None, Some(&long)).await;
    ensure!(refused.as_ref().is_err_and(|error| error.status() == Some(400)), "{refused:?}");

    end(stack, name).await?;
    let failure = failure(theirs.get("hello").await)?;
    ensure!(matches!(failure, Failure::InvalidKeys { .. } | Failure::AccessDenied), "{failure:?}");
    Ok(())
}

pub(super) async fn are_for_users_and_not_for_service_accounts(
    _: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let (admin, name) = (stack.minio().admin(), "api-sts-who");
    tenant(stack, name).await?;
    admin.add_service_account(&service_account(name, "api-sts-svc")).await?;
    let refused = client(stack, "api-sts-svc", SECRET)?.assume_role(None, None).await;
    ensure!(code(refused).context("a service account")? == Code::AccessDenied);
    // Root is let through, other than in 2020.
    let root = admin.assume_role(None, Some(&only_list(name))).await?;
    let root = Keys { session_token: Some(root.session_token), ..keys(&root.access_key, root.secret_key) };
    let as_root = bucket(stack, name, &root)?;
    as_root.probe(None, MINUTE).await?;
    ensure!(failure(as_root.get("hello").await)? == Failure::AccessDenied);
    let wrong = client(stack, name, "not-the-secret")?.assume_role(None, None).await;
    ensure!(wrong.as_ref().is_err_and(|error| error.status() == Some(403)), "{wrong:?}");
    let nobody = client(stack, "api-nobody", SECRET)?.assume_role(None, None).await;
    ensure!(nobody.as_ref().is_err_and(|error| error.status() == Some(403)), "{nobody:?}");
    end(stack, name).await
}
