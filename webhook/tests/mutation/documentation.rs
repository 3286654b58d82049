//! docs/webhook.md says what is true.

use boathouse_webhook::instances::Config;
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

/// What may be written at a place, by the words of the refusal of what may not.
fn fields(file: &str) -> Vec<String> {
    let error = Config::parse(file).unwrap_err().to_string();
    let (_, names) = error.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
    let (names, _) = names.split_once(", in ").unwrap_or_else(|| panic!("{error}"));
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_field_has_its_row() {
    for (file, least) in [
        ("none: 1", "instances"),
        ("instances: [{none: 1}]", "vaultMount"),
        ("instances: [{directories: [{none: 1}]}]", "bucket"),
        ("containers: [{none: 1}]", "mountIn"),
    ] {
        let fields = fields(file);
        assert!(fields.iter().any(|field| field == least), "{fields:?}");
        for field in fields {
            assert!(PAGE.contains(&format!("| `{field}`")), "docs/webhook.md has no row for {field}");
        }
    }
}
