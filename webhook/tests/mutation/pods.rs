//! Valid pods, as far as volumes and mounts go: names and paths that are in the way, ours and others' volumes in all forms,
//! arrays that are not there. The suite on a real cluster makes them as well.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

/// Volume names: everyday ones, those we would take, and those we would take next.
const NAMES: [&str; 8] = [
    "ws",
    "data",
    "lake-private",
    "lake-private-2",
    "premium-minio-tenant-1-private",
    "premium-minio-tenant-1-private-2",
    "premium-minio-tenant-1-shared",
    "standard-minio-tenant-1-shared",
];

const PATHS: [&str; 6] = [
    "/data",
    "/home/jovyan",
    "/home/jovyan/minio/lake/private",
    "/home/jovyan/minio/lake/private/",
    "/home/jovyan/minio/premium-tenant-1/shared",
    "/home/jovyan/minio/standard-tenant-1/private",
];

/// The source of a volume: ours in both forms, others in all forms.
fn source() -> impl Strategy<Value = Value> {
    let options = vec(
        select(vec![
            ("region", "us-east-1"),
            ("region", ""),
            ("uid", "1000"),
            ("vault-ttl", "24h"),
            ("vault-ttl", "-1s"),
            ("vault-ttl", "0"),
            ("debug_s3", "T"),
            ("of-the-future", "x"),
        ]),
        0..4,
    );
    prop_oneof![
        Just(json!({"emptyDir": {}})),
        Just(json!({"configMap": {"name": "c"}})),
        Just(json!({"flexVolume": {"driver": "example.com/other", "options": {"bucket": "NOT ours"}}})),
        Just(json!({"csi": {"driver": "other.example.com"}})),
        Just(json!({"csi": {"driver": "boathouse.statcan.gc.ca", "volumeAttributes": {"bucket": "own"}}})),
        (options, any::<bool>(), any::<bool>()).prop_map(|(options, read_only, secret)| {
            let mut flex = json!({"driver": "statcan.gc.ca/boathouse", "options": {"bucket": "alice"}});
            for (key, value) in options {
                flex["options"][key] = json!(value);
            }
            if read_only {
                flex["readOnly"] = json!(true);
            }
            if secret {
                flex["secretRef"] = json!({"name": "keys"});
            }
            json!({"flexVolume": flex})
        }),
    ]
}

fn with(mut value: Value, key: &str, member: Option<Value>) -> Value {
    if let Some(member) = member {
        value[key] = member;
    }
    value
}

/// Absent, null, or an array.
fn array(elements: impl Strategy<Value = Vec<Value>>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        4 => elements.prop_map(|elements| Some(Value::Array(elements))),
    ]
}

fn container(
    name: impl Strategy<Value = String>,
    volumes: Vec<&'static str>,
) -> impl Strategy<Value = Value> {
    let most = if volumes.is_empty() { 0 } else { PATHS.len() };
    let extra = select(vec![
        json!({}),
        json!({"readOnly": true}),
        json!({"mountPropagation": "None"}),
        json!({"mountPropagation": null, "subPath": "x"}),
        json!({"readOnly": true, "recursiveReadOnly": "Enabled"}),
        json!({"recursiveReadOnly": "Disabled", "fieldOfTheFuture": [1]}),
    ]);
    let names = if volumes.is_empty() { vec!["none"] } else { volumes };
    let mounts = (subsequence(PATHS.to_vec(), 0..=most), vec((select(names), extra), PATHS.len())).prop_map(
        |(paths, mounts)| {
            let mounts = paths.into_iter().zip(mounts).map(|(path, (name, mut mount))| {
                mount["name"] = json!(name);
                mount["mountPath"] = json!(path);
                mount
            });
            mounts.collect()
        },
    );
    (name, array(mounts), option::of(Just(json!({"limits": {"cpu": "1"}})))).prop_map(
        |(name, mounts, resources)| {
            with(with(json!({"name": name}), "volumeMounts", mounts), "resources", resources)
        },
    )
}

/// Any valid pod, as far as volumes and mounts go.
pub(crate) fn pod() -> impl Strategy<Value = Value> {
    let volumes = subsequence(NAMES.to_vec(), 0..=NAMES.len())
        .prop_flat_map(|names| (Just(names.clone()), vec(source(), names.len())));
    let annotations = option::of(select(vec![
        json!({}),
        json!({
            "data.statcan.gc.ca/inject-boathouse": "true",
            "other": "x",
        }),
        json!({"data.statcan.gc.ca/inject-boathouse": "F"}),
    ]));
    volumes.prop_flat_map(move |(names, sources)| {
        let containers = (
            container(select(vec!["wait".to_owned(), "nb".to_owned()]), names.clone()),
            vec(container("[a-m]{1,8}", names.clone()), 0..4),
        );
        let inits = array(vec(container("[n-z]{1,8}", names.clone()), 0..3));
        let label = option::of(Just(json!({"workflows.argoproj.io/workflow": "wf"})));
        let volumes: Vec<Value> = names
            .iter()
            .zip(sources)
            .map(|(name, mut source)| {
                source["name"] = json!(name);
                source
            })
            .collect();
        // An array that is not there is the same as an empty one only as long as nobody mounts from it.
        let volumes = if volumes.is_empty() {
            array(Just(volumes)).boxed()
        } else {
            Just(Some(json!(volumes))).boxed()
        };
        (volumes, containers, inits, label, annotations.clone(), any::<bool>()).prop_map(
            |(volumes, (first, mut containers), inits, labels, annotations, generated)| {
                containers.insert(0, first);
                let spec = json!({"containers": containers, "fieldOfTheFuture": {"deep": [null, 1.5]}});
                let spec = with(with(spec, "volumes", volumes), "initContainers", inits);
                let name = if generated { "generateName" } else { "name" };
                let metadata = with(json!({name: "nb-"}), "labels", labels);
                json!({"kind": "Pod", "metadata": with(metadata, "annotations", annotations), "spec": spec})
            },
        )
    })
}
