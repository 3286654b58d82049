//! The one type every volume request ends in.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AuthorityName, BucketName, Endpoint, Mode, Prefix, Region, SpecError, VaultPath};

/// The longest `vault-ttl`: ten years of 365 days.
pub const MAX_VAULT_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is to be mounted, and where its keys come from. Holds no secret.
///
/// Two requests with equal specs and equal identities can share one mount, so `Eq` and `Hash` cover every
/// field. Serialised (state directory) with these field names; unset fields are left out, fields a newer
/// version added are ignored, and every value is checked again on the way in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// The bucket.
    pub bucket: BucketName,
    /// The part of the bucket that is mounted; all of it when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Prefix>,
    /// The S3 server; the driver's default when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Who vouches for an https server; the operator's authorities for all servers when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<AuthorityName>,
    /// The region requests are signed for; the driver's default when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Owner of every file; root when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group of every file; root when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Mode of every directory.
    pub dir_mode: Mode,
    /// Mode of every file.
    pub file_mode: Mode,
    /// Where in Vault the keys are read; unset with static keys or an operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_path: Option<VaultPath>,
    /// Lease to ask for, in whole seconds, 1 s to [`MAX_VAULT_TTL`]; the Vault role's default when unset.
    #[serde(
        rename = "vault_ttl_seconds",
        default,
        skip_serializing_if = "Option::is_none",
        with = "seconds"
    )]
    pub vault_ttl: Option<Duration>,
    /// Whether the FUSE daemon logs its S3 requests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub debug_s3: bool,
    /// Whether a pod is to start with an empty directory, rather than not at all, while the bucket is not available.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl VolumeSpec {
    /// A spec of `bucket` with everything else at its default.
    #[must_use]
    pub fn new(bucket: BucketName) -> Self {
        Self {
            bucket,
            prefix: None,
            endpoint: None,
            ca: None,
            region: None,
            uid: None,
            gid: None,
            dir_mode: Mode::DEFAULT_DIR,
            file_mode: Mode::DEFAULT_FILE,
            vault_path: None,
            vault_ttl: None,
            debug_s3: false,
            optional: false,
        }
    }

    /// Refuses authorities for a server that shows no certificate. An endpoint that is unset is not judged: call it again
    /// once a default is filled in.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `ca`, naming the endpoint.
    pub fn check_ca(&self) -> Result<(), SpecError> {
        match (&self.ca, &self.endpoint) {
            (Some(ca), Some(endpoint)) if !endpoint.is_https() => Err(SpecError::invalid(
                "ca",
                ca.as_str(),
                format!("endpoint {endpoint} is not https and shows no certificate"),
                "write an https:// endpoint, or leave ca out",
            )),
            _ => Ok(()),
        }
    }

    /// `bucket` or `bucket:prefix`, as users and goofys write it.
    #[must_use]
    pub fn bucket_and_prefix(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("{}:{prefix}", self.bucket),
            None => self.bucket.to_string(),
        }
    }

    /// The volume attributes that parse to this spec; modes are always written, other defaults are not.
    #[must_use]
    pub fn to_attributes(&self) -> BTreeMap<String, String> {
        let ttl = self.vault_ttl.map(|ttl| format!("{}s", ttl.as_secs()));
        let fields = [
            ("bucket", Some(self.bucket_and_prefix())),
            ("endpoint", self.endpoint.as_ref().map(ToString::to_string)),
            ("ca", self.ca.as_ref().map(ToString::to_string)),
            ("region", self.region.as_ref().map(ToString::to_string)),
            ("uid", self.uid.map(|id| id.to_string())),
            ("gid", self.gid.map(|id| id.to_string())),
            ("dirMode", Some(self.dir_mode.to_string())),
            ("fileMode", Some(self.file_mode.to_string())),
            ("vault-path", self.vault_path.as_ref().map(ToString::to_string)),
            ("vault-ttl", ttl),
            ("debug_s3", self.debug_s3.then(|| "true".to_owned())),
            ("optional", self.optional.then(|| "true".to_owned())),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

/// A TTL on disk: whole seconds, checked against its bounds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "the signature serde's `with` asks for")]
    pub(super) fn serialize<S: Serializer>(ttl: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        match ttl {
            Some(ttl) => out.serialize_some(&ttl.as_secs()),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        match Option::<u64>::deserialize(input)? {
            None => Ok(None),
            Some(secs) if (1..=super::MAX_VAULT_TTL.as_secs()).contains(&secs) => {
                Ok(Some(Duration::from_secs(secs)))
            }
            Some(secs) => Err(D::Error::custom(format!("a TTL of {secs} s is out of range"))),
        }
    }
}
