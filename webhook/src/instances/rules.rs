//! Which containers of a pod get the mounts.

use super::file::{Pick as Written, Rule as File};
use super::{InstancesError, check};

/// One container, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Every container.
    All,
    /// By index from 0.
    Index(usize),
    /// By name.
    Named(String),
}

/// For which pods which containers are picked. A condition that is unset holds for every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// A label the pod has, with this value if there is one.
    pub(crate) label: Option<(String, Option<String>)>,
    /// The name of the pod's first container.
    pub(crate) first_container: Option<String>,
    /// The containers; what the pod does not have is passed over.
    pub(crate) picks: Vec<Pick>,
}

impl Rule {
    /// The legacy injector's only rule: in a pod of an Argo workflow whose first container is Argo's own
    /// `wait`, the user's is the second.
    pub(super) fn argo() -> Self {
        Self {
            label: Some(("workflows.argoproj.io/workflow".to_owned(), None)),
            first_container: Some("wait".to_owned()),
            picks: vec![Pick::Index(1)],
        }
    }

    /// Checks the rule at `index`.
    pub(super) fn check(index: usize, rule: File) -> Result<Self, InstancesError> {
        let field = |name: &str| format!("containers[{index}].{name}");
        let line = rule.mount_in.referenced.line();
        if rule.mount_in.value.is_empty() {
            return Err(InstancesError::Field {
                line,
                field: field("mountIn"),
                reason: "names no container; write a name, an index from 0, or \"*\" for all".to_owned(),
            });
        }
        let picks = rule.mount_in.value.into_iter().map(|pick| match pick {
            Written::Index(index) => Ok(Pick::Index(index.into())),
            Written::Name(name) if name == "*" => Ok(Pick::All),
            Written::Name(name) => check::label(line, &field("mountIn"), &name).map(|()| Pick::Named(name)),
        });
        if let Some(name) = &rule.first_container {
            check::label(name.referenced.line(), &field("firstContainer"), &name.value)?;
        }
        let label = rule.pod_label.map(|label| match label.value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (label.value, None),
        });
        Ok(Self {
            label,
            first_container: rule.first_container.map(|name| name.value),
            picks: picks.collect::<Result<_, _>>()?,
        })
    }
}
