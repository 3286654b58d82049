//! Everything csi-sanity runs against, and the run itself.

use super::data;
use crate::ui;
use anyhow::{Context as _, bail};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::node::{NodeOptions, NodeProcess};
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::Programs;
use boathouse_testkit::stack::{Claims, Stack, Tenant};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The namespace, the bucket, and the name of directories.
const NAME: &str = "sanity";
/// The MinIO user whose keys the controller gets.
const CONTROLLER_USER: &str = "sanity-controller";
/// Life of the service-account token and of leases.
const LIFE: Duration = Duration::from_secs(3600);
/// Bound of the whole suite.
const LIMIT: Duration = Duration::from_secs(600);

/// What a run came to.
#[derive(Debug)]
pub(super) struct Run {
    /// Ginkgo's report.
    pub(super) report: String,
    /// Whether csi-sanity was content.
    pub(super) succeeded: bool,
    /// The end of what csi-sanity said.
    pub(super) output: String,
    /// The end of the node plugin's log.
    pub(super) node_log: String,
    /// The end of the controller's log.
    pub(super) controller_log: String,
    /// What was left afterwards that should not be.
    pub(super) left: Vec<String>,
}

pub(super) async fn conduct(
    parts: &Parts,
    programs: &Programs,
    skips: &[String],
    focus: Option<&str>,
) -> anyhow::Result<Run> {
    let stack = Stack::start(parts, programs).await.context("start OpenBao and MinIO")?;
    let tenant = stack.tenant(NAME, LIFE).await?;
    let mut options = NodeOptions::for_stack(&stack)?.flag("--node-id", "sanity-node");
    // csi-sanity states no pod beside the token.
    options.arguments.push("--allow-missing-pod-info".into());
    let mut node = NodeProcess::start("node", parts, programs, stack.tree(), options).await?;
    let directory = stack.tree().directory(NAME)?;
    let mut controller = controller(&stack, programs, &tenant, &directory).await?;
    let secrets = secrets(&stack, &tenant, &directory).await?;
    let parameters = directory.join("parameters.yaml");
    fs::write(&parameters, data::parameters(&stack, &tenant)?).context("write the parameters")?;

    let report = directory.join("report.json");
    let mut command = Command::new(&parts.csi_sanity);
    let flags = [
        ("csi.endpoint", format!("unix://{}", node.csi_socket().display())),
        ("csi.controllerendpoint", format!("unix://{}", socket(&directory).display())),
        ("csi.mountdir", directory.join("mount").display().to_string()),
        ("csi.stagingdir", directory.join("staging").display().to_string()),
        ("csi.secrets", secrets.display().to_string()),
        ("csi.testvolumeparameters", parameters.display().to_string()),
        ("ginkgo.json-report", report.display().to_string()),
    ];
    command.args(flags.map(|(name, value)| format!("--{name}={value}")));
    command.args(["--ginkgo.no-color", "--ginkgo.v"]);
    command.args(skips.iter().map(|skip| format!("--ginkgo.skip={skip}")));
    command.args(focus.map(|focus| format!("--ginkgo.focus={focus}")));
    command.current_dir(&directory);
    eprintln!("  csi-sanity runs against {} and {}", programs.node.display(), programs.controller.display());
    let mut suite = ProcessGuard::start("csi-sanity", command, &directory.join("csi-sanity.log"))?;
    let status = finished(&mut suite).await?;
    let output = suite.tail(40);
    let report =
        fs::read_to_string(&report).map_err(|_| suite.broken(format!("ended with {status}, no report")))?;

    let mut left = left_behind(&stack, &tenant, &node).await?;
    let exits =
        [("the node plugin", node.stop()), ("the controller", controller.stop(Duration::from_secs(10)))];
    for (name, exit) in exits {
        match exit {
            Some(status) if status.success() => {}
            Some(status) => left.push(format!("{name} ended with {status}")),
            None => left.push(format!("{name} did not run any more")),
        }
    }
    Ok(Run {
        report,
        succeeded: status.success(),
        output,
        node_log: end_of(&node.log()),
        controller_log: controller.tail(30),
        left,
    })
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("controller.sock")
}

async fn controller(
    stack: &Stack,
    programs: &Programs,
    tenant: &Tenant,
    directory: &Path,
) -> anyhow::Result<ProcessGuard> {
    let socket = socket(directory);
    let mut command = Command::new(&programs.controller);
    command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
    command.args(["--bucket", &tenant.bucket, "--s3-endpoint", &stack.minio().url()]);
    command.args(["--metrics-addr", &format!("127.0.0.1:{}", boathouse_testkit::free_port()?)]);
    command.env_clear();
    let process = ProcessGuard::start("boathouse-controller", command, &directory.join("controller.log"))?;
    let deadline = Instant::now() + Duration::from_secs(15);
    while UnixStream::connect(&socket).is_err() {
        if !process.is_running() || Instant::now() >= deadline {
            bail!(process.broken("does not listen"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(process)
}

/// Makes the controller's MinIO user, with exactly the rights that `boathouse-controller --help` asks for.
async fn controller_keys(stack: &Stack, tenant: &Tenant) -> anyhow::Result<(String, SecretString)> {
    let arn = |path: &str| format!("arn:aws:s3:::{}{path}", tenant.bucket);
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn("")] },
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject"],
                "Resource": [arn("/.boathouse/volumes/*")],
            },
            { "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [arn("/*/")] },
        ],
    });
    let secret = SecretString::from(format!("{:032x}", u128::from_ne_bytes(random()?)));
    let admin = stack.minio().admin();
    admin.add_policy(CONTROLLER_USER, &policy.to_string()).await?;
    admin.add_user(CONTROLLER_USER, &secret).await?;
    admin.set_user_policy(CONTROLLER_USER, &[CONTROLLER_USER]).await?;
    Ok((CONTROLLER_USER.to_owned(), secret))
}

fn random() -> anyhow::Result<[u8; 16]> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The secrets of each call, as csi-sanity reads them: YAML, of which JSON is a part.
async fn secrets(stack: &Stack, tenant: &Tenant, directory: &Path) -> anyhow::Result<PathBuf> {
    let claims = Claims::new(&tenant.namespace, "default", LIFE);
    let tokens = stack.identities().sign_for_kubelet(&claims)?;
    let (access, secret) = controller_keys(stack, tenant).await?;
    let controller = json!({ "accessKeyId": access, "secretAccessKey": secret.expose_secret() });
    let content = json!({
        "CreateVolumeSecret": controller,
        "DeleteVolumeSecret": controller,
        "ControllerValidateVolumeCapabilitiesSecret": controller,
        "NodePublishVolumeSecret": {
            boathouse_testkit::kubelet::TOKENS: tokens.expose_secret(),
        },
    });
    let path = directory.join("secrets.yaml");
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(content.to_string().as_bytes())?;
    Ok(path)
}

async fn finished(suite: &mut ProcessGuard) -> anyhow::Result<std::process::ExitStatus> {
    let began = Instant::now();
    while suite.is_running() {
        if began.elapsed() >= LIMIT {
            bail!(suite.broken(format!("still ran after {}", ui::seconds(LIMIT))));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    suite.wait(Duration::from_secs(1)).context("csi-sanity ended without a status")
}

/// What the suite should have taken away with it.
async fn left_behind(stack: &Stack, tenant: &Tenant, node: &NodeProcess) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mounts = node.directory().join("state/mounts");
    loop {
        let users = tenant.users_among(&stack.minio_users().await?);
        let mut left: Vec<String> =
            users.into_iter().map(|user| format!("left: MinIO user {user}")).collect();
        let directories = fs::read_dir(&mounts).into_iter().flatten().flatten();
        left.extend(directories.map(|entry| format!("left: FUSE mount {}", entry.path().display())));
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn end_of(log: &Path) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
