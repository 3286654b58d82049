//! From the untyped map a request carries to a [`VolumeSpec`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bucket::parse_bucket;
use crate::error::plain;
use crate::scalars::parse_id;
use crate::{
    AuthorityName, Endpoint, MAX_VAULT_TTL, Mode, Region, Shown, SpecError, VaultPath, VolumeSpec, go_bool,
    go_duration,
};

/// The keys of a volume, the same in `csi.volumeAttributes` and `flexVolume.options`.
pub const KEYS: [&str; 12] = [
    "bucket",
    "endpoint",
    "ca",
    "region",
    "uid",
    "gid",
    "dirMode",
    "fileMode",
    "vault-path",
    "vault-ttl",
    "debug_s3",
    "optional",
];

const WRITE_TTL: &str =
    "write a Go duration, such as \"24h\" or \"90m\"; \"0\" asks for the Vault role's default";
const WRITE_BOOL: &str = "write \"true\" or \"false\"";

/// How to treat what the FlexVolume driver let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// CSI: an unknown key, an empty value and a negative TTL are refused.
    Refuse,
    /// FlexVolume: an unknown key is a warning, an empty value counts as absent, and a TTL of zero or less
    /// means the Vault role's default. Everything else is refused as under [`Strictness::Refuse`].
    Legacy,
}

/// A parsed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// What to mount.
    pub spec: VolumeSpec,
    /// What was let pass, one sentence each, safe to log.
    pub warnings: Vec<String>,
}

impl Parameters {
    /// Parses the attributes or options of one volume. Keys in Kubernetes' own namespaces
    /// (`csi.storage.k8s.io/…`, `storage.kubernetes.io/…`, `kubernetes.io/…`) are not the user's and are
    /// passed over: [`crate::PodInfo`], [`crate::tokens`] and [`crate::flex`] read them.
    ///
    /// # Errors
    /// [`SpecError`] names the first thing that is wrong, unknown keys before values.
    pub fn parse<'a>(
        attributes: impl IntoIterator<Item = (&'a String, &'a String)>,
        strictness: Strictness,
    ) -> Result<Self, SpecError> {
        let mut known = BTreeMap::new();
        let mut unknown = Vec::new();
        for (key, value) in attributes {
            match KEYS.into_iter().find(|k| k == key) {
                Some(_) if value.is_empty() && strictness == Strictness::Legacy => {}
                Some(key) => drop(known.insert(key, value.as_str())),
                None if is_kubernetes_key(key) => {}
                None => unknown.push(key.as_str()),
            }
        }
        unknown.sort_unstable();
        let warnings = match (strictness, unknown.first()) {
            (_, None) => Vec::new(),
            (Strictness::Legacy, Some(_)) => {
                unknown.iter().map(|key| format!("unknown option {} is ignored", Shown::new(key))).collect()
            }
            (Strictness::Refuse, Some(first)) => {
                let suggestion = suggest(first);
                let keys = unknown.into_iter().map(Shown::new).collect();
                return Err(SpecError::Unknown { keys, suggestion });
            }
        };
        Ok(Self { spec: parse_fields(&known, strictness)?, warnings })
    }
}

fn parse_fields(fields: &BTreeMap<&str, &str>, strictness: Strictness) -> Result<VolumeSpec, SpecError> {
    let get = |key: &str| fields.get(key).copied();
    let flag = |key: &'static str| get(key).map_or(Ok(false), |text| parse_bool(key, text));
    let (bucket, prefix) = match get("bucket") {
        Some(value) => parse_bucket(value)?,
        None => {
            return Err(SpecError::Missing {
                field: "bucket",
                write: "name the bucket to mount, such as \"alice\"",
            });
        }
    };
    let spec = VolumeSpec {
        bucket,
        prefix,
        endpoint: get("endpoint").map(Endpoint::parse).transpose()?,
        ca: get("ca").map(AuthorityName::parse).transpose()?,
        region: get("region").map(Region::parse).transpose()?,
        uid: get("uid").map(|text| parse_id("uid", text)).transpose()?,
        gid: get("gid").map(|text| parse_id("gid", text)).transpose()?,
        dir_mode: match get("dirMode") {
            Some(text) => Mode::parse("dirMode", text)?,
            None => Mode::DEFAULT_DIR,
        },
        file_mode: match get("fileMode") {
            Some(text) => Mode::parse("fileMode", text)?,
            None => Mode::DEFAULT_FILE,
        },
        vault_path: get("vault-path").map(VaultPath::parse).transpose()?,
        vault_ttl: match get("vault-ttl") {
            Some(text) => parse_ttl(text, strictness)?,
            None => None,
        },
        debug_s3: flag("debug_s3")?,
        optional: flag("optional")?,
    };
    spec.check_ca()?;
    Ok(spec)
}

fn parse_ttl(text: &str, strictness: Strictness) -> Result<Option<Duration>, SpecError> {
    const FIELD: &str = "vault-ttl";
    plain(FIELD, text, 128, WRITE_TTL)?;
    let invalid = |reason: String| SpecError::invalid(FIELD, text, reason, WRITE_TTL);
    let nanos = go_duration::parse(text).map_err(|error| invalid(error.to_string()))?;
    match u64::try_from(nanos) {
        Ok(0) => Ok(None),
        Ok(nanos) => {
            let ttl = Duration::from_secs(nanos.div_ceil(1_000_000_000));
            if ttl > MAX_VAULT_TTL {
                return Err(invalid("is longer than ten years".to_owned()));
            }
            Ok(Some(ttl))
        }
        Err(_) if strictness == Strictness::Legacy => Ok(None),
        Err(_) => Err(invalid("is negative".to_owned())),
    }
}

pub(crate) fn parse_bool(field: &'static str, text: &str) -> Result<bool, SpecError> {
    plain(field, text, 16, WRITE_BOOL)?;
    go_bool::parse(text).ok_or_else(|| SpecError::invalid(field, text, "is no boolean", WRITE_BOOL))
}

/// Whether a key is in a namespace that Kubernetes keeps for itself.
fn is_kubernetes_key(key: &str) -> bool {
    key.split_once('/').is_some_and(|(namespace, _)| {
        ["kubernetes.io", "k8s.io"].iter().any(|own| {
            namespace.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    })
}

/// The key an unknown one probably stands for: the same letters, or at most two of them off.
fn suggest(key: &str) -> Option<&'static str> {
    if key.len() > 32 {
        return None;
    }
    let bare = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let given = bare(key);
    KEYS.into_iter()
        .map(|valid| (distance(given.as_bytes(), bare(valid).as_bytes()), valid))
        .filter(|(distance, valid)| *distance <= if valid.len() > 3 { 2 } else { 1 })
        .min()
        .map(|(_, valid)| valid)
}

/// Levenshtein distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
