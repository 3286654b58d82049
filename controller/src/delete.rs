//! DeleteVolume: forgets nothing and removes nothing.
//!
//! `retain` is the only policy yet. The call succeeds so that the PersistentVolume goes away; the folder and its
//! record stay, so that an operator can see whose data it was, and so that CreateVolume of the same name gives the
//! same data again. It does not even speak to S3: it cannot fail half way, and no bug here can delete an object.

use crate::naming::VolumeId;
use csi_proto::csi::v1::DeleteVolumeRequest;
use thiserror::Error;
use tonic::Code;

/// DeleteVolume was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DeleteVolumeError {
    /// A required field is empty.
    #[error("no volume id is given")]
    NoId,
}

impl DeleteVolumeError {
    /// The code of the answer.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::NoId => Code::InvalidArgument,
        }
    }
}

/// Lets go of a volume. One that never existed is gone as well (CSI: DeleteVolume must be idempotent).
///
/// # Errors
/// Without a volume id.
pub fn retain(request: &DeleteVolumeRequest) -> Result<(), DeleteVolumeError> {
    let id = request.volume_id.as_str();
    if id.is_empty() {
        return Err(DeleteVolumeError::NoId);
    }
    match id.parse::<VolumeId>() {
        Ok(id) => {
            tracing::info!(volume = %id, bucket = %id.bucket, prefix = %id.folder, "volume let go, data kept")
        }
        Err(why) => tracing::info!(volume = ?id, %why, "nothing to delete"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> DeleteVolumeRequest {
        DeleteVolumeRequest { volume_id: id.into(), ..Default::default() }
    }

    #[test]
    fn anything_with_an_id_is_let_go() {
        assert_eq!(retain(&request("")), Err(DeleteVolumeError::NoId));
        assert_eq!(DeleteVolumeError::NoId.code(), Code::InvalidArgument);
        for id in ["data/pvc-1", "never existed", "\n"] {
            assert_eq!(retain(&request(id)), Ok(()), "{id}");
        }
    }
}
