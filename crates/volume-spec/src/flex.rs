//! kubelet's FlexVolume `mount` document: one flat JSON object of strings.
//!
//! kubelet fills in its own `kubernetes.io/…` keys first and the pod author's options last, so an option of
//! the same name would win. What keeps an author from claiming another namespace is the API server, which
//! refuses option keys in the domains `kubernetes.io` and `k8s.io`. A callout is therefore to be trusted only
//! from kubelet: the agent socket must be root's alone.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};

use crate::scalars::parse_id;
use crate::{PodInfo, Shown, SpecError, base64};

const NAMESPACE: &str = "kubernetes.io/";
const SECRET: &str = "kubernetes.io/secret/";
const READ_WRITE: &str = "kubernetes.io/readwrite";
const FS_GROUP: &str = "kubernetes.io/mounterArgs.FsGroup";
const VOLUME_NAME: &str = "kubernetes.io/pvOrVolumeName";

/// The most bytes of a document: what Linux lets one argument hold (`MAX_ARG_STRLEN`).
pub const MAX_DOCUMENT: usize = 128 * 1024;

/// A `mount` callout's document, taken apart.
#[derive(Clone, Debug)]
pub struct Callout {
    /// The pod author's options: input of [`crate::Parameters::parse`] with [`crate::Strictness::Legacy`].
    pub options: BTreeMap<String, String>,
    /// The pod; `None` when the document has no `kubernetes.io/pod.*` key at all.
    pub pod: Option<PodInfo>,
    /// Whether the volume is to be read only.
    pub read_only: bool,
    /// The volume's name in the pod, or the persistent volume's name.
    pub volume_name: Option<String>,
    /// The pod's `fsGroup`.
    pub fs_group: Option<u32>,
    /// The keys of the Secret named in `secretRef`, decoded.
    pub secrets: BTreeMap<String, SecretString>,
}

/// Why a document cannot be used. Never repeats a value, which may be a secret's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalloutError {
    /// Larger than an argument can be.
    #[error("failed to parse options: the document is {0} bytes long, {MAX_DOCUMENT} is the most")]
    TooLong(usize),
    /// Not a JSON object of strings.
    #[error("failed to parse options: {0}")]
    Document(String),
    /// A secret's value is not base64 of UTF-8 text.
    #[error("the value of {0} is not base64 of UTF-8 text")]
    Secret(Shown),
    /// One of kubelet's own keys is malformed.
    #[error(transparent)]
    Field(#[from] SpecError),
}

impl Callout {
    /// Takes a document apart.
    ///
    /// # Errors
    /// [`CalloutError`] says what is wrong and where.
    pub fn parse(document: &[u8]) -> Result<Self, CalloutError> {
        if document.len() > MAX_DOCUMENT {
            return Err(CalloutError::TooLong(document.len()));
        }
        let all = flat_object(document)?;
        let pod = PodInfo::from_callout(&all)?;
        let read_only = match all.get(READ_WRITE).map_or("", String::as_str) {
            "ro" => true,
            "rw" | "" => false,
            other => {
                let error = SpecError::invalid(
                    READ_WRITE,
                    other,
                    "is neither of kubelet's two words",
                    "write \"ro\" or \"rw\"",
                );
                return Err(error.into());
            }
        };
        let fs_group = all.get(FS_GROUP).map(|text| parse_id(FS_GROUP, text)).transpose()?;
        let volume_name = all.get(VOLUME_NAME).filter(|name| !name.is_empty()).cloned();
        let mut options = BTreeMap::new();
        let mut secrets = BTreeMap::new();
        for (key, value) in all {
            if let Some(name) = key.strip_prefix(SECRET) {
                let decoded = base64::decode_standard(&value)
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| CalloutError::Secret(Shown::new(&key)))?;
                secrets.insert(name.to_owned(), SecretString::from(decoded));
            } else if !key.starts_with(NAMESPACE) {
                options.insert(key, value);
            }
        }
        Ok(Self { options, pod, read_only, volume_name, fs_group, secrets })
    }
}

fn flat_object(document: &[u8]) -> Result<BTreeMap<String, String>, CalloutError> {
    let mut json = serde_json::Deserializer::from_slice(document);
    let read = json.deserialize_any(Flat).and_then(|map| json.end().map(|()| map));
    read.map_err(|error| CalloutError::Document(error.to_string()))
}

/// Reads a flat object; serde's own messages would repeat the values of what is not one.
struct Flat;

impl Flat {
    fn not_an_object<E: serde::de::Error>(found: &str) -> Result<BTreeMap<String, String>, E> {
        Err(E::custom(format_args!("the document is {found}, not an object of strings")))
    }
}

impl<'de> Visitor<'de> for Flat {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = match map.next_value::<serde_json::Value>()? {
                serde_json::Value::String(value) => value,
                other => {
                    let (key, found) = (Shown::new(&key), kind(&other));
                    return Err(A::Error::custom(format_args!(
                        "the value of {key} is {found}, not a string"
                    )));
                }
            };
            if all.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {} occurs twice", Shown::new(&key))));
            }
            all.insert(key, value);
        }
        Ok(all)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Self::not_an_object("a boolean")
    }
    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Self::not_an_object("a number")
    }
    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Self::not_an_object("a number")
    }
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Self::not_an_object("a number")
    }
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Self::not_an_object("a string")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Self::not_an_object("null")
    }
    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Self::not_an_object("an array")
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "an array",
        serde_json::Value::Object(_) => "an object",
    }
}
