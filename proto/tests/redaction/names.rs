//! A new field that is a secret by its name or type, but that nobody marked.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind};

use super::{PRODUCT, is_secret, own_messages};

/// Words that make a field a suspect.
const WORDS: &[&str] = &[
    "accessor",
    "auth",
    "authorization",
    "bearer",
    "cert",
    "context",
    "cookie",
    "cred",
    "credential",
    "credentials",
    "data",
    "header",
    "headers",
    "json",
    "jwt",
    "key",
    "keys",
    "login",
    "nonce",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pem",
    "private",
    "secret",
    "secrets",
    "session",
    "signature",
    "sts",
    "token",
    "tokens",
    "value",
];

const STORAGE_KEY: &str = "path of a storage entry, not its content";
const VOLUME_CONTEXT: &str =
    "no secrets by the specification; kubelet adds tokens for NodePublishVolume alone, where it is marked";
const PUBLISH_CONTEXT: &str = "made by our own controller, which puts no secret there";
const PAGE: &str = "position in a list";
/// Suspects that are no secrets, and why.
const ALLOWED: &[(&str, &str)] = &[
    (
        "boathouse.keeper.v1.Generation.access_key",
        "names the key pair, as in MinIO's own logs; secret_key is marked",
    ),
    ("csi.v1.ControllerPublishVolumeRequest.volume_context", VOLUME_CONTEXT),
    ("csi.v1.ControllerPublishVolumeResponse.publish_context", PUBLISH_CONTEXT),
    ("csi.v1.ListSnapshotsRequest.starting_token", PAGE),
    ("csi.v1.ListSnapshotsResponse.next_token", PAGE),
    ("csi.v1.ListVolumesRequest.starting_token", PAGE),
    ("csi.v1.ListVolumesResponse.next_token", PAGE),
    ("csi.v1.NodePublishVolumeRequest.publish_context", PUBLISH_CONTEXT),
    ("csi.v1.NodeStageVolumeRequest.publish_context", PUBLISH_CONTEXT),
    ("csi.v1.NodeStageVolumeRequest.volume_context", VOLUME_CONTEXT),
    ("csi.v1.ValidateVolumeCapabilitiesRequest.volume_context", VOLUME_CONTEXT),
    ("csi.v1.ValidateVolumeCapabilitiesResponse.Confirmed.volume_context", VOLUME_CONTEXT),
    ("csi.v1.Volume.volume_context", VOLUME_CONTEXT),
    ("logical.Alias.mount_accessor", "names an auth mount"),
    ("pb.Auth.token_policies", "names of policies"),
    ("pb.Auth.token_type", "service or batch"),
    ("pb.Certificate.asn1_data", "a certificate is public"),
    ("pb.ConnectionState.ocsp_response", "part of the public TLS handshake"),
    ("pb.ConnectionState.signed_certificate_timestamps", "part of the public TLS handshake"),
    ("pb.InvalidateKeyArgs.key", STORAGE_KEY),
    ("pb.Request.client_token_remaining_uses", "a count"),
    ("pb.Request.mount_accessor", "names the mount"),
    ("pb.StorageDeleteArgs.key", STORAGE_KEY),
    ("pb.StorageEntry.key", STORAGE_KEY),
    ("pb.StorageGetArgs.key", STORAGE_KEY),
    ("pb.StorageListReply.keys", STORAGE_KEY),
];

/// By a word in its name, or because bytes can be anything. A field that holds a message is as safe as the
/// fields of that message, which are looked at themselves.
fn is_suspect(field: &FieldDescriptor) -> bool {
    let words = words(field.name()).iter().any(|word| WORDS.contains(&word.as_str()));
    match field.kind() {
        Kind::Message(_) if !field.is_map() => false,
        Kind::Bytes => true,
        Kind::Bool => false,
        _ => words,
    }
}

/// Of a name in whatever style: `client_token`, `clientToken`, `ClientJWT`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        if c != '_' {
            let word = words.pop().unwrap_or_default();
            words.push(word + &c.to_lowercase().to_string());
        }
        after_lower = c.is_lowercase();
    }
    words
}

#[test]
fn every_suspect_is_marked_or_excused() {
    let pool = DescriptorPool::decode(PRODUCT).unwrap();
    let suspects: BTreeSet<_> = own_messages(&pool)
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter(|field| is_suspect(field) && !is_secret(field))
        .map(|field| field.full_name().to_owned())
        .collect();
    let excused: BTreeSet<_> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let unmarked: Vec<_> = suspects.difference(&excused).collect();
    assert!(unmarked.is_empty(), "mark as (boathouse.v1.secret), or excuse with a reason: {unmarked:#?}");

    let needless: Vec<_> = excused
        .difference(&suspects)
        // Without all features not every package is here.
        .filter(|name| own_messages(&pool).any(|message| name.starts_with(message.package_name())))
        .collect();
    assert!(needless.is_empty(), "excused, but gone or no suspect any more: {needless:#?}");
}

#[test]
fn words_are_found_in_every_style() {
    assert_eq!(words("client_token_id"), ["client", "token", "id"]);
    assert_eq!(words("clientTokenID"), ["client", "token", "id"]);
    assert_eq!(words("JWT"), ["jwt"]);
}

#[test]
fn an_unmarked_secret_is_a_suspect() {
    let pool = DescriptorPool::decode(PRODUCT).unwrap();
    for name in
        ["boathouse.keeper.v1.Generation", "boathouse.keeper.v1.Login", "boathouse.agent.v1.MountRequest"]
    {
        let message = pool.get_message_by_name(name).unwrap();
        for field in message.fields().filter(is_secret) {
            assert!(is_suspect(&field), "{}: would not be missed if it were not marked", field.full_name());
        }
    }
}
