//! From untyped maps to a checked request.

use crate::identity::{Requester, StatedIdentity};
use crate::publish::{PublishRequest, TargetDir};
use boathouse_mounts::Readonly;
use csi_proto::csi::v1::volume_capability::access_mode::Mode;
use csi_proto::csi::v1::volume_capability::{AccessMode, AccessType};
use csi_proto::csi::v1::{NodePublishVolumeRequest, VolumeCapability};
use std::path::PathBuf;
use tonic::Code;
use volume_spec::fence::{Fence, FenceError, PathTemplate};
use volume_spec::flex::{Callout, CalloutError};
use volume_spec::static_keys::{StaticKeys, StaticKeysError};
use volume_spec::tokens::{self, TokenError};
use volume_spec::{Endpoint, Parameters, PodInfo, Region, Shown, SpecError, Strictness, VolumeSpec};

/// What the operator decides about requests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Audience of the service-account tokens kubelet hands over.
    pub audience: String,
    /// Whether a token without the pod's name beside it is refused.
    pub require_pod_info: bool,
    /// S3 endpoint of volumes that name none.
    pub endpoint: Option<Endpoint>,
    /// Region of volumes that name none.
    pub region: Region,
    /// Where keys are read for volumes that name no `vault-path`.
    pub vault_path: Option<PathTemplate>,
    /// FlexVolume; none while it is switched off.
    pub flex: Option<FlexPolicy>,
}

/// What the operator decides about FlexVolume callouts.
#[derive(Debug, Clone)]
pub struct FlexPolicy {
    /// Which Vault paths a namespace may read through the node's identity.
    pub fence: Fence,
}

/// A request that cannot be carried out as it is written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A field CSI requires is missing or impossible.
    #[error("{field}: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong, and what to write instead.
        problem: &'static str,
    },
    /// A volume attribute or option.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The FlexVolume document.
    #[error(transparent)]
    Callout(#[from] CalloutError),
    /// The service-account tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The Secret with static keys.
    #[error(transparent)]
    StaticKeys(#[from] StaticKeysError),
    /// The Vault path is outside the namespace's fence.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A mount option of the PersistentVolume.
    #[error("mountOptions: {0} is not an option of this driver; write ro or rw, or use volumeAttributes")]
    MountFlag(Shown),
    /// FlexVolume is off.
    #[error(
        "FlexVolume mounts are switched off on this node; use the CSI driver, or set --flex on boathouse-node"
    )]
    FlexOff,
}

impl RequestError {
    /// The gRPC code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::MountFlag(_)
            | Self::Field { .. }
            | Self::Spec(_)
            | Self::Callout(_)
            | Self::Token(_)
            | Self::StaticKeys(_) => Code::InvalidArgument,
            Self::Fence(FenceError::Refused { .. }) => Code::PermissionDenied,
            Self::Fence(_) => Code::InvalidArgument,
            Self::FlexOff => Code::FailedPrecondition,
        }
    }
}

fn field<T>(field: &'static str, problem: &'static str) -> Result<T, RequestError> {
    Err(RequestError::Field { field, problem })
}

impl Policy {
    /// A NodePublishVolume request (CSI, "NodePublishVolume").
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn csi(&self, request: NodePublishVolumeRequest) -> Result<PublishRequest, RequestError> {
        if request.volume_id.is_empty() {
            return field("volume_id", "is missing");
        }
        if request.target_path.is_empty() {
            return field("target_path", "is missing");
        }
        let reader = reader_only(request.volume_capability.as_ref())?;
        let context = &request.volume_context;
        let pod = PodInfo::from_volume_context(context)?;
        let Parameters { mut spec, warnings: _ } = Parameters::parse(context, Strictness::Refuse)?;
        let static_keys = StaticKeys::from_secret(&request.secrets)?;
        self.fill_in(&mut spec, pod.as_ref().map(|pod| pod.namespace.as_str()), static_keys.is_some())?;
        let who = match (static_keys, spec.vault_path.is_some()) {
            (Some(keys), false) => Requester::Static(keys),
            (Some(_), true) => {
                return field(
                    "vault-path",
                    "is set and the volume's secret holds static keys as well; keep one of the two",
                );
            }
            (None, false) => {
                return field(
                    "vault-path",
                    "is missing; write the Vault path of the keys, such as minio/keys/profile-alice, or give \
                     static keys in nodePublishSecretRef",
                );
            }
            (None, true) => self.workload(&request, pod.as_ref())?,
        };
        Ok(PublishRequest {
            volume_id: request.volume_id,
            target: PathBuf::from(request.target_path),
            target_dir: TargetDir::Ours,
            optional: std::mem::take(&mut spec.optional),
            spec,
            who,
            readonly: if request.readonly || reader { Readonly::Yes } else { Readonly::No },
            pod,
        })
    }

    fn workload(
        &self,
        request: &NodePublishVolumeRequest,
        pod: Option<&PodInfo>,
    ) -> Result<Requester, RequestError> {
        let token = tokens::service_account_token(&request.secrets, &request.volume_context, &self.audience)?;
        let Some(token) = token else {
            return field(
                "csi.storage.k8s.io/serviceAccount.tokens",
                "is missing; the CSIDriver object must list tokenRequests with the audience of --token-audience",
            );
        };
        if pod.is_none() && self.require_pod_info {
            return field(
                "csi.storage.k8s.io/pod.namespace",
                "is missing; the CSIDriver object must have podInfoOnMount: true",
            );
        }
        let stated = pod.map(|pod| StatedIdentity {
            namespace: pod.namespace.clone(),
            service_account: pod.service_account.clone(),
        });
        Ok(Requester::Workload { jwt: token.jwt, stated })
    }

    /// A FlexVolume `mount` callout.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn flex(&self, target: &str, document: &[u8]) -> Result<(PublishRequest, Vec<String>), RequestError> {
        let Some(flex) = &self.flex else { return Err(RequestError::FlexOff) };
        if target.is_empty() {
            return field("target", "is missing");
        }
        let callout = Callout::parse(document)?;
        let Parameters { mut spec, warnings } = Parameters::parse(&callout.options, Strictness::Legacy)?;
        let Some(pod) = callout.pod else {
            return field("kubernetes.io/pod.namespace", "is missing; kubelet always states it");
        };
        self.fill_in(&mut spec, Some(&pod.namespace), false)?;
        let Some(path) = &spec.vault_path else {
            return field("vault-path", "is missing; write the Vault path of the keys");
        };
        flex.fence.check(&pod.namespace, path)?;
        let request = PublishRequest {
            volume_id: callout.volume_name.unwrap_or_default(),
            target: PathBuf::from(target),
            target_dir: TargetDir::Kubelets,
            optional: std::mem::take(&mut spec.optional),
            spec,
            who: Requester::Node { namespace: pod.namespace.clone() },
            readonly: if callout.read_only { Readonly::Yes } else { Readonly::No },
            pod: Some(pod),
        };
        Ok((request, warnings))
    }

    /// Defaults are filled in before anything is compared, so that two volumes that mean the same share a mount.
    fn fill_in(
        &self,
        spec: &mut VolumeSpec,
        namespace: Option<&str>,
        static_keys: bool,
    ) -> Result<(), RequestError> {
        let region = spec.region.get_or_insert_with(|| self.region.clone()).clone();
        if spec.endpoint.is_none() {
            spec.endpoint = Some(match &self.endpoint {
                Some(endpoint) => endpoint.clone(),
                None => Endpoint::parse(&format!("https://s3.{region}.amazonaws.com"))?,
            });
        }
        spec.check_ca()?;
        if let (None, false, Some(template), Some(namespace)) =
            (&spec.vault_path, static_keys, &self.vault_path, namespace)
        {
            spec.vault_path = Some(template.expand(namespace)?);
        }
        Ok(())
    }
}

/// A directory is all this driver can show (CSI, "VolumeCapability"). Answers whether access mode or mount flags
/// ask for it read-only.
fn reader_only(capability: Option<&VolumeCapability>) -> Result<bool, RequestError> {
    let Some(capability) = capability else { return field("volume_capability", "is missing") };
    let mount = match &capability.access_type {
        Some(AccessType::Mount(mount)) => mount,
        Some(AccessType::Block(_)) => {
            return field("volume_capability", "asks for a block device; a bucket can only be a file system");
        }
        None => {
            return field(
                "volume_capability",
                "has no access type; a bucket can only be a file system (mount)",
            );
        }
    };
    let mode = capability.access_mode.as_ref().map_or(Mode::Unknown, AccessMode::mode);
    let mut reader = match mode {
        Mode::Unknown => {
            return field(
                "volume_capability.access_mode",
                "is missing or unknown; write one that CSI 1.12 defines, such as MULTI_NODE_MULTI_WRITER",
            );
        }
        mode => matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly),
    };
    // `fs_type` is passed over: kubelet and provisioners fill it in for every driver, and a bucket has none.
    for flag in &mount.mount_flags {
        match flag.as_str() {
            "ro" => reader = true,
            "rw" => {}
            other => return Err(RequestError::MountFlag(Shown::new(other))),
        }
    }
    Ok(reader)
}
