//! What holds for any valid pod: the patched pod is valid, nothing but what has to change has changed, and a
//! second invocation changes nothing.

use std::collections::BTreeMap;

use boathouse_webhook::mutate::{Outcome, Output, Pod, mutate};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use volume_spec::{Parameters, Strictness};

use super::{LEGACY, ONE, apply, config, create, validity};

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
fn pod() -> impl Strategy<Value = Value> {
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

/// Takes back what a patch may do, so that what is left has to be the pod as it was.
fn undo(before: &Value, mut after: Value) -> Value {
    let length = |value: &Value| value.as_array().map_or(0, Vec::len);
    let cut = |after: &mut Value, before: &Value| match after {
        Value::Array(elements) => elements.truncate(length(before)),
        other => assert_eq!(other, before),
    };
    let restore = |after: &mut Value, before: &Value, key: &str| {
        if before.get(key).is_none_or(|value| !value.is_array()) {
            after.as_object_mut().unwrap().remove(key);
            if let Some(value) = before.get(key) {
                after[key] = value.clone();
            }
        }
    };
    cut(&mut after["spec"]["volumes"], &before["spec"]["volumes"]);
    for index in 0..length(&before["spec"]["volumes"]) {
        let (old, new) = (&before["spec"]["volumes"][index], &mut after["spec"]["volumes"][index]);
        if old["flexVolume"]["driver"] == "statcan.gc.ca/boathouse" && new.get("csi").is_some() {
            new.as_object_mut().unwrap().remove("csi");
            new["flexVolume"] = old["flexVolume"].clone();
        }
    }
    restore(&mut after["spec"], &before["spec"], "volumes");
    for index in 0..length(&before["spec"]["containers"]) {
        let (old, new) = (&before["spec"]["containers"][index], &mut after["spec"]["containers"][index]);
        for mount in 0..length(&old["volumeMounts"]) {
            let (old, new) = (&old["volumeMounts"][mount], &mut new["volumeMounts"][mount]);
            if old["mountPropagation"].is_null() && new["mountPropagation"] == "HostToContainer" {
                new.as_object_mut().unwrap().remove("mountPropagation");
                if let Some(null) = old.get("mountPropagation") {
                    new["mountPropagation"] = null.clone();
                }
            }
        }
        if new.get("volumeMounts").is_some() {
            cut(&mut new["volumeMounts"], &old["volumeMounts"]);
        }
        restore(new, old, "volumeMounts");
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_pod_stays_valid(
        pod in pod(),
        rule in select(vec!["", "containers: [{mountIn: ['*']}]", "containers: [{podLabel: x, mountIn: [1]}, {mountIn: [0, 2]}]"]),
        (instances, read_only) in select(vec![(LEGACY, false), (ONE, false), (ONE, true)]),
        output in select(vec![Output::FlexVolume, Output::Csi]),
    ) {
        prop_assert_eq!(validity::check(&pod), Ok(()));
        let instances = match (instances == ONE, read_only) {
            (true, true) => format!("{rule}{ONE}    readOnly: true\n"),
            (true, false) => format!("{rule}{ONE}"),
            _ => instances.to_owned(),
        };
        let after = match create(&pod, &instances, output) {
            Outcome::Unchanged { .. } => pod.clone(),
            Outcome::Patched { patch, .. } => apply(&pod, &patch).map_err(TestCaseError::fail)?,
            Outcome::Denied { message } => return Err(TestCaseError::fail(message)),
        };
        prop_assert_eq!(validity::check(&after), Ok(()), "{:#}", after);
        prop_assert_eq!(undo(&pod, after.clone()), pod);
        let again = create(&after, &instances, output);
        prop_assert!(matches!(again, Outcome::Unchanged { .. }), "{:?}", again);
        let left = after["spec"]["volumes"].as_array().into_iter().flatten();
        let flex = left.filter(|volume| volume["flexVolume"]["driver"] == "statcan.gc.ca/boathouse").count();
        prop_assert!(output == Output::FlexVolume || flex == 0, "{:#}", after);
        for volume in after["spec"]["volumes"].as_array().into_iter().flatten() {
            if volume["csi"]["driver"] == "boathouse.statcan.gc.ca" {
                let attributes: BTreeMap<String, String> =
                    serde_json::from_value(volume["csi"]["volumeAttributes"].clone()).unwrap();
                prop_assert!(Parameters::parse(&attributes, Strictness::Refuse).is_ok(), "{:#}", volume);
            }
        }
    }

    #[test]
    fn any_json_has_an_answer(pod in mangled(), output in select(vec![Output::FlexVolume, Output::Csi])) {
        let text = pod.to_string();
        if let Ok(read) = Pod::parse(&text)
            && let Outcome::Patched { patch, .. } = mutate(&read, Some("alice"), &config(ONE), output)
        {
            // What was not looked at may be anything, but a patch fits.
            prop_assert!(apply(&pod, &patch).is_ok(), "{patch} on {pod}");
        }
    }
}

/// Any JSON, not deep.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[a-z/]{0,4}".prop_map(Value::from),
    ];
    let keys = select(vec!["name", "driver", "flexVolume", "volumeMounts", "annotations", "options", "x"]);
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys.clone(), inner), 0..4).prop_map(|members| {
                Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

/// A valid pod in which some value is another one.
fn mangled() -> impl Strategy<Value = Value> {
    (pod(), any::<prop::sample::Index>(), anything()).prop_map(|(mut pod, at, other)| {
        let mut places = Vec::new();
        pointers(&pod, "", &mut places);
        let place: &String = at.get(&places);
        if let Some(place) = pod.pointer_mut(place) {
            *place = other;
        }
        pod
    })
}

/// JSON pointers of all values in `value`, without keys that would have to be escaped.
fn pointers(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                pointers(element, &format!("{at}/{index}"), places);
            }
        }
        Value::Object(members) => {
            for (key, member) in members.iter().filter(|(key, _)| !key.contains('/')) {
                pointers(member, &format!("{at}/{key}"), places);
            }
        }
        _ => {}
    }
}
