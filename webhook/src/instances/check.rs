//! From the file as written to a [`Config`].

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;
use volume_spec::{Shown, SpecError};

use super::file::{Directory, File, Instance};
use super::volume::expand;
use super::{Config, InstancesError, Rule, Volume};

/// Longest volume name, so that Kubernetes' 63 characters leave room for a number behind a taken one.
const MAX_VOLUME_NAME: usize = 58;

/// A namespace to try the templates with: the shortest that can name a bucket.
const SAMPLE: &str = "aaa";

pub(super) fn check(file: File) -> Result<Config, InstancesError> {
    let rules = match file.containers {
        None => vec![Rule::argo()],
        Some(rules) => {
            rules.into_iter().enumerate().map(|(i, rule)| Rule::check(i, rule)).collect::<Result<_, _>>()?
        }
    };
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    let mut volumes = Vec::new();
    for (index, instance) in file.instances.into_iter().enumerate() {
        let own = volumes_of(index, &instance)?;
        for volume in &own {
            let taken = if !names.insert(volume.name.clone()) {
                format!("makes a second volume named {}", Shown::new(&volume.name))
            } else if !paths.insert(volume.mount_path.clone()) {
                format!("makes a second volume mounted at {}", Shown::new(&volume.mount_path))
            } else {
                continue;
            };
            return Err(InstancesError::Field {
                line: instance.name.referenced.line(),
                field: format!("instances[{index}].name"),
                reason: format!("{taken}; write another name, or another basePath"),
            });
        }
        volumes.extend(own);
    }
    Ok(Config { volumes, rules })
}

fn volumes_of(index: usize, instance: &Instance) -> Result<Vec<Volume>, InstancesError> {
    let field = |name: &str| format!("instances[{index}].{name}");
    let name = &instance.name;
    label(name.referenced.line(), &field("name"), &name.value)?;
    let base_path = match &instance.base_path {
        Some(path) => {
            absolute(path.referenced.line(), &field("basePath"), &path.value)?;
            path.value.clone()
        }
        None => format!("/home/jovyan/minio/{}", name.value),
    };
    let defaults = [directory(name, "private", "{profile}"), directory(name, "shared", "shared")];
    let directories = match &instance.directories {
        Some(written) if written.value.is_empty() => {
            return Err(InstancesError::Field {
                line: written.referenced.line(),
                field: field("directories"),
                reason: "is empty; leave it out for \"private\" and \"shared\", or write what there is to be"
                    .to_owned(),
            });
        }
        Some(written) => &written.value[..],
        None => &defaults[..],
    };
    let fixed = fixed_attributes(instance);
    let mut volumes = Vec::new();
    for (position, directory) in directories.iter().enumerate() {
        let field = |name: &str| field(&format!("directories[{position}].{name}"));
        let line = directory.name.referenced.line();
        label(line, &field("name"), &directory.name.value)?;
        let volume = Volume {
            instance: name.value.clone(),
            name: format!("{}-{}", name.value, directory.name.value),
            mount_path: format!("{base_path}/{}", directory.name.value),
            read_only: instance.read_only || directory.read_only,
            optional: instance.optional,
            bucket: directory.bucket.value.clone(),
            vault_mount: instance.vault_mount.value.clone(),
            fixed: fixed.clone(),
        };
        if volume.name.len() > MAX_VOLUME_NAME {
            let reason = format!(
                "makes the volume name {}, {MAX_VOLUME_NAME} characters are the most; write shorter names",
                Shown::new(&volume.name)
            );
            return Err(InstancesError::Field { line, field: field("name"), reason });
        }
        known_placeholders(directory, &field("bucket"))?;
        volume.attributes(SAMPLE).map_err(|error| located(index, position, instance, directory, &error))?;
        volumes.push(volume);
    }
    Ok(volumes)
}

/// One of the two directories that an instance has when it does not say.
fn directory(instance: &Spanned<String>, name: &str, bucket: &str) -> Directory {
    let at = |text: &str| Spanned::new(text.to_owned(), instance.referenced, instance.defined);
    Directory { name: at(name), bucket: at(bucket), read_only: false }
}

/// The volume attributes of an instance that no namespace changes.
fn fixed_attributes(instance: &Instance) -> BTreeMap<String, String> {
    let text = |field: &Option<Spanned<String>>| field.as_ref().map(|field| field.value.clone());
    let attributes = [
        ("endpoint", Some(instance.endpoint.value.clone())),
        ("ca", text(&instance.ca)),
        ("region", Some(text(&instance.region).unwrap_or_else(|| "us-east-1".to_owned()))),
        ("uid", Some(text(&instance.uid).unwrap_or_else(|| "1000".to_owned()))),
        ("gid", Some(text(&instance.gid).unwrap_or_else(|| "100".to_owned()))),
        ("vault-ttl", Some(text(&instance.vault_ttl).unwrap_or_else(|| "24h".to_owned()))),
        ("optional", instance.optional.then(|| "true".to_owned())),
    ];
    attributes.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Says where in the file the attribute comes from that the driver would refuse.
fn located(
    index: usize,
    position: usize,
    instance: &Instance,
    directory: &Directory,
    error: &SpecError,
) -> InstancesError {
    let bucket = format!("directories[{position}].bucket");
    let (field, written) = match error.field() {
        Some("bucket") => (bucket.as_str(), Some(&directory.bucket)),
        Some("endpoint") => ("endpoint", Some(&instance.endpoint)),
        Some("vault-path") => ("vaultMount", Some(&instance.vault_mount)),
        Some("vault-ttl") => ("vaultTtl", instance.vault_ttl.as_ref()),
        Some("ca") => ("ca", instance.ca.as_ref()),
        Some("region") => ("region", instance.region.as_ref()),
        Some("uid") => ("uid", instance.uid.as_ref()),
        Some("gid") => ("gid", instance.gid.as_ref()),
        _ => ("name", None),
    };
    InstancesError::Field {
        line: written.unwrap_or(&instance.name).referenced.line(),
        field: format!("instances[{index}].{field}"),
        reason: error.to_string(),
    }
}

fn known_placeholders(directory: &Directory, field: &str) -> Result<(), InstancesError> {
    let left = expand(&directory.bucket.value, "", "");
    if !left.contains(['{', '}']) {
        return Ok(());
    }
    Err(InstancesError::Field {
        line: directory.bucket.referenced.line(),
        field: field.to_owned(),
        reason: format!(
            "{} has a placeholder that is not known; write {{profile}} or {{namespace}}",
            Shown::new(&directory.bucket.value)
        ),
    })
}

/// Refuses what is no name Kubernetes gives to volumes and containers.
pub(super) fn label(line: u64, field: &str, text: &str) -> Result<(), InstancesError> {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_label = (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| inner(b) || *b == b'-')
        && bytes.first().is_some_and(inner)
        && bytes.last().is_some_and(inner);
    if is_label {
        return Ok(());
    }
    Err(InstancesError::Field {
        line,
        field: field.to_owned(),
        reason: format!(
            "{} is no name; write 1 to 63 lowercase letters, digits and hyphens, such as \"tenant-1\"",
            Shown::new(text)
        ),
    })
}

/// Refuses a path that no container can have a mount at.
fn absolute(line: u64, field: &str, path: &str) -> Result<(), InstancesError> {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let is_path = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain))
        && !path.contains(|c: char| c == ':' || c.is_control());
    if is_path {
        return Ok(());
    }
    Err(InstancesError::Field {
        line,
        field: field.to_owned(),
        reason: format!(
            "{} is no plain absolute path; write one without colon, \".\", \"..\" and a slash at its end, such as \
             \"/home/jovyan/minio/tenant-1\"",
            Shown::new(path)
        ),
    })
}
