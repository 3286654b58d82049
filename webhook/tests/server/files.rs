//! Files as Kubernetes mounts them: links to links to a directory that is swapped.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate authority of this name.
pub(crate) fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate for this machine, and its key.
pub(crate) fn write_pair(directory: &Path, authority: &Authority) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    fs::write(directory.join("tls.crt"), params.signed_by(&key, authority).unwrap().pem()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
}

/// The webhook's files.
pub(crate) struct Files {
    directory: TempDir,
    version: Cell<u32>,
}

impl Files {
    /// A certificate by `authority`, and the instances file that is shipped as an example.
    pub(crate) fn new(authority: &Authority) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), version: Cell::new(0) };
        let version = files.directory.path().join("..0");
        fs::create_dir(&version).unwrap();
        write_pair(&version, authority);
        fs::write(version.join("instances.yaml"), include_str!("../../instances.yaml")).unwrap();
        symlink("..0", files.path("..data")).unwrap();
        for name in ["tls.crt", "tls.key", "instances.yaml"] {
            symlink(format!("..data/{name}"), files.path(name)).unwrap();
        }
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Changes the files as kubelet does: all at once, and the old ones go.
    pub(crate) fn swap(&self, change: impl FnOnce(&Path)) {
        let old = self.directory.path().join(format!("..{}", self.version.get()));
        self.version.set(self.version.get() + 1);
        let name = format!("..{}", self.version.get());
        let new = self.directory.path().join(&name);
        fs::create_dir(&new).unwrap();
        for entry in fs::read_dir(&old).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), new.join(entry.file_name())).unwrap();
        }
        change(&new);
        symlink(name, self.path("..tmp")).unwrap();
        fs::rename(self.path("..tmp"), self.path("..data")).unwrap();
        fs::remove_dir_all(old).unwrap();
    }
}
