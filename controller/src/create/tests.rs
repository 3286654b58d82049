#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;
use crate::keys::{KeySource, KeysError};
use boathouse_bucket::{BucketError, Failure, Http, HttpConfig};
use csi_proto::csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};
use csi_proto::csi::v1::{VolumeCapability, VolumeContentSource};
use std::time::Duration;
use volume_spec::{Endpoint, Region};

fn storage(buckets: &[&str]) -> Storage {
    Storage {
        http: Http::new(HttpConfig::default()).unwrap(),
        buckets: buckets.iter().map(|name| BucketName::parse(name).unwrap()).collect(),
        endpoint: Some(Endpoint::parse("http://minio:9000").unwrap()),
        region: Region::parse("us-east-1").unwrap(),
        keys: KeySource::None,
    }
}

fn request(parameters: &[(&str, &str)]) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: "pvc-1".into(),
        volume_capabilities: vec![VolumeCapability {
            access_mode: Some(AccessMode { mode: 1 }),
            access_type: Some(AccessType::Mount(MountVolume::default())),
        }],
        parameters: parameters.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..Default::default()
    }
}

#[test]
fn the_context_mounts_the_volume() {
    let mut request = request(&[
        ("vault-path", "minio/keys/team"),
        ("vault-ttl", "1h"),
        ("uid", "1000"),
        ("fileMode", "600"),
        ("csi.storage.k8s.io/pvc/name", "claim"),
    ]);
    request.capacity_range = Some(CapacityRange { required_bytes: 5, limit_bytes: 9 });
    let (id, wanted) = parse(&storage(&["data"]), &request).unwrap();
    let volume = volume(&id, &wanted.to_record());
    assert_eq!(volume.volume_id, "data/pvc-1");
    assert_eq!(volume.capacity_bytes, 5);
    let context: BTreeMap<_, _> =
        volume.volume_context.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [
        ("bucket", "data:pvc-1"),
        ("dirMode", "0755"),
        ("endpoint", "http://minio:9000"),
        ("fileMode", "0600"),
        ("region", "us-east-1"),
        ("uid", "1000"),
        ("vault-path", "minio/keys/team"),
        ("vault-ttl", "3600s"),
    ];
    assert_eq!(context, BTreeMap::from(expected));
    let again = Parameters::parse(&volume.volume_context, Strictness::Refuse).unwrap().spec;
    assert_eq!(again, wanted.spec);
}

#[test]
fn buckets_are_the_operators_choice() {
    let two = storage(&["data", "more"]);
    assert_eq!(parse(&two, &request(&[("bucket", "more")])).unwrap().0.to_string(), "more/pvc-1");
    let err = parse(&two, &request(&[])).unwrap_err().to_string();
    assert!(err.contains("data, more"), "{err}");
    let err = parse(&two, &request(&[("bucket", "theirs")])).unwrap_err();
    assert!(matches!(err, CreateVolumeError::BucketNotAllowed { .. }), "{err}");
    let err = parse(&two, &request(&[("bucket", "data:secret")])).unwrap_err();
    assert!(matches!(err, CreateVolumeError::PrefixGiven), "{err}");
}

#[test]
fn a_spelling_mistake_is_named_with_the_valid_keys() {
    let err = parse(&storage(&["data"]), &request(&[("vaultPath", "a/b")])).unwrap_err();
    let text = boathouse_service::border::chain(&err);
    assert!(text.contains("vaultPath") && text.contains("vault-path"), "{text}");
    assert_eq!(err.code(), Code::InvalidArgument);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let storage = storage(&["data"]);
    let refused = |change: &dyn Fn(&mut CreateVolumeRequest)| {
        let mut request = request(&[]);
        change(&mut request);
        parse(&storage, &request).unwrap_err()
    };
    assert!(matches!(refused(&|r| r.name.clear()), CreateVolumeError::NoName));
    assert!(matches!(refused(&|r| r.name = "é".repeat(65)), CreateVolumeError::LongName(130)));
    assert!(matches!(refused(&|r| r.volume_capabilities.clear()), CreateVolumeError::Capability(_)));
    let source = |r: &mut CreateVolumeRequest| r.volume_content_source = Some(VolumeContentSource::default());
    assert!(matches!(refused(&source), CreateVolumeError::Source));
    let mutable = |r: &mut CreateVolumeRequest| drop(r.mutable_parameters.insert("a".into(), "b".into()));
    assert!(matches!(refused(&mutable), CreateVolumeError::Mutable));
    for (required, limit) in [(-1, 0), (0, -1), (2, 1)] {
        let range = CapacityRange { required_bytes: required, limit_bytes: limit };
        let err = refused(&|r| r.capacity_range = Some(range));
        assert!(matches!(err, CreateVolumeError::Capacity { .. }), "{required} {limit}: {err}");
    }
}

#[test]
fn every_error_has_its_code() {
    use CreateVolumeError as E;
    let bucket = |failure| {
        E::S3(S3Error::Bucket(BucketError {
            bucket: "data".into(),
            endpoint: "http://minio".into(),
            failure,
        }))
    };
    let data = || BucketName::parse("data").unwrap();
    let invalid = Parameters::parse(&BTreeMap::new(), Strictness::Refuse).unwrap_err();
    let cases = [
        (E::NoName, Code::InvalidArgument),
        (E::LongName(129), Code::InvalidArgument),
        (E::Capability(CapabilityError::Block), Code::InvalidArgument),
        (E::Capacity { required: 2, limit: 1 }, Code::OutOfRange),
        (E::Source, Code::InvalidArgument),
        (E::Mutable, Code::InvalidArgument),
        (E::Parameters(invalid), Code::InvalidArgument),
        (E::NoBucket(vec![data()]), Code::InvalidArgument),
        (E::BucketNotAllowed { bucket: data(), allowed: vec![] }, Code::InvalidArgument),
        (E::PrefixGiven, Code::InvalidArgument),
        (E::Exists(Conflict::Capacity(1)), Code::AlreadyExists),
        (E::Busy, Code::Aborted),
        (E::S3(S3Error::NoEndpoint), Code::FailedPrecondition),
        (E::S3(S3Error::Keys(KeysError::None)), Code::FailedPrecondition),
        (bucket(Failure::NoSuchBucket), Code::FailedPrecondition),
        (bucket(Failure::AccessDenied), Code::PermissionDenied),
        (bucket(Failure::InvalidKeys { code: "InvalidAccessKeyId".into() }), Code::Unauthenticated),
        (bucket(Failure::EndpointUnreachable("refused".into())), Code::Unavailable),
        (bucket(Failure::Timeout(Duration::from_secs(1))), Code::Unavailable),
        (bucket(Failure::Other { status: 503, code: "SlowDown".into() }), Code::Unavailable),
        (bucket(Failure::Other { status: 400, code: "Odd".into() }), Code::Internal),
    ];
    for (err, code) in cases {
        assert_eq!(err.code(), code, "{err:?}");
    }
}
