//! Which containers of a pod get the mounts.

use super::pod::Pod;
use super::refusal::Refusal;
use crate::instances::{Config, Pick, Rule};

/// Indices of the containers, ascending: by the first rule that applies, else the first container.
pub(super) fn targets(pod: &Pod<'_>, config: &Config) -> Result<Vec<usize>, Refusal> {
    let mut picks = [Pick::Index(0)].as_slice();
    for rule in &config.rules {
        if applies(rule, pod)? {
            picks = &rule.picks;
            break;
        }
    }
    let containers = pod.containers();
    let picked = |index: &usize| {
        picks.iter().any(|pick| match pick {
            Pick::All => true,
            Pick::Index(wanted) => wanted == index,
            Pick::Named(wanted) => *wanted == containers[*index].name,
        })
    };
    Ok((0..containers.len()).filter(picked).collect())
}

fn applies(rule: &Rule, pod: &Pod<'_>) -> Result<bool, Refusal> {
    if let Some((key, wanted)) = &rule.label {
        let Some(value) = pod.label(key)? else { return Ok(false) };
        if wanted.as_ref().is_some_and(|wanted| *wanted != value) {
            return Ok(false);
        }
    }
    let first = rule.first_container.as_ref();
    Ok(first.is_none_or(|wanted| pod.containers().first().is_some_and(|container| *wanted == container.name)))
}
