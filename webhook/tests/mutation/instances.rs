//! How the instances file is read, and what is said about a wrong one.

use boathouse_webhook::instances::Config;
use boathouse_webhook::mutate::Output;

use super::{LEGACY, ONE, config, notebook, patched};

/// Line 1 is the first line of `text`.
fn error(text: &str) -> String {
    Config::parse(text).expect_err(text).to_string()
}

#[test]
fn the_shipped_file_and_its_json_are_the_same() {
    let json = r#"{"instances": [
        {"name": "premium-minio-tenant-1", "vaultMount": "minio_premium_tenant_1",
         "endpoint": "https://minio-premium-tenant-1.covid.cloud.statcan.ca",
         "basePath": "/home/jovyan/minio/premium-tenant-1"},
        {"name": "standard-minio-tenant-1", "vaultMount": "minio_standard_tenant_1",
         "endpoint": "https://minio-standard-tenant-1.covid.cloud.statcan.ca",
         "basePath": "/home/jovyan/minio/standard-tenant-1"}
    ]}"#;
    // With every default left out, so this is also a test that they are the legacy injector's.
    assert_eq!(config(LEGACY), config(json));
}

#[test]
fn no_instances_are_no_mistake() {
    config("instances: []");
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    // `ONE` starts with an empty line: `name` is on line 3.
    let with = |from: &str, to: &str| {
        assert!(ONE.contains(from), "{from}");
        error(&ONE.replace(from, to))
    };
    let add = |line: &str| error(&format!("{ONE}    {line}\n"));
    for (message, line, field, words) in [
        (with("name: lake", "name: Lake"), 3, "instances[0].name", "lowercase letters"),
        (with("name: lake", "name: \"\""), 3, "instances[0].name", "1 to 63"),
        (with("vaultMount: minio", "vaultMount: a//b"), 4, "instances[0].vaultMount", "empty segment"),
        (with("https://minio", "minio"), 5, "instances[0].endpoint", "https://"),
        (with("https://minio", "https://u:p@minio"), 5, "instances[0].endpoint", "holds a user name"),
        (with("{profile}", "{user}"), 6, "instances[0].directories[0].bucket", "{profile} or {namespace}"),
        (with("{profile}", "UP"), 6, "instances[0].directories[0].bucket", "uppercase letter"),
        (with("name: private", "name: a/b"), 6, "instances[0].directories[0].name", "lowercase"),
        (add("ca: My_CA"), 7, "instances[0].ca", "lowercase letters, digits and hyphens"),
        (add("ca: \"-----BEGIN CERTIFICATE-----\""), 7, "instances[0].ca", "is a certificate, not a name"),
        (
            error(&format!("{}    ca: lake\n", ONE.replace("https://minio", "http://minio"))),
            7,
            "instances[0].ca",
            "is not https and shows no certificate",
        ),
        (add("region: -x"), 7, "instances[0].region", "hyphen"),
        (add("basePath: home"), 7, "instances[0].basePath", "absolute path"),
        (add("basePath: /home/../etc"), 7, "instances[0].basePath", "absolute path"),
        (add("basePath: /home/"), 7, "instances[0].basePath", "slash at its end"),
        (add("uid: root"), 7, "instances[0].uid", "decimal number"),
        (add("uid: 4294967295"), 7, "instances[0].uid", "too large"),
        (add("vaultTtl: 24"), 7, "instances[0].vaultTtl", "24h"),
        (add("vaultTtl: -1h"), 7, "instances[0].vaultTtl", "negative"),
        (
            with("[{name: private, bucket: \"{profile}\"}]", "[]"),
            6,
            "instances[0].directories",
            "leave it out",
        ),
    ] {
        assert!(message.starts_with(&format!("line {line}: {field}: ")), "{message}");
        assert!(message.contains(words), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_wrong_shape_is_named_with_its_line() {
    let add = |line: &str| error(&format!("{ONE}    {line}\n"));
    for (message, line, word) in [
        (add("bukket: x"), 7, "bukket"),
        (add("optional: 2"), 7, "optional: 2"),
        (add("readOnly: perhaps"), 7, "readOnly: perhaps"),
        (add("name: again"), 7, "name"),
        (add("\tregion: x"), 7, ""),
        (error("instances:\n  - name: x\n"), 2, "vaultMount"),
        (error("instances:\n  - name: x\n    name: y\n"), 3, "name"),
        (error("containers: []\n"), 1, "instances"),
        (error(&format!("containers:\n  - mountIn: [1.5]\n{ONE}")), 2, "index from 0"),
        (error(&format!("containers:\n  - podLabel: x\n{ONE}")), 2, "mountIn"),
    ] {
        assert!(message.starts_with(&format!("line {line}: ")), "{message}");
        assert!(message.contains(word), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    for text in ["", "- a list", "just text", "instances: 7", "instances: [", "\u{0}", "a: *b"] {
        error(text);
    }
}

#[test]
fn rules_are_checked() {
    let message = error(&format!("containers:\n  - mountIn: []\n{ONE}"));
    assert!(message.starts_with("line 2: containers[0].mountIn: names no container"), "{message}");
    let message = error(&format!("containers:\n  - mountIn: [Main]\n{ONE}"));
    assert!(message.starts_with("line 2: containers[0].mountIn: \"Main\""), "{message}");
    let message = error(&format!("containers:\n  - firstContainer: a b\n    mountIn: [0]\n{ONE}"));
    assert!(message.starts_with("line 2: containers[0].firstContainer: \"a b\""), "{message}");
}

#[test]
fn two_directories_cannot_be_one() {
    let second = "  - name: lake\n    vaultMount: other\n    endpoint: https://other\n";
    let message = error(&format!("{ONE}{second}"));
    assert!(message.starts_with("line 7: instances[1].name: makes a second volume named"), "{message}");
    let elsewhere =
        second.replace("name: lake", "name: sea").to_owned() + "    basePath: /home/jovyan/minio/lake\n";
    let message = error(&format!("{ONE}{elsewhere}"));
    assert!(message.starts_with("line 7: instances[1].name: makes a second volume mounted at"), "{message}");
}

#[test]
fn an_instances_authorities_are_those_of_all_its_directories() {
    let instances = "instances:\n  - {name: lake, vaultMount: minio, endpoint: https://minio, ca: lake-1}\n";
    for (output, attributes) in
        [(Output::Csi, "/csi/volumeAttributes"), (Output::FlexVolume, "/flexVolume/options")]
    {
        let (after, _) = patched(&notebook(), instances, output);
        for index in 1..=2 {
            let ca = after.pointer(&format!("/spec/volumes/{index}{attributes}/ca"));
            assert_eq!(ca.and_then(|ca| ca.as_str()), Some("lake-1"), "{after:#}");
        }
    }
}

#[test]
fn names_leave_room_for_a_number() {
    let message = error(&ONE.replace("name: lake", &format!("name: {}", "x".repeat(51))));
    assert!(message.contains("58 characters are the most"), "{message}");
    config(&ONE.replace("name: lake", &format!("name: {}", "x".repeat(50))));
}
