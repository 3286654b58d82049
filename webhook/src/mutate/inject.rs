//! Adds the directories of the instances file to a pod.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use volume_spec::Shown;

use super::patch::Edit;
use super::pod::{Container, Pod};
use super::refusal::Refusal;
use super::targets::targets;
use super::{CSI_DRIVER, FLEX_DRIVER, Output};
use crate::instances::{Config, Volume};

/// Adds every volume of `config` and its mounts, except what the pod has already.
pub(super) fn inject(
    pod: &Pod<'_>,
    namespace: &str,
    config: &Config,
    output: Output,
    edit: &mut Edit,
) -> Result<(), Refusal> {
    let targets = targets(pod, config)?;
    if targets.is_empty() {
        edit.warn(|| "no MinIO directories were added: the pod has no container to mount them in".to_owned());
        return Ok(());
    }
    let mut containers = Vec::with_capacity(targets.len());
    for index in targets {
        containers.push((index, occupants(&pod.containers()[index], config)?));
    }
    let present = pod.volumes();
    let mut taken: BTreeMap<Cow<'_, str>, bool> = present
        .unwrap_or_default()
        .iter()
        .map(|volume| (Cow::Borrowed(&*volume.name), volume.is_ours()))
        .collect();
    for (number, volume) in config.volumes.iter().enumerate() {
        let attributes = match volume.attributes(namespace) {
            Ok(attributes) => attributes,
            Err(error) if volume.optional => {
                edit.warn(|| format!("optional directory {} was not added: {error}", volume.mount_path));
                continue;
            }
            Err(error) => {
                let (instance, namespace) = (volume.instance.clone(), Shown::new(namespace));
                return Err(Refusal::Instance { instance, namespace, error: Box::new(error) });
            }
        };
        let (name, there) = place(&volume.name, &taken);
        let mounts: Vec<usize> = containers
            .iter()
            .filter(|(index, occupants)| {
                let occupant = occupants[number].as_ref();
                is_free(occupant, &pod.containers()[*index].name, &name, &volume.mount_path, edit)
            })
            .map(|(index, _)| *index)
            .collect();
        if mounts.is_empty() {
            continue;
        }
        if !there {
            let source = source(volume, json!(attributes), output);
            let mut element = json!({"name": name});
            let key = if output == Output::Csi { "csi" } else { "flexVolume" };
            element[key] = source;
            edit.append("/spec/volumes", present.is_some(), element);
        }
        for index in mounts {
            let path = format!("/spec/containers/{index}/volumeMounts");
            edit.append(&path, pod.containers()[index].has_mounts(), mount(volume, &name, output));
        }
        // Another volume of ours does not share it.
        taken.insert(Cow::Owned(name), false);
    }
    Ok(())
}

/// The name to use for a volume, and whether the pod has it. One of our drivers under that name is what an
/// earlier call has put there, or what the author wants there; another volume keeps its name, and ours gets
/// a number. `taken` says of each name whether it is one of ours.
fn place(wanted: &str, taken: &BTreeMap<Cow<'_, str>, bool>) -> (String, bool) {
    let mut candidate = wanted.to_owned();
    let mut number = 2;
    loop {
        match taken.get(candidate.as_str()) {
            None => return (candidate, false),
            Some(true) => return (candidate, true),
            Some(false) => candidate = format!("{wanted}-{number}"),
        }
        number += 1;
    }
}

/// What a container has at a path of ours.
#[derive(Debug)]
enum Occupant<'a> {
    Device,
    /// The volume of this name.
    Volume(Cow<'a, str>),
}

/// What a container has at the path of each volume of `config`, in its order.
fn occupants<'a>(container: &Container<'a>, config: &Config) -> Result<Vec<Option<Occupant<'a>>>, Refusal> {
    // Compared as the kubelet will clean them: without `//` and a slash at the end.
    let at = |given: &str, volume: &Volume| Path::new(given) == Path::new(&volume.mount_path);
    let mut found: Vec<_> = config.volumes.iter().map(|_| None).collect();
    for device in container.devices()? {
        for (occupant, volume) in found.iter_mut().zip(&config.volumes) {
            if at(&device.device_path, volume) {
                *occupant = Some(Occupant::Device);
            }
        }
    }
    for mount in container.mounts()? {
        for (occupant, volume) in found.iter_mut().zip(&config.volumes) {
            if occupant.is_none() && at(&mount.mount_path, volume) {
                *occupant = Some(Occupant::Volume(mount.name.clone()));
            }
        }
    }
    Ok(found)
}

/// Whether a container is to get the mount: not when it has it, and not when something else is there.
fn is_free(
    occupant: Option<&Occupant<'_>>,
    container: &str,
    name: &str,
    path: &str,
    edit: &mut Edit,
) -> bool {
    let what = match occupant {
        None => return true,
        Some(Occupant::Device) => "a device".to_owned(),
        Some(Occupant::Volume(other)) if other != name => format!("volume {}", Shown::new(other)),
        Some(Occupant::Volume(_)) => return false,
    };
    edit.warn(|| format!("{path} was not mounted in container {}: {what} is there", Shown::new(container)));
    false
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
