//! What a golden file cannot say about the webhook: that its parts fit together.

use crate::tools::{KUBERNETES, Tools, kind, name, objects, values};
use boathouse_webhook::instances::Config;
use boathouse_webhook::{Args, Command};
use clap::Parser as _;
use std::fs;

const WITH_WEBHOOK: [&str; 3] = ["webhook", "webhook-cert-manager", "webhook-issuer"];

fn rendered(tools: &Tools, set: &str, kubernetes: &str) -> String {
    tools.template(&[&values(set)], kubernetes).unwrap()
}

/// The lines after `key` that are indented deeper, without their indentation.
fn block<'a>(object: &'a str, key: &str) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = object.lines().skip_while(|line| line.trim() != key);
    let outer = indent(lines.next().unwrap());
    lines.take_while(|line| indent(line) > outer).map(str::trim).collect()
}

/// What the schema takes, the webhook must take as well.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn the_webhook_reads_its_instances() {
    let tools = Tools::get();
    for set in WITH_WEBHOOK {
        let yaml = rendered(&tools, set, KUBERNETES);
        let map = objects(&yaml).find(|object| kind(object) == "ConfigMap").unwrap();
        let (_, file) = map.split_once("  instances.yaml: |\n").unwrap();
        let file: String = file
            .lines()
            .map_while(|line| line.strip_prefix("    ").or_else(|| line.is_empty().then_some("")))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(file.contains("instances:"), "{set}: {file}");
        Config::parse(&file).unwrap_or_else(|error| panic!("{set}: {error}\n{file}"));
    }
}

/// `In` and `NotIn` of one value between them take every namespace, and none twice.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn every_namespace_has_one_output() {
    let tools = Tools::get();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("output.yaml");
    let path = |output: &str| format!("path: /mutate/{}\n", output.to_lowercase());
    for (default, other) in [("csi", "flexVolume"), ("flexVolume", "csi")] {
        fs::write(&file, format!("webhook: {{output: {default}}}")).unwrap();
        let yaml = tools.template(&[&values("webhook"), &file], KUBERNETES).unwrap();
        let configuration =
            objects(&yaml).find(|object| kind(object) == "MutatingWebhookConfiguration").unwrap();
        let webhooks: Vec<&str> = configuration.split("\n  - name: ").skip(1).collect();
        assert_eq!(webhooks.len(), 2);
        for webhook in webhooks {
            let is_default = webhook.contains(&path(default));
            assert!(is_default || webhook.contains(&path(other)), "{webhook}");
            let operator = if is_default { "NotIn" } else { "In" };
            let rule = format!(
                "boathouse.statcan.gc.ca/output\n          operator: {operator}\n          values: [{other}]"
            );
            assert!(webhook.contains(&rule), "{webhook}");
        }
    }
}

/// The webhook has an account that nothing is bound to, and no token of it.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn the_webhook_has_no_rights() {
    let tools = Tools::get();
    for set in WITH_WEBHOOK {
        let yaml = rendered(&tools, set, KUBERNETES);
        let its = |kind_: &str| {
            objects(&yaml)
                .find(|object| kind(object) == kind_ && name(object) == "boathouse-webhook")
                .unwrap()
        };
        assert!(its("ServiceAccount").contains("\nautomountServiceAccountToken: false"), "{set}");
        let deployment = its("Deployment");
        assert!(deployment.contains("      serviceAccountName: boathouse-webhook\n"), "{set}");
        assert!(deployment.contains("      automountServiceAccountToken: false\n"), "{set}");
        assert!(!deployment.contains("serviceAccountToken:") && !deployment.contains("projected:"), "{set}");
        for binding in objects(&yaml).filter(|object| kind(object).ends_with("RoleBinding")) {
            let subjects = block(binding, "subjects:");
            assert!(
                !subjects.is_empty() && !subjects.contains(&"name: boathouse-webhook"),
                "{set}: {binding}"
            );
        }
    }
}

/// Its flags are the program's, and say the names that the other objects have.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn the_job_is_told_the_names_in_the_chart() {
    let yaml = rendered(&Tools::get(), "webhook", KUBERNETES);
    let object = |wanted: &str| objects(&yaml).find(|object| kind(object) == wanted).unwrap();
    for job in ["Job", "CronJob"] {
        let flags = block(object(job), "args:").into_iter().filter_map(|line| line.strip_prefix("- "));
        let args = Args::try_parse_from(["boathouse-webhook"].into_iter().chain(flags)).unwrap();
        let Command::Certificate(args) = args.command else { panic!("{args:?}") };
        assert_eq!(args.service, name(object("Service")), "{job}");
        assert_eq!(args.secret, name(object("Secret")), "{job}");
        assert_eq!(args.configuration, name(object("MutatingWebhookConfiguration")), "{job}");
        assert_eq!(args.namespace.as_deref(), Some("boathouse-system"), "{job}");
    }
    assert!(object("Deployment").contains("args: [serve]"));
}

/// Helm changes no Job, so a Job whose pod is another one must have another name.
#[test]
#[ignore = "needs helm; cargo xtask test --only chart runs it"]
fn a_job_that_changes_is_another_job() {
    let tools = Tools::get();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("other.yaml");
    let job = |file: &str| {
        let yaml = tools.template(&[&values("webhook"), file.as_ref()], KUBERNETES).unwrap();
        let job = objects(&yaml).find(|object| kind(object) == "Job").unwrap();
        (name(job).to_owned(), block(job, "template:").join("\n"))
    };
    let path = file.to_str().unwrap();
    fs::write(&file, "webhook: {replicas: 3}").unwrap();
    let (before, pod) = job(path);
    for change in [
        "webhook: {image: {tag: 0.2.0}}",
        "log: {format: text}",
        "webhook: {resources: {limits: {memory: 64Mi}}}",
    ] {
        fs::write(&file, change).unwrap();
        let (after, changed) = job(path);
        assert_ne!(pod, changed, "{change}");
        assert_ne!(before, after, "{change}");
    }
    fs::write(&file, "webhook: {replicas: 5}").unwrap();
    assert_eq!(job(path), (before, pod));
}
