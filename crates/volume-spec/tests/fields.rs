//! Every field, good and bad, by table.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use volume_spec::{KEYS, Parameters, SpecError, Strictness, VolumeSpec};

fn parse(fields: &[(&str, &str)], strictness: Strictness) -> Result<Parameters, SpecError> {
    let map: HashMap<String, String> =
        fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Parameters::parse(&map, strictness)
}

/// Parses one field beside a good bucket.
fn one(field: &str, value: &str, strictness: Strictness) -> Result<VolumeSpec, SpecError> {
    let fields = match field {
        "bucket" => vec![(field, value)],
        _ => vec![("bucket", "alice"), (field, value)],
    };
    parse(&fields, strictness).map(|parsed| parsed.spec)
}

/// The value is refused under both strictnesses, by the field's name, with `says` in the message.
fn refused(field: &str, value: &str, says: &str) {
    for strictness in [Strictness::Refuse, Strictness::Legacy] {
        let error = match one(field, value, strictness) {
            Err(error) => error,
            Ok(spec) => panic!("{field} {value:?} was accepted as {spec:?}"),
        };
        assert_eq!(error.field(), Some(field), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(field) && text.contains(says), "{field} {value:?}: {text}");
        assert!(text.contains("; write "), "says what to write: {text}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

fn accepted(field: &str, value: &str) -> VolumeSpec {
    let strict = one(field, value, Strictness::Refuse).unwrap();
    assert_eq!(one(field, value, Strictness::Legacy).unwrap(), strict);
    strict
}

#[test]
fn defaults_are_the_legacy_ones() {
    let spec = accepted("bucket", "alice");
    assert_eq!((spec.dir_mode.bits(), spec.file_mode.bits()), (0o755, 0o644));
    assert_eq!((spec.uid, spec.gid, spec.debug_s3, spec.optional), (None, None, false, false));
    assert!(spec.prefix.is_none() && spec.endpoint.is_none() && spec.region.is_none() && spec.ca.is_none());
    assert!(spec.vault_path.is_none() && spec.vault_ttl.is_none());
}

#[test]
fn bucket() {
    for name in ["abc", "alice", "a-1.b", "0bucket", "1.2.3", &"b".repeat(63)] {
        let spec = accepted("bucket", name);
        assert_eq!(spec.bucket.as_str(), name);
        assert_eq!(spec.bucket_and_prefix(), name);
    }
    for (value, prefix) in [("alice:data", "data"), ("alice:a/b c/é/", "a/b c/é"), ("alice:-x:y", "-x:y")] {
        let spec = accepted("bucket", value);
        assert_eq!((spec.bucket.as_str(), spec.prefix.unwrap().as_str()), ("alice", prefix));
    }
    refused("bucket", "gs://alice", "Google Cloud Storage");
    refused("bucket", "s3://alice", "is a URL");
    refused("bucket", "abfs://c@account", "Azure");
    refused("bucket", "https://minio/alice", "is a URL");
    refused("bucket", "-o", "taken for a flag");
    refused("bucket", "--profile", "taken for a flag");
    refused("bucket", "-alice:x", "taken for a flag");
    refused("bucket", "Upper", "uppercase letter 'U'");
    refused("bucket", "under_score", "'_'");
    refused("bucket", "alice/data", "'/'");
    refused("bucket", " alice", "' '");
    refused("bucket", "ålice", "'å'");
    refused("bucket", "ab", "2 characters");
    refused("bucket", "b", "1 characters");
    refused("bucket", &"b".repeat(64), "64 characters");
    refused("bucket", &"b".repeat(5000), "5000 bytes");
    refused("bucket", ".abc", "start and end");
    refused("bucket", "abc-", "start and end");
    refused("bucket", "a..b", "two dots");
    refused("bucket", "192.168.0.1", "IP address");
    refused("bucket", "999.168.0.1", "IP address");
    refused("bucket", "al\nice", "U+000A");
    refused("bucket", "al\0ice", "U+0000");
}

#[test]
fn prefix() {
    refused("bucket", ":data", "is empty");
    refused("bucket", "alice:", "is empty");
    refused("bucket", "alice:/data", "starts with a slash");
    refused("bucket", "alice:a//b", "empty segment");
    refused("bucket", "alice:a//", "empty segment");
    refused("bucket", "alice:x://evil", "empty segment");
    refused("bucket", "alice://evil", "URL");
    refused("bucket", "alice:..", "\"..\" segment");
    refused("bucket", "alice:a/../b", "\"..\" segment");
    refused("bucket", "alice:a/./b", "\"..\" segment");
    refused("bucket", "alice:a\u{7f}", "U+007F");
    refused("bucket", "alice:a\u{202e}b", "U+202E");
    refused("bucket", &format!("alice:{}", "p".repeat(513)), "513 bytes");
    assert!(accepted("bucket", &format!("alice:{}", "p".repeat(512))).prefix.is_some());
}

#[test]
fn bucket_is_required() {
    for fields in [&[][..], &[("vault-path", "m/keys/r")][..]] {
        for strictness in [Strictness::Refuse, Strictness::Legacy] {
            let error = parse(fields, strictness).unwrap_err();
            assert!(matches!(error, SpecError::Missing { field: "bucket", .. }), "{error}");
        }
    }
}

#[test]
fn endpoint() {
    let good = [
        ("https://minio.example:9000", "https://minio.example:9000"),
        ("HTTP://MinIO.example.ca/", "http://minio.example.ca"),
        ("http://10.0.0.1:09000", "http://10.0.0.1:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://[fe80::1]", "http://[fe80::1]"),
        ("http://minio_minimal.ns.svc.", "http://minio_minimal.ns.svc."),
    ];
    for (given, kept) in good {
        assert_eq!(accepted("endpoint", given).endpoint.unwrap().as_str(), kept);
    }
    let endpoint = accepted("endpoint", "https://[::1]:9000").endpoint.unwrap();
    assert_eq!((endpoint.is_https(), endpoint.authority()), (true, "[::1]:9000"));
    refused("endpoint", "minio.example:9000", "no scheme");
    refused("endpoint", "--endpoint", "no scheme");
    refused("endpoint", "-f", "no scheme");
    refused("endpoint", "ftp://minio", "neither http nor https");
    refused("endpoint", "https://minio/bucket", "path");
    refused("endpoint", "https://minio//", "path");
    refused("endpoint", "https://minio?x=1", "query");
    refused("endpoint", "https://minio#x", "fragment");
    refused("endpoint", "https://", "no host");
    refused("endpoint", "https://:9000", "no host");
    refused("endpoint", "https://-minio", "neither a name nor an address");
    refused("endpoint", "https://mi nio", "neither a name nor an address");
    refused("endpoint", "https://a..b", "neither a name nor an address");
    refused("endpoint", "https://[::1", "neither a name nor an address");
    refused("endpoint", "https://[zz]:1", "neither a name nor an address");
    refused("endpoint", "https://bücher.example", "neither a name nor an address");
    for port in ["", "0", "65536", "-1", "+9", "9000x", "1:2"] {
        refused("endpoint", &format!("https://minio:{port}"), "port");
    }
    refused("endpoint", "https://minio\r\n", "U+000D");
    refused("endpoint", &format!("https://{}", "a".repeat(600)), "bytes long");
}

#[test]
fn ca() {
    for name in ["a", "tenant-1", "0", &"c".repeat(63)] {
        assert_eq!(accepted("ca", name).ca.unwrap().as_str(), name);
    }
    for name in ["Tenant", "-a", "a-", "a.pem", "../a", "a/b", ".", "..data", "a b", "é", "a_b"] {
        refused("ca", name, "is no name of a bundle; write the name of a bundle");
    }
    refused("ca", &"c".repeat(64), "bytes long");
    refused("ca", "-----BEGIN CERTIFICATE-----\nMII", "is a certificate, not a name");
}

#[test]
fn ca_is_for_https() {
    let with =
        |endpoint| parse(&[("bucket", "alice"), ("ca", "one"), ("endpoint", endpoint)], Strictness::Legacy);
    assert_eq!(with("HTTPS://minio:9000").unwrap().spec.ca.unwrap().as_str(), "one");
    let error = with("http://minio:9000").unwrap_err();
    assert_eq!(error.field(), Some("ca"));
    assert_eq!(
        error.to_string(),
        "ca \"one\": endpoint http://minio:9000 is not https and shows no certificate; write an https:// endpoint, \
         or leave ca out"
    );
    // What the endpoint will be is not known yet.
    let mut spec = accepted("ca", "one");
    spec.endpoint = Some("http://minio".parse().unwrap());
    assert!(spec.check_ca().is_err());
}

#[test]
fn a_password_in_an_endpoint_is_not_repeated() {
    let error = one("endpoint", "https://user:hunter2@minio", Strictness::Refuse).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("hunter2") && text.contains("holds a user name"), "{text}");
}

#[test]
fn region() {
    for name in ["us-east-1", "ca-central-1", "minio", "EU"] {
        assert_eq!(accepted("region", name).region.unwrap().as_str(), name);
    }
    refused("region", "-x", "starts with a hyphen");
    refused("region", "us east", "' '");
    refused("region", "us/east", "'/'");
    refused("region", "ré", "'é'");
    refused("region", &"r".repeat(65), "65 bytes");
}

#[test]
fn ids() {
    for field in ["uid", "gid"] {
        for (text, id) in [("0", 0), ("1000", 1000), ("0100", 100), ("4294967294", 4_294_967_294)] {
            let spec = accepted(field, text);
            assert_eq!(if field == "uid" { spec.uid } else { spec.gid }, Some(id));
        }
        refused(field, "4294967295", "too large");
        refused(field, "99999999999", "11 bytes");
        for text in ["-1", "+1", "1.0", "0x10", "jovyan", "1 000", "１００"] {
            refused(field, text, "no decimal number");
        }
        refused(field, "1\n", "U+000A");
    }
}

#[test]
fn modes() {
    for (text, bits) in [("0755", 0o755), ("755", 0o755), ("0", 0), ("00000777", 0o777), ("640", 0o640)] {
        assert_eq!(accepted("dirMode", text).dir_mode.bits(), bits);
        assert_eq!(accepted("fileMode", text).file_mode.bits(), bits);
    }
    assert_eq!(accepted("dirMode", "7").dir_mode.to_string(), "0007");
    for field in ["dirMode", "fileMode"] {
        refused(field, "1777", "more than 0777");
        refused(field, "77777777", "more than 0777");
        for text in ["0855", "rwx", "-755", "0o755", "0x1ff", "u+rwx"] {
            refused(field, text, "no octal number");
        }
        refused(field, "000000755", "9 bytes");
    }
}

#[test]
fn vault_path() {
    let longest = format!("m/{}", "k".repeat(510));
    for path in ["minio_minimal_tenant1/keys/profile-alice", "m/k", "A.b@c:d+e=f~g-h/..x", &longest] {
        assert_eq!(accepted("vault-path", path).vault_path.unwrap().as_str(), path);
    }
    refused("vault-path", "minio", "only the secrets engine");
    refused("vault-path", "/minio/keys/r", "slash");
    refused("vault-path", "minio/keys/", "slash");
    refused("vault-path", "-minio/keys", "taken for a flag");
    refused("vault-path", "minio//keys", "empty segment");
    refused("vault-path", "minio/../sys/seal", "\"..\" segment");
    refused("vault-path", "../sys", "\"..\" segment");
    refused("vault-path", "minio/./keys", "\"..\" segment");
    refused("vault-path", "minio/%2e%2e/keys", "'%'");
    refused("vault-path", "minio/keys%2fr", "'%'");
    refused("vault-path", "minio/keys/r?ttl=1", "'?'");
    refused("vault-path", "minio/keys/r#x", "'#'");
    refused("vault-path", "minio/keys/r\\x", "'\\\\'");
    refused("vault-path", "minio/keys/a b", "' '");
    refused("vault-path", "minio/keys/é", "'é'");
    refused("vault-path", "minio/keys/r\n", "U+000A");
    refused("vault-path", "minio/keys/r\r\nX-Vault-Token: x", "U+000D");
    refused("vault-path", &format!("m/{}", "k".repeat(511)), "513 bytes");
}

#[test]
fn vault_ttl() {
    let good = [
        ("24h", 86_400),
        ("90m", 5_400),
        ("1h30m", 5_400),
        ("24h0m0s", 86_400),
        ("1ns", 1),
        (".5s", 1),
        ("1.5s", 2),
        ("+3s", 3),
        ("87600h", 315_360_000),
    ];
    for (text, seconds) in good {
        assert_eq!(accepted("vault-ttl", text).vault_ttl, Some(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(accepted("vault-ttl", "0").vault_ttl, None);
    assert_eq!(accepted("vault-ttl", "0s").vault_ttl, None);
    refused("vault-ttl", "3600", r#"time: missing unit in duration "3600""#);
    refused("vault-ttl", "tomorrow", r#"time: invalid duration "tomorrow""#);
    refused("vault-ttl", "1d", r#"time: unknown unit "d" in duration "1d""#);
    refused("vault-ttl", "87600h1ns", "ten years");
    refused("vault-ttl", "9999999h", "invalid duration");
    refused("vault-ttl", &"1s".repeat(100), "200 bytes");
    refused("vault-ttl", "1h\n", "U+000A");
}

#[test]
fn a_negative_ttl_is_the_roles_default_for_flexvolume_only() {
    assert_eq!(one("vault-ttl", "-1h", Strictness::Legacy).unwrap().vault_ttl, None);
    let error = one("vault-ttl", "-1h", Strictness::Refuse).unwrap_err();
    assert!(error.to_string().starts_with("vault-ttl \"-1h\": is negative; write "), "{error}");
}

#[test]
fn booleans() {
    type Flag = fn(&VolumeSpec) -> bool;
    let fields: [(&str, Flag); 2] = [("debug_s3", |spec| spec.debug_s3), ("optional", |spec| spec.optional)];
    for (field, value) in fields {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(value(&accepted(field, text)));
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert!(!value(&accepted(field, text)));
        }
        for text in ["yes", "tRUE", " true", "2", "on"] {
            refused(field, text, "no boolean");
        }
    }
}

#[test]
fn an_empty_value_is_absent_for_flexvolume_only() {
    for key in KEYS {
        if key == "bucket" {
            let error = parse(&[("bucket", "")], Strictness::Legacy).unwrap_err();
            assert!(matches!(error, SpecError::Missing { field: "bucket", .. }), "{error}");
        } else {
            assert_eq!(one(key, "", Strictness::Legacy).unwrap(), accepted("bucket", "alice"));
        }
        let error = one(key, "", Strictness::Refuse).unwrap_err();
        assert_eq!(error.field(), Some(key));
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}

#[test]
fn unknown_keys_are_refused_by_name_or_warned_about() {
    let fields = [("bucket", "alice"), ("frobnicate", "1"), ("vaultPath", "m/keys/r")];
    let error = parse(&fields, Strictness::Refuse).unwrap_err().to_string();
    assert!(error.contains("\"frobnicate\"") && error.contains("\"vaultPath\""), "{error}");
    for key in KEYS {
        assert!(error.contains(key), "{error}");
    }
    let parsed = parse(&fields, Strictness::Legacy).unwrap();
    assert_eq!(
        parsed.warnings,
        ["unknown option \"frobnicate\" is ignored", "unknown option \"vaultPath\" is ignored"]
    );
    assert_eq!(parsed.spec, accepted("bucket", "alice"));

    let hostile = parse(&[("bucket", "alice"), ("a\n\u{1b}[31m", "")], Strictness::Refuse).unwrap_err();
    assert!(!hostile.to_string().chars().any(char::is_control), "{hostile}");
}

#[test]
fn an_unknown_key_close_to_a_valid_one_is_answered_with_it() {
    let close = [
        ("vaultPath", "vault-path"),
        ("vault_ttl", "vault-ttl"),
        ("dir-mode", "dirMode"),
        ("filemode", "fileMode"),
        ("Bucket", "bucket"),
        ("end-point", "endpoint"),
        ("debugS3", "debug_s3"),
        ("UID", "uid"),
    ];
    for (written, meant) in close {
        let error =
            parse(&[("bucket", "alice"), (written, "x")], Strictness::Refuse).unwrap_err().to_string();
        assert!(error.contains(&format!("(did you mean {meant}?)")), "{error}");
    }
    let error = parse(&[("bucket", "alice"), ("frobnicate", "x")], Strictness::Refuse).unwrap_err();
    assert!(!error.to_string().contains("did you mean"), "{error}");
}

#[test]
fn keys_of_kubernetes_own_are_passed_over_and_look_alikes_are_not() {
    let own = [
        ("bucket", "alice"),
        ("csi.storage.k8s.io/pod.name", "p"),
        ("csi.storage.k8s.io/serviceAccount.tokens", "{}"),
        ("storage.kubernetes.io/csiProvisionerIdentity", "x"),
        ("kubernetes.io/readwrite", "ro"),
    ];
    for strictness in [Strictness::Refuse, Strictness::Legacy] {
        let parsed = parse(&own, strictness).unwrap();
        assert!(parsed.warnings.is_empty());
    }
    for key in ["evilkubernetes.io/x", "kubernetes.io", "example.com/kubernetes.io/x"] {
        assert!(parse(&[("bucket", "alice"), (key, "x")], Strictness::Refuse).is_err(), "{key}");
    }
}

#[test]
fn the_state_directory_form_is_stable() {
    let fields = [
        ("bucket", "alice:data"),
        ("endpoint", "https://minio.example:9000"),
        ("ca", "tenant-1"),
        ("region", "us-east-1"),
        ("uid", "1000"),
        ("gid", "100"),
        ("dirMode", "0750"),
        ("fileMode", "640"),
        ("vault-path", "m/keys/r"),
        ("vault-ttl", "24h"),
        ("debug_s3", "1"),
        ("optional", "1"),
    ];
    let full = parse(&fields, Strictness::Refuse).unwrap().spec;
    let json = r#"{"bucket":"alice","prefix":"data","endpoint":"https://minio.example:9000","ca":"tenant-1","region":"us-east-1","uid":1000,"gid":100,"dir_mode":"0750","file_mode":"0640","vault_path":"m/keys/r","vault_ttl_seconds":86400,"debug_s3":true,"optional":true}"#;
    assert_eq!(serde_json::to_string(&full).unwrap(), json);
    assert_eq!(serde_json::from_str::<VolumeSpec>(json).unwrap(), full);

    let least = r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644"}"#;
    assert_eq!(serde_json::to_string(&accepted("bucket", "alice")).unwrap(), least);
    let from_a_newer_version = r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644","colour":"blue"}"#;
    assert_eq!(
        serde_json::from_str::<VolumeSpec>(from_a_newer_version).unwrap(),
        accepted("bucket", "alice")
    );
}

#[test]
fn the_state_directory_is_not_trusted_either() {
    let bad = [
        r#"{"bucket":"--flag","dir_mode":"0755","file_mode":"0644"}"#,
        r#"{"bucket":"alice","prefix":"../x","dir_mode":"0755","file_mode":"0644"}"#,
        r#"{"bucket":"alice","dir_mode":"7777","file_mode":"0644"}"#,
        r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644","vault_path":"../sys"}"#,
        r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644","vault_ttl_seconds":0}"#,
        r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644","vault_ttl_seconds":999999999}"#,
        r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644","endpoint":"file:///etc"}"#,
        r#"{"bucket":"alice","dir_mode":"0755","file_mode":"0644","ca":"../x"}"#,
        r#"{"dir_mode":"0755","file_mode":"0644"}"#,
    ];
    for json in bad {
        assert!(serde_json::from_str::<VolumeSpec>(json).is_err(), "{json}");
    }
}

#[test]
fn long_values_are_shortened_in_errors() {
    let error = one("region", &"é".repeat(5000), Strictness::Refuse).unwrap_err().to_string();
    assert!(error.len() < 400 && error.contains('…'), "{error}");
}

#[test]
fn both_kinds_of_map_parse_alike() {
    let hash: HashMap<String, String> = [("bucket".to_owned(), "alice".to_owned())].into();
    let tree: BTreeMap<String, String> = hash.clone().into_iter().collect();
    assert_eq!(
        Parameters::parse(&hash, Strictness::Refuse).unwrap(),
        Parameters::parse(&tree, Strictness::Refuse).unwrap()
    );
}
