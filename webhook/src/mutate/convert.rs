//! Turns a pod's own FlexVolume volumes into inline CSI volumes.
//!
//! The options keep their names and values. What the FlexVolume driver passes over and the CSI driver
//! refuses is left out, and so are `fsType` and `secretRef`, of which the FlexVolume driver makes no use.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use volume_spec::{KEYS, Parameters, Shown, Strictness};

use super::CSI_DRIVER;
use super::patch::Edit;
use super::pod::{Pod, array, is_flex, name};
use super::refusal::Refusal;

/// Converts every volume of the FlexVolume driver.
pub(super) fn convert(pod: Pod<'_>, edit: &mut Edit) -> Result<(), Refusal> {
    let mut converted = BTreeSet::new();
    for (index, volume) in pod.volumes().iter().enumerate().filter(|(_, volume)| is_flex(volume)) {
        let csi = csi(volume, edit)?;
        edit.remove(&format!("/spec/volumes/{index}/flexVolume"));
        edit.add(&format!("/spec/volumes/{index}/csi"), csi);
        converted.insert(name(volume));
    }
    propagate(pod, &converted, edit);
    Ok(())
}

/// The CSI form of a volume.
fn csi(volume: &Value, edit: &mut Edit) -> Result<Value, Refusal> {
    let flex = &volume["flexVolume"];
    let options: BTreeMap<String, String> = match &flex["options"] {
        Value::Object(options) => options
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        _ => BTreeMap::new(),
    };
    let parsed = Parameters::parse(&options, Strictness::Legacy)
        .map_err(|error| Refusal::Own { volume: Shown::new(name(volume)), error: Box::new(error) })?;
    for warning in parsed.warnings {
        edit.warn(format!("volume {}: {warning}", name(volume)));
    }
    let kept: BTreeMap<&String, &String> = options
        .iter()
        .filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_empty())
        // Zero and less ask for the Vault role's default, as leaving it out does.
        .filter(|(key, _)| *key != "vault-ttl" || parsed.spec.vault_ttl.is_some())
        .collect();
    let mut csi = json!({"driver": CSI_DRIVER, "volumeAttributes": kept});
    if flex["readOnly"] == true {
        csi["readOnly"] = json!(true);
    }
    Ok(csi)
}

/// Lets running containers see a mount that replaces a dead one, where they do not say otherwise.
fn propagate(pod: Pod<'_>, volumes: &BTreeSet<&str>, edit: &mut Edit) {
    for (container, value) in pod.containers().iter().enumerate() {
        for (mount, value) in array(&value["volumeMounts"]).iter().enumerate() {
            // Kubernetes allows no propagation with recursive read-only.
            let recursive = value["recursiveReadOnly"].as_str().is_some_and(|word| word != "Disabled");
            if volumes.contains(name(value)) && value["mountPropagation"].is_null() && !recursive {
                let path = format!("/spec/containers/{container}/volumeMounts/{mount}/mountPropagation");
                edit.add(&path, json!("HostToContainer"));
            }
        }
    }
}
