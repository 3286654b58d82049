//! The product's images, as `deploy/images/images.toml` lists them, from our programs and third-party parts.

use crate::parts::Parts;
use crate::programs::Programs;
use crate::requirement::{Missing, Requirement};
use boathouse_image::{Architecture, Archive, ImageError, List, ListError};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where distributions keep the certificate authorities they trust: Debian and Alpine, Fedora.
const AUTHORITIES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Why there are no images.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The machine lacks something.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The list is wrong, or has no such image.
    #[error(transparent)]
    List(#[from] ListError),
    /// An image cannot be written.
    #[error("image {name}: {source}")]
    Image {
        /// Which one.
        name: String,
        /// Why.
        source: ImageError,
    },
    /// A file could not be copied.
    #[error("copy {} to {}: {source}", from.display(), to.display())]
    Copy {
        /// The input.
        from: PathBuf,
        /// Its place in the build context.
        to: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// What images can be made of.
#[derive(Debug)]
pub struct Images {
    list: List,
    inputs: BTreeMap<&'static str, PathBuf>,
}

impl Images {
    /// From these programs and parts.
    ///
    /// # Errors
    /// [`ImagesError::Missing`] without the machine's certificate authorities; [`ImagesError::List`].
    pub fn new(programs: &Programs, parts: &Parts) -> Result<Self, ImagesError> {
        Ok(Self { list: List::of_repository()?, inputs: inputs(programs, parts, authorities()?) })
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.names()
    }

    /// Writes the image `localhost/<name>:<tag>` to `<directory>/<name>.tar`.
    ///
    /// # Errors
    /// [`ImagesError`].
    pub fn write(&self, name: &str, tag: &str, directory: &Path) -> Result<Archive, ImagesError> {
        let failed = |source| ImagesError::Image { name: name.to_owned(), source };
        let architecture = Architecture::of_host().map_err(failed)?;
        self.list.image(name, tag, architecture, &self.inputs)?.write(directory).map_err(failed)
    }

    /// Copies what the Dockerfile of `name` copies to `directory`; gives the copies.
    ///
    /// # Errors
    /// [`ImagesError`].
    pub fn context(&self, name: &str, directory: &Path) -> Result<Vec<PathBuf>, ImagesError> {
        let copy = |(from, to): (PathBuf, PathBuf)| {
            fs::create_dir_all(directory)
                .and_then(|()| fs::copy(&from, &to))
                .map(|_| to.clone())
                .map_err(|source| ImagesError::Copy { from, to, source })
        };
        let files = self.list.files(name, &self.inputs)?;
        files.into_iter().map(|(input, from)| copy((from, directory.join(input)))).collect()
    }
}

/// What the list calls them.
fn inputs(programs: &Programs, parts: &Parts, authorities: PathBuf) -> BTreeMap<&'static str, PathBuf> {
    BTreeMap::from([
        ("boathouse-node", programs.node.clone()),
        ("boathouse-keeper", programs.keeper.clone()),
        ("boathouse", programs.shim.clone()),
        ("boathouse-controller", programs.controller.clone()),
        ("vault-plugin-secrets-minio", programs.vault_plugin.clone()),
        ("boathouse-webhook", programs.webhook.clone()),
        ("goofys", parts.goofys.clone()),
        ("bao", parts.bao.clone()),
        ("ca-certificates.crt", authorities),
    ])
}

fn authorities() -> Result<PathBuf, Missing> {
    let found = AUTHORITIES.into_iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| {
        Missing(vec![Requirement {
            what: format!("none of {}", AUTHORITIES.join(", ")),
            why: "the certificate authorities that images trust are this machine's".into(),
            fix: "install them (Debian: apt-get install ca-certificates)".into(),
        }])
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    /// Images of files that hold their own names.
    fn images(directory: &Path) -> Images {
        let file = |name: &str| {
            let path = directory.join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let programs = Programs {
            node: file("node"),
            keeper: file("keeper"),
            controller: file("controller"),
            shim: file("shim"),
            vault_plugin: file("plugin"),
            webhook: file("webhook"),
        };
        let parts = Parts {
            bao: file("bao"),
            bao_2_6: file("old bao"),
            vault_1_4: file("vault"),
            minio: file("minio"),
            goofys: file("goofys"),
            csi_sanity: file("csi-sanity"),
        };
        let inputs = inputs(&programs, &parts, file("authorities"));
        Images { list: List::of_repository().unwrap(), inputs }
    }

    #[test]
    fn every_listed_image_can_be_made() {
        let [files, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let images = images(files.path());
        for name in images.names() {
            let image = images.write(name, "7", out.path()).unwrap();
            assert_eq!(image.reference, format!("localhost/{name}:7"));
            assert_eq!(image.path, out.path().join(format!("{name}.tar")));
        }
    }

    #[test]
    fn a_build_context_has_the_files_under_their_names() {
        let [files, out] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let context = out.path().join("context");
        let copies = images(files.path()).context("boathouse-node", &context).unwrap();
        let found: Vec<String> = copies
            .iter()
            .map(|path| {
                let name = path.strip_prefix(&context).unwrap().display();
                format!("{name}: {}", fs::read_to_string(path).unwrap())
            })
            .collect();
        assert_eq!(
            found,
            [
                "boathouse: shim",
                "boathouse-keeper: keeper",
                "boathouse-node: node",
                "ca-certificates.crt: authorities",
                "goofys: goofys",
            ]
        );
    }
}
