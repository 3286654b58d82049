//! ValidateVolumeCapabilities: whether a volume that exists can be used in certain ways.

use crate::capability::{self, CapabilityError};
use crate::naming::VolumeId;
use crate::record::Record;
use crate::s3::{S3Error, Storage, read_record};
use boathouse_bucket::{BucketError, Failure};
use csi_proto::csi::v1::ValidateVolumeCapabilitiesRequest as Request;
use csi_proto::csi::v1::ValidateVolumeCapabilitiesResponse as Response;
use csi_proto::csi::v1::validate_volume_capabilities_response::Confirmed;
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;
use tonic::Code;
use volume_spec::{Parameters, Strictness, VolumeSpec};

/// There is no answer about the volume.
#[derive(Debug, Error)]
pub enum ValidateError {
    /// A required field is empty.
    #[error("no volume id is given")]
    NoId,
    /// The capabilities are missing or incomplete.
    #[error(transparent)]
    Capability(CapabilityError),
    /// No such volume.
    #[error("there is no such volume")]
    NotFound,
    /// The bucket.
    #[error(transparent)]
    S3(#[from] S3Error),
}

impl ValidateError {
    /// The code of the answer (csi.proto, "ValidateVolumeCapabilities Errors").
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NoId | Self::Capability(_) => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::S3(err) => err.code(),
        }
    }
}

/// Looks the volume up and answers.
///
/// # Errors
/// See [`ValidateError`]. A capability no volume has is not an error but an answer without confirmation.
pub async fn validate(storage: &Storage, request: Request) -> Result<Response, ValidateError> {
    if request.volume_id.is_empty() {
        return Err(ValidateError::NoId);
    }
    let unsupported = match capability::check(&request.volume_capabilities) {
        Ok(()) => None,
        Err(why @ CapabilityError::Block) => Some(why.to_string()),
        Err(
            err @ (CapabilityError::None | CapabilityError::NoAccessType | CapabilityError::AccessMode(_)),
        ) => return Err(ValidateError::Capability(err)),
    };
    let id: VolumeId = request.volume_id.parse().map_err(|_| ValidateError::NotFound)?;
    if !storage.buckets.contains(&id.bucket) {
        return Err(ValidateError::NotFound);
    }
    let record = find(storage, &id, &request).await?.ok_or(ValidateError::NotFound)?;
    let objection = unsupported
        .or_else(|| differs("volume_context", &request.volume_context, &record.spec))
        .or_else(|| parameters_differ(storage, &request.parameters, &record.spec))
        .or_else(|| {
            (!request.mutable_parameters.is_empty()).then(|| "volumes have no mutable parameters".into())
        });
    Ok(match objection {
        Some(message) => Response { confirmed: None, message },
        None => Response {
            confirmed: Some(Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: request.parameters,
                ..Confirmed::default()
            }),
            message: String::new(),
        },
    })
}

async fn find(storage: &Storage, id: &VolumeId, request: &Request) -> Result<Option<Record>, ValidateError> {
    let mut place = VolumeSpec::new(id.bucket.clone());
    // The context says where the bucket is. One that does not parse is an objection for later.
    if let Ok(given) = Parameters::parse(&request.volume_context, Strictness::Refuse) {
        (place.endpoint, place.region) = (given.spec.endpoint, given.spec.region);
    }
    let client = storage.client(&place, &request.secrets)?;
    match read_record(&client, id).await {
        Err(S3Error::Bucket(BucketError { failure: Failure::NoSuchBucket, .. })) => Ok(None),
        found => Ok(found?),
    }
}

/// What is wrong with `given`, if it is given at all and does not describe the volume.
fn differs(field: &str, given: &HashMap<String, String>, spec: &VolumeSpec) -> Option<String> {
    if given.is_empty() {
        return None;
    }
    match Parameters::parse(given, Strictness::Refuse) {
        Ok(parsed) if parsed.spec == *spec => None,
        Ok(_) => Some(format!("the {field} is not that of this volume")),
        Err(err) => Some(format!("{field}: {err}")),
    }
}

/// Parameters are the StorageClass' words: the bucket may be left out, and never has a prefix.
fn parameters_differ(
    storage: &Storage,
    given: &HashMap<String, String>,
    spec: &VolumeSpec,
) -> Option<String> {
    if given.is_empty() {
        return None;
    }
    let mut given: BTreeMap<_, _> = given.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    given.entry("bucket".to_owned()).or_insert_with(|| spec.bucket.to_string());
    match Parameters::parse(&given, Strictness::Refuse) {
        Ok(parsed) => {
            let mut wanted = storage.with_defaults(parsed.spec);
            wanted.prefix.clone_from(&spec.prefix);
            (wanted != *spec).then(|| "the parameters are not those of this volume".to_owned())
        }
        Err(err) => Some(format!("parameters: {err}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use volume_spec::BucketName;

    #[test]
    fn every_error_has_its_code() {
        for (err, code) in [
            (ValidateError::NoId, Code::InvalidArgument),
            (ValidateError::Capability(CapabilityError::None), Code::InvalidArgument),
            (ValidateError::NotFound, Code::NotFound),
            (ValidateError::S3(S3Error::NoEndpoint), Code::FailedPrecondition),
        ] {
            assert_eq!(err.code(), code, "{err:?}");
        }
    }

    #[test]
    fn a_context_of_another_volume_is_noticed() {
        let mut spec = VolumeSpec::new(BucketName::parse("data").unwrap());
        let mut context: HashMap<_, _> = spec.to_attributes().into_iter().collect();
        // The provisioner adds its own key to the PersistentVolume.
        context.insert("storage.kubernetes.io/csiProvisionerIdentity".into(), "x".into());
        assert_eq!(differs("volume_context", &context, &spec), None);
        assert_eq!(differs("volume_context", &HashMap::new(), &spec), None);
        spec.uid = Some(5);
        assert!(differs("volume_context", &context, &spec).unwrap().contains("volume_context"));
        context.insert("odd".into(), "x".into());
        assert!(differs("volume_context", &context, &spec).unwrap().contains("odd"));
    }
}
