//! Adds the directories of the instances file to a pod.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use volume_spec::Shown;

use super::patch::Edit;
use super::pod::{Pod, array, is_ours, name};
use super::refusal::Refusal;
use super::targets::targets;
use super::{CSI_DRIVER, FLEX_DRIVER, Output};
use crate::instances::{Config, Volume};

/// Adds every volume of `config` and its mounts, except what the pod has already.
pub(super) fn inject(
    pod: Pod<'_>,
    namespace: &str,
    config: &Config,
    output: Output,
    edit: &mut Edit,
) -> Result<(), Refusal> {
    let targets = targets(pod, config);
    if targets.is_empty() {
        edit.warn("no MinIO directories were added: the pod has no container to mount them in".to_owned());
        return Ok(());
    }
    let mut taken: BTreeMap<String, bool> =
        pod.volumes().iter().map(|volume| (name(volume).to_owned(), is_ours(volume))).collect();
    for volume in &config.volumes {
        let attributes = match volume.attributes(namespace) {
            Ok(attributes) => attributes,
            Err(error) if volume.optional => {
                edit.warn(format!("optional directory {} was not added: {error}", volume.mount_path));
                continue;
            }
            Err(error) => {
                let (instance, namespace) = (volume.instance.clone(), Shown::new(namespace));
                return Err(Refusal::Instance { instance, namespace, error: Box::new(error) });
            }
        };
        let (volume_name, present) = place(&volume.name, &taken);
        let mounts: Vec<usize> = targets
            .iter()
            .copied()
            .filter(|index| may_mount(&pod.containers()[*index], &volume_name, &volume.mount_path, edit))
            .collect();
        if mounts.is_empty() {
            continue;
        }
        if !present {
            let source = source(volume, json!(attributes), output);
            let mut element = json!({"name": volume_name});
            let key = if output == Output::Csi { "csi" } else { "flexVolume" };
            element[key] = source;
            edit.append("/spec/volumes", &pod.0["spec"]["volumes"], element);
        }
        for index in mounts {
            let path = format!("/spec/containers/{index}/volumeMounts");
            let present = &pod.containers()[index]["volumeMounts"];
            edit.append(&path, present, mount(volume, &volume_name, output));
        }
        // Another volume of ours does not share it.
        taken.insert(volume_name, false);
    }
    Ok(())
}

/// The name to use for a volume, and whether the pod has it. One of our drivers under that name is what an
/// earlier call has put there, or what the author wants there; another volume keeps its name, and ours gets
/// a number. `taken` says of each name whether it is one of ours.
fn place(wanted: &str, taken: &BTreeMap<String, bool>) -> (String, bool) {
    let mut candidate = wanted.to_owned();
    let mut number = 2;
    loop {
        match taken.get(&candidate) {
            None => return (candidate, false),
            Some(true) => return (candidate, true),
            Some(false) => candidate = format!("{wanted}-{number}"),
        }
        number += 1;
    }
}

/// Whether a container is to get the mount: not when it has it, and not when something else is there.
fn may_mount(container: &Value, volume_name: &str, path: &str, edit: &mut Edit) -> bool {
    let at = |value: &Value| value.as_str().is_some_and(|given| given.trim_end_matches('/') == path);
    if array(&container["volumeDevices"]).iter().any(|device| at(&device["devicePath"])) {
        edit.warn(format!("{path} was not mounted in container {}: a device is there", name(container)));
        return false;
    }
    match array(&container["volumeMounts"]).iter().find(|mount| at(&mount["mountPath"])) {
        None => true,
        Some(mount) => {
            if name(mount) != volume_name {
                let (container, other) = (name(container), name(mount));
                edit.warn(format!(
                    "{path} was not mounted in container {container}: volume {other} is there"
                ));
            }
            false
        }
    }
}

fn source(volume: &Volume, attributes: Value, output: Output) -> Value {
    let (driver, key) = match output {
        Output::FlexVolume => (FLEX_DRIVER, "options"),
        Output::Csi => (CSI_DRIVER, "volumeAttributes"),
    };
    let mut source = json!({"driver": driver});
    source[key] = attributes;
    if volume.read_only {
        source["readOnly"] = json!(true);
    }
    source
}

fn mount(volume: &Volume, volume_name: &str, output: Output) -> Value {
    let mut mount = json!({"name": volume_name, "mountPath": volume.mount_path});
    if volume.read_only {
        mount["readOnly"] = json!(true);
    }
    // A mount that died is replaced on the node; a running container sees the new one only with this.
    if output == Output::Csi {
        mount["mountPropagation"] = json!("HostToContainer");
    }
    mount
}
