//! How much each field takes. Everything a caller can write is measured here, before it is used or stored.
//!
//! | what | at most |
//! |---|---|
//! | `endpoint` | [`ENDPOINT`] characters |
//! | `accessKeyId`, `username` | [`ACCESS_KEY`] |
//! | `secretAccessKey` | [`SECRET_KEY`] |
//! | `region` | [`REGION`] |
//! | `ca_certificate`, `client_certificate`, `client_key` | [`PEM`], line breaks allowed |
//! | names of roles, static roles, clusters, MinIO policies, groups, password policies; `credential_type` | [`NAME`] each |
//! | `policy` and `groups` | [`LIST`] names; `policy` [`POLICIES`] characters in all |
//! | `user_name_prefix` | [`PREFIX`], for service accounts [`SHORT_PREFIX`] |
//! | `user_name_template` | [`TEMPLATE`] |
//! | `policy_document` | what MinIO takes: [`POLICY`] for users, [`ACCOUNT_POLICY`] for service accounts, [`SESSION_POLICY`] for sts |
//!
//! No text may have control characters in it. Nothing here quotes a value: it may be secret.

use vault_plugin_sdk::{Error, Result};

/// A host name and a port.
pub const ENDPOINT: usize = 261;
/// MinIO sets no limit; this is twice the longest name the engine makes.
pub const ACCESS_KEY: usize = 256;
/// MinIO sets none for users and root.
pub const SECRET_KEY: usize = 256;
/// Region in signatures.
pub const REGION: usize = 64;
/// One PEM field.
pub const PEM: usize = 65_536;
/// Any name.
pub const NAME: usize = 128;
/// Names in one list.
pub const LIST: usize = 32;
/// A list of names in one text, with its commas and spaces.
pub const POLICIES: usize = LIST * (NAME + 2);
/// Leaves room for a request id and the rest of a template.
pub const PREFIX: usize = 64;
/// A service account's access key has 20 characters; 12 remain for what makes it unique.
pub const SHORT_PREFIX: usize = 8;
/// A user name template.
pub const TEMPLATE: usize = 512;
/// Bytes of a canned policy. MinIO sets none; this is IAM's limit times three.
pub const POLICY: usize = 18_432;
/// Bytes of a service account's policy, MinIO's limit.
pub const ACCOUNT_POLICY: usize = 4_096;
/// Bytes of a session's policy, MinIO's limit.
pub const SESSION_POLICY: usize = 2_048;
/// Length of the access key of a user the engine makes.
pub const USER_NAME: std::ops::RangeInclusive<usize> = 3..=128;
/// Length of a service account's access key, MinIO's limits.
pub const ACCOUNT_NAME: std::ops::RangeInclusive<usize> = 3..=20;
/// Length of a secret key from a password policy, MinIO's limits for service accounts.
pub const GENERATED_SECRET: std::ops::RangeInclusive<usize> = 8..=40;

/// A text on one line.
///
/// # Errors
/// HTTP 400 naming the field and what to write.
pub(crate) fn line(field: &str, value: &str, most: usize) -> Result<()> {
    measure(field, value, most, |_| false)
}

/// A text that may have line breaks and tabs.
///
/// # Errors
/// As [`line()`].
pub(crate) fn lines(field: &str, value: &str, most: usize) -> Result<()> {
    measure(field, value, most, |c| matches!(c, '\n' | '\r' | '\t'))
}

/// A name that MinIO keeps in lists: not empty, without a comma, without outer spaces.
///
/// # Errors
/// As [`line()`].
pub(crate) fn name(field: &str, value: &str) -> Result<()> {
    line(field, value, NAME)?;
    if value.is_empty() || value != value.trim() || value.contains(',') {
        return Err(Error::bad_request(format!(
            "{field} has a name that is empty, or has a comma or outer spaces: write names, separated by commas"
        )));
    }
    Ok(())
}

/// Several names.
///
/// # Errors
/// As [`name`], and when there are more than [`LIST`].
pub(crate) fn names<'a>(field: &str, values: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut count = 0_usize;
    for value in values {
        name(field, value)?;
        count += 1;
    }
    if count > LIST {
        return Err(Error::bad_request(format!("{field} has {count} names: write at most {LIST}")));
    }
    Ok(())
}

fn measure(field: &str, value: &str, most: usize, allowed: impl Fn(char) -> bool) -> Result<()> {
    let length = value.chars().count();
    if length > most {
        return Err(Error::bad_request(format!("{field} is {length} characters long: write at most {most}")));
    }
    match value.chars().enumerate().find(|(_, c)| c.is_control() && !allowed(*c)) {
        Some((at, c)) => Err(Error::bad_request(format!(
            "{field} has a control character (U+{:04X}) at position {}: write it without",
            u32::from(c),
            at + 1
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: Result<()>) -> String {
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(text(line("f", "ééé", 3)), "");
        assert_eq!(text(line("f", "éééé", 3)), "f is 4 characters long: write at most 3");
    }

    #[test]
    fn control_characters_are_named_by_place_and_never_quoted() {
        assert_eq!(
            text(line("f", "secret\u{7}", 9)),
            "f has a control character (U+0007) at position 7: write it without"
        );
        assert!(text(line("f", "a\nb", 9)).contains("U+000A"));
        assert_eq!(text(lines("f", "a\r\n\tb", 9)), "");
        assert!(text(lines("f", "a\0", 9)).contains("U+0000"));
    }

    #[test]
    fn names_in_lists() {
        for bad in ["", " a", "a ", "a,b", "a\tb"] {
            assert!(text(name("groups", bad)).contains("groups"), "{bad:?}");
        }
        assert_eq!(text(names("groups", ["a", "ü b"].into_iter())), "");
        assert!(text(names("groups", std::iter::repeat_n("a", 33))).contains("33 names"));
    }
}
