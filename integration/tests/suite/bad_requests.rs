//! Requests that cannot be carried out: refused by name, and nothing is left.

use crate::scene::{Scene, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::{TOKENS, make_parent};
use boathouse_testkit::stack::Stack;
use csi_proto::csi::v1::VolumeCapability;
use csi_proto::csi::v1::volume_capability::{AccessType, BlockVolume};
use std::fs;
use tonic::Code;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(attributes_are_refused_by_name),
        beside!(requests_are_refused_by_field),
        beside!(a_target_that_is_a_file),
        beside!(a_file_below_the_mount_is_kept_and_the_keys_are_not),
    ]
}

async fn attributes_are_refused_by_name(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "attributes").await?;
    let path = scene.tenant.vault_path.clone();
    let long = "x".repeat(5000);
    for (key, value) in [
        ("bucket", ""),
        ("bucket", "--endpoint=http://evil"),
        ("bucket", "-f"),
        ("bucket", "gs://data"),
        ("bucket", "s3://data"),
        ("bucket", "Upper"),
        ("bucket", "da\nta"),
        ("bucket", "data:../other"),
        ("bucket", &long),
        ("endpoint", "minio:9000"),
        ("endpoint", "http://user:pw@minio:9000"),
        ("endpoint", "file:///etc/passwd"),
        ("region", "--no-sign"),
        ("uid", "jovyan"),
        ("uid", "-1"),
        ("gid", "4294967296"),
        ("dirMode", "0999"),
        ("fileMode", "rwx"),
        ("vault-path", "../sys/seal"),
        ("vault-path", &format!("{path}/../../../sys/raw")),
        ("vault-path", "minio%2fkeys%2fprofile-other"),
        ("vault-path", &format!("{path}?ttl=1")),
        ("vault-path", &format!("{path}#x")),
        ("vault-path", &format!("{path}\nX-Vault-Token: x")),
        ("vault-path", "/minio/keys/r"),
        ("vault-ttl", "tomorrow"),
        ("vault-ttl", "3600"),
        ("vault-ttl", "-1h"),
        ("debug_s3", "maybe"),
        ("frobnicate", "1"),
        ("buckett", "data"),
    ] {
        let volume = scene.volume("nb").with(key, value);
        refused(scene.node.publish(stack.identities(), &volume).await, Code::InvalidArgument, &[key])
            .with_context(|| format!("{key} = {value:?}"))?;
        ensure!(!volume.csi_target(&scene.node.pods()).exists(), "{key} = {value:?} left a target");
    }
    for key in ["bucket", "vault-path"] {
        let volume = scene.volume("nb").without(key);
        refused(
            scene.node.publish(stack.identities(), &volume).await,
            Code::InvalidArgument,
            &[key, "missing"],
        )
        .with_context(|| format!("no {key}"))?;
    }
    ensure!(scene.mounts().is_empty() && scene.users(stack).await?.is_empty());
    scene.finish(stack).await
}

async fn requests_are_refused_by_field(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "fields").await?;
    let good = scene.volume("nb").request(stack.identities(), &scene.node.pods());
    make_parent(good.target_path.as_ref())?;
    let mut request = good.clone();
    request.volume_id.clear();
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["volume_id"])?;
    let mut request = good.clone();
    request.target_path.clear();
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["target_path"])?;
    let mut request = good.clone();
    request.volume_capability = None;
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["volume_capability"])?;
    let mut request = good.clone();
    let block =
        VolumeCapability { access_type: Some(AccessType::Block(BlockVolume {})), ..Default::default() };
    request.volume_capability = Some(block);
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["block"])?;
    let mut request = good.clone();
    request.volume_context.remove(TOKENS);
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["tokenRequests"])?;
    let mut request = good.clone();
    request.volume_context.insert(TOKENS.into(), r#"{"api":{"token":"x"}}"#.into());
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["vault", "api"])?;
    let mut request = good.clone();
    request.volume_context.insert(TOKENS.into(), "not json".into());
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &[TOKENS])?;
    let mut request = good.clone();
    request.volume_context.retain(|key, _| !key.starts_with("csi.storage.k8s.io/") || key == TOKENS);
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["podInfoOnMount"])?;
    let mut request = good.clone();
    request.target_path = "relative/path".into();
    ensure!(scene.node.send_publish(request).await.is_err());
    // kubelet has removed the pod's directory meanwhile: not made again.
    let mut request = good;
    request.target_path = scene.node.pods().join("gone/volumes/x/mount").to_string_lossy().into_owned();
    refused(scene.node.send_publish(request).await, Code::InvalidArgument, &["gone"])?;
    ensure!(!scene.node.pods().join("gone").exists());
    scene.finish(stack).await
}

async fn a_target_that_is_a_file(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "file").await?;
    let volume = scene.volume("nb");
    let target = volume.csi_target(&scene.node.pods());
    make_parent(&target)?;
    fs::write(&target, "precious")?;
    refused(
        scene.node.publish(stack.identities(), &volume).await,
        Code::InvalidArgument,
        &["not a directory"],
    )?;
    ensure!(fs::read(&target)? == b"precious");
    ensure!(scene.users(stack).await?.is_empty(), "keys were made before looking");
    scene.finish(stack).await
}

async fn a_file_below_the_mount_is_kept_and_the_keys_are_not(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "below").await?;
    let volume = scene.volume("nb");
    let target = volume.csi_target(&scene.node.pods());
    fs::create_dir_all(&target)?;
    fs::write(target.join("precious"), "1")?;
    scene.node.publish(stack.identities(), &volume).await?;
    ensure!(!target.join("precious").exists(), "the mount is not on top");
    refused(
        scene.node.unpublish(&volume.id(), &target).await,
        Code::FailedPrecondition,
        &["holds files on the node's own disk"],
    )?;
    ensure!(fs::read(target.join("precious"))? == b"1");
    scene.wait_for_users(stack, 0).await?;
    fs::remove_file(target.join("precious"))?;
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}
