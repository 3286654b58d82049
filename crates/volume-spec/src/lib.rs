//! What a pod asks for, parsed once at the edge into checked types.
//!
//! The same option names arrive in two ways: as `csi.volumeAttributes` ([`Parameters::parse`] with
//! [`Strictness::Refuse`]) and as `flexVolume.options` inside kubelet's JSON document
//! ([`flex::Callout::parse`], then [`Parameters::parse`] with [`Strictness::Legacy`]). Both end in one
//! [`VolumeSpec`], which is also what the node plugin keeps on disk: it never holds a secret.
//!
//! Beside it stands everything else a request says about itself: whose pod it is ([`PodInfo`]), its
//! service-account token ([`tokens`]), static keys ([`static_keys`]), which Vault paths a namespace may ask
//! for through the node's own identity ([`fence`]), and how the FUSE daemon is called ([`goofys`]).
//!
//! The crate does no I/O and reads no clock.
//!
//! ```
//! use std::collections::HashMap;
//! use volume_spec::{Parameters, Strictness, goofys};
//!
//! let attributes: HashMap<String, String> = [("bucket", "alice:data"), ("uid", "1000"), ("vault-ttl", "90m")]
//!     .map(|(key, value)| (key.to_owned(), value.to_owned()))
//!     .into();
//! let spec = Parameters::parse(&attributes, Strictness::Refuse)?.spec;
//! assert_eq!(spec.vault_ttl.map(|ttl| ttl.as_secs()), Some(5400));
//! assert!(goofys::arguments(&spec, "/mnt".as_ref()).contains(&"alice:data".into()));
//!
//! let mistyped: HashMap<String, String> = [("bukket".to_owned(), "alice".to_owned())].into();
//! let error = Parameters::parse(&mistyped, Strictness::Refuse).unwrap_err();
//! assert!(error.to_string().contains("did you mean bucket?"));
//! # Ok::<(), volume_spec::SpecError>(())
//! ```

mod authority;
mod base64;
mod bucket;
mod endpoint;
mod error;
pub mod fence;
pub mod flex;
pub mod go_bool;
pub mod go_duration;
pub mod goofys;
mod lookup;
mod parameters;
mod pod;
mod scalars;
mod spec;
pub mod static_keys;
pub mod tokens;
mod vault_path;

pub use authority::AuthorityName;
pub use bucket::{BucketName, Prefix};
pub use endpoint::Endpoint;
pub use error::{Shown, SpecError};
pub use lookup::Lookup;
pub use parameters::{KEYS, Parameters, Strictness};
pub use pod::PodInfo;
pub use scalars::{Mode, Region};
pub use spec::{MAX_VAULT_TTL, VolumeSpec};
pub use vault_path::VaultPath;
