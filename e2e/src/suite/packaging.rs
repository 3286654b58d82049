//! What is delivered beside the chart's node plugin and webhook: the other images, kustomize's output, the controller.

use super::pods::{self, idle};
use super::runner::{Case, beside};
use super::world::World;
use anyhow::{Context as _, ensure};
use boathouse_testkit::parts::PackagingParts;
use serde_json::json;
use std::path::Path;
use std::process::Command;

pub(super) fn cases() -> Vec<Case<World>> {
    vec![
        beside!(the_openbao_image_runs_the_engine),
        beside!(the_controller_image_serves),
        beside!(kustomize_and_the_controller_s_chart_are_taken_by_the_api_server),
    ]
}

/// A pod of an image of ours, not of busybox.
fn of_image(namespace: &str, name: &str, image: &str, args: &[&str]) -> serde_json::Value {
    let mut pod = idle(namespace, name);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = format!("localhost/{image}:e2e").into();
    container["args"] = json!(args);
    if let Some(container) = container.as_object_mut() {
        container.remove("command");
    }
    pod["spec"]["securityContext"] = json!({ "runAsNonRoot": true, "fsGroup": 65532 });
    pod
}

/// OpenBao from its image finds the engine where the image has it, and starts it.
fn the_openbao_image_runs_the_engine(world: &World) -> anyhow::Result<()> {
    const NAMESPACE: &str = "openbao-image";
    world.namespace(NAMESPACE)?;
    let kubectl = world.cluster.kubectl();
    let mut pod = of_image(
        NAMESPACE,
        "openbao",
        "boathouse-openbao",
        &[
            "server",
            "-dev",
            "-dev-no-store-token",
            "-dev-root-token-id=root",
            "-dev-listen-address=127.0.0.1:8200",
            "-dev-plugin-dir=/usr/local/lib/openbao/plugins",
        ],
    );
    pod["spec"]["containers"][0]["env"] = json!([
        { "name": "BAO_ADDR", "value": "http://127.0.0.1:8200" },
        { "name": "BAO_TOKEN", "value": "root" },
    ]);
    kubectl.apply(&[pod])?;
    pods::running(kubectl, NAMESPACE, "openbao")?;
    let bao = |arguments: &[&str]| {
        let command: Vec<&str> = ["/usr/local/bin/bao"].iter().chain(arguments).copied().collect();
        kubectl.exec(NAMESPACE, "openbao", &command)
    };
    kubectl.wait("the engine is mounted", pods::START, |_| {
        bao(&["secrets", "enable", "-path=minio", "vault-plugin-secrets-minio"]).map(Some)
    })?;
    // The engine itself answers, in its own words.
    let said = bao(&["read", "minio/roles/none"]).err().map(|error| format!("{error:#}"));
    ensure!(said.as_ref().is_some_and(|said| said.contains("role not found")), "{said:?}");
    pods::delete(kubectl, NAMESPACE, "openbao")
}

/// As the chart runs it, but without upstream's provisioner beside it.
fn the_controller_image_serves(world: &World) -> anyhow::Result<()> {
    const NAMESPACE: &str = "controller-image";
    world.namespace(NAMESPACE)?;
    let kubectl = world.cluster.kubectl();
    let minio = world.stack.minio().url();
    let mut pod = of_image(
        NAMESPACE,
        "controller",
        "boathouse-controller",
        &[
            "--endpoint=unix:///csi/csi.sock",
            "--bucket=data",
            "--s3-endpoint",
            &minio,
            "--metrics-addr=0.0.0.0:9811",
        ],
    );
    pod["spec"]["volumes"] = json!([{ "name": "socket", "emptyDir": {} }]);
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([{ "name": "socket", "mountPath": "/csi" }]);
    container["securityContext"] = json!({ "readOnlyRootFilesystem": true });
    container["readinessProbe"] =
        json!({ "httpGet": { "path": "/readyz", "port": 9811 }, "periodSeconds": 1 });
    kubectl.apply(&[pod])?;
    pods::running(kubectl, NAMESPACE, "controller")?;
    pods::delete(kubectl, NAMESPACE, "controller")
}

fn kustomize_and_the_controller_s_chart_are_taken_by_the_api_server(world: &World) -> anyhow::Result<()> {
    let parts = PackagingParts::locate()?;
    let deploy = boathouse_testkit::repository().join("deploy");
    let path = |relative: &str| deploy.join(relative).display().to_string();
    let run = |program: &Path, arguments: &[&str]| -> anyhow::Result<String> {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", world.cluster.place().path("home")).args(arguments);
        let output = command.output().with_context(|| format!("run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{} {}`: {said}", program.display(), arguments.join(" "));
        String::from_utf8(output.stdout).context("output in UTF-8")
    };
    for directory in ["kustomize/base", "kustomize/example"] {
        let objects = run(&parts.kustomize, &["build", &path(directory)])?;
        world.cluster.kubectl().takes(&objects).with_context(|| directory.to_owned())?;
    }
    let version = world.cluster.kubectl().run(&["get", "--raw", "/version"])?;
    let version: serde_json::Value = serde_json::from_str(&version).context("the API server's version")?;
    let version = version["gitVersion"].as_str().context("an API server without a version")?;
    let (chart, values) = (path("charts/boathouse"), path("tests/values/controller.yaml"));
    let server = ["--namespace", super::product::NAMESPACE, "--kube-version", version];
    let arguments = [&["template", "boathouse", &chart, "-f", &values], server.as_slice()].concat();
    world.cluster.kubectl().takes(&run(&parts.helm, &arguments)?).context("the chart with its controller")
}
