//! docs/webhook.md says what is true.

use boathouse_webhook::mutate::Output;
use serde_json::Value;

use super::{config, notebook, patched};

const PAGE: &str = include_str!("../../../docs/webhook.md");

/// The code blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn its_instances_file_makes_its_two_outputs() {
    let instances = blocks("yaml").into_iter().find(|block| block.contains("instances:")).unwrap();
    config(instances);
    let written = |key: &str| -> Value {
        let block = blocks("json").into_iter().find(|block| block.contains(key)).unwrap();
        serde_json::from_str(block).unwrap()
    };
    for (output, key) in [(Output::FlexVolume, "flexVolume"), (Output::Csi, "csi")] {
        let (after, _) = patched(&notebook(), instances, output);
        let written = written(&format!("\"{key}\": {{"));
        assert_eq!(written["volume"], after["spec"]["volumes"][1]);
        assert_eq!(written["mount"], after["spec"]["containers"][0]["volumeMounts"][1]);
    }
}

#[test]
fn every_field_has_its_row() {
    for field in [
        "containers",
        "podLabel",
        "firstContainer",
        "mountIn",
        "instances",
        "name",
        "vaultMount",
        "endpoint",
        "ca",
        "region",
        "basePath",
        "directories",
        "bucket",
        "uid",
        "gid",
        "vaultTtl",
        "readOnly",
        "optional",
    ] {
        assert!(PAGE.contains(&format!("| `{field}`")), "docs/webhook.md has no row for {field}");
    }
}
