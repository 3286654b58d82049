//! The servers of the stack, for real: it starts, tells tenants apart, survives what tests do to it, and leaves
//! nothing. Needs the third-party parts and builds our programs, hence ignored in a plain `cargo test`;
//! `cargo xtask test --only stack` runs it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use boathouse_testkit::leftovers::Snapshot;
use boathouse_testkit::parts::{Event, Parts};
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::stack::{AUTH_MOUNT, AUTH_ROLE, Identities, NODE_ROLE, Stack};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(600);

#[tokio::test]
#[ignore = "needs third-party parts; cargo xtask test --only stack runs it"]
async fn tenants_are_told_apart_and_nothing_is_left() {
    let before = Snapshot::take().unwrap();
    let parts = Parts::obtain(&mut |_: &Event<'_>| {}).unwrap();
    let programs = Programs::build(Profile::Dev).unwrap();
    let mut stack = Stack::start(&parts, &programs).await.unwrap();

    let (a, b) = (stack.tenant("team-a", TTL).await.unwrap(), stack.tenant("team-b", TTL).await.unwrap());
    let jwt = stack.identities().sign(&a.pod("web-0", TTL)).unwrap();
    let as_a = stack.vault().with_token(stack.vault().login(AUTH_MOUNT, AUTH_ROLE, &jwt).await.unwrap());

    // Its own keys, each for a user of its own.
    let first = as_a.read(&a.vault_path).await.unwrap();
    let lease = first["lease_id"].as_str().unwrap();
    assert!(lease.starts_with(&format!("{}/", a.vault_path)), "{lease}");
    let user = first["data"]["accessKeyId"].as_str().unwrap();
    assert_eq!(a.users_among(&stack.minio_users().await.unwrap()), [user]);
    assert!(b.users_among(&stack.minio_users().await.unwrap()).is_empty());
    assert_eq!(stack.vault().leases(&a.role).await.unwrap(), [lease]);

    // Not its neighbour's, and nobody else's tokens.
    assert_eq!(as_a.read(&b.vault_path).await.unwrap_err().status(), Some(403));
    let stranger = Identities::generate().unwrap().sign(&a.pod("web-0", TTL)).unwrap();
    let refused = stack.vault().login(AUTH_MOUNT, AUTH_ROLE, &stranger).await.unwrap_err();
    assert!(matches!(refused.status(), Some(400 | 403)), "{refused}");
    let mut wrong = a.pod("web-0", TTL);
    wrong.audience = "api".to_owned();
    let wrong = stack.identities().sign(&wrong).unwrap();
    assert!(stack.vault().login(AUTH_MOUNT, AUTH_ROLE, &wrong).await.is_err());
    assert!(stack.vault().login(AUTH_MOUNT, NODE_ROLE, &jwt).await.is_err());
    let node = stack.node_token(TTL).unwrap();
    let as_node = stack.vault().with_token(stack.vault().login(AUTH_MOUNT, NODE_ROLE, &node).await.unwrap());
    as_node.read(&b.vault_path).await.unwrap();

    // Outages: sealed, frozen, gone; the data is still there afterwards.
    stack.bao().seal().await.unwrap();
    assert_eq!(as_a.read(&a.vault_path).await.unwrap_err().status(), Some(503));
    stack.bao().unseal().await.unwrap();
    stack.bao().pause().unwrap();
    let frozen = tokio::time::timeout(Duration::from_millis(300), as_a.read(&a.vault_path)).await;
    assert!(frozen.is_err(), "a frozen OpenBao answered {frozen:?}");
    stack.bao().resume().unwrap();
    stack.bao_mut().stop();
    assert_eq!(as_a.read(&a.vault_path).await.unwrap_err().status(), None);
    stack.bao_mut().restart().await.unwrap();
    stack.minio_mut().stop();
    stack.minio_mut().restart().await.unwrap();
    as_a.read(&a.vault_path).await.unwrap();

    // The objects a pod would see.
    stack.minio().put_object(&a.bucket, "dir/hello", b"hi").await.unwrap();
    assert_eq!(stack.minio().get_object(&a.bucket, "dir/hello").await.unwrap(), b"hi");
    assert_eq!(stack.minio().get_object(&b.bucket, "dir/hello").await.unwrap_err().status(), Some(404));
    assert_eq!(stack.minio().create_bucket(&a.bucket).await.unwrap_err().status(), Some(409));

    // Revoking the token deletes its users.
    as_a.call(reqwest::Method::POST, "auth/token/revoke-self", None).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..100 {
        left = a.users_among(&stack.minio_users().await.unwrap());
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(left.is_empty(), "{left:?}");

    let tree = stack.tree().path().to_owned();
    let pids = [stack.bao().pid().unwrap(), stack.minio().pid().unwrap()];
    drop(stack);
    assert!(!tree.exists());
    let left = before.diff(Duration::from_secs(5)).unwrap();
    let ours = |line: &&String| {
        line.contains(&*tree.to_string_lossy())
            || pids.iter().any(|pid| line.starts_with(&format!("process {pid} ")))
    };
    let left: Vec<&String> = left.iter().filter(ours).collect();
    assert!(left.is_empty(), "{left:?}");
}
