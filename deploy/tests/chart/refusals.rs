//! Wrong values are refused, and the message says which.

use crate::tools::{KUBERNETES, OLDEST, Tools, values};
use std::fs;

/// YAML on top of `values/controller.yaml`, and what must be in the message.
const WRONG: [(&str, &[&str]); 50] = [
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
    (
        "s3: {authorities: {My_CA: '-----BEGIN CERTIFICATE-----'}}",
        &["/s3/authorities", "'My_CA' not allowed"],
    ),
    ("s3: {authorities: {tenant-1: minio-ca}}", &["/s3/authorities/tenant-1", "BEGIN CERTIFICATE"]),
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
    ("node: {stateDir: /var/lib/kubelet/boathouse}", &["node.stateDir", "/var/lib/boathouse"]),
    ("node: {kubeletDir: /var/lib/boathouse/kubelet}", &["node.stateDir", "node.kubeletDir"]),
    ("node: {metricsAddress: ':9810'}", &["/node/metricsAddress", "'127.0.0.1', '0.0.0.0'"]),
    ("node: {terminationGracePeriodSeconds: 5}", &["/node/terminationGracePeriodSeconds", "25"]),
    ("node: {extraEnv: {A: b}}", &["/node/extraEnv", "want array"]),
    ("controller: {buckets: []}", &["controller.buckets", "is empty; name the buckets"]),
    ("controller: {provisionerImage: ''}", &["controller.provisionerImage", "csi-provisioner"]),
    (
        "controller: {keysSecret: '', storageClassSecrets: []}",
        &["controller.keysSecret", "accessKeyId", "controller.storageClassSecrets"],
    ),
    ("webhook: {output: CSI}", &["/webhook/output", "'csi', 'flexVolume'"]),
    ("webhook: {failurePolicy: fail}", &["/webhook/failurePolicy", "'Fail', 'Ignore'"]),
    ("webhook: {timeoutSeconds: 60}", &["/webhook/timeoutSeconds", "30"]),
    ("webhook: {port: 443}", &["/webhook/port", "1,024"]),
    (
        "webhook: {certificate: {source: certManager}}",
        &["/webhook/certificate/source", "'job', 'cert-manager'"],
    ),
    (
        "webhook: {certificate: {issuer: {kind: issuer}}}",
        &["/webhook/certificate/issuer/kind", "'ClusterIssuer'"],
    ),
    (
        "webhook: {namespaceSelector: {kubeflow: 'true'}}",
        &["/webhook/namespaceSelector", "'kubeflow' not allowed"],
    ),
    (
        "webhook: {objectSelector: {matchExpressions: [{key: a, operator: Is}]}}",
        &["/webhook/objectSelector/matchExpressions/0/operator", "'NotIn'"],
    ),
    ("webhook: {instances: {minio: {}}}", &["/webhook/instances", "want array"]),
    ("webhook: {instances: [{name: minio}]}", &["/webhook/instances/0", "'vaultMount', 'endpoint'"]),
    (
        "webhook: {instances: [{name: minio, vaultMount: minio, endpoint: 'minio:9000'}]}",
        &["/webhook/instances/0/endpoint"],
    ),
    (
        "webhook: {instances: [{name: my_minio, vaultMount: minio, endpoint: 'https://minio.example'}]}",
        &["/webhook/instances/0/name"],
    ),
    (
        "webhook: {instances: [{name: m, vaultMount: m, endpoint: 'https://m.example', buckets: []}]}",
        &["/webhook/instances/0", "'buckets' not allowed"],
    ),
    (
        "webhook: {instances: [{name: m, vaultMount: m, endpoint: 'https://m.example', ca: ca.pem}]}",
        &["/webhook/instances/0/ca"],
    ),
    (
        "webhook: {instances: [{name: m, vaultMount: m, endpoint: 'https://m.example', uid: '1000'}]}",
        &["/webhook/instances/0/uid", "want integer"],
    ),
    (
        "webhook: {instances: [{name: m, vaultMount: m, endpoint: 'https://m.example', vaultTtl: '24'}]}",
        &["/webhook/instances/0/vaultTtl"],
    ),
    ("webhook: {containers: [{podLabel: a}]}", &["/webhook/containers/0", "'mountIn'"]),
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

/// Before matchConditions, an empty selector would mean every pod of the cluster.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn a_webhook_that_could_stop_a_cluster_is_refused() {
    let tools = Tools::get();
    let said = tools.template(&[&values("webhook")], OLDEST).unwrap_err();
    assert!(
        said.contains("webhook.namespaceSelector: is empty") && said.contains("webhook.failurePolicy"),
        "{said}"
    );
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("narrow.yaml");
    for narrow in [
        "webhook: {failurePolicy: Ignore}",
        "webhook: {namespaceSelector: {matchLabels: {notebooks: 'true'}}}",
        "webhook: {objectSelector: {matchLabels: {notebook: 'true'}}}",
    ] {
        fs::write(&file, narrow).unwrap();
        tools.template(&[&values("webhook"), &file], OLDEST).unwrap();
    }
}

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn a_kubernetes_without_inline_volumes_is_refused() {
    let said = Tools::get().template(&[&values("defaults")], "1.24.9").unwrap_err();
    assert!(said.contains(">=1.25.0-0") && said.contains("1.24.9"), "{said}");
}
