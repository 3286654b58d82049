//! What becomes of a pod.
//!
//! A pod that asks for it by annotation gets a volume for each directory of each instance, and the mounts for
//! them in the containers that the instances file picks. Where the output is CSI, a pod's own volumes of the
//! FlexVolume driver become inline CSI volumes too, so that they are mounted with the pod's own identity.
//!
//! The answer is a patch of what has to change: a field that this program does not know is not touched, and not read
//! either.

mod convert;
mod inject;
mod json;
mod patch;
mod pod;
mod refusal;
mod targets;

use serde_json::Value;

use crate::instances::Config;
use patch::Edit;
pub use pod::Pod;
use refusal::Refusal;

/// The CSI driver's name.
pub const CSI_DRIVER: &str = "boathouse.statcan.gc.ca";
/// The FlexVolume driver's name.
pub const FLEX_DRIVER: &str = "statcan.gc.ca/boathouse";
/// The annotation by which a pod asks for its directories: a boolean as Go spells it.
pub const INJECT: &str = "data.statcan.gc.ca/inject-boathouse";
/// The annotation by which a pod chooses its output: `csi` or `flexVolume`.
pub const OUTPUT: &str = "boathouse.statcan.gc.ca/output";

/// The kind of volume that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// `flexVolume: statcan.gc.ca/boathouse`, as the legacy injector wrote it.
    FlexVolume,
    /// Inline CSI: `csi: boathouse.statcan.gc.ca`.
    Csi,
}

/// What becomes of a pod that is being made.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The pod stays as it is.
    Unchanged {
        /// Sentences for whoever made the pod.
        warnings: Vec<String>,
    },
    /// The pod is changed.
    Patched {
        /// JSON patch (RFC 6902): an array of operations.
        patch: Value,
        /// Sentences for whoever made the pod.
        warnings: Vec<String>,
    },
    /// The pod is refused.
    Denied {
        /// Why, and what to write instead.
        message: String,
    },
}

/// Decides what becomes of a pod that is being made in `namespace`. The pod's own field may be empty, and is looked at
/// only when this is unset. `output` is what holds where the pod does not choose.
#[must_use]
pub fn mutate(pod: &Pod<'_>, namespace: Option<&str>, config: &Config, output: Output) -> Outcome {
    match decide(pod, namespace, config, output) {
        Ok(edit) => edit.into_outcome(),
        Err(refusal) => Outcome::Denied { message: refusal.to_string() },
    }
}

fn decide(pod: &Pod<'_>, namespace: Option<&str>, config: &Config, output: Output) -> Result<Edit, Refusal> {
    let wanted = pod.wants_injection()?;
    let output = pod.output()?.unwrap_or(output);
    let mut edit = Edit::default();
    if output == Output::Csi {
        convert::convert(pod, &mut edit)?;
    }
    if wanted {
        let namespace = namespace.or_else(|| pod.namespace()).ok_or(Refusal::NoNamespace)?;
        inject::inject(pod, namespace, config, output, &mut edit)?;
    }
    Ok(edit)
}
