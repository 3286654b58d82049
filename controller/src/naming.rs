//! What a volume is called in its bucket.

use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use volume_spec::{BucketName, Prefix};

/// The longest name CSI allows, in bytes (csi.proto, "Size Limits").
pub const MAX_NAME_BYTES: usize = 128;
/// Longest folder: with a bucket of 63 bytes and a slash, the volume id stays within CSI's 128 bytes.
const MAX_FOLDER_BYTES: usize = 63;
/// Hex digits of SHA-256 that keep mapped names apart (80 bits).
const HASH_DIGITS: usize = 20;

/// The folder of one volume: 1 to 63 characters of `a-z 0-9 -`, letter or digit at both ends.
///
/// The provisioner's names (`pvc-<uid>`) are such folders and stay as they are. Any other name becomes what can be
/// kept of it and a hash of the whole, so that two names never share a folder by accident; the volume's record
/// holds the name itself and settles the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder(String);

impl Folder {
    /// The folder of the volume called `name`.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        Self::parse(name).unwrap_or_else(|| Self::mapped(name))
    }

    /// Takes text that is a folder already.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
        let all = text.bytes().all(|b| plain(b) || b == b'-');
        (ends && all && text.len() <= MAX_FOLDER_BYTES).then(|| Self(text.to_owned()))
    }

    fn mapped(name: &str) -> Self {
        let mut slug = String::new();
        for c in name.chars().map(|c| c.to_ascii_lowercase()) {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        slug.truncate(MAX_FOLDER_BYTES - HASH_DIGITS - 1);
        let slug = match slug.trim_end_matches('-') {
            "" => "volume",
            slug => slug,
        };
        let hash = hex::encode(Sha256::digest(name));
        Self(format!("{slug}-{}", &hash[..HASH_DIGITS]))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the prefix of a volume spec.
    #[must_use]
    pub fn to_prefix(&self) -> Prefix {
        Prefix::parse(&self.0).expect("a folder's characters are a subset of a prefix's")
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// CSI's `volume_id`: `<bucket>/<folder>`. The same name in the same bucket always gives the same id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VolumeId {
    /// The bucket.
    pub bucket: BucketName,
    /// The volume's folder in it.
    pub folder: Folder,
}

/// Text this controller never gave out as a volume id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("not a volume id of this controller, which look like bucket/folder")]
pub struct NotAVolumeId;

impl FromStr for VolumeId {
    type Err = NotAVolumeId;

    fn from_str(text: &str) -> Result<Self, NotAVolumeId> {
        let (bucket, folder) = text.split_once('/').ok_or(NotAVolumeId)?;
        let bucket = BucketName::parse(bucket).map_err(|_| NotAVolumeId)?;
        Ok(Self { bucket, folder: Folder::parse(folder).ok_or(NotAVolumeId)? })
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.folder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use proptest::prelude::*;

    fn folder(name: &str) -> String {
        Folder::of_name(name).to_string()
    }

    #[test]
    fn the_provisioners_names_stay() {
        let name = "pvc-3f1c7e0a-8f6e-4b6e-9d0c-0a8a4b1f2c3d";
        assert_eq!(folder(name), name);
    }

    #[test]
    fn other_names_are_readable_and_apart() {
        assert!(folder("My Volume/1").starts_with("my-volume-1-"));
        assert!(folder("日本").starts_with("volume-"));
        let alike = ["a_b", "a b", "A-B", "a--b/", "-a-b", "a-b-", "../a-b", ""];
        let folders: std::collections::HashSet<_> = alike.iter().map(|name| folder(name)).collect();
        assert_eq!(folders.len(), alike.len(), "{folders:?}");
    }

    #[test]
    fn long_names_differing_at_their_end_stay_apart() {
        let name = |end: char| format!("{}{end}", "n".repeat(MAX_NAME_BYTES - 1));
        assert_ne!(folder(&name('a')), folder(&name('b')));
        assert_eq!(folder(&name('a')).len(), MAX_FOLDER_BYTES);
    }

    #[test]
    fn ids_of_others_are_refused() {
        for text in
            ["", "x", "data", "data/", "/a", "data/a/b", "data/..", "UP/a", "data/.boathouse", "data/-a"]
        {
            assert_eq!(text.parse::<VolumeId>(), Err(NotAVolumeId), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_has_a_folder_that_is_one(name in "\\PC{0,128}") {
            let folder = Folder::of_name(&name);
            prop_assert_eq!(Folder::parse(folder.as_str()), Some(folder.clone()));
            prop_assert_eq!(folder.to_prefix().to_string(), folder.to_string());
            prop_assert_eq!(&Folder::of_name(&name), &folder);
            let id = VolumeId { bucket: BucketName::parse(&"b".repeat(63)).unwrap(), folder };
            prop_assert!(id.to_string().len() <= 128);
            prop_assert_eq!(id.to_string().parse::<VolumeId>(), Ok(id));
        }
    }
}
