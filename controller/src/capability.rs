//! What a volume can be used as: a file system, by any number of nodes.

use csi_proto::csi::v1::VolumeCapability;
use csi_proto::csi::v1::volume_capability::AccessType;
use csi_proto::csi::v1::volume_capability::access_mode::Mode;
use thiserror::Error;

/// A capability no volume has.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CapabilityError {
    /// A required field is empty.
    #[error("no volume capability is given")]
    None,
    /// Neither block nor mount.
    #[error("a volume capability has no access type")]
    NoAccessType,
    /// A raw device.
    #[error("volumes are file systems; raw block access (volumeMode: Block) is not possible")]
    Block,
    /// No access mode, or one of a later specification.
    #[error("a volume capability has no access mode, or an unknown one ({0})")]
    AccessMode(i32),
}

/// Checks that a volume can be used in all of these ways. Every access mode is fine: object storage has no
/// attachment, and who may write is the pod's `readOnly` and the policy of its key. A file system type is not
/// looked at, as provisioners fill it in unasked.
///
/// # Errors
/// [`CapabilityError`] for the first one that is not.
pub fn check(capabilities: &[VolumeCapability]) -> Result<(), CapabilityError> {
    if capabilities.is_empty() {
        return Err(CapabilityError::None);
    }
    capabilities.iter().try_for_each(check_one)
}

fn check_one(capability: &VolumeCapability) -> Result<(), CapabilityError> {
    match &capability.access_type {
        None => return Err(CapabilityError::NoAccessType),
        Some(AccessType::Block(_)) => return Err(CapabilityError::Block),
        Some(AccessType::Mount(_)) => {}
    }
    let mode = capability.access_mode.as_ref().map_or(0, |mode| mode.mode);
    match Mode::try_from(mode) {
        Ok(Mode::Unknown) | Err(_) => Err(CapabilityError::AccessMode(mode)),
        Ok(
            Mode::SingleNodeWriter
            | Mode::SingleNodeReaderOnly
            | Mode::MultiNodeReaderOnly
            | Mode::MultiNodeSingleWriter
            | Mode::MultiNodeMultiWriter
            | Mode::SingleNodeSingleWriter
            | Mode::SingleNodeMultiWriter,
        ) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi_proto::csi::v1::volume_capability::{AccessMode, BlockVolume, MountVolume};

    fn capability(access_type: Option<AccessType>, mode: i32) -> VolumeCapability {
        VolumeCapability { access_type, access_mode: Some(AccessMode { mode }) }
    }

    fn mount() -> Option<AccessType> {
        Some(AccessType::Mount(MountVolume::default()))
    }

    #[test]
    fn file_systems_in_every_mode_and_nothing_else() {
        for mode in 1..=7 {
            assert_eq!(check(&[capability(mount(), mode)]), Ok(()), "{mode}");
        }
        let block = Some(AccessType::Block(BlockVolume {}));
        let cases = [
            (vec![], CapabilityError::None),
            (vec![capability(None, 1)], CapabilityError::NoAccessType),
            (vec![capability(mount(), 1), capability(block, 1)], CapabilityError::Block),
            (vec![capability(mount(), 0)], CapabilityError::AccessMode(0)),
            (vec![capability(mount(), 99)], CapabilityError::AccessMode(99)),
            (
                vec![VolumeCapability { access_type: mount(), access_mode: None }],
                CapabilityError::AccessMode(0),
            ),
        ];
        for (capabilities, expected) in cases {
            assert_eq!(check(&capabilities), Err(expected), "{capabilities:?}");
        }
    }
}
