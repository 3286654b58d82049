//! What an image is to be.

use crate::ImageError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Mode of a directory that nobody described, and of one of which only the path is said.
pub(crate) const DIRECTORY_MODE: u32 = 0o755;

/// An image to be: one layer, one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it is called.
    pub reference: Reference,
    /// The processor its programs are for.
    pub architecture: Architecture,
    /// What is in it. Parent directories come by themselves. Everything belongs to root.
    pub entries: BTreeMap<ImagePath, Entry>,
    /// The program that is started, and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments after those, unless somebody gives others.
    pub command: Vec<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// Who runs it: `uid:gid`, in numbers, because the image has no `/etc/passwd`.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// An empty image whose program runs as root.
    pub fn new(reference: Reference, architecture: Architecture) -> Self {
        Self {
            reference,
            architecture,
            entries: BTreeMap::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: BTreeMap::new(),
            user: "0:0".to_owned(),
            labels: BTreeMap::new(),
        }
    }
}

/// Something in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File {
        /// Where its content is on this machine.
        source: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, as it is stored.
        target: String,
    },
    /// A directory, for one that stays empty or has a mode of its own.
    Directory {
        /// Permission bits.
        mode: u32,
    },
}

/// A path in an image: absolute, without `.`, `..` and empty parts, and not the root itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ImagePath(String);

impl ImagePath {
    /// Checks it.
    ///
    /// # Errors
    /// [`ImageError::Path`].
    pub fn new(path: impl Into<String>) -> Result<Self, ImageError> {
        let path = path.into();
        let problem = match path.strip_prefix('/') {
            None => "it does not begin with /",
            Some("") => "it is the root",
            Some(rest) if rest.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                "one of its parts is empty, . or .."
            }
            Some(_) => return Ok(Self(path)),
        };
        Err(ImageError::Path { path, problem })
    }

    /// With the leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As archives name it.
    pub(crate) fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The directories it lies in, the outermost first.
    pub(crate) fn parents(&self) -> impl Iterator<Item = Self> {
        self.0.match_indices('/').skip(1).map(|(at, _)| Self(self.0[..at].to_owned()))
    }
}

impl TryFrom<String> for ImagePath {
    type Error = ImageError;

    fn try_from(path: String) -> Result<Self, ImageError> {
        Self::new(path)
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name for an image: `localhost/boathouse-node:0.1.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    repository: String,
    tag: String,
}

impl Reference {
    /// Checks both.
    ///
    /// # Errors
    /// [`ImageError::Reference`] when one of them breaks the OCI distribution specification's rule for it.
    pub fn new(repository: impl Into<String>, tag: impl Into<String>) -> Result<Self, ImageError> {
        let (repository, tag) = (repository.into(), tag.into());
        let inner = |c: char| matches!(c, '.' | '_' | '-');
        let part = |part: &str| {
            let ends_well = !part.starts_with(inner) && !part.ends_with(inner);
            !part.is_empty()
                && ends_well
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || inner(c))
        };
        let registry = |registry: &str| match registry.split_once(':') {
            Some((host, port)) => part(host) && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()),
            None => part(registry),
        };
        let repository_is_fine = match repository.split_once('/') {
            Some((first, rest)) => registry(first) && rest.split('/').all(part),
            None => part(&repository),
        };
        if !repository_is_fine {
            let rule = "small letters, digits, and . _ - between them, in parts separated by /";
            return Err(ImageError::Reference { field: "repository", value: repository, rule });
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let tag_is_fine =
            tag.starts_with(word) && tag.chars().all(|c| word(c) || inner(c)) && tag.len() <= 128;
        if !tag_is_fine {
            let rule = "at most 128 letters, digits and . _ -, the first of them no . or -";
            return Err(ImageError::Reference { field: "tag", value: tag, rule });
        }
        Ok(Self { repository, tag })
    }

    /// The last part of the repository.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// What comes after the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// A processor, by Go's name for it, which is the one in images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// This machine's.
    ///
    /// # Errors
    /// [`ImageError::Host`] when it is another.
    pub fn of_host() -> Result<Self, ImageError> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => Err(ImageError::Host(other)),
        }
    }

    /// `amd64` or `arm64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        let path = ImagePath::new("/usr/local/bin/boathouse").unwrap();
        assert_eq!(path.relative(), "usr/local/bin/boathouse");
        let parents: Vec<String> = path.parents().map(|parent| parent.to_string()).collect();
        assert_eq!(parents, ["/usr", "/usr/local", "/usr/local/bin"]);
        for bad in ["", "/", "bin/sh", "/a//b", "/a/", "/a/../b", "/./a"] {
            let error = ImagePath::new(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("path {bad:?} in the image: ")), "{error}");
        }
    }

    #[test]
    fn references_are_checked() {
        let reference = Reference::new("registry.example:5000/team/boathouse-node", "v1.2_3").unwrap();
        assert_eq!(reference.to_string(), "registry.example:5000/team/boathouse-node:v1.2_3");
        assert_eq!(reference.name(), "boathouse-node");
        for bad in ["", "Node", "a//b", "a/", "/a", "-a", "a:b", "a:/b", "a b"] {
            let error = Reference::new(bad, "1").unwrap_err().to_string();
            assert!(error.starts_with(&format!("repository {bad:?} of the image: small")), "{error}");
        }
        for bad in ["", ".1", "a b", "a/b", &"a".repeat(129)] {
            let error = Reference::new("a", bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("tag {bad:?} of the image: at most")), "{error}");
        }
    }
}
