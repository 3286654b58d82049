#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use super::*;

/// The file that is shipped as an example.
fn config() -> Config {
    Config::parse(include_str!("../../instances.yaml")).unwrap()
}

fn pod(annotation: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "nb-0", "annotations": { "data.statcan.gc.ca/inject-boathouse": annotation } },
        "spec": { "containers": [{ "name": "nb", "fieldOfTheFuture": { "deep": [1] } }] },
    })
}

fn asked(pod: Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "7f0b",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "namespace": "alice",
            "operation": "CREATE",
            "userInfo": { "username": "someone" },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions" },
        },
    })
}

fn answered(asked: &Value) -> (Value, &'static str) {
    let answer = answer(asked.to_string().as_bytes(), &config(), Output::Csi).unwrap();
    (serde_json::from_slice(&answer.body).unwrap(), answer.outcome)
}

fn refused(body: &[u8]) -> String {
    let error = answer(body, &config(), Output::Csi).unwrap_err();
    assert!(!error.is_internal());
    error.to_string()
}

#[test]
fn both_versions_are_answered_in_their_own() {
    for version in ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] {
        let mut asked = asked(pod("true"));
        asked["apiVersion"] = version.into();
        let (answer, outcome) = answered(&asked);
        assert_eq!(outcome, "patched");
        assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!(version), &json!("AdmissionReview")));
        let response = &answer["response"];
        assert_eq!(response["uid"], "7f0b");
        assert_eq!(response["allowed"], true);
        assert_eq!(response["patchType"], "JSONPatch");
        let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
        assert!(patch.iter().any(|step| step["path"] == "/spec/volumes"), "{patch:?}");
    }
}

#[test]
fn nothing_to_do_has_no_patch_and_no_type_of_one() {
    let (answer, outcome) = answered(&asked(pod("false")));
    assert_eq!(outcome, "unchanged");
    assert_eq!(answer["response"], json!({ "uid": "7f0b", "allowed": true }));
}

#[test]
fn a_refused_pod_hears_why() {
    let (answer, outcome) = answered(&asked(pod("perhaps")));
    assert_eq!(outcome, "denied");
    let response = &answer["response"];
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 400);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("inject-boathouse") && message.contains("perhaps"), "{message}");
}

#[test]
fn what_is_no_pod_passes_with_a_warning() {
    let mut asked = asked(json!({ "kind": "Eviction" }));
    asked["request"]["kind"] = json!({ "group": "policy", "version": "v1", "kind": "Eviction" });
    let (answer, outcome) = answered(&asked);
    assert_eq!((outcome, &answer["response"]["allowed"]), ("unchanged", &json!(true)));
    assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("Eviction"), "{answer}");
}

#[test]
fn only_creation_changes_a_pod() {
    for (operation, pod) in [
        ("DELETE", Value::Null),
        ("UPDATE", pod("true")),
        ("UPDATE", pod("not a boolean")),
        ("CONNECT", json!("something")),
    ] {
        let mut asked = asked(pod);
        asked["request"]["operation"] = operation.into();
        assert_eq!(answered(&asked).1, "unchanged");
    }
}

#[test]
fn a_dry_run_is_answered_the_same() {
    let mut dry = asked(pod("true"));
    dry["request"]["dryRun"] = true.into();
    assert_eq!(answered(&dry), answered(&asked(pod("true"))));
}

#[test]
fn what_is_no_review_is_told_what_would_be_one() {
    assert!(refused(b"").contains("EOF"));
    assert!(refused(b"{\"kind\":\"AdmissionReview\"").contains("no AdmissionReview"));
    assert!(refused(br#"{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview"}"#).contains("v1beta1"));
    assert!(refused(br#"{"apiVersion":"v1","kind":"Pod"}"#).contains("\"Pod\""));
    let none = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": null });
    assert!(refused(none.to_string().as_bytes()).contains("no request"));
    for object in [Value::Null, json!("pod"), json!([])] {
        assert!(refused(asked(object).to_string().as_bytes()).contains("request.object"));
    }
    let mut untyped = asked(pod("true"));
    untyped["request"]["uid"] = json!(5);
    assert!(refused(untyped.to_string().as_bytes()).contains("expected a string"));
}

#[test]
fn a_field_given_twice_is_refused_and_of_an_annotation_the_last_counts() {
    let text = asked(pod("true")).to_string();
    for (field, again) in [("\"uid\":", "\"other\""), ("\"metadata\":", "{}"), ("\"containers\":", "[]")] {
        let doubled = text.replacen(field, &format!("{field}{again},{field}"), 1);
        assert_ne!(text, doubled);
        assert!(refused(doubled.as_bytes()).contains("duplicate field"), "{field}");
    }

    let key = "\"data.statcan.gc.ca/inject-boathouse\":";
    let doubled = text.replacen(&format!("{key}\"true\""), &format!("{key}\"true\",{key}\"false\""), 1);
    assert_ne!(text, doubled);
    let answer = answer(doubled.as_bytes(), &config(), Output::Csi).unwrap();
    assert_eq!(answer.outcome, "unchanged");
}

#[test]
fn nesting_without_end_is_an_error_and_no_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = open.repeat(200_000) + "1" + &close.repeat(200_000);
        let body = |field: &str| {
            let mut asked = asked(pod("true"));
            asked["request"][field] = "DEEP".into();
            asked.to_string().replace("\"DEEP\"", &deep)
        };
        let mut within = asked(pod("true"));
        within["request"]["object"]["spec"]["deep"] = "DEEP".into();
        let within = within.to_string().replace("\"DEEP\"", &deep);
        let error = refused(body("uid").as_bytes());
        assert!(error.contains("recursion limit") || error.contains("invalid type"), "{error}");
        let object = answer(body("object").as_bytes(), &config(), Output::Csi);
        assert_eq!(object.map(|answer| answer.outcome).ok(), (open != "[").then_some("unchanged"));
        // Where nobody looks it costs nothing.
        for body in [within, body("oldObject")] {
            assert_eq!(answer(body.as_bytes(), &config(), Output::Csi).unwrap().outcome, "patched");
        }
    }
}

#[test]
fn a_pod_of_a_mebibyte_is_patched() {
    let mut pod = pod("true");
    let large: Vec<Value> =
        (0..20_000).map(|n| json!({ "name": format!("VARIABLE_{n}"), "value": "x".repeat(30) })).collect();
    pod["spec"]["containers"][0]["env"] = large.into();
    let asked = asked(pod);
    assert!(asked.to_string().len() > 1 << 20);
    assert_eq!(answered(&asked).1, "patched");
}
