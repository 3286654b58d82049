//! Turns a pod's own FlexVolume volumes into inline CSI volumes.
//!
//! The options keep their names and values. What the FlexVolume driver passes over and the CSI driver
//! refuses is left out, and so are `fsType` and `secretRef`, of which the FlexVolume driver makes no use.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use volume_spec::{KEYS, Parameters, Shown, Strictness};

use super::CSI_DRIVER;
use super::patch::Edit;
use super::pod::{Container, Flex, Pod};
use super::refusal::Refusal;

/// Converts every volume of the FlexVolume driver.
pub(super) fn convert(pod: &Pod<'_>, edit: &mut Edit) -> Result<(), Refusal> {
    let mut converted = BTreeSet::new();
    for (index, volume) in pod.volumes().unwrap_or_default().iter().enumerate() {
        let Some(flex) = volume.flex() else { continue };
        let csi = csi(&volume.name, flex, edit)?;
        edit.remove(&format!("/spec/volumes/{index}/flexVolume"));
        edit.add(&format!("/spec/volumes/{index}/csi"), csi);
        converted.insert(&*volume.name);
    }
    if converted.is_empty() {
        return Ok(());
    }
    for (index, container) in pod.containers().iter().enumerate() {
        propagate(&format!("/spec/containers/{index}"), container, &converted, edit)?;
    }
    // An init container that is no sidecar is gone when a mount may have to be replaced.
    for (index, container) in pod.init_containers().iter().enumerate().filter(|(_, one)| one.stays()) {
        propagate(&format!("/spec/initContainers/{index}"), container, &converted, edit)?;
    }
    Ok(())
}

/// The CSI form of a volume.
fn csi(name: &str, flex: &Flex<'_>, edit: &mut Edit) -> Result<Value, Refusal> {
    let options = flex.options(name)?;
    let parsed = Parameters::parse(&options, Strictness::Legacy)
        .map_err(|error| Refusal::Own { volume: Shown::new(name), error: Box::new(error) })?;
    for warning in parsed.warnings {
        edit.warn(|| format!("volume {}: {warning}", Shown::new(name)));
    }
    let kept: BTreeMap<&String, &String> = options
        .iter()
        .filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_empty())
        // Zero and less ask for the Vault role's default, as leaving it out does.
        .filter(|(key, _)| *key != "vault-ttl" || parsed.spec.vault_ttl.is_some())
        .collect();
    let mut csi = json!({"driver": CSI_DRIVER, "volumeAttributes": kept});
    if flex.read_only() {
        csi["readOnly"] = json!(true);
    }
    Ok(csi)
}

/// Lets the running container at `path` see a mount that replaces a dead one, where it does not say otherwise.
fn propagate(
    path: &str,
    container: &Container<'_>,
    volumes: &BTreeSet<&str>,
    edit: &mut Edit,
) -> Result<(), Refusal> {
    for (index, mount) in container.mounts()?.iter().enumerate() {
        if volumes.contains(&*mount.name) && mount.may_propagate() {
            edit.add(&format!("{path}/volumeMounts/{index}/mountPropagation"), json!("HostToContainer"));
        }
    }
    Ok(())
}
