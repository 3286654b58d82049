//! The API server's rules about volumes and mounts, as far as a patch of ours could break them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Says what the API server would refuse a pod for.
pub(super) fn check(pod: &Value) -> Result<(), String> {
    let mut volumes = BTreeSet::new();
    for volume in array(&pod["spec"], "volumes")? {
        let name = volume["name"].as_str().ok_or("a volume without name")?;
        if name.is_empty() || name.len() > 63 {
            return Err(format!("volume name {name:?}"));
        }
        if !volumes.insert(name) {
            return Err(format!("two volumes named {name}"));
        }
        let sources = ["emptyDir", "configMap", "flexVolume", "csi"];
        if sources.iter().filter(|source| volume.get(**source).is_some()).count() != 1 {
            return Err(format!("volume {name} has not exactly one source"));
        }
    }
    if array(&pod["spec"], "containers")?.is_empty() {
        return Err("no containers".to_owned());
    }
    for container in array(&pod["spec"], "containers")?.iter().chain(array(&pod["spec"], "initContainers")?) {
        let mut paths = BTreeSet::new();
        for device in array(container, "volumeDevices")? {
            paths.insert(device["devicePath"].as_str().ok_or("a device without path")?);
        }
        for mount in array(container, "volumeMounts")? {
            let name = mount["name"].as_str().ok_or("a mount without name")?;
            let path = mount["mountPath"].as_str().ok_or("a mount without path")?;
            if !volumes.contains(name) {
                return Err(format!("the mount at {path} names no volume: {name}"));
            }
            if !paths.insert(path) {
                return Err(format!("two things at {path}"));
            }
            if mount["recursiveReadOnly"] == "Enabled" && mount["mountPropagation"].is_string() {
                return Err(format!("recursiveReadOnly with mountPropagation at {path}"));
            }
        }
    }
    Ok(())
}

fn array<'a>(parent: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match &parent[key] {
        Value::Null => Ok(&[]),
        Value::Array(elements) => Ok(elements),
        _ => Err(format!("{key} is no array")),
    }
}
