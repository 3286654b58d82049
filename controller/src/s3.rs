//! The buckets the controller may work in, and its way to them.

use crate::keys::{KeySource, KeysError};
use crate::naming::VolumeId;
use crate::record::{Record, RecordError};
use boathouse_bucket::{BucketClient, BucketError, Failure, Http, S3Target};
use std::collections::HashMap;
use thiserror::Error;
use tonic::Code;
use volume_spec::{BucketName, Endpoint, Region, VolumeSpec};

/// What the operator configured.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Shared connections.
    pub http: Http,
    /// The buckets volumes may be made in.
    pub buckets: Vec<BucketName>,
    /// The endpoint of volumes that name none.
    pub endpoint: Option<Endpoint>,
    /// The region of volumes that name none.
    pub region: Region,
    /// Keys for requests that bring none.
    pub keys: KeySource,
}

/// A volume's bucket, folder or record cannot be used.
#[derive(Debug, Error)]
pub enum S3Error {
    /// No keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Not known where the bucket is.
    #[error("no S3 endpoint: give the StorageClass the parameter endpoint, or the controller --s3-endpoint")]
    NoEndpoint,
    /// The endpoint is no URL after all.
    #[error("the endpoint {0} is not usable")]
    Endpoint(Endpoint),
    /// The server's answer, or none.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The record is there and makes no sense.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl S3Error {
    /// The code of the answer. Nothing is left behind on any of them that the next try does not find again.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Keys(KeysError::Secret(_)) | Self::Endpoint(_) => Code::InvalidArgument,
            Self::Keys(KeysError::File { .. } | KeysError::Content(_) | KeysError::None)
            | Self::NoEndpoint => Code::FailedPrecondition,
            Self::Record(RecordError::Damaged { .. }) => Code::DataLoss,
            Self::Record(RecordError::Version { .. }) => Code::FailedPrecondition,
            Self::Bucket(err) => match &err.failure {
                failure if failure.is_transient() => Code::Unavailable,
                Failure::AccessDenied => Code::PermissionDenied,
                Failure::InvalidKeys { .. } => Code::Unauthenticated,
                Failure::NoSuchBucket | Failure::WrongRegion { .. } | Failure::ClockSkew => {
                    Code::FailedPrecondition
                }
                Failure::InvalidInput(_) => Code::InvalidArgument,
                Failure::NoSuchKey
                | Failure::Other { .. }
                | Failure::EndpointUnreachable(_)
                | Failure::Timeout(_) => Code::Internal,
            },
        }
    }
}

impl Storage {
    /// A client for a volume's bucket with the keys of this call.
    ///
    /// # Errors
    /// When endpoint or keys are missing or malformed.
    pub fn client(
        &self,
        spec: &VolumeSpec,
        secrets: &HashMap<String, String>,
    ) -> Result<BucketClient, S3Error> {
        let endpoint = spec.endpoint.as_ref().or(self.endpoint.as_ref()).ok_or(S3Error::NoEndpoint)?;
        let target = S3Target {
            endpoint: endpoint.as_str().parse().map_err(|_| S3Error::Endpoint(endpoint.clone()))?,
            region: spec.region.as_ref().unwrap_or(&self.region).to_string(),
            bucket: spec.bucket.to_string(),
            path_style: true,
        };
        Ok(BucketClient::new(&self.http, target, &self.keys.keys(secrets)?)?)
    }

    /// Fills in where the bucket is, so that the volume stays there when the controller's defaults change.
    #[must_use]
    pub fn with_defaults(&self, mut spec: VolumeSpec) -> VolumeSpec {
        spec.endpoint = spec.endpoint.or_else(|| self.endpoint.clone());
        spec.region = spec.region.or_else(|| Some(self.region.clone()));
        spec
    }
}

/// The record of a volume; `None` when there is none.
///
/// # Errors
/// When the bucket cannot be read or the record makes no sense.
pub async fn read_record(client: &BucketClient, id: &VolumeId) -> Result<Option<Record>, S3Error> {
    let key = Record::key(&id.folder);
    match client.get(&key).await {
        Ok(json) => Ok(Some(Record::from_json(&key, &json)?)),
        Err(BucketError { failure: Failure::NoSuchKey, .. }) => Ok(None),
        Err(err) => Err(err.into()),
    }
}
