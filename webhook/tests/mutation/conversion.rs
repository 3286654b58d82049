//! A pod's own FlexVolume volumes, where the output is CSI.

use boathouse_webhook::mutate::{Outcome, Output};
use serde_json::{Value, json};

use super::{ONE, create, denied, patched};

/// A pod written by hand, without any annotation.
fn by_hand(flex: Value) -> Value {
    json!({
        "metadata": {"name": "batch"},
        "spec": {
            "containers": [
                {"name": "a", "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "x"}]},
                {"name": "b", "volumeMounts": [
                    {"name": "data", "mountPath": "/data", "mountPropagation": "None"},
                    {"name": "data", "mountPath": "/ro", "readOnly": true, "recursiveReadOnly": "Enabled"},
                ]},
            ],
            "initContainers": [
                {"name": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                {"name": "sidecar", "restartPolicy": "Always", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            ],
            "volumes": [{"name": "data", "flexVolume": flex, "fieldOfTheFuture": 1}],
        },
    })
}

#[test]
fn driver_becomes_driver_and_options_attributes() {
    let pod = by_hand(json!({
        "driver": "statcan.gc.ca/boathouse",
        "fsType": "ext4",
        "readOnly": true,
        "secretRef": {"name": "keys"},
        "options": {"bucket": "alice", "vault-path": "minio/keys/profile-alice", "uid": "1000", "vault-ttl": "24h"},
    }));
    let (after, warnings) = patched(&pod, ONE, Output::Csi);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        after["spec"]["volumes"],
        json!([{
            "name": "data",
            "fieldOfTheFuture": 1,
            "csi": {
                "driver": "boathouse.statcan.gc.ca",
                "readOnly": true,
                "volumeAttributes": {
                    "bucket": "alice",
                    "vault-path": "minio/keys/profile-alice",
                    "uid": "1000",
                    "vault-ttl": "24h",
                },
            },
        }])
    );
    let mounts = |container: usize| &after["spec"]["containers"][container]["volumeMounts"];
    assert_eq!(mounts(0)[0]["mountPropagation"], "HostToContainer");
    // What the author has chosen stays, and so does what Kubernetes would refuse.
    assert_eq!(mounts(1), &pod["spec"]["containers"][1]["volumeMounts"]);
    let inits = |pod: &Value, index: usize| pod["spec"]["initContainers"][index]["volumeMounts"].clone();
    assert_eq!(inits(&after, 0), inits(&pod, 0));
    // A sidecar runs as long as the pod.
    assert_eq!(inits(&after, 1)[0]["mountPropagation"], "HostToContainer");
    assert_eq!(create(&after, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] });
}

#[test]
fn only_our_driver_and_only_where_the_output_is_csi() {
    let ours = by_hand(json!({"driver": "statcan.gc.ca/boathouse", "options": {"bucket": "alice"}}));
    assert_eq!(create(&ours, ONE, Output::FlexVolume), Outcome::Unchanged { warnings: vec![] });
    let other = by_hand(json!({"driver": "example.com/other", "options": {"bucket": "alice"}}));
    assert_eq!(create(&other, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] });
    let mut own_choice = ours.clone();
    own_choice["metadata"]["annotations"] = json!({"boathouse.statcan.gc.ca/output": "flexVolume"});
    assert_eq!(create(&own_choice, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] });
    own_choice["metadata"]["annotations"] = json!({"boathouse.statcan.gc.ca/output": "csi"});
    let (after, _) = patched(&own_choice, ONE, Output::FlexVolume);
    assert!(after["spec"]["volumes"][0].get("csi").is_some());
}

#[test]
fn what_only_the_flexvolume_driver_lets_pass_is_left_out() {
    let pod = by_hand(json!({
        "driver": "statcan.gc.ca/boathouse",
        "options": {"bucket": "alice", "region": "", "vault-ttl": "-1s", "colour": "blue"},
    }));
    let (after, warnings) = patched(&pod, ONE, Output::Csi);
    assert_eq!(after["spec"]["volumes"][0]["csi"]["volumeAttributes"], json!({"bucket": "alice"}));
    assert_eq!(warnings, [r#"volume "data": unknown option "colour" is ignored"#]);
}

#[test]
fn options_that_cannot_be_mounted_are_refused_in_words() {
    let pod = by_hand(json!({"driver": "statcan.gc.ca/boathouse", "options": {"bucket": "Alice"}}));
    let message = denied(&pod, ONE, Output::Csi);
    assert!(message.starts_with(r#"volume "data": bucket "Alice": holds the uppercase letter"#), "{message}");
    let pod = by_hand(json!({"driver": "statcan.gc.ca/boathouse"}));
    assert!(denied(&pod, ONE, Output::Csi).starts_with(r#"volume "data": bucket is missing"#));
    let pod = by_hand(json!({"driver": "statcan.gc.ca/boathouse", "options": {"uid": 1000}}));
    assert!(denied(&pod, ONE, Output::Csi).starts_with(r#"volume "data": options: "invalid type: integer"#));
    let long = "x".repeat(64 << 10);
    let pod = by_hand(json!({"driver": "statcan.gc.ca/boathouse", "options": {"bucket": long}}));
    assert_eq!(denied(&pod, ONE, Output::Csi), r#"volume "data": options: longer than 65536 bytes"#);
}

#[test]
fn conversion_and_injection_go_together() {
    let mut pod = by_hand(json!({"driver": "statcan.gc.ca/boathouse", "options": {"bucket": "alice"}}));
    pod["metadata"]["annotations"] = json!({"data.statcan.gc.ca/inject-boathouse": "1"});
    let (after, _) = patched(&pod, ONE, Output::Csi);
    let volumes = after["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.len() == 2 && volumes.iter().all(|volume| volume.get("csi").is_some()), "{after:#}");
    assert_eq!(create(&after, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] });
}
