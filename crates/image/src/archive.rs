//! The file an image is handed on in.
//!
//! One tar is both formats, as what `docker save` writes since Docker 25: an OCI image layout (`oci-layout`, `index.json`,
//! `blobs/`) and Docker's `manifest.json`, which names the same blobs. containerd, Podman and skopeo read the
//! first, `docker load` of any age reads the second.

use crate::description::Image;
use crate::error::{ImageError, io};
use crate::layer;
use crate::oci::{self, Descriptor};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufWriter, Read, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType};
use tempfile::NamedTempFile;

/// An image in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The file.
    pub path: PathBuf,
    /// What importing it makes: `repository:tag`.
    pub reference: String,
    /// `sha256:…` of the image manifest: what container runtimes show for the image.
    pub digest: String,
    /// Length of the file in bytes.
    pub size: u64,
}

impl Image {
    /// Writes the image to `<directory>/<name>.tar`, where the name is the last part of the repository's. The
    /// directory is made if it is not there; an older file is replaced once the new one is whole.
    ///
    /// # Errors
    /// [`ImageError`]; a file that is missing is named.
    pub fn write(&self, directory: &Path) -> Result<Archive, ImageError> {
        fs::create_dir_all(directory).map_err(io("create", directory))?;
        let path = directory.join(format!("{}.tar", self.reference.name()));
        let layer = Layer::write(self, directory)?;
        let config = Document::new(oci::CONFIG, &self.config(&layer.descriptor))?;
        let manifest = Document::new(oci::MANIFEST, &manifest(&layer.descriptor, &config.descriptor))?;
        let digest = manifest.descriptor.digest.clone();
        let reference = self.reference.to_string();
        let docker = oci::DockerManifest {
            config: blob(&config.descriptor),
            repo_tags: [reference.clone()],
            layers: [blob(&layer.descriptor)],
        };

        let file = temporary(directory)?;
        let mut members = Members { archive: Builder::new(BufWriter::new(&file)), path: &path };
        members.document("oci-layout", &json(&oci::Layout { image_layout_version: "1.0.0" })?)?;
        members.document("index.json", &json(&self.index(&manifest.descriptor, &reference))?)?;
        members.document("manifest.json", &json(&[docker])?)?;
        members.document(&blob(&manifest.descriptor), &manifest.content)?;
        members.document(&blob(&config.descriptor), &config.content)?;
        members.add(&blob(&layer.descriptor), layer.descriptor.size, layer.file.as_file())?;
        members.finish()?;
        let size = file.as_file().metadata().map_err(io("look at", &path))?.len();
        // Temporary files are their owner's alone; an image is no secret.
        file.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(io("write", &path))?;
        file.persist(&path).map_err(|error| io("write", &path)(error.error))?;
        Ok(Archive { path, reference, digest, size })
    }

    fn config(&self, layer: &Descriptor) -> oci::Config<'_> {
        oci::Config {
            created: "1970-01-01T00:00:00Z",
            architecture: self.architecture.name(),
            os: "linux",
            config: oci::Run {
                user: &self.user,
                env: self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
                entrypoint: &self.entrypoint,
                cmd: &self.command,
                working_dir: "/",
                labels: &self.labels,
            },
            rootfs: oci::RootFs { r#type: "layers", diff_ids: [layer.digest.clone()] },
        }
    }

    fn index(&self, manifest: &Descriptor, reference: &str) -> oci::Index {
        let mut descriptor = manifest.clone();
        descriptor.platform = Some(oci::Platform { architecture: self.architecture.name(), os: "linux" });
        // containerd takes the whole name from the first, skopeo and Podman know the second.
        descriptor.annotations = BTreeMap::from([
            ("io.containerd.image.name", reference.to_owned()),
            ("org.opencontainers.image.ref.name", self.reference.tag().to_owned()),
        ]);
        oci::Index { schema_version: 2, media_type: oci::INDEX, manifests: [descriptor] }
    }
}

fn manifest(layer: &Descriptor, config: &Descriptor) -> oci::Manifest {
    let (config, layers) = (config.clone(), [layer.clone()]);
    oci::Manifest { schema_version: 2, media_type: oci::MANIFEST, config, layers }
}

impl Descriptor {
    fn new(media_type: &'static str, sha256: &[u8], size: u64) -> Self {
        let digest = format!("sha256:{}", hex::encode(sha256));
        Self { media_type, digest, size, platform: None, annotations: BTreeMap::new() }
    }
}

/// A blob that is JSON.
struct Document {
    content: Vec<u8>,
    descriptor: Descriptor,
}

impl Document {
    fn new(media_type: &'static str, value: &impl Serialize) -> Result<Self, ImageError> {
        let content = json(value)?;
        let descriptor = Descriptor::new(media_type, &Sha256::digest(&content), content.len() as u64);
        Ok(Self { content, descriptor })
    }
}

/// Where a blob lies in the archive.
fn blob(descriptor: &Descriptor) -> String {
    format!("blobs/{}", descriptor.digest.replace(':', "/"))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ImageError> {
    Ok(serde_json::to_vec(value)?)
}

fn temporary(directory: &Path) -> Result<NamedTempFile, ImageError> {
    NamedTempFile::new_in(directory).map_err(io("create a file in", directory))
}

/// The layer on its way: a blob's name is its digest, so it has to be whole before it goes into the archive.
struct Layer {
    file: NamedTempFile,
    descriptor: Descriptor,
}

impl Layer {
    fn write(image: &Image, directory: &Path) -> Result<Self, ImageError> {
        let file = temporary(directory)?;
        let path = file.path();
        let mut hashed = Hashed { out: file.as_file(), hash: Sha256::new(), size: 0 };
        layer::write(image, BufWriter::new(&mut hashed), path)?;
        let descriptor = Descriptor::new(oci::LAYER, &hashed.hash.finalize(), hashed.size);
        file.as_file().rewind().map_err(io("read", path))?;
        Ok(Self { file, descriptor })
    }
}

struct Hashed<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// The archive on its way.
struct Members<'a, W: Write> {
    archive: Builder<W>,
    path: &'a Path,
}

impl<W: Write> Members<'_, W> {
    fn document(&mut self, name: &str, content: &[u8]) -> Result<(), ImageError> {
        self.add(name, content.len() as u64, content)
    }

    fn add(&mut self, name: &str, size: u64, content: impl Read) -> Result<(), ImageError> {
        let mut header = layer::header(EntryType::Regular, 0o644);
        header.set_size(size);
        self.archive.append_data(&mut header, name, content).map_err(io("write", self.path))
    }

    fn finish(self) -> Result<(), ImageError> {
        self.archive.into_inner().and_then(|mut out| out.flush()).map_err(io("write", self.path))
    }
}
