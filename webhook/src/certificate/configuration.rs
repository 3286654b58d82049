//! The JSON of a MutatingWebhookConfiguration: what its webhooks trust.

use super::bundle::Bundle;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

/// All authorities that the webhooks of the configuration trust.
pub(super) fn trusted(configuration: &Value, now: Timestamp) -> Bundle {
    webhooks(configuration)
        .iter()
        .fold(Bundle::default(), |all, hook| all.and(Bundle::living(&decoded(ca_bundle(hook)), now)))
}

pub(super) fn webhooks(configuration: &Value) -> &[Value] {
    configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn ca_bundle(hook: &Value) -> &str {
    hook["clientConfig"]["caBundle"].as_str().unwrap_or_default()
}

/// The JSON patch that gives each webhook the bundle made of its present one, if any changes. It applies only to the
/// version that was read.
pub(super) fn patch(configuration: &Value, bundle: impl Fn(&str) -> String) -> Option<Value> {
    let mut steps = vec![json!({
        "op": "test",
        "path": "/metadata/resourceVersion",
        "value": configuration["metadata"]["resourceVersion"],
    })];
    for (index, hook) in webhooks(configuration).iter().enumerate() {
        let present = ca_bundle(hook);
        let next = bundle(present);
        if next != present {
            let path = format!("/webhooks/{index}/clientConfig/caBundle");
            steps.push(json!({ "op": "add", "path": path, "value": next }));
        }
    }
    (steps.len() > 1).then_some(Value::Array(steps))
}

/// Nothing when it is not base64.
pub(super) fn decoded(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap_or_default()
}
