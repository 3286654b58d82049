//! csi-sanity against the driver as it is deployed.

use super::pods::DRIVER;
use super::product;
use super::runner::{Case, alone};
use super::world::{AUDIENCE, World};
use anyhow::{Context as _, ensure};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::Parts;
use boathouse_testkit::programs::{Profile, Programs};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;
use std::time::Duration;

/// It takes half a minute.
const LIMIT: Duration = Duration::from_secs(300);

pub(super) fn cases() -> Vec<Case<World>> {
    vec![alone!(csi_sanity_on_the_deployed_driver)]
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
    let keys = product::keys(minio);
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
