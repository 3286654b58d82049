//! Wrong values are refused, and the message says which.

use crate::tools::{KUBERNETES, Tools, values};
use std::fs;

/// YAML on top of `values/controller.yaml`, and what must be in the message.
const WRONG: [(&str, &[&str]); 29] = [
    ("vualt: {address: https://vault.example}", &["'vualt' not allowed"]),
    ("vault: {adress: https://vault.example}", &["/vault", "'adress' not allowed"]),
    ("vault: {address: vault.example:8200}", &["/vault/address"]),
    ("vault: {address: 'https://vault.example/v1'}", &["/vault/address"]),
    ("vault: {authKind: ldap}", &["/vault/authKind", "'kubernetes', 'jwt'"]),
    ("vault: {authMount: /auth/kubernetes}", &["/vault/authMount"]),
    ("vault: {role: ''}", &["/vault/role"]),
    ("vault: {ca: {kind: File}}", &["/vault/ca/kind", "'ConfigMap', 'Secret'"]),
    ("vault: {ca: {configMap: ca}}", &["/vault/ca", "'configMap' not allowed"]),
    ("s3: {endpoint: 'minio:9000'}", &["/s3/endpoint"]),
    ("s3: {ca: {name: My_CA}}", &["/s3/ca/name"]),
    ("tokens: {audience: ''}", &["/tokens/audience"]),
    ("tokens: {expirationSeconds: 60}", &["/tokens/expirationSeconds", "600"]),
    ("flexVolume: {paths: [minio/keys/all]}", &["/flexVolume/paths/0", "namespace"]),
    ("flexVolume: {paths: []}", &["/flexVolume/paths"]),
    ("flexVolume: {pluginDir: volumeplugins}", &["/flexVolume/pluginDir"]),
    ("flexVolume: {install: true}", &["flexVolume.install", "set flexVolume.enabled to true"]),
    ("image: {digest: latest}", &["/image/digest", "sha256"]),
    ("log: {format: xml}", &["/log/format", "'json', 'text'"]),
    ("mounts: {pidsLimit: many}", &["/mounts/pidsLimit", "want integer"]),
    ("mounts: {pidsLimit: 8}", &["/mounts/pidsLimit", "32"]),
    ("mounts: {memoryLimit: 512MB}", &["/mounts/memoryLimit"]),
    ("node: {kubeletDir: /var/lib/kubelet/}", &["/node/kubeletDir"]),
    ("node: {metricsAddress: ':9810'}", &["/node/metricsAddress", "'127.0.0.1', '0.0.0.0'"]),
    ("node: {terminationGracePeriodSeconds: 5}", &["/node/terminationGracePeriodSeconds", "25"]),
    ("node: {extraEnv: {A: b}}", &["/node/extraEnv", "want array"]),
    ("controller: {buckets: []}", &["controller.buckets", "is empty; name the buckets"]),
    ("controller: {provisionerImage: ''}", &["controller.provisionerImage", "csi-provisioner"]),
    (
        "controller: {keysSecret: '', storageClassSecrets: []}",
        &["controller.keysSecret", "accessKeyId", "controller.storageClassSecrets"],
    ),
];

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn wrong_values_are_refused_by_name() {
    let tools = Tools::get();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("wrong.yaml");
    tools.template(&[&values("controller")], KUBERNETES).unwrap();
    for (yaml, words) in WRONG {
        fs::write(&file, yaml).unwrap();
        let Err(said) = tools.template(&[&values("controller"), &file], KUBERNETES) else {
            panic!("{yaml} is accepted")
        };
        for word in words {
            assert!(said.contains(word), "{yaml}: no {word:?} in\n{said}");
        }
    }
}

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn a_kubernetes_without_inline_volumes_is_refused() {
    let said = Tools::get().template(&[&values("defaults")], "1.24.9").unwrap_err();
    assert!(said.contains(">=1.25.0-0") && said.contains("1.24.9"), "{said}");
}
