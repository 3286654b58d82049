//! The JSON documents of an image, as far as one is written here.
//!
//! Sources: OCI image specification 1.0 (config, manifest, index, layout) and, for [`DockerManifest`], the archive
//! `docker save` writes. Field order is the structs', map order is the keys': the bytes follow from the content.

use serde::Serialize;
use std::collections::BTreeMap;

pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// `oci-layout`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    pub(crate) image_layout_version: &'static str,
}

/// Points to a blob.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: &'static str,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Platform {
    pub(crate) architecture: &'static str,
    pub(crate) os: &'static str,
}

/// `index.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u8,
    pub(crate) media_type: &'static str,
    pub(crate) manifests: [Descriptor; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u8,
    pub(crate) media_type: &'static str,
    pub(crate) config: Descriptor,
    pub(crate) layers: [Descriptor; 1],
}

#[derive(Debug, Serialize)]
pub(crate) struct Config<'a> {
    /// The beginning of time, as every file's.
    pub(crate) created: &'static str,
    pub(crate) architecture: &'static str,
    pub(crate) os: &'static str,
    pub(crate) config: Run<'a>,
    pub(crate) rootfs: RootFs,
}

/// How the program is started.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Run<'a> {
    pub(crate) user: &'a str,
    pub(crate) env: Vec<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) cmd: &'a [String],
    pub(crate) working_dir: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct RootFs {
    pub(crate) r#type: &'static str,
    pub(crate) diff_ids: [String; 1],
}

/// An element of Docker's `manifest.json`; its paths are those of the archive.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerManifest {
    pub(crate) config: String,
    pub(crate) repo_tags: [String; 1],
    pub(crate) layers: [String; 1],
}
