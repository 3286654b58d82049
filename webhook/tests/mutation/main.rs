//! What becomes of pods, and how the instances file is read.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should panic")]

mod cases;
mod conversion;
mod documentation;
mod instances;
mod pods;
mod properties;
mod replay;
mod taken;
mod validity;

use boathouse_webhook::instances::Config;
use boathouse_webhook::mutate::{Outcome, Output, Pod, mutate};
use serde_json::{Value, json};

/// The instances file that is shipped: the legacy injector's two.
const LEGACY: &str = include_str!("../../instances.yaml");

/// One instance with one directory, in the first container.
const ONE: &str = "
instances:
  - name: lake
    vaultMount: minio
    endpoint: https://minio.example:9000
    directories: [{name: private, bucket: \"{profile}\"}]
";

fn config(text: &str) -> Config {
    Config::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A pod that asks for its directories, with one container and one volume.
fn notebook() -> Value {
    json!({
        "metadata": {"name": "nb-0", "annotations": {"data.statcan.gc.ca/inject-boathouse": "true"}},
        "spec": {
            "containers": [{"name": "nb", "volumeMounts": [{"name": "ws", "mountPath": "/home/jovyan"}]}],
            "volumes": [{"name": "ws", "emptyDir": {}}],
        },
    })
}

/// What becomes of a pod that is made in namespace `alice`.
fn create(pod: &Value, instances: &str, output: Output) -> Outcome {
    create_in(Some("alice"), pod, instances, output)
}

/// What becomes of a pod whose request names `namespace`.
fn create_in(namespace: Option<&str>, pod: &Value, instances: &str, output: Output) -> Outcome {
    let text = pod.to_string();
    let pod = Pod::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    mutate(&pod, namespace, &config(instances), output)
}

/// The patched pod, which has to be valid, and the warnings.
fn patched(pod: &Value, instances: &str, output: Output) -> (Value, Vec<String>) {
    match create(pod, instances, output) {
        Outcome::Patched { patch, warnings } => {
            let after = apply(pod, &patch).unwrap();
            validity::check(&after).unwrap_or_else(|flaw| panic!("{flaw}: {after:#}"));
            (after, warnings)
        }
        other => panic!("expected a patch, got {other:?}"),
    }
}

/// The message of a refusal.
fn denied(pod: &Value, instances: &str, output: Output) -> String {
    match create(pod, instances, output) {
        Outcome::Denied { message } => message,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn apply(pod: &Value, patch: &Value) -> Result<Value, String> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(|e| e.to_string())?;
    let mut after = pod.clone();
    json_patch::patch(&mut after, &patch).map_err(|e| e.to_string())?;
    Ok(after)
}
