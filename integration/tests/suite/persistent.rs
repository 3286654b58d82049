//! A PersistentVolume from the StorageClass to the pod: the controller makes it, the node plugin mounts it.

use crate::scene::{Scene, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::kubelet::{filesystem, make_parent};
use boathouse_testkit::node::connect;
use boathouse_testkit::stack::Stack;
use csi_proto::csi::v1::controller_client::ControllerClient;
use csi_proto::csi::v1::volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode};
use csi_proto::csi::v1::{
    CreateVolumeRequest, DeleteVolumeRequest, NodePublishVolumeRequest, Volume, VolumeCapability,
};
use secrecy::ExposeSecret as _;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

/// kubelet's own key: false for what a PersistentVolume describes.
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(a_claim_is_made_shared_and_kept),
        beside!(access_modes_and_mount_options_are_refused_by_name),
    ]
}

struct Controller {
    _process: ProcessGuard,
    client: ControllerClient<Channel>,
    secrets: HashMap<String, String>,
}

impl Controller {
    async fn start(shared: &Shared, stack: &Stack, bucket: &str) -> anyhow::Result<Self> {
        let directory = stack.tree().directory(&format!("{bucket}-controller"))?;
        let socket = directory.join("csi.sock");
        let mut command = Command::new(&shared.programs.controller);
        command.arg("--endpoint").arg(format!("unix://{}", socket.display()));
        command.args([
            "--bucket",
            bucket,
            "--s3-endpoint",
            &stack.minio().url(),
            "--metrics-addr",
            "127.0.0.1:0",
        ]);
        command.env_clear();
        let process = ProcessGuard::start("boathouse-controller", command, &directory.join("log"))?;
        for _ in 0..500 {
            if let Ok(channel) = connect(&socket).await {
                let minio = stack.minio();
                let secrets = HashMap::from([
                    ("accessKeyId".to_owned(), minio.root_user().to_owned()),
                    ("secretAccessKey".to_owned(), minio.root_password().expose_secret().to_owned()),
                ]);
                return Ok(Self { _process: process, client: ControllerClient::new(channel), secrets });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(process.broken("does not listen").into())
    }

    async fn create(&mut self, name: &str, vault_path: &str) -> anyhow::Result<Volume> {
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            volume_capabilities: vec![filesystem()],
            parameters: HashMap::from([("vault-path".to_owned(), vault_path.to_owned())]),
            secrets: self.secrets.clone(),
            ..Default::default()
        };
        self.client.create_volume(request).await?.into_inner().volume.context("no volume")
    }
}

/// A directory, with this access mode and these mount options.
fn capability(mode: Mode, flags: &[&str]) -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode { mode: mode as i32 }),
        access_type: Some(AccessType::Mount(MountVolume {
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Default::default()
        })),
    }
}

/// What kubelet sends for a pod that uses a PersistentVolume.
fn request(
    scene: &Scene,
    stack: &Stack,
    pod: &str,
    volume: &Volume,
    capability: VolumeCapability,
) -> anyhow::Result<NodePublishVolumeRequest> {
    let inline = scene.volume(pod);
    let target = inline.csi_target(&scene.node.pods());
    make_parent(&target)?;
    let mut request = inline.request(stack.identities(), &scene.node.pods());
    request.volume_context.retain(|key, _| key.starts_with("csi.storage.k8s.io/"));
    request.volume_context.insert(EPHEMERAL.to_owned(), "false".to_owned());
    request.volume_context.extend(volume.volume_context.clone());
    request.volume_id.clone_from(&volume.volume_id);
    request.volume_capability = Some(capability);
    Ok(request)
}

async fn publish(scene: &Scene, request: NodePublishVolumeRequest) -> anyhow::Result<PathBuf> {
    let target = PathBuf::from(&request.target_path);
    scene.node.send_publish(request).await?;
    Ok(target)
}

fn read_only(target: &Path) -> bool {
    let refused = fs::write(target.join("more"), "y").map_err(|error| error.raw_os_error());
    refused == Err(Some(nix::errno::Errno::EROFS as i32))
}

async fn a_claim_is_made_shared_and_kept(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "claims").await?;
    let mut controller = Controller::start(shared, stack, "claims").await?;
    let made = controller.create("pvc-1", &scene.tenant.vault_path).await?;
    let again = controller.create("pvc-1", &scene.tenant.vault_path).await?;
    ensure!(made == again, "the same claim made another volume: {made:?}, {again:?}");

    let writer = capability(Mode::MultiNodeMultiWriter, &[]);
    let written = publish(&scene, request(&scene, stack, "writer", &made, writer.clone())?).await?;
    fs::write(written.join("from-a-pod"), "1")?;
    ensure!(
        stack.minio().get_object("claims", "pvc-1/from-a-pod").await? == b"1",
        "not in the claim's prefix"
    );
    let other = publish(&scene, request(&scene, stack, "other", &made, writer)?).await?;
    ensure!(fs::read(other.join("from-a-pod"))? == b"1", "a second pod sees something else");
    fs::write(other.join("from-the-other"), "2")?;
    ensure!(fs::read(written.join("from-the-other"))? == b"2");
    ensure!(scene.mounts().len() == 1, "two pods with one claim should share a mount");

    let reader = capability(Mode::MultiNodeReaderOnly, &[]);
    let read = publish(&scene, request(&scene, stack, "reader", &made, reader)?).await?;
    let option = capability(Mode::MultiNodeMultiWriter, &["ro"]);
    let optioned = publish(&scene, request(&scene, stack, "optioned", &made, option)?).await?;
    for target in [&read, &optioned] {
        ensure!(fs::read(target.join("from-a-pod"))? == b"1" && read_only(target), "{}", target.display());
    }
    for target in [&written, &other, &read, &optioned] {
        scene.node.unpublish(&made.volume_id, target).await?;
    }

    let delete =
        DeleteVolumeRequest { volume_id: made.volume_id.clone(), secrets: controller.secrets.clone() };
    controller.client.delete_volume(delete).await?;
    ensure!(stack.minio().get_object("claims", "pvc-1/from-a-pod").await? == b"1", "the data is gone");
    scene.finish(stack).await
}

async fn access_modes_and_mount_options_are_refused_by_name(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "modes").await?;
    let mut controller = Controller::start(shared, stack, "modes").await?;
    let volume = controller.create("pvc-1", &scene.tenant.vault_path).await?;
    let without_mode = VolumeCapability { access_mode: None, ..capability(Mode::Unknown, &[]) };
    let unassigned =
        VolumeCapability { access_mode: Some(AccessMode { mode: 4711 }), ..without_mode.clone() };
    for (capability, word) in [
        (capability(Mode::Unknown, &[]), "access_mode"),
        (without_mode, "access_mode"),
        (unassigned, "access_mode"),
        (capability(Mode::SingleNodeWriter, &["noatime"]), "noatime"),
        (VolumeCapability { access_type: None, ..capability(Mode::SingleNodeWriter, &[]) }, "access type"),
    ] {
        let answer = scene.node.send_publish(request(&scene, stack, "nb", &volume, capability)?).await;
        refused(answer, Code::InvalidArgument, &[word])?;
    }
    scene.finish(stack).await
}
