//! `bucket`: the bucket's name and the optional prefix behind a colon.

use crate::SpecError;
use crate::error::{checked_string, plain};

const FIELD: &str = "bucket";
const WRITE: &str = "write the bucket's own name, 3 to 63 lowercase letters, digits, dots and hyphens, such as \
                     \"alice\", with a prefix \"alice:some/folder\"";
const WRITE_PREFIX: &str =
    "write the prefix as folders joined by single slashes, such as \"alice:some/folder\"";

checked_string! {
    /// An S3 bucket name: 3–63 characters of `a-z 0-9 . -`, letter or digit at both ends, no `..`, not an
    /// IPv4 address (Amazon S3 User Guide, "General purpose bucket naming rules").
    BucketName
}

impl BucketName {
    /// Checks a bucket name.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `bucket`.
    pub fn parse(name: &str) -> Result<Self, SpecError> {
        plain(FIELD, name, 1024, WRITE)?;
        match flaw(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(SpecError::invalid(FIELD, name, reason, WRITE)),
        }
    }
}

fn flaw(name: &str) -> Option<String> {
    if let Some((scheme, _)) = name.split_once("://") {
        return Some(match scheme {
            "s3" => "is a URL".to_owned(),
            "gs" => "is a Google Cloud Storage URL, only S3 buckets can be mounted".to_owned(),
            "abfs" | "abfss" | "wasb" | "wasbs" | "adl" => {
                "is an Azure storage URL, only S3 buckets can be mounted".to_owned()
            }
            _ => "is a URL, not a name".to_owned(),
        });
    }
    if name.starts_with('-') {
        return Some("starts with a hyphen and could be taken for a flag".to_owned());
    }
    if let Some(c) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-')) {
        let kind = if c.is_ascii_uppercase() { "the uppercase letter" } else { "the character" };
        return Some(format!("holds {kind} {c:?}, which a bucket name cannot have"));
    }
    if !(3..=63).contains(&name.len()) {
        return Some(format!("is {} characters long", name.len()));
    }
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    if !alphanumeric(name.as_bytes().first()) || !alphanumeric(name.as_bytes().last()) {
        return Some("does not start and end with a letter or digit".to_owned());
    }
    if name.contains("..") {
        return Some("holds two dots in a row".to_owned());
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() || looks_like_ipv4(name) {
        return Some("looks like an IP address".to_owned());
    }
    None
}

fn looks_like_ipv4(name: &str) -> bool {
    name.split('.').count() == 4 && name.bytes().all(|b| b == b'.' || b.is_ascii_digit())
}

checked_string! {
    /// The part of a bucket that is mounted: folders joined by single slashes, without one at either end
    /// (goofys adds the last one itself), at most 512 bytes. `.` and `..` are no folders, and an empty
    /// segment is refused because goofys reads `://` anywhere in its bucket argument as a URL.
    Prefix
}

impl Prefix {
    /// Checks a prefix; one slash at its end is dropped, so that equal places compare equal.
    ///
    /// # Errors
    /// [`SpecError::Invalid`] for the field `bucket`, whose value the prefix is part of.
    pub fn parse(prefix: &str) -> Result<Self, SpecError> {
        plain(FIELD, prefix, 512, WRITE_PREFIX)?;
        let invalid = |reason: &str| Err(SpecError::invalid(FIELD, prefix, reason, WRITE_PREFIX));
        if prefix.starts_with('/') {
            return invalid("has a prefix that starts with a slash");
        }
        let folders = prefix.strip_suffix('/').unwrap_or(prefix);
        for segment in folders.split('/') {
            match segment {
                "" => return invalid("has a prefix with an empty segment"),
                "." | ".." => return invalid("has a prefix with a \".\" or \"..\" segment"),
                _ => {}
            }
        }
        Ok(Self(folders.to_owned()))
    }
}

/// Splits `bucket[:prefix]` at the first colon and checks both halves.
pub(crate) fn parse_bucket(value: &str) -> Result<(BucketName, Option<Prefix>), SpecError> {
    match value.split_once(':') {
        // The name check has the better words for a URL.
        Some((_, rest)) if rest.starts_with("//") => BucketName::parse(value).map(|name| (name, None)),
        Some((name, prefix)) => Ok((BucketName::parse(name)?, Some(Prefix::parse(prefix)?))),
        None => Ok((BucketName::parse(value)?, None)),
    }
}
