//! Who asks for a mount: what decides whether two pods may share keys and a FUSE session.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use volume_spec::static_keys::StaticKeys;

/// What a request brings to prove who it comes from.
#[derive(Debug, Clone)]
pub enum Requester {
    /// A pod's service-account token; Vault says whose it is.
    Workload {
        /// The token, as kubelet handed it over.
        jwt: SecretString,
        /// The identity kubelet stated beside the token, where it did. A token of somebody else is refused.
        stated: Option<StatedIdentity>,
    },
    /// A legacy FlexVolume callout: no token, so the node's own identity, fenced by the pod's namespace.
    Node {
        /// The pod's namespace as kubelet states it.
        namespace: String,
    },
    /// A Kubernetes Secret with static keys; Vault is not asked.
    Static(StaticKeys),
}

/// `csi.storage.k8s.io/pod.namespace` and `csi.storage.k8s.io/serviceAccount.name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedIdentity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Service account of the pod.
    pub service_account: String,
}

/// A proven identity. Two requests share keys only when it is equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Identity {
    /// A service account that Vault has vouched for by accepting its token.
    Workload {
        /// Vault's entity id; empty where the auth mount makes no entities.
        entity: String,
        /// The token's `sub` claim, true because Vault verified the token's signature.
        subject: String,
    },
    /// The node itself, acting for the legacy pods of one namespace.
    Node {
        /// The namespace the pod is fenced to.
        namespace: String,
    },
    /// Whoever holds this key pair.
    Static {
        /// The public half of the pair.
        access_key: String,
        /// Tells pairs with the same access key apart. Made with a key of this process and never written:
        /// a restarted node plugin computes it again from what the keeper holds.
        #[serde(skip)]
        proof: [u8; 32],
    },
}

impl Identity {
    /// The identity a Vault login proves: the entity it answered, and the subject of the token it verified.
    #[must_use]
    pub fn of_login(entity: &str, jwt: &SecretString) -> Self {
        let subject =
            volume_spec::tokens::claims_unverified(jwt).and_then(|claims| claims.sub).unwrap_or_default();
        Self::Workload { entity: entity.to_owned(), subject }
    }

    /// The identity of a key pair.
    #[must_use]
    pub fn of_keys(access_key: &str, secret_key: &SecretString) -> Self {
        Self::Static { access_key: access_key.to_owned(), proof: crate::proof::of(secret_key) }
    }

    /// For logs and errors.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Workload { entity, subject } if subject.is_empty() => format!("entity {entity}"),
            Self::Workload { subject, .. } => subject.clone(),
            Self::Node { namespace } => format!("this node for namespace {namespace}"),
            Self::Static { access_key, .. } => format!("static keys {access_key}"),
        }
    }
}
