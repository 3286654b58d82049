//! Images of programs that are not ours, for the pods that need them.

use crate::cluster::Cluster;
use anyhow::Context as _;
use boathouse_image::{Architecture, Entry, Image, ImagePath, Reference};
use boathouse_testkit::parts::NeighbourParts;
use std::path::Path;

/// Upstream's external-provisioner.
pub(super) const PROVISIONER: &str = "localhost/csi-provisioner:1";
/// What upstream's tests run in their pods.
pub(super) const AGNHOST: &str = "localhost/agnhost:1";

/// Gives containerd the image [`PROVISIONER`]: nothing but the program.
pub(super) fn import_provisioner(cluster: &Cluster) -> anyhow::Result<()> {
    let image = Image::new(reference(PROVISIONER)?, Architecture::of_host()?);
    import(cluster, image, &NeighbourParts::locate()?.csi_provisioner)
}

/// Gives containerd the image [`AGNHOST`]: the program, and a shell.
pub(super) fn import_agnhost(cluster: &Cluster) -> anyhow::Result<()> {
    let mut image = boathouse_image::busybox_image()?;
    image.reference = reference(AGNHOST)?;
    image.command = vec!["pause".to_owned()];
    import(cluster, image, &NeighbourParts::locate()?.agnhost)
}

fn reference(name: &str) -> anyhow::Result<Reference> {
    let (repository, tag) = name.rsplit_once(':').context("an image without a tag")?;
    Ok(Reference::new(repository, tag)?)
}

fn import(cluster: &Cluster, mut image: Image, program: &Path) -> anyhow::Result<()> {
    let file = program.file_name().and_then(|file| file.to_str()).context("a program without a name")?;
    let path = format!("/{file}");
    let entry = Entry::File { source: program.to_owned(), mode: 0o755 };
    image.entries.insert(ImagePath::new(&*path)?, entry);
    image.entrypoint = vec![path];
    cluster.import(&image.write(&cluster.place().path("images"))?.path)
}
