//! One volume that pods get, with what depends on the namespace left open.

use std::collections::BTreeMap;

use volume_spec::{Parameters, SpecError, Strictness};

/// A directory of an instance, as every pod gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The instance's name.
    pub(crate) instance: String,
    /// The volume's name in a pod, unless the pod uses that name for something else.
    pub(crate) name: String,
    /// Where containers see it.
    pub(crate) mount_path: String,
    /// Whether it is mounted read only.
    pub(crate) read_only: bool,
    /// Whether a pod is to start without it rather than not at all.
    pub(crate) optional: bool,
    /// The bucket, with an optional prefix, over `{profile}` and `{namespace}`.
    pub(super) bucket: String,
    /// Where the secrets engine is mounted in Vault.
    pub(super) vault_mount: String,
    /// The attributes that are the same in every namespace.
    pub(super) fixed: BTreeMap<String, String>,
}

impl Volume {
    /// The volume attributes for pods of `namespace`, checked as the driver will check them.
    ///
    /// # Errors
    /// [`SpecError`] when the driver would refuse them, such as for a bucket named after a namespace of two
    /// letters.
    pub(crate) fn attributes(&self, namespace: &str) -> Result<BTreeMap<String, String>, SpecError> {
        let profile = namespace.replace('_', "-");
        let mut attributes = self.fixed.clone();
        attributes.insert("bucket".to_owned(), expand(&self.bucket, &profile, namespace));
        attributes.insert("vault-path".to_owned(), format!("{}/keys/profile-{profile}", self.vault_mount));
        Parameters::parse(&attributes, Strictness::Refuse)?;
        Ok(attributes)
    }
}

/// Fills in a bucket template.
pub(super) fn expand(template: &str, profile: &str, namespace: &str) -> String {
    template.replace("{profile}", profile).replace("{namespace}", namespace)
}
