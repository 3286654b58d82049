//! What the legacy injector answered to 18 reviews, and what this webhook answers to them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boathouse_webhook::mutate::{Outcome, Output};
use serde_json::Value;

use super::{LEGACY, apply, config, validity};

/// Recorded from the legacy injector, in order.
const RECORDED: &str = include_str!("../data/legacy-reviews.json");

/// The reviews whose legacy answer no API server could use, and why. What is answered instead is asserted
/// in [`instead`].
const BROKEN: [(&str, &str); 6] = [
    ("annotation-empty", "HTTP 500, which under failurePolicy Ignore starts the pod without its directories"),
    ("no-volume-mounts", "appends to an array that does not exist"),
    ("already-has-volume", "makes a second volume of the same name"),
    ("update-op", "changes the volumes of a pod that exists"),
    ("argo-one-wait-container", "mounts in a second container that does not exist"),
    ("no-containers", "panicked"),
];

fn recorded() -> Vec<Value> {
    serde_json::from_str(RECORDED).unwrap()
}

fn answer(recorded: &Value) -> Outcome {
    let asked = recorded["request"].to_string();
    let answer =
        boathouse_webhook::review::answer(asked.as_bytes(), &config(LEGACY), Output::FlexVolume).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let response = &answer["response"];
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect();
    match response["patch"].as_str() {
        Some(patch) => {
            let patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
            Outcome::Patched { patch, warnings }
        }
        None if response["allowed"] == true => Outcome::Unchanged { warnings },
        None => Outcome::Denied { message: response["status"]["message"].as_str().unwrap().to_owned() },
    }
}

/// Whether the API server could do anything with a recorded answer.
fn legacy_was_valid(recorded: &Value) -> bool {
    let request = &recorded["request"]["request"];
    match recorded.get("patch") {
        None => recorded["status"] == 200,
        Some(_) if request["operation"] == "UPDATE" => false,
        Some(patch) => apply(&request["object"], patch).is_ok_and(|pod| validity::check(&pod).is_ok()),
    }
}

#[test]
fn every_valid_answer_is_given_again() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 18);
    let (valid, broken): (Vec<_>, Vec<_>) = recorded.iter().partition(|recorded| legacy_was_valid(recorded));
    let broken: Vec<_> = broken.iter().map(|recorded| recorded["name"].as_str().unwrap()).collect();
    assert_eq!(broken, BROKEN.map(|(name, _)| name));
    for recorded in valid {
        let expected = match recorded.get("patch") {
            None => Outcome::Unchanged { warnings: Vec::new() },
            Some(patch) => Outcome::Patched { patch: patch.clone(), warnings: Vec::new() },
        };
        assert_eq!(answer(recorded), expected, "{}", recorded["name"]);
    }
}

#[test]
fn instead() {
    let of = |name: &str| recorded().into_iter().find(|recorded| recorded["name"] == name).unwrap();

    let Outcome::Denied { message } = answer(&of("annotation-empty")) else { panic!("was let through") };
    assert_eq!(message, r#"annotation data.statcan.gc.ca/inject-boathouse is ""; write "true" or "false""#);

    // The legacy operations, behind one that makes the array.
    let recorded = of("no-volume-mounts");
    let Outcome::Patched { patch, warnings } = answer(&recorded) else { panic!("no patch") };
    assert_eq!(warnings, Vec::<String>::new());
    let mut operations = patch.as_array().unwrap().clone();
    let made = operations.remove(1);
    assert_eq!(
        made,
        serde_json::json!({"op": "add", "path": "/spec/containers/0/volumeMounts", "value": []})
    );
    assert_eq!(Value::Array(operations), recorded["patch"]);
    validity::check(&apply(&recorded["request"]["request"]["object"], &patch).unwrap()).unwrap();

    // The pod's own volume keeps its name; ours has the next free one, and all else is as recorded.
    let recorded = of("already-has-volume");
    let Outcome::Patched { patch, .. } = answer(&recorded) else { panic!("no patch") };
    let renamed = recorded["patch"]
        .to_string()
        .replace("\"standard-minio-tenant-1-private\"", "\"standard-minio-tenant-1-private-2\"");
    assert_eq!(patch, serde_json::from_str::<Value>(&renamed).unwrap());
    validity::check(&apply(&recorded["request"]["request"]["object"], &patch).unwrap()).unwrap();

    assert_eq!(answer(&of("update-op")), Outcome::Unchanged { warnings: Vec::new() });

    for name in ["argo-one-wait-container", "no-containers"] {
        let Outcome::Unchanged { warnings } = answer(&of(name)) else { panic!("{name} was changed") };
        assert_eq!(
            warnings,
            ["no MinIO directories were added: the pod has no container to mount them in"],
            "{name}"
        );
    }
}
