//! The command line of goofys: the legacy driver's, without `--cred-filename`.
//!
//! Two things are always said that the legacy driver left to goofys: the region, because without one and with
//! denied first requests goofys may fall back to anonymous access or old signatures; and the owner, because
//! goofys takes its own user as default, which used to be root and no longer is.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::VolumeSpec;

/// The region of a MinIO that was not told otherwise.
pub const DEFAULT_REGION: &str = "us-east-1";

/// The arguments behind the program's name, in the legacy driver's order. Every value of the user's stands
/// behind its own flag or is a checked bucket name, and none starts with a hyphen.
#[must_use]
pub fn arguments(spec: &VolumeSpec, mountpoint: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["-f", "-o", "allow_other"].map(OsString::from).to_vec();
    let mut flag = |name: &str, value: &str| {
        arguments.push(name.into());
        arguments.push(value.into());
    };
    flag("--dir-mode", &spec.dir_mode.to_string());
    flag("--file-mode", &spec.file_mode.to_string());
    if let Some(endpoint) = &spec.endpoint {
        flag("--endpoint", endpoint.as_str());
    }
    flag("--region", spec.region.as_ref().map_or(DEFAULT_REGION, |region| region.as_str()));
    flag("--uid", &spec.uid.unwrap_or(0).to_string());
    flag("--gid", &spec.gid.unwrap_or(0).to_string());
    if spec.debug_s3 {
        arguments.push("--debug_s3".into());
    }
    arguments.push(spec.bucket_and_prefix().into());
    arguments.push(never_a_flag(mountpoint.as_os_str()));
    arguments
}

fn never_a_flag(path: &OsStr) -> OsString {
    if path.as_encoded_bytes().first() == Some(&b'-') {
        let mut relative = OsString::from("./");
        relative.push(path);
        return relative;
    }
    path.to_owned()
}
