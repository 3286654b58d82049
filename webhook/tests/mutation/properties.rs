//! What holds for any valid pod: the patched pod is valid, nothing but what has to change has changed, and a
//! second invocation changes nothing.

use std::collections::BTreeMap;

use boathouse_webhook::mutate::{Outcome, Output, Pod, mutate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use volume_spec::{Parameters, Strictness};

use super::pods::pod;
use super::{LEGACY, ONE, apply, config, create, validity};

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
