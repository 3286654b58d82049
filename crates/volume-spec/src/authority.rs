//! `ca`: which authorities vouch for the S3 server.

use crate::SpecError;
use crate::error::{checked_string, plain};
use crate::pod::is_dns_label;

const FIELD: &str = "ca";
const WRITE: &str = "write the name of a bundle that the operator has put on the node, 1 to 63 lowercase letters, digits \
                     and hyphens, such as \"tenant-1\"";

checked_string! {
    /// The name of a bundle of certificate authorities on the node: a DNS label. A volume names a bundle and cannot
    /// bring one, nor do without.
    AuthorityName
}

impl AuthorityName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `ca`.
    pub fn parse(name: &str) -> Result<Self, SpecError> {
        // A bundle itself, pasted here, would be too long to repeat and has line breaks.
        if name.contains("-----BEGIN") {
            return Err(SpecError::invalid(FIELD, "-----BEGIN …", "is a certificate, not a name", WRITE));
        }
        plain(FIELD, name, 63, WRITE)?;
        if is_dns_label(name) {
            return Ok(Self(name.to_owned()));
        }
        Err(SpecError::invalid(FIELD, name, "is no name of a bundle", WRITE))
    }
}
