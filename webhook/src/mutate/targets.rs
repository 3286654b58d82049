//! Which containers of a pod get the mounts.

use super::pod::{Pod, name};
use crate::instances::{Config, Pick, Rule};

/// Indices of the containers, ascending: by the first rule that applies, else the first container.
pub(super) fn targets(pod: Pod<'_>, config: &Config) -> Vec<usize> {
    let containers = pod.containers();
    let picks = match config.rules.iter().find(|rule| applies(rule, pod)) {
        Some(rule) => rule.picks.as_slice(),
        None => &[Pick::Index(0)],
    };
    let picked = |index: &usize| {
        picks.iter().any(|pick| match pick {
            Pick::All => true,
            Pick::Index(wanted) => wanted == index,
            Pick::Named(wanted) => wanted == name(&containers[*index]),
        })
    };
    (0..containers.len()).filter(picked).collect()
}

fn applies(rule: &Rule, pod: Pod<'_>) -> bool {
    let label = rule.label.as_ref().is_none_or(|(key, wanted)| {
        pod.label(key).is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
    });
    let first = rule
        .first_container
        .as_ref()
        .is_none_or(|wanted| pod.containers().first().is_some_and(|container| wanted == name(container)));
    label && first
}
