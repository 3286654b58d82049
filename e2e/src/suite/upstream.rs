//! Kubernetes' own storage tests (`External.Storage` of k8s.io/kubernetes/test/e2e) against the driver as it is deployed.
//!
//! `e2e/upstream/` has the driver as they want it described, the cases that pass, and why others are left out.

use super::neighbours::{self, AGNHOST};
use super::product;
use super::runner::{Case, alone};
use super::world::World;
use anyhow::{Context as _, ensure};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::{KubernetesParts, NeighbourParts};
use boathouse_testkit::stack::{AUTH_ROLE, Tenant};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// They take two and a half minutes.
const LIMIT: Duration = Duration::from_secs(540);

pub(super) fn cases() -> Vec<Case<World>> {
    vec![alone!(upstream_storage_tests)]
}

fn upstream_storage_tests(world: &mut World) -> anyhow::Result<()> {
    let tenant = world.tenant("upstream")?;
    shared_keys(world, &tenant)?;
    let minio = world.stack.minio();
    product::prepare_controller(&world.cluster, minio)?;
    let values = product::with_controller(&tenant.bucket, minio);
    world.with_values(&values, || as_expected(world, &tenant))?;
    world.no_users(&tenant)
}

fn as_expected(world: &World, tenant: &Tenant) -> anyhow::Result<()> {
    images(world)?;
    let left_out: LeftOut = serde_json::from_str(&file("left-out.json")?).context("left-out.json")?;
    let specs = run(world, tenant, &left_out)?;
    left_out.explains(&specs)?;
    let mut passed: Vec<String> = specs.iter().filter(|spec| spec.is("passed")).map(Spec::name).collect();
    passed.sort_unstable();
    let expected = file("passed.txt")?;
    ensure!(passed.iter().eq(expected.lines()), "passed.txt is not what passed:\n{}", passed.join("\n"));
    Ok(())
}

/// Upstream makes a namespace per case, with a name of its own: they share one set of keys.
fn shared_keys(world: &World, tenant: &Tenant) -> anyhow::Result<()> {
    let rules = format!("path \"{}\" {{ capabilities = [\"read\"] }}\n", tenant.vault_path);
    world.block(async {
        let vault = world.stack.vault();
        vault.write("sys/policies/acl/upstream", &json!({ "policy": rules })).await?;
        let role = format!("auth/kubernetes/role/{AUTH_ROLE}");
        vault.write(&role, &json!({ "token_policies": ["boathouse-pod", "upstream"] })).await
    })?;
    Ok(())
}

/// Gives containerd images under the names that upstream asks for.
fn images(world: &World) -> anyhow::Result<()> {
    neighbours::import_agnhost(&world.cluster)?;
    let mut command = Command::new(KubernetesParts::locate()?.e2e);
    let output = command.arg("--list-images").output().context("ask upstream's tests for images")?;
    let all = String::from_utf8_lossy(&output.stdout).into_owned();
    // Of the two that are for other things they use the shell.
    let shells = ["/busybox:", "/glibc-dns-testing:", "/nginx:"].map(|asked| ("localhost/busybox:1", asked));
    for (image, asked) in shells.into_iter().chain([(AGNHOST, "/agnhost:")]) {
        let names: Vec<String> = all.lines().filter(|line| line.contains(asked)).map(str::to_owned).collect();
        ensure!(!names.is_empty(), "upstream's tests use no {asked}");
        world.cluster.name_image(image, &names)?;
    }
    Ok(())
}

fn file(name: &str) -> anyhow::Result<String> {
    let path = boathouse_testkit::repository().join("e2e/upstream").join(name);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Runs them; those in focus.
fn run(world: &World, tenant: &Tenant, left_out: &LeftOut) -> anyhow::Result<Vec<Spec>> {
    let kubernetes = KubernetesParts::locate()?;
    let directory = world.cluster.place().path("upstream");
    fs::create_dir_all(&directory).context("make a directory for upstream's tests")?;
    let [driver, class] = ["driver.yaml", "class.yaml"].map(|name| directory.join(name));
    for (name, to) in [("driver.yaml", &driver), ("class.yaml", &class)] {
        let text = file(name)?.replace("{vault-path}", &tenant.vault_path);
        let text = text.replace("{class}", &class.display().to_string());
        fs::write(to, text).with_context(|| format!("write {}", to.display()))?;
    }
    let mut command = Command::new(NeighbourParts::locate()?.ginkgo);
    command.env_clear().env("HOME", &directory).env("PATH", "/usr/bin:/bin").current_dir(&directory);
    // With the logs, which are kept when the case fails.
    let logs = world.cluster.logs();
    command.args(["--procs=8", "--no-color", "--timeout=8m", "--focus=External.Storage"]);
    command.arg("--json-report=upstream.json").arg(format!("--output-dir={}", logs.display()));
    command.args(left_out.excluded.iter().map(|one| format!("--skip={}", one.what)));
    command.arg(&kubernetes.e2e).arg("--");
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    command.args([
        flag("storage.testdriver", &driver),
        flag("kubeconfig", &world.cluster.place().path("pki/admin.kubeconfig")),
        flag("kubectl-path", &kubernetes.kubectl),
    ]);
    command.args(["--provider=skeleton", "--allowed-not-ready-nodes=0", "--dump-logs-on-failure=false"]);
    let mut suite = ProcessGuard::start("upstream's tests", command, &logs.join("upstream.log"))?;
    let status = suite.wait(LIMIT);
    let report = fs::read_to_string(logs.join("upstream.json")).context("read the report")?;
    let report: Vec<Report> = serde_json::from_str(&report).context("the report")?;
    let specs: Vec<Spec> = report.into_iter().flat_map(|report| report.specs).collect();
    let failed: Vec<String> =
        specs.iter().filter(|spec| !spec.is("passed") && !spec.is("skipped")).map(Spec::name).collect();
    let ended = status.is_some_and(|status| status.success()) && failed.is_empty();
    ensure!(ended, "{}\nfailed: {failed:#?}", suite.broken(format!("ended with {status:?}")));
    Ok(specs.into_iter().filter(Spec::ours).collect())
}

/// Of Ginkgo's report: one run of one program.
#[derive(Debug, Deserialize)]
struct Report {
    #[serde(rename = "SpecReports")]
    specs: Vec<Spec>,
}

/// Of Ginkgo's report: one case.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    state: String,
    leaf_node_type: String,
    leaf_node_text: String,
    container_hierarchy_texts: Option<Vec<String>>,
    #[serde(default)]
    failure: Value,
}

impl Spec {
    fn ours(&self) -> bool {
        let texts = self.container_hierarchy_texts.as_deref().unwrap_or_default();
        self.leaf_node_type == "It" && texts.iter().any(|text| text.contains("External Storage"))
    }

    fn is(&self, state: &str) -> bool {
        self.state == state
    }

    /// The group it belongs to, and what it says it tests.
    fn name(&self) -> String {
        let texts = self.container_hierarchy_texts.as_deref().unwrap_or_default();
        let group = texts.get(1..).unwrap_or_default().join(" ");
        format!("{group} {}", self.leaf_node_text)
    }

    /// Why upstream left it out; nothing where it was out of focus.
    fn skipped(&self) -> Option<&str> {
        self.failure["Message"].as_str().filter(|_| self.is("skipped"))
    }
}

/// `left-out.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LeftOut {
    /// What upstream leaves out by itself: part of what it says then.
    skipped: Vec<Reason>,
    /// What is left out here: part of their names.
    excluded: Vec<Reason>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    what: String,
    why: String,
}

impl LeftOut {
    /// Whether there is a reason for each case that did not run, and a case for each reason.
    fn explains(&self, specs: &[Spec]) -> anyhow::Result<()> {
        let said = specs.iter().filter_map(Spec::skipped).map(str::to_owned).collect();
        explained("said upstream", said, &self.skipped)?;
        let silent = |spec: &&Spec| spec.is("skipped") && spec.skipped().is_none_or(str::is_empty);
        explained("not run", specs.iter().filter(silent).map(Spec::name).collect(), &self.excluded)
    }
}

/// Whether each text has the words of a reason in it, and each reason its words in a text.
fn explained(kind: &str, mut texts: Vec<String>, reasons: &[Reason]) -> anyhow::Result<()> {
    for Reason { what, why } in reasons {
        let before = texts.len();
        texts.retain(|text| !text.contains(what));
        ensure!(texts.len() < before, "{kind}: nothing has {what:?} in it, remove that entry");
        ensure!(!why.trim().is_empty(), "{what:?} has no reason");
    }
    texts.dedup();
    ensure!(texts.is_empty(), "{kind}, and left-out.json does not say why: {texts:#?}");
    Ok(())
}
