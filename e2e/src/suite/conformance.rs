//! Upstream's tests against the driver as it is deployed: csi-sanity, and Kubernetes' own for storage.

use super::pods::DRIVER;
use super::runner::{Case, alone};
use super::world::{AUDIENCE, World};
use anyhow::{Context as _, ensure};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::{KubernetesParts, Parts};
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::stack::AUTH_ROLE;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::Duration;

/// For each of them; they take half a minute.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) fn cases() -> Vec<Case<World>> {
    vec![alone!(csi_sanity_on_the_deployed_driver), alone!(upstream_storage_tests)]
}

/// The controller is not part of a node: the release binary runs beside it, as csi-sanity asks for both.
fn csi_sanity_on_the_deployed_driver(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("sanity")?;
    // csi-sanity states no pod beside the token.
    let lenient =
        json!({ "node": { "extraEnv": [{ "name": "BOATHOUSE_ALLOW_MISSING_POD_INFO", "value": "true" }] } });
    world.product.install(&world.cluster, &lenient)?;
    let parts = Parts::locate()?;
    let programs = Programs::locate(Profile::Release)?;
    let directory = world.cluster.place().path("sanity");
    fs::create_dir_all(&directory).context("make a directory for csi-sanity")?;

    let socket = directory.join("controller.sock");
    let minio = world.stack.minio();
    let mut command = Command::new(&programs.controller);
    command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
    command.args([
        "--bucket",
        &tenant.bucket,
        "--s3-endpoint",
        &minio.url(),
        "--metrics-addr",
        "127.0.0.1:9811",
    ]);
    command.env_clear();
    let controller = ProcessGuard::start("controller", command, &directory.join("controller.log"))?;

    let kubectl = world.cluster.kubectl();
    let token = kubectl.run(&["create", "token", "default", "-n", "sanity", "--audience", AUDIENCE])?;
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let tokens = json!({ AUDIENCE: { "token": token.trim(), "expirationTimestamp": expires.to_string() } });
    let keys =
        json!({ "accessKeyId": minio.root_user(), "secretAccessKey": minio.root_password().expose_secret() });
    let secrets = secret_file(
        &directory,
        &json!({
            "CreateVolumeSecret": keys,
            "DeleteVolumeSecret": keys,
            "ControllerValidateVolumeCapabilitiesSecret": keys,
            "NodePublishVolumeSecret": { "csi.storage.k8s.io/serviceAccount.tokens": tokens.to_string() },
        }),
    )?;
    let parameters = directory.join("parameters.yaml");
    let content =
        json!({ "bucket": tenant.bucket, "endpoint": minio.url(), "vault-path": tenant.vault_path });
    fs::write(&parameters, content.to_string()).context("write the parameters")?;

    let mut command = Command::new(&parts.csi_sanity);
    for (name, value) in [
        ("csi.endpoint", format!("unix:///var/lib/kubelet/plugins/{DRIVER}/csi.sock")),
        ("csi.controllerendpoint", format!("unix://{}", socket.display())),
        // Below a directory that the node plugin's container shares with the node.
        ("csi.mountdir", "/var/lib/kubelet/sanity/mount".to_owned()),
        ("csi.stagingdir", "/var/lib/kubelet/sanity/staging".to_owned()),
        ("csi.secrets", secrets.display().to_string()),
        ("csi.testvolumeparameters", parameters.display().to_string()),
    ] {
        command.arg(format!("--{name}={value}"));
    }
    fs::create_dir_all("/var/lib/kubelet/sanity").context("make csi-sanity's directory")?;
    command.args(["--ginkgo.no-color"]).current_dir(&directory);
    let mut suite = ProcessGuard::start("csi-sanity", command, &directory.join("csi-sanity.log"))?;
    let status = suite.wait(LIMIT);
    ensure!(status.is_some_and(|status| status.success()), suite.broken(format!("ended with {status:?}")));
    // "… | 32 Passed | 0 Failed | …": how many are left out is a matter of capabilities, see csi-sanity/.
    let summary = suite.tail(6);
    let passed =
        summary.split_once(" Passed").and_then(|(before, _)| before.rsplit(' ').next()?.parse::<u32>().ok());
    ensure!(summary.contains(" 0 Failed") && passed >= Some(30), "{summary}");
    drop(controller);
    world.product.install(&world.cluster, &json!({}))?;
    world.no_users(&tenant)
}

fn secret_file(directory: &std::path::Path, content: &Value) -> anyhow::Result<std::path::PathBuf> {
    let path = directory.join("secrets.yaml");
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    std::io::Write::write_all(&mut file, content.to_string().as_bytes()).context("write the secrets")?;
    Ok(path)
}

/// Upstream's storage tests (`External.Storage` of k8s.io/kubernetes/test/e2e), all that apply to a driver without
/// dynamic provisioning; `e2e/upstream/` says what is left out, and why.
fn upstream_storage_tests(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("upstream")?;
    // Upstream makes a namespace per test, with a name of its own: they share one set of keys.
    let rules = format!("path \"{}\" {{ capabilities = [\"read\"] }}\n", tenant.vault_path);
    world.block(async {
        let vault = world.stack.vault();
        vault.write("sys/policies/acl/upstream", &json!({ "policy": rules })).await?;
        let role = format!("auth/kubernetes/role/{AUTH_ROLE}");
        vault.write(&role, &json!({ "token_policies": ["boathouse-pod", "upstream"] })).await
    })?;
    let kubernetes = KubernetesParts::locate()?;
    let images = upstream_images(&kubernetes.e2e)?;
    world.cluster.name_image("localhost/busybox:1", &images)?;
    let directory = world.cluster.place().path("upstream");
    fs::create_dir_all(&directory).context("make a directory for upstream's tests")?;
    let upstream = boathouse_testkit::repository().join("e2e/upstream");
    let driver = fs::read_to_string(upstream.join("driver.yaml"))
        .context("read e2e/upstream/driver.yaml")?
        .replace("{vault-path}", &tenant.vault_path);
    fs::write(directory.join("driver.yaml"), driver).context("write the driver's description")?;

    let mut command = Command::new(&kubernetes.e2e);
    command.env_clear().env("HOME", &directory).env("PATH", "/usr/bin:/bin");
    command.args(["--ginkgo.focus=External.Storage", "--ginkgo.no-color", "--ginkgo.timeout=4m"]);
    command.arg(format!("--ginkgo.json-report={}", directory.join("report.json").display()));
    command.arg(format!("--storage.testdriver={}", directory.join("driver.yaml").display()));
    command.arg(format!("--kubeconfig={}", world.cluster.place().path("pki/admin.kubeconfig").display()));
    command.arg(format!("--kubectl-path={}", kubernetes.kubectl.display()));
    command.args(["--provider=skeleton", "--allowed-not-ready-nodes=0", "--dump-logs-on-failure=false"]);
    command.current_dir(&directory);
    let mut suite = ProcessGuard::start("e2e.test", command, &directory.join("log"))?;
    let status = suite.wait(LIMIT);
    ensure!(status.is_some_and(|status| status.success()), suite.broken(format!("ended with {status:?}")));
    let report = fs::read_to_string(directory.join("report.json")).context("read the report")?;
    let report: Value = serde_json::from_str(&report).context("the report is no JSON")?;
    let specs = report[0]["SpecReports"].as_array().context("a report without specs")?;
    let texts = |state: &str, text: fn(&Value) -> &Value| -> Vec<String> {
        let of_state = specs.iter().filter(|spec| spec["State"] == state && spec["LeafNodeType"] == "It");
        of_state.filter_map(|spec| text(spec).as_str().map(str::to_owned)).collect()
    };
    let mut passed = texts("passed", |spec| &spec["LeafNodeText"]);
    passed.sort_unstable();
    ensure!(passed == UPSTREAM, "upstream ran {passed:#?}");
    // Cases out of focus are skipped without a word.
    let mut skipped = texts("skipped", |spec| &spec["Failure"]["Message"]);
    let reasons =
        fs::read_to_string(upstream.join("reasons.json")).context("read e2e/upstream/reasons.json")?;
    let reasons: Vec<Reason> = serde_json::from_str(&reasons).context("e2e/upstream/reasons.json")?;
    for Reason { skip, reason } in reasons {
        let before = skipped.len();
        skipped.retain(|text| !text.contains(&skip));
        ensure!(skipped.len() < before, "nothing was left out because {skip:?}: remove that entry");
        ensure!(!reason.trim().is_empty(), "{skip:?} has no reason");
    }
    ensure!(skipped.is_empty(), "left out, and e2e/upstream/reasons.json does not say why: {skipped:#?}");
    world.no_users(&tenant)
}

/// What applies: inline volumes of every kind.
const UPSTREAM: [&str; 4] = [
    "should create read-only inline ephemeral volume",
    "should create read/write inline ephemeral volume",
    "should support multiple inline ephemeral volumes",
    "should support two pods which have the same volume definition",
];

/// Why upstream leaves cases out.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// Part of what it says then.
    skip: String,
    reason: String,
}

/// The references under which upstream's tests ask for busybox.
fn upstream_images(program: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let output =
        Command::new(program).arg("--list-images").output().context("ask upstream's tests for images")?;
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(all.lines().filter(|line| line.contains("/busybox:")).map(str::to_owned).collect())
}
