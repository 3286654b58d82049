//! CreateVolume: finds or makes a folder, and the record that says whose it is.

use crate::capability::{self, CapabilityError};
use crate::naming::{Folder, MAX_NAME_BYTES, VolumeId};
use crate::record::{Conflict, Record, Wanted};
use crate::s3::{S3Error, Storage, read_record};
use csi_proto::csi::v1::{CapacityRange, CreateVolumeRequest, Volume};
use std::collections::BTreeMap;
use thiserror::Error;
use tonic::Code;
use volume_spec::{BucketName, Parameters, SpecError, Strictness};

/// The parameter that chooses the bucket.
const BUCKET: &str = "bucket";

/// CreateVolume did not give a volume.
#[derive(Debug, Error)]
pub enum CreateVolumeError {
    /// A required field is empty.
    #[error("no volume name is given")]
    NoName,
    /// Longer than CSI allows.
    #[error("the volume name has {0} bytes; {MAX_NAME_BYTES} is the most")]
    LongName(usize),
    /// The volume cannot be used like that.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// No volume has that size.
    #[error("the capacity range {required}..{limit} bytes is empty or negative")]
    Capacity {
        /// Smallest size, bytes.
        required: i64,
        /// Largest size, bytes.
        limit: i64,
    },
    /// Snapshots and clones.
    #[error("volumes cannot be made from a snapshot or another volume")]
    Source,
    /// VolumeAttributesClass.
    #[error("volumes have no mutable parameters")]
    Mutable,
    /// A parameter of the StorageClass is unknown or malformed.
    #[error("StorageClass parameters")]
    Parameters(#[from] SpecError),
    /// Several buckets, and none chosen.
    #[error("the StorageClass must choose a bucket with the parameter bucket; allowed: {}", list(.0))]
    NoBucket(Vec<BucketName>),
    /// A bucket the operator did not allow.
    #[error("the bucket {bucket} is not one of those this controller may use: {}", list(.allowed))]
    BucketNotAllowed {
        /// The bucket asked for.
        bucket: BucketName,
        /// The controller's buckets.
        allowed: Vec<BucketName>,
    },
    /// A bucket with a prefix of its own.
    #[error(
        "the parameter bucket has a prefix; name the bucket alone, each volume gets its own prefix in it"
    )]
    PrefixGiven,
    /// The name is taken by something else.
    #[error("the volume exists already and is another")]
    Exists(#[source] Conflict),
    /// The same volume is being made by another call.
    #[error("another call is making this volume")]
    Busy,
    /// The bucket.
    #[error(transparent)]
    S3(#[from] S3Error),
}

impl CreateVolumeError {
    /// The code of the answer (csi.proto, "CreateVolume Errors").
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoName
            | Self::LongName(_)
            | Self::Capability(_)
            | Self::Source
            | Self::Mutable
            | Self::Parameters(_)
            | Self::NoBucket(_)
            | Self::BucketNotAllowed { .. }
            | Self::PrefixGiven => Code::InvalidArgument,
            Self::Capacity { .. } => Code::OutOfRange,
            Self::Exists(_) => Code::AlreadyExists,
            Self::Busy => Code::Aborted,
            Self::S3(err) => err.code(),
        }
    }
}

fn list(buckets: &[BucketName]) -> String {
    buckets.iter().map(BucketName::as_str).collect::<Vec<_>>().join(", ")
}

/// What the request asks for, with the volume's id. Sends nothing.
///
/// # Errors
/// Everything but [`CreateVolumeError::Exists`], [`CreateVolumeError::Busy`] and [`CreateVolumeError::S3`].
pub fn parse(
    storage: &Storage,
    request: &CreateVolumeRequest,
) -> Result<(VolumeId, Wanted), CreateVolumeError> {
    let name = request.name.as_str();
    match name.len() {
        0 => return Err(CreateVolumeError::NoName),
        1..=MAX_NAME_BYTES => {}
        long => return Err(CreateVolumeError::LongName(long)),
    }
    capability::check(&request.volume_capabilities)?;
    if request.volume_content_source.is_some() {
        return Err(CreateVolumeError::Source);
    }
    if !request.mutable_parameters.is_empty() {
        return Err(CreateVolumeError::Mutable);
    }
    let (required_bytes, limit_bytes) = capacity(request.capacity_range.as_ref())?;

    let mut parameters: BTreeMap<String, String> =
        request.parameters.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    if !parameters.contains_key(BUCKET) {
        match storage.buckets.as_slice() {
            [only] => drop(parameters.insert(BUCKET.to_owned(), only.to_string())),
            many => return Err(CreateVolumeError::NoBucket(many.to_vec())),
        }
    }
    let mut spec = storage.with_defaults(Parameters::parse(&parameters, Strictness::Refuse)?.spec);
    if !storage.buckets.contains(&spec.bucket) {
        return Err(CreateVolumeError::BucketNotAllowed {
            bucket: spec.bucket,
            allowed: storage.buckets.clone(),
        });
    }
    if spec.prefix.is_some() {
        return Err(CreateVolumeError::PrefixGiven);
    }
    let folder = Folder::of_name(name);
    spec.prefix = Some(folder.to_prefix());
    let id = VolumeId { bucket: spec.bucket.clone(), folder };
    Ok((id, Wanted { name: name.to_owned(), required_bytes, limit_bytes, spec }))
}

fn capacity(range: Option<&CapacityRange>) -> Result<(i64, i64), CreateVolumeError> {
    let (required, limit) = range.map_or((0, 0), |range| (range.required_bytes, range.limit_bytes));
    if required < 0 || limit < 0 || (limit > 0 && limit < required) {
        return Err(CreateVolumeError::Capacity { required, limit });
    }
    Ok((required, limit))
}

/// Finds the volume or makes it. The record comes first: a folder without one belongs to nobody, a record
/// without a folder is completed by the next call.
///
/// # Errors
/// When the bucket refuses, or the volume exists and is another one.
pub async fn ensure(
    storage: &Storage,
    id: &VolumeId,
    wanted: &Wanted,
    request: &CreateVolumeRequest,
) -> Result<Volume, CreateVolumeError> {
    let client = storage.client(&wanted.spec, &request.secrets)?;
    let record = match read_record(&client, id).await? {
        Some(existing) => {
            wanted.check(&existing).map_err(CreateVolumeError::Exists)?;
            existing
        }
        None => {
            let record = wanted.to_record();
            client.put(&Record::key(&id.folder), record.to_json()).await.map_err(S3Error::from)?;
            record
        }
    };
    let found = client.ensure_prefix(id.folder.as_str()).await.map_err(S3Error::from)?;
    tracing::info!(volume = %id, name = wanted.name, ?found, "volume ready");
    Ok(volume(id, &record))
}

/// The answer. Its capacity is the one asked for, as CSI wants it within the range of the request; it is not
/// enforced, for a bucket has no size.
fn volume(id: &VolumeId, record: &Record) -> Volume {
    Volume {
        volume_id: id.to_string(),
        volume_context: record.spec.to_attributes().into_iter().collect(),
        capacity_bytes: record.capacity_bytes,
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests;
