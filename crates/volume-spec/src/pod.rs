//! Whose volume it is, as kubelet says.

use crate::error::plain;
use crate::parameters::parse_bool;
use crate::{Lookup, SpecError};

/// The pod a volume belongs to.
///
/// kubelet writes these keys over whatever a pod's author put there, but only those it was told to write:
/// without `podInfoOnMount: true` on the `CSIDriver` object an author could make them up. They are for log
/// text and for the FlexVolume fence; access is decided by the token, not by them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodInfo {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace, a DNS label.
    pub namespace: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod's service account.
    pub service_account: String,
    /// Whether the volume is inline in the pod (CSI only; `false` for FlexVolume).
    pub ephemeral: bool,
}

/// Where one source of pod information keeps each part.
struct Keys {
    name: &'static str,
    namespace: &'static str,
    uid: &'static str,
    service_account: &'static str,
    ephemeral: Option<&'static str>,
}

const CSI: Keys = Keys {
    name: "csi.storage.k8s.io/pod.name",
    namespace: "csi.storage.k8s.io/pod.namespace",
    uid: "csi.storage.k8s.io/pod.uid",
    service_account: "csi.storage.k8s.io/serviceAccount.name",
    ephemeral: Some("csi.storage.k8s.io/ephemeral"),
};

const FLEX: Keys = Keys {
    name: "kubernetes.io/pod.name",
    namespace: "kubernetes.io/pod.namespace",
    uid: "kubernetes.io/pod.uid",
    service_account: "kubernetes.io/serviceAccount.name",
    ephemeral: None,
};

const WRITE: &str = "kubelet writes it: set podInfoOnMount: true on the CSIDriver object";

impl PodInfo {
    /// Reads CSI's `volume_context`. `None` when it says nothing of a pod.
    ///
    /// # Errors
    /// [`SpecError`] names the key that is missing or malformed while others are there.
    pub fn from_volume_context(context: &impl Lookup) -> Result<Option<Self>, SpecError> {
        Self::read(context, &CSI)
    }

    /// Reads the `kubernetes.io/…` keys of a FlexVolume callout. `None` when it says nothing of a pod.
    pub(crate) fn from_callout(document: &impl Lookup) -> Result<Option<Self>, SpecError> {
        Self::read(document, &FLEX)
    }

    fn read(map: &impl Lookup, keys: &Keys) -> Result<Option<Self>, SpecError> {
        let all = [keys.name, keys.namespace, keys.uid, keys.service_account];
        if all.iter().all(|key| map.value(key).is_none()) {
            return Ok(None);
        }
        let text = |key: &'static str| {
            let value = map.value(key).ok_or(SpecError::Missing { field: key, write: WRITE })?;
            plain(key, value, 253, WRITE).map(|()| value.to_owned())
        };
        let namespace = text(keys.namespace)?;
        if !is_dns_label(&namespace) {
            return Err(SpecError::invalid(keys.namespace, &namespace, "is no namespace name", WRITE));
        }
        let ephemeral = keys.ephemeral.and_then(|key| Some((key, map.value(key)?)));
        Ok(Some(Self {
            name: text(keys.name)?,
            namespace,
            uid: text(keys.uid)?,
            service_account: text(keys.service_account)?,
            ephemeral: ephemeral.map_or(Ok(false), |(key, value)| parse_bool(key, value))?,
        }))
    }
}

/// RFC 1123 label: what Kubernetes accepts as a namespace's name.
pub(crate) fn is_dns_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
