#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::identity::Requester;
use crate::kubelet::events::tests::{FakeApiServer, pod};
use crate::lease::{IssueError, LeaseError};
use crate::mount::CreateError;
use boathouse_bucket::{BucketError, Failure};
use boathouse_mounts::{MountError, Readonly};
use vault_client::{Operation, VaultError};
use volume_spec::VolumeSpec;

const TARGET: &str = "/pods/u-1/volumes/kubernetes.io~csi/minio-private/mount";

fn request() -> PublishRequest {
    PublishRequest {
        volume_id: "csi-0a1b".to_owned(),
        target: TARGET.into(),
        target_dir: TargetDir::Ours,
        spec: VolumeSpec::new("alice".parse().unwrap()),
        who: Requester::Node { namespace: "alice".to_owned() },
        readonly: Readonly::No,
        optional: true,
        pod: Some(pod()),
    }
}

fn bucket(failure: Failure) -> PublishError {
    let error = BucketError { bucket: "alice".into(), endpoint: "http://minio:9000".into(), failure };
    PublishError::Create(CreateError::Bucket(error))
}

fn vault(error: VaultError) -> PublishError {
    PublishError::Lease(LeaseError::Issue(IssueError::Vault(error)))
}

#[test]
fn only_what_vault_and_s3_are_to_blame_for_is_put_up_with() {
    let (operation, path) = (Operation::Login, "auth/jwt/login".to_owned());
    let denied = VaultError::Denied { operation, path: path.clone(), status: 403, message: String::new() };
    let bad =
        |status| VaultError::BadRequest { operation, path: path.clone(), status, message: String::new() };
    for error in [
        bucket(Failure::EndpointUnreachable("refused".into())),
        bucket(Failure::Timeout(PATIENCE)),
        bucket(Failure::NoSuchBucket),
        bucket(Failure::AccessDenied),
        bucket(Failure::InvalidKeys { code: "InvalidAccessKeyId".into() }),
        PublishError::Create(CreateError::Waited { bucket: "alice".into() }),
        PublishError::Lease(LeaseError::Waited("minio/keys/alice".into())),
        vault(denied),
        vault(VaultError::Sealed { operation, path: path.clone(), status: 503 }),
        vault(bad(412)),
    ] {
        assert!(error.unavailable().is_some(), "{error}");
    }
    for error in [
        bucket(Failure::InvalidInput("no")),
        bucket(Failure::WrongRegion { configured: "a".into(), expected: None }),
        vault(bad(400)),
        vault(VaultError::InvalidInput { operation, path: path.clone(), reason: "no" }),
        PublishError::Lease(LeaseError::Issue(IssueError::NoNodeIdentity)),
        PublishError::Create(CreateError::NoUser),
        PublishError::Busy(TARGET.into()),
        PublishError::TargetGone(TARGET.into()),
        PublishError::Mount(MountError::NotAbsolute { path: "x".into() }),
    ] {
        assert!(error.unavailable().is_none(), "{error}");
    }
}

#[tokio::test]
async fn each_reason_is_told_once_and_so_is_the_end_of_it() {
    let (server, events, _account) = FakeApiServer::start().await;
    let absences = Absences::new(Some(events));
    let (request, target) = (request(), Path::new(TARGET));
    let missing = |error: PublishError| {
        absences.missing(&request, target, error.unavailable().unwrap(), &error);
    };
    let waited = |ms| bucket(Failure::Timeout(Duration::from_millis(ms)));
    missing(waited(9980));
    server.wait(1).await;
    missing(waited(9991));
    missing(bucket(Failure::NoSuchBucket));
    server.wait(2).await;
    absences.came(&request, target);
    server.wait(3).await;
    // Anew, as if it had never been said.
    missing(bucket(Failure::NoSuchBucket));
    server.wait(4).await;
    let told: Vec<String> = server
        .lock()
        .events
        .iter()
        .map(|(_, event)| {
            let [kind, reason, message] =
                ["type", "reason", "message"].map(|key| event[key].as_str().unwrap());
            format!("{kind} {reason} {message}")
        })
        .collect();
    for (told, words) in told.iter().zip([
        ["Warning BoathouseVolumeUnavailable", "minio-private", "bucket alice", "no answer within 9.98s"],
        ["Warning BoathouseVolumeUnavailable", "minio-private", "bucket alice", "does not exist"],
        ["Normal BoathouseVolumeAvailable", "minio-private", "bucket alice", "HostToContainer"],
        ["Warning BoathouseVolumeUnavailable", "minio-private", "republish", "does not exist"],
    ]) {
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }
}

#[test]
fn volumes_are_called_what_the_pod_calls_them() {
    assert_eq!(volume_name(Path::new(TARGET)), Some("minio-private"));
    assert_eq!(volume_name(Path::new("/pods/u/volumes/statcan.gc.ca~boathouse/data")), Some("data"));
    assert_eq!(volume_name(Path::new("/")), None);
}
