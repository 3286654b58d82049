//! `cargo xtask images`: container images, without a container daemon.

use crate::tools::Lines;
use crate::ui;
use anyhow::Context as _;
use boathouse_image::{List, ListError};
use boathouse_testkit::images::Images;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Build the container images that deploy/images/images.toml lists.
///
/// Our programs are built for release, goofys and OpenBao are those of `cargo xtask tools`. No container daemon is
/// needed. Each image is a file that is an OCI image layout and a docker-archive, for `ctr images import`, `docker load`
/// and others; the same files give the same digest.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which images; all if none is named
    #[arg(value_name = "NAME", value_parser = listed)]
    names: Vec<String>,
    /// Where NAME.tar is written [default: target/images]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What comes after the colon in localhost/NAME:TAG
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Write no images; put the files that the Dockerfiles copy into DIR
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "tag"])]
    context: Option<PathBuf>,
    /// Build nothing; write deploy/images/NAME.Dockerfile anew
    #[arg(long, conflicts_with_all = ["names", "out", "tag", "context"])]
    dockerfiles: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = boathouse_testkit::repository();
    if arguments.dockerfiles {
        return dockerfiles(&root.join("deploy/images"));
    }
    let parts = Parts::obtain(&mut Lines::new())?;
    let images = Images::new(&Programs::build(Profile::Release)?, &parts)?;
    let names: Vec<&str> = match arguments.names.as_slice() {
        [] => images.names().collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    if let Some(directory) = &arguments.context {
        for name in names {
            images.context(name, directory)?;
            println!("docker build -f deploy/images/{name}.Dockerfile {}", directory.display());
        }
        return Ok(());
    }
    let out = arguments.out.clone().unwrap_or_else(|| root.join("target/images"));
    for name in names {
        let began = Instant::now();
        let image = images.write(name, &arguments.tag, &out)?;
        let (size, elapsed) = (image.size.div_ceil(1 << 20), ui::seconds(began.elapsed()));
        println!("{}  {size} MiB  {elapsed}", image.reference);
        println!("  {}\n  {}", image.digest, image.path.display());
    }
    Ok(())
}

/// Told before anything is built.
fn listed(name: &str) -> Result<String, ListError> {
    List::of_repository()?.check(name).map(|()| name.to_owned())
}

fn dockerfiles(directory: &Path) -> anyhow::Result<()> {
    let list = List::of_repository()?;
    for name in list.names() {
        let path = directory.join(format!("{name}.Dockerfile"));
        fs::write(&path, list.dockerfile(name)?).with_context(|| format!("write {}", path.display()))?;
        println!("{} written", path.display());
    }
    Ok(())
}
