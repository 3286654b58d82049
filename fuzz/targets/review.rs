//! An `AdmissionReview` off the wire, to the answer on the wire.
//!
//! No input may panic. What is answered is JSON for the same request, and a patch fits the pod it is for.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boathouse_webhook::instances::Config;
use boathouse_webhook::mutate::Output;
use boathouse_webhook::review::answer;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::LazyLock;

/// The file that is shipped as an example.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    Config::parse(include_str!("../../webhook/instances.yaml")).expect("the example is valid")
});

fuzz_target!(|body: &[u8]| {
    for output in [Output::FlexVolume, Output::Csi] {
        match answer(body, &CONFIG, output) {
            Err(error) => assert!(!error.is_internal(), "{error}"),
            Ok(answer) => check(body, &answer.body),
        }
    }
});

fn check(asked: &[u8], answered: &[u8]) {
    // What nobody looks at may be nested too deep for this, or no UTF-8.
    let Ok(asked) = serde_json::from_slice::<Value>(asked) else { return };
    let answered: Value = serde_json::from_slice(answered).expect("an answer is JSON");
    let response = &answered["response"];
    assert_eq!(answered["apiVersion"], asked["apiVersion"]);
    assert_eq!(response["uid"], asked["request"]["uid"]);
    assert!(response["allowed"].is_boolean());
    assert_eq!(response["patch"].is_string(), response["patchType"] == "JSONPatch");
    if let Some(patch) = response["patch"].as_str() {
        assert_eq!(response["allowed"], true);
        let patch = STANDARD.decode(patch).expect("a patch is base64");
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch is RFC 6902");
        let mut pod = asked["request"]["object"].clone();
        json_patch::patch(&mut pod, &patch).expect("a patch fits its pod");
    }
}
