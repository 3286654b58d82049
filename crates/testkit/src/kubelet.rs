//! What kubelet does to a driver, call by call: directories, volume context, tokens, callouts.

use crate::node::{NodeError, NodeProcess};
use crate::stack::{Claims, Identities};
use csi_proto::csi::v1::volume_capability::{AccessMode, AccessType, MountVolume, access_mode};
use csi_proto::csi::v1::{
    NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
    NodeUnpublishVolumeRequest, VolumeCapability,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A key of the volume context that carries tokens (`CSIDriver.spec.tokenRequests`).
pub const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A volume of a pod, as kubelet sees it.
#[derive(Debug, Clone)]
pub struct PodVolume {
    /// The pod and its service account; the token is made from these.
    pub claims: Claims,
    /// Name of the volume in the pod.
    pub volume: String,
    /// The pod author's `volumeAttributes` or FlexVolume `options`.
    pub attributes: BTreeMap<String, String>,
    /// The pod author's `readOnly`.
    pub readonly: bool,
    /// The decoded `nodePublishSecretRef`.
    pub secrets: BTreeMap<String, String>,
}

/// What a FlexVolume callout came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callout {
    /// Exit code.
    pub exit: Option<i32>,
    /// Standard output and standard error together, as kubelet reads them.
    pub output: String,
    /// Standard error alone.
    pub stderr: String,
}

impl Callout {
    /// `status` of the answer; empty when the answer is no JSON.
    #[must_use]
    pub fn status(&self) -> String {
        self.field("status")
    }

    /// `message` of the answer.
    #[must_use]
    pub fn message(&self) -> String {
        self.field("message")
    }

    fn field(&self, name: &str) -> String {
        let answer: Value = serde_json::from_str(&self.output).unwrap_or_default();
        answer[name].as_str().unwrap_or_default().to_owned()
    }
}

impl PodVolume {
    /// A volume with these attributes.
    #[must_use]
    pub fn new(claims: Claims, volume: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { claims, volume: volume.to_owned(), attributes, readonly: false, secrets: BTreeMap::new() }
    }

    /// Sets or replaces an attribute.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.attributes.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves an attribute out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.attributes.remove(key);
        self
    }

    fn pod(&self) -> (&str, &str) {
        self.claims.pod.as_ref().map_or(("pod", "uid"), |pod| (pod.name.as_str(), pod.uid.as_str()))
    }

    /// CSI's volume id of an inline volume: `csi-` and the SHA-256 of pod uid and volume name.
    #[must_use]
    pub fn id(&self) -> String {
        let (_, uid) = self.pod();
        format!("csi-{}", hex::encode(Sha256::digest(format!("{uid}{}", self.volume))))
    }

    /// The target path of CSI below kubelet's pods directory.
    #[must_use]
    pub fn csi_target(&self, pods: &Path) -> PathBuf {
        let (_, uid) = self.pod();
        pods.join(uid).join("volumes/kubernetes.io~csi").join(&self.volume).join("mount")
    }

    /// The mount directory of FlexVolume below kubelet's pods directory.
    #[must_use]
    pub fn flex_target(&self, pods: &Path) -> PathBuf {
        let (_, uid) = self.pod();
        pods.join(uid).join("volumes/statcan.gc.ca~boathouse").join(&self.volume)
    }

    /// The publish request of an inline ephemeral volume, with a token signed now.
    ///
    /// # Panics
    /// When signing fails.
    #[must_use]
    pub fn request(&self, identities: &Identities, pods: &Path) -> NodePublishVolumeRequest {
        let (name, uid) = self.pod();
        let tokens = identities.sign_for_kubelet(&self.claims).unwrap_or_else(|error| panic!("{error}"));
        let mut context: HashMap<String, String> = self.attributes.clone().into_iter().collect();
        // kubelet's own keys win.
        for (key, value) in [
            ("pod.name", name),
            ("pod.namespace", self.claims.namespace.as_str()),
            ("pod.uid", uid),
            ("serviceAccount.name", self.claims.service_account.as_str()),
            ("ephemeral", "true"),
        ] {
            context.insert(format!("csi.storage.k8s.io/{key}"), value.to_owned());
        }
        context.insert(TOKENS.to_owned(), tokens.expose_secret().to_owned());
        NodePublishVolumeRequest {
            volume_id: self.id(),
            target_path: self.csi_target(pods).to_string_lossy().into_owned(),
            volume_capability: Some(filesystem()),
            readonly: self.readonly,
            secrets: self.secrets.clone().into_iter().collect(),
            volume_context: context,
            ..Default::default()
        }
    }

    /// The document of a FlexVolume mount callout: options beside kubelet's own keys.
    #[must_use]
    pub fn document(&self) -> String {
        let (name, uid) = self.pod();
        let mut all = self.attributes.clone();
        for (key, value) in [
            ("fsType", ""),
            ("readwrite", if self.readonly { "ro" } else { "rw" }),
            ("pvOrVolumeName", self.volume.as_str()),
            ("pod.name", name),
            ("pod.namespace", self.claims.namespace.as_str()),
            ("pod.uid", uid),
            ("serviceAccount.name", self.claims.service_account.as_str()),
        ] {
            all.entry(format!("kubernetes.io/{key}")).or_insert_with(|| value.to_owned());
        }
        json!(all).to_string()
    }
}

/// A directory that pods may write to.
#[must_use]
pub fn filesystem() -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode { mode: access_mode::Mode::SingleNodeWriter as i32 }),
        access_type: Some(AccessType::Mount(MountVolume::default())),
    }
}

/// Makes the directory above a CSI target, as kubelet does.
///
/// # Errors
/// When it cannot be made.
pub fn make_parent(target: &Path) -> std::io::Result<()> {
    target.parent().map_or(Ok(()), std::fs::create_dir_all)
}

impl NodeProcess {
    /// Publishes an inline volume and answers its target.
    ///
    /// # Errors
    /// The driver's answer.
    ///
    /// # Panics
    /// When the driver cannot be reached.
    pub async fn publish(
        &self,
        identities: &Identities,
        volume: &PodVolume,
    ) -> Result<PathBuf, tonic::Status> {
        let target = volume.csi_target(&self.pods());
        make_parent(&target).unwrap_or_else(|error| panic!("{error}"));
        self.send_publish(volume.request(identities, &self.pods())).await?;
        Ok(target)
    }

    /// Sends a publish request as it is, with kubelet's deadline.
    ///
    /// # Errors
    /// The driver's answer.
    ///
    /// # Panics
    /// When the driver cannot be reached.
    pub async fn send_publish(&self, request: NodePublishVolumeRequest) -> Result<(), tonic::Status> {
        let mut client = self.client().await.unwrap_or_else(|error| panic!("{error}"));
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_secs(120));
        client.node_publish_volume(request).await.map(drop)
    }

    /// Unpublishes a target.
    ///
    /// # Errors
    /// The driver's answer.
    ///
    /// # Panics
    /// When the driver cannot be reached.
    pub async fn unpublish(&self, volume_id: &str, target: &Path) -> Result<(), tonic::Status> {
        let mut client = self.client().await.unwrap_or_else(|error| panic!("{error}"));
        let request = NodeUnpublishVolumeRequest {
            volume_id: volume_id.to_owned(),
            target_path: target.to_string_lossy().into_owned(),
        };
        client.node_unpublish_volume(request).await.map(drop)
    }

    /// Asks how a published volume does.
    ///
    /// # Errors
    /// The driver's answer.
    ///
    /// # Panics
    /// When the driver cannot be reached.
    pub async fn stats(&self, target: &Path) -> Result<NodeGetVolumeStatsResponse, tonic::Status> {
        let mut client = self.client().await.unwrap_or_else(|error| panic!("{error}"));
        let request = NodeGetVolumeStatsRequest {
            volume_id: "any".to_owned(),
            volume_path: target.to_string_lossy().into_owned(),
            ..Default::default()
        };
        client.node_get_volume_stats(request).await.map(tonic::Response::into_inner)
    }

    /// Executes the FlexVolume driver as kubelet does: argument vector, closed stdin, both outputs read.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn callout(&self, shim: &Path, arguments: &[&str]) -> Result<Callout, NodeError> {
        callout(shim, &self.agent_socket(), arguments)
    }
}

/// Executes the FlexVolume driver against an agent socket.
///
/// # Errors
/// When it cannot be executed.
pub fn callout(shim: &Path, agent_socket: &Path, arguments: &[&str]) -> Result<Callout, NodeError> {
    let failed = |source| NodeError::Io { operation: "execute", path: shim.to_owned(), source };
    let output = Command::new(shim)
        .args(arguments)
        .env("BOATHOUSE_AGENT_SOCKET", agent_socket)
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Callout { exit: output.status.code(), output: text(&output.stdout), stderr: text(&output.stderr) })
}
