//! What helm and kustomize make.

use crate::golden;
use crate::schema::Schema;
use crate::tools::{KUBERNETES, SETS, Tools, deploy, kind, objects, values};
use std::fs;
use std::path::Path;

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn the_chart_is_sound() {
    let tools = Tools::get();
    for (set, kubernetes) in SETS {
        let said = tools.lint(&values(set), kubernetes).unwrap();
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{set}: {said}");
    }
}

#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn the_chart_renders_as_checked_in() {
    let tools = Tools::get();
    for (set, kubernetes) in SETS {
        golden::check(&deploy(&format!("tests/golden/{set}.yaml")), &tools.set((set, kubernetes)));
    }
}

/// Distributions add to the version, and a pre-release sorts before its release.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn what_a_server_knows_depends_on_its_version() {
    let tools = Tools::get();
    for (set, text, without, with) in [
        ("defaults", "serviceAccountTokenInSecrets: true", "v1.34.9-gke.1180000", "v1.35.0-gke.1180000"),
        ("flex", "kind: ValidatingAdmissionPolicy\n", "v1.31.14-eks-113cf36", "v1.32.1-eks-113cf36"),
        ("webhook-issuer", "matchConditions:", "v1.27.16-eks-113cf36", "v1.28.0-eks-113cf36"),
    ] {
        for (kubernetes, there) in [(without, false), (with, true)] {
            assert_eq!(tools.set((set, kubernetes)).contains(text), there, "{text} on {kubernetes}");
        }
    }
}

/// What is mounted within a directory whose mounts reach the node reaches it too, stays there when the pod ends, and doubles
/// with each start.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn nothing_is_mounted_within_what_reaches_the_node() {
    let tools = Tools::get();
    for set in SETS {
        let rendered = tools.set(set);
        let plugin = objects(&rendered).find(|object| kind(object) == "DaemonSet").unwrap();
        let lines: Vec<&str> = plugin.lines().map(str::trim).collect();
        let reaching = lines.windows(2).filter(|pair| pair[1] == "mountPropagation: Bidirectional");
        let reaching: Vec<&str> = reaching.filter_map(|pair| pair[0].strip_prefix("mountPath: ")).collect();
        assert_eq!(reaching.len(), 2, "{reaching:?}");
        for path in lines.iter().filter_map(|line| line.strip_prefix("mountPath: ")) {
            let within = reaching.iter().filter(|outer| Path::new(path).starts_with(outer));
            assert_eq!(within.count(), usize::from(reaching.contains(&path)), "{path}");
        }
    }
}

/// values.yaml is what users read, the schema's defaults are what the guide shows.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn the_schemas_defaults_are_those_of_the_values() {
    let tools = Tools::get();
    let home = tempfile::tempdir().unwrap();
    let defaults = home.path().join("defaults.json");
    fs::write(&defaults, Schema::read().defaults().to_string()).unwrap();
    for (set, kubernetes) in SETS {
        let with = tools.template(&[&defaults, &values(set)], kubernetes).unwrap();
        assert_eq!(with, tools.set((set, kubernetes)), "{set}");
    }
}

/// The base is the chart's defaults, written down.
#[test]
#[ignore = "needs helm and kustomize; cargo xtask test --only chart runs it"]
fn the_kustomize_base_is_the_chart() {
    let tools = Tools::get();
    golden::check(&deploy("kustomize/base/boathouse.yaml"), &tools.set(("defaults", KUBERNETES)));
    golden::check(&deploy("tests/golden/kustomize-base.yaml"), &tools.kustomize("kustomize/base"));
    golden::check(&deploy("tests/golden/kustomize-example.yaml"), &tools.kustomize("kustomize/example"));
}
