//! A pod, as far as anything is decided by it.
//!
//! Whoever made the pod decides how large it is, so reading it takes little more memory than its text: names and paths
//! are borrowed from it where they can be, what is not looked at is passed over, and mounts and options are read one container and one
//! volume at a time. The API server has decoded the pod before it asks, so a field of a wrong type does not come from
//! there and is an error.

use super::json::{self, Object, Objects};
use super::refusal::Refusal;
use super::{CSI_DRIVER, FLEX_DRIVER, INJECT, OUTPUT, Output};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use volume_spec::{Shown, go_bool};

/// Longest options of a FlexVolume volume in bytes. The driver knows a dozen of them.
const OPTIONS_LIMIT: usize = 64 << 10;

/// A pod.
#[derive(Debug)]
pub struct Pod<'a> {
    metadata: Metadata<'a>,
    spec: Spec<'a>,
}

impl<'a> Pod<'a> {
    /// Reads a pod from its JSON.
    ///
    /// # Errors
    /// It is no object, or a field that is looked at has another type, is there twice, or is an array without end.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(|Object(parts)| {
            let Parts { metadata, spec } = parts;
            Self {
                metadata: metadata.map_or_else(Metadata::default, inner),
                spec: spec.map_or_else(Spec::default, inner),
            }
        })
    }

    /// Whether the pod asks for its directories.
    pub(super) fn wants_injection(&self) -> Result<bool, Refusal> {
        self.annotation(INJECT, "\"true\" or \"false\"", go_bool::parse).map(Option::unwrap_or_default)
    }

    /// The output the pod chooses.
    pub(super) fn output(&self) -> Result<Option<Output>, Refusal> {
        self.annotation(OUTPUT, "\"csi\" or \"flexVolume\"", |text| match text {
            "csi" => Some(Output::Csi),
            "flexVolume" => Some(Output::FlexVolume),
            _ => None,
        })
    }

    fn annotation<T>(
        &self,
        name: &'static str,
        write: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(all) = self.metadata.annotations else { return Ok(None) };
        let found = json::text(all, name).map_err(|error| Refusal::shape("metadata.annotations", &error))?;
        let Some(text) = found else { return Ok(None) };
        let refusal = || Refusal::Annotation { name, value: Shown::new(&text), write };
        parse(&text).map(Some).ok_or_else(refusal)
    }

    /// The namespace the pod itself names.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    /// The value of a label.
    pub(super) fn label(&self, key: &str) -> Result<Option<Cow<'_, str>>, Refusal> {
        let Some(all) = self.metadata.labels else { return Ok(None) };
        json::text(all, key).map_err(|error| Refusal::shape("metadata.labels", &error))
    }

    /// Its volumes, if it has such an array.
    pub(super) fn volumes(&self) -> Option<&[Volume<'a>]> {
        self.spec.volumes.as_ref().map(|all| all.0.as_slice())
    }

    /// Its containers, without init containers and ephemeral ones.
    pub(super) fn containers(&self) -> &[Container<'a>] {
        self.spec.containers.as_ref().map_or(&[], |all| all.0.as_slice())
    }

    /// Its init containers.
    pub(super) fn init_containers(&self) -> &[Container<'a>] {
        self.spec.init_containers.as_ref().map_or(&[], |all| all.0.as_slice())
    }
}

fn inner<T>(Object(inner): Object<T>) -> T {
    inner
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    metadata: Option<Object<Metadata<'a>>>,
    #[serde(borrow)]
    spec: Option<Object<Spec<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    volumes: Option<Objects<Volume<'a>>>,
    #[serde(borrow)]
    containers: Option<Objects<Container<'a>>>,
    #[serde(borrow)]
    init_containers: Option<Objects<Container<'a>>>,
}

/// A volume.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume<'a> {
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    flex_volume: Option<Object<Box<Flex<'a>>>>,
    #[serde(borrow)]
    csi: Option<Object<Driver<'a>>>,
}

impl<'a> Volume<'a> {
    /// Its source, when that is the FlexVolume driver.
    pub(super) fn flex(&self) -> Option<&Flex<'a>> {
        self.flex_volume.as_ref().map(|Object(flex)| &**flex).filter(|flex| flex.driver == FLEX_DRIVER)
    }

    /// Whether it is one of ours, in either form.
    pub(super) fn is_ours(&self) -> bool {
        self.flex().is_some() || self.csi.as_ref().is_some_and(|Object(csi)| csi.driver == CSI_DRIVER)
    }
}

#[derive(Debug, Deserialize)]
struct Driver<'a> {
    #[serde(borrow, default)]
    driver: Cow<'a, str>,
}

/// A FlexVolume source.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Flex<'a> {
    #[serde(borrow, default)]
    driver: Cow<'a, str>,
    #[serde(borrow)]
    options: Option<&'a RawValue>,
    read_only: Option<bool>,
}

impl Flex<'_> {
    /// Whether it is to be mounted read only.
    pub(super) fn read_only(&self) -> bool {
        self.read_only.unwrap_or_default()
    }

    /// What the driver is given.
    pub(super) fn options(&self, volume: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let Some(text) = self.options.map(RawValue::get) else { return Ok(BTreeMap::new()) };
        let field = || format!("volume {}: options", Shown::new(volume));
        if text.len() > OPTIONS_LIMIT {
            let reason = format!("longer than {OPTIONS_LIMIT} bytes");
            return Err(Refusal::Shape { field: field(), reason });
        }
        serde_json::from_str(text).map_err(|error| Refusal::shape(field(), &error))
    }
}

/// A container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container<'a> {
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    volume_mounts: Option<&'a RawValue>,
    #[serde(borrow)]
    volume_devices: Option<&'a RawValue>,
    #[serde(borrow)]
    restart_policy: Option<Cow<'a, str>>,
}

impl<'a> Container<'a> {
    /// Whether it has an array of mounts.
    pub(super) fn has_mounts(&self) -> bool {
        self.volume_mounts.is_some()
    }

    /// Whether, as an init container, it runs beside the others: a sidecar.
    pub(super) fn stays(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// Its mounts.
    pub(super) fn mounts(&self) -> Result<Vec<Mount<'a>>, Refusal> {
        self.read("volumeMounts", self.volume_mounts)
    }

    /// Its block devices.
    pub(super) fn devices(&self) -> Result<Vec<Device<'a>>, Refusal> {
        self.read("volumeDevices", self.volume_devices)
    }

    fn read<T: Deserialize<'a>>(&self, field: &str, text: Option<&'a RawValue>) -> Result<Vec<T>, Refusal> {
        let Some(text) = text else { return Ok(Vec::new()) };
        let all: Result<Objects<T>, _> = serde_json::from_str(text.get());
        all.map(|all| all.0)
            .map_err(|error| Refusal::shape(format!("container {}: {field}", Shown::new(&self.name)), &error))
    }
}

/// A volume in a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount<'a> {
    /// The volume.
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) mount_path: Cow<'a, str>,
    mount_propagation: Option<IgnoredAny>,
    #[serde(borrow)]
    recursive_read_only: Option<Cow<'a, str>>,
}

impl Mount<'_> {
    /// Whether it may be given a propagation: Kubernetes allows none with recursive read-only, and what the author has
    /// chosen stays.
    pub(super) fn may_propagate(&self) -> bool {
        let recursive = self.recursive_read_only.as_deref().is_some_and(|word| word != "Disabled");
        self.mount_propagation.is_none() && !recursive
    }
}

/// A block device in a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Device<'a> {
    #[serde(borrow, default)]
    pub(super) device_path: Cow<'a, str>,
}
