//! The instances file as it is written: names, types and lines, nothing checked yet.

use serde::Deserialize;
use serde_saphyr::Spanned;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) containers: Option<Vec<Rule>>,
    pub(super) instances: Vec<Instance>,
}

/// Which containers of some pods get the mounts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) pod_label: Option<Spanned<String>>,
    pub(super) first_container: Option<Spanned<String>>,
    pub(super) mount_in: Spanned<Vec<Pick>>,
}

/// One container, or `*` for all.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "write a container's name, its index from 0, or \"*\" for all")]
pub(super) enum Pick {
    Index(u16),
    Name(String),
}

/// One MinIO instance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) name: Spanned<String>,
    pub(super) vault_mount: Spanned<String>,
    pub(super) endpoint: Spanned<String>,
    pub(super) ca: Option<Spanned<String>>,
    pub(super) region: Option<Spanned<String>>,
    pub(super) base_path: Option<Spanned<String>>,
    pub(super) directories: Option<Spanned<Vec<Directory>>>,
    pub(super) uid: Option<Spanned<String>>,
    pub(super) gid: Option<Spanned<String>>,
    pub(super) vault_ttl: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) read_only: bool,
    #[serde(default)]
    pub(super) optional: bool,
}

/// One directory of an instance: a bucket or part of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) name: Spanned<String>,
    pub(super) bucket: Spanned<String>,
    #[serde(default)]
    pub(super) read_only: bool,
}
