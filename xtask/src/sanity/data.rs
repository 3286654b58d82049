//! The files of `csi-sanity/`.

use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::{Stack, Tenant};
use serde::Deserialize;
use std::path::PathBuf;

/// Why a capability is not announced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// What csi-sanity says when it leaves a case out.
    pub(super) skip: String,
    /// The capability, with the service it belongs to.
    pub(super) capability: String,
    /// Why the driver does not announce it.
    pub(super) reason: String,
}

fn read(name: &str) -> anyhow::Result<String> {
    let path: PathBuf = boathouse_testkit::repository().join("csi-sanity").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Regular expressions over the names of cases that are not run.
pub(super) fn skip_list() -> anyhow::Result<Vec<String>> {
    let lines = read("skip.txt")?;
    Ok(lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

pub(super) fn reasons() -> anyhow::Result<Vec<Reason>> {
    let reasons: Vec<Reason> =
        serde_json::from_str(&read("capabilities.json")?).context("read csi-sanity/capabilities.json")?;
    for reason in &reasons {
        ensure!(
            !reason.reason.trim().is_empty() && !reason.capability.trim().is_empty(),
            "csi-sanity/capabilities.json: {:?} has no capability or no reason",
            reason.skip
        );
    }
    Ok(reasons)
}

/// The StorageClass parameters, filled in.
pub(super) fn parameters(stack: &Stack, tenant: &Tenant) -> anyhow::Result<String> {
    let filled = read("parameters.yaml")?
        .replace("{bucket}", &tenant.bucket)
        .replace("{endpoint}", &stack.minio().url())
        .replace("{vault-path}", &tenant.vault_path);
    let open = filled.lines().find(|line| !line.starts_with('#') && line.contains('{'));
    ensure!(
        open.is_none(),
        "csi-sanity/parameters.yaml: nothing to fill in for {}",
        open.unwrap_or_default()
    );
    Ok(filled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_case_is_left_out_by_name() {
        assert_eq!(skip_list().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn reasons_are_complete_and_unique() {
        let reasons = reasons().unwrap();
        let skips: BTreeSet<&str> = reasons.iter().map(|reason| reason.skip.as_str()).collect();
        assert!(!reasons.is_empty());
        assert_eq!(skips.len(), reasons.len());
    }
}
