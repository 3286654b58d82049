//! Programs of others that the product works with in a cluster.

use super::{PartsError, Progress, find_all, obtain_all, recipe};
use crate::requirement;
use std::path::{Path, PathBuf};

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourParts {
    /// Runs upstream's tests beside each other.
    pub ginkgo: PathBuf,
    /// What upstream's tests run in their pods.
    pub agnhost: PathBuf,
    /// Upstream's external-provisioner, which calls the controller for claims.
    pub csi_provisioner: PathBuf,
    /// cert-manager's controller, which issues certificates.
    pub cert_manager: PathBuf,
    /// cert-manager's other controller, which tells API objects of authorities.
    pub cainjector: PathBuf,
    /// cert-manager's CustomResourceDefinitions, a file of YAML documents.
    pub cert_manager_crds: PathBuf,
}

impl NeighbourParts {
    /// Finds everything in the cache and builds what is not there.
    ///
    /// # Errors
    /// As [`super::Parts::obtain`].
    pub fn obtain(progress: &mut dyn Progress) -> Result<Self, PartsError> {
        obtain_all(&recipe::neighbours(), requirement::FREE, progress).map(Self::from)
    }

    /// Finds everything in the cache; builds nothing.
    ///
    /// # Errors
    /// [`PartsError::NotBuilt`] with the names of those that are missing.
    pub fn locate() -> Result<Self, PartsError> {
        find_all(&recipe::neighbours()).map(Self::from)
    }

    /// All of them with the name to call them by.
    pub fn named(&self) -> [(&'static str, &Path); 6] {
        [
            ("ginkgo", &self.ginkgo),
            ("agnhost", &self.agnhost),
            ("csi-provisioner", &self.csi_provisioner),
            ("cert-manager", &self.cert_manager),
            ("cainjector", &self.cainjector),
            ("cert-manager CRDs", &self.cert_manager_crds),
        ]
    }
}

impl From<[PathBuf; 6]> for NeighbourParts {
    /// In the order of `recipe::neighbours`.
    fn from(
        [ginkgo, agnhost, csi_provisioner, cert_manager, cainjector, cert_manager_crds]: [PathBuf; 6],
    ) -> Self {
        Self { ginkgo, agnhost, csi_provisioner, cert_manager, cainjector, cert_manager_crds }
    }
}
