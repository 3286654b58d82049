//! Names and paths that a pod uses already.

use boathouse_webhook::mutate::{Outcome, Output};
use serde_json::json;

use super::{ONE, create, notebook, patched};

const PATH: &str = "/home/jovyan/minio/lake/private";

#[test]
fn another_volume_keeps_its_name() {
    let mut pod = notebook();
    pod["spec"]["volumes"] = json!([
        {"name": "ws", "emptyDir": {}},
        {"name": "lake-private", "emptyDir": {}},
        {"name": "lake-private-2", "configMap": {"name": "c"}},
    ]);
    let (after, warnings) = patched(&pod, ONE, Output::Csi);
    assert_eq!(after["spec"]["volumes"][3]["name"], "lake-private-3");
    assert_eq!(after["spec"]["containers"][0]["volumeMounts"][1]["name"], "lake-private-3");
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(create(&after, ONE, Output::Csi), Outcome::Unchanged { warnings: vec![] });
}

#[test]
fn a_volume_of_ours_is_used_as_it_is() {
    let own = json!({
        "name": "lake-private",
        "csi": {"driver": "boathouse.statcan.gc.ca", "volumeAttributes": {"bucket": "chosen-by-the-author"}},
    });
    let mut pod = notebook();
    pod["spec"]["volumes"] = json!([{"name": "ws", "emptyDir": {}}, own]);
    let (after, _) = patched(&pod, ONE, Output::Csi);
    assert_eq!(after["spec"]["volumes"], pod["spec"]["volumes"]);
    assert_eq!(after["spec"]["containers"][0]["volumeMounts"][1]["name"], "lake-private");
}

#[test]
fn another_mount_keeps_its_path() {
    for path in [PATH.to_owned(), format!("{PATH}/"), PATH.replace("/minio/", "//minio/./")] {
        let mut pod = notebook();
        pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = json!(path);
        let Outcome::Unchanged { warnings } = create(&pod, ONE, Output::Csi) else { panic!("was changed") };
        assert_eq!(warnings, [format!("{PATH} was not mounted in container \"nb\": volume \"ws\" is there")]);
    }
}

#[test]
fn a_device_keeps_its_path() {
    let mut pod = notebook();
    pod["spec"]["containers"][0]["volumeDevices"] = json!([{"name": "disk", "devicePath": PATH}]);
    let Outcome::Unchanged { warnings } = create(&pod, ONE, Output::Csi) else { panic!("was changed") };
    assert_eq!(warnings, [format!("{PATH} was not mounted in container \"nb\": a device is there")]);
}

#[test]
fn a_volume_is_added_once_for_all_its_containers() {
    let instances = format!("containers: [{{mountIn: ['*']}}]{ONE}");
    let mut pod = notebook();
    pod["spec"]["containers"] = json!([
        {"name": "a", "volumeMounts": [{"name": "ws", "mountPath": PATH}]},
        {"name": "b"},
        {"name": "c", "volumeMounts": []},
    ]);
    let (after, warnings) = patched(&pod, &instances, Output::Csi);
    assert_eq!(after["spec"]["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(after["spec"]["containers"][0], pod["spec"]["containers"][0]);
    for index in [1, 2] {
        assert_eq!(after["spec"]["containers"][index]["volumeMounts"][0]["mountPath"], PATH);
    }
    assert_eq!(warnings.len(), 1);
}

/// A pod may have thousands of volumes; that must not cost their square.
#[test]
fn very_many_taken_names_are_no_trouble() {
    const MANY: usize = 4095;
    let volumes: Vec<_> = (1..=MANY)
        .map(|number| match number {
            1 => json!({"name": "lake-private", "emptyDir": {}}),
            _ => json!({"name": format!("lake-private-{number}"), "emptyDir": {}}),
        })
        .collect();
    let mut pod = notebook();
    pod["spec"]["volumes"] = json!(volumes);
    let Outcome::Patched { patch, .. } = create(&pod, ONE, Output::Csi) else { panic!("no patch") };
    assert_eq!(patch[0]["value"]["name"], format!("lake-private-{}", MANY + 1));
}

#[test]
fn a_patch_without_end_is_refused() {
    let flex = json!({"driver": "statcan.gc.ca/boathouse", "options": {"bucket": "alice"}});
    let with = |mounts: usize| {
        let mounts: Vec<_> =
            (0..mounts).map(|number| json!({"name": "v", "mountPath": format!("/{number}")})).collect();
        let container = json!({"name": "a", "volumeMounts": mounts});
        let pod = json!({"spec": {
            "containers": [container, container],
            "volumes": [{"name": "v", "flexVolume": flex}],
        }});
        create(&pod, ONE, Output::Csi)
    };
    let Outcome::Patched { patch, .. } = with(2047) else { panic!("no patch") };
    assert_eq!(patch.as_array().unwrap().len(), 4096);
    let Outcome::Denied { message } = with(2048) else { panic!("was let through") };
    assert!(message.contains("more than 4096 changes"), "{message}");
}
