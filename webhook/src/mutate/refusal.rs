//! Why a pod is refused.

use volume_spec::{Shown, SpecError};

/// A pod that cannot become what it asks for. Saying so now is kinder than a pod that never starts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A part of the pod is not as Kubernetes defines it.
    #[error("{field}: {reason}")]
    Shape {
        /// Where.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// An annotation of ours has a value that means nothing.
    #[error("annotation {name} is {value}; write {write}")]
    Annotation {
        /// The annotation's key.
        name: &'static str,
        /// Its value.
        value: Shown,
        /// What to write instead.
        write: &'static str,
    },
    /// Neither request nor pod say in which namespace the pod is to be.
    #[error(
        "neither the request nor the pod has a namespace, so there is no profile whose directories to add"
    )]
    NoNamespace,
    /// The instances file and the namespace make a volume that the driver would refuse.
    #[error("no volume of instance {instance} can be made for namespace {namespace}: {error}")]
    Instance {
        /// The instance's name.
        instance: String,
        /// The pod's namespace.
        namespace: Shown,
        /// What the driver would say.
        error: Box<SpecError>,
    },
    /// A volume that the pod brought along has options that the driver would refuse.
    #[error("volume {volume}: {error}")]
    Own {
        /// The volume's name.
        volume: Shown,
        /// What the driver would say.
        error: Box<SpecError>,
    },
}

impl Refusal {
    /// [`Refusal::Shape`]; serde's words have values in them as long as they are.
    pub(super) fn shape(field: impl Into<String>, reason: &serde_json::Error) -> Self {
        Self::Shape { field: field.into(), reason: Shown::new(&reason.to_string()).to_string() }
    }
}
