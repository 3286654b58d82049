//! Which Vault paths a namespace may ask for when the node's own identity does the asking.
//!
//! FlexVolume gives the driver no token of the pod's, so Vault cannot tell tenants apart there: these
//! templates do. A template is a path in which `{namespace}` stands for the pod's namespace (with `_` written
//! as `-`, the legacy rule that makes a namespace a profile) and a segment `{any}` for any one segment.
//! Everything else must match exactly. A path that no template allows is refused.

use std::fmt;

use crate::pod::is_dns_label;
use crate::vault_path::is_path_char;
use crate::{Shown, SpecError, VaultPath};

/// What the legacy injector asks for: any MinIO engine's key of the namespace's profile.
pub const LEGACY_TEMPLATE: &str = "{any}/keys/profile-{namespace}";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Any one segment.
    Any,
    /// Literal pieces with the namespace between each two of them.
    Exact(Vec<String>),
}

/// One allowed shape of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path template {template}: {reason}; write one such as \"{LEGACY_TEMPLATE}\"")]
pub struct TemplateError {
    template: Shown,
    reason: String,
}

/// Why a path is not to be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// No template allows it.
    #[error("vault-path {path} is not allowed for namespace {namespace}; allowed {allowed}")]
    Refused {
        /// The path asked for.
        path: VaultPath,
        /// The namespace that asked.
        namespace: Shown,
        /// The templates there are.
        allowed: String,
    },
    /// What was given as namespace is none.
    #[error("{0} is no namespace name")]
    Namespace(Shown),
    /// A template with `{any}` stands for more than one path.
    #[error("path template \"{0}\" holds {{any}} and cannot say where keys are read")]
    Ambiguous(String),
    /// The expanded template is no Vault path.
    #[error(transparent)]
    Path(#[from] SpecError),
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] for anything a [`VaultPath`] could not match, a placeholder that is neither
    /// `{namespace}` nor a whole-segment `{any}`, and a template without `{namespace}`, which would let every
    /// namespace through.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let error = |reason: String| TemplateError { template: Shown::new(text), reason };
        if text.len() > 512 {
            return Err(error("is longer than 512 bytes".to_owned()));
        }
        if text.starts_with('-') {
            return Err(error("starts with a hyphen".to_owned()));
        }
        let segments =
            text.split('/').map(parse_segment).collect::<Result<Vec<_>, String>>().map_err(error)?;
        if segments.len() < 2 {
            return Err(error("has fewer than two segments".to_owned()));
        }
        if !segments.iter().any(|s| matches!(s, Segment::Exact(pieces) if pieces.len() > 1)) {
            return Err(error("has no {namespace}: it would be open to every namespace".to_owned()));
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// Whether the template lets pods of `namespace` use `path`.
    #[must_use]
    pub fn allows(&self, namespace: &str, path: &VaultPath) -> bool {
        let Some(profile) = profile(namespace) else { return false };
        let mut given = path.segments();
        let all_match = self.segments.iter().all(|segment| match (segment, given.next()) {
            (_, None) => false,
            (Segment::Any, Some(_)) => true,
            (Segment::Exact(pieces), Some(text)) => pieces.join(&profile) == text,
        });
        all_match && given.next().is_none()
    }

    /// The one path the template stands for in `namespace`.
    ///
    /// # Errors
    /// [`FenceError`] when the template holds `{any}` or `namespace` is none.
    pub fn expand(&self, namespace: &str) -> Result<VaultPath, FenceError> {
        let profile = profile(namespace).ok_or_else(|| FenceError::Namespace(Shown::new(namespace)))?;
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            match segment {
                Segment::Any => return Err(FenceError::Ambiguous(self.text.clone())),
                Segment::Exact(pieces) => segments.push(pieces.join(&profile)),
            }
        }
        Ok(VaultPath::parse(&segments.join("/"))?)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for PathTemplate {
    type Err = TemplateError;
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text)
    }
}

fn parse_segment(text: &str) -> Result<Segment, String> {
    if text == "{any}" {
        return Ok(Segment::Any);
    }
    if text.is_empty() || text == "." || text == ".." {
        return Err("has an empty, \".\" or \"..\" segment".to_owned());
    }
    let pieces: Vec<String> = text.split("{namespace}").map(str::to_owned).collect();
    match pieces.iter().flat_map(|piece| piece.chars()).find(|c| !is_path_char(*c)) {
        None => Ok(Segment::Exact(pieces)),
        Some('{' | '}') => Err(format!(
            "has a placeholder in {} other than {{namespace}} or a whole segment {{any}}",
            Shown::new(text)
        )),
        Some(c) => Err(format!("holds the character {c:?}")),
    }
}

/// The namespace as it stands in a path; `None` when it cannot be one of Kubernetes'.
fn profile(namespace: &str) -> Option<String> {
    let profile = namespace.replace('_', "-");
    is_dns_label(&profile).then_some(profile)
}

/// The allow-list: empty, it refuses everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence(pub Vec<PathTemplate>);

impl Fence {
    /// Lets `path` pass for pods of `namespace`, or says why not.
    ///
    /// # Errors
    /// [`FenceError`] lists the templates there are.
    pub fn check(&self, namespace: &str, path: &VaultPath) -> Result<(), FenceError> {
        if profile(namespace).is_none() {
            return Err(FenceError::Namespace(Shown::new(namespace)));
        }
        if self.0.iter().any(|template| template.allows(namespace, path)) {
            return Ok(());
        }
        let allowed = match self.0.as_slice() {
            [] => "is nothing: no path template is configured".to_owned(),
            all => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                format!("is {}", all.join(" or "))
            }
        };
        Err(FenceError::Refused { path: path.clone(), namespace: Shown::new(namespace), allowed })
    }
}
