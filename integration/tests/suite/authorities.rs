//! Two S3 servers with an authority each: volumes name the bundle that vouches for theirs.

use crate::scene::{Scene, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::PodVolume;
use boathouse_testkit::stack::{Minio, Stack};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tonic::Code;

pub(crate) fn cases() -> Vec<Case> {
    vec![beside!(each_server_has_its_own_authority)]
}

/// A server with a bucket whose one object says which it is.
async fn server(shared: &Shared, stack: &Stack, name: &str) -> anyhow::Result<Minio> {
    let minio = Minio::start_over_tls(&shared.parts.minio, stack.tree(), &format!("tls-{name}")).await?;
    minio.create_bucket("data").await?;
    minio.put_object("data", "who", name.as_bytes()).await?;
    Ok(minio)
}

/// A volume of a server, with keys in its Secret.
fn volume(scene: &Scene, pod: &str, minio: &Minio) -> PodVolume {
    let mut volume =
        scene.volume(pod).with("bucket", "data").with("endpoint", &minio.url()).without("vault-path");
    for (name, key) in
        [("accessKeyId", minio.root_user()), ("secretAccessKey", minio.root_password().expose_secret())]
    {
        volume.secrets.insert(name.to_owned(), key.to_owned());
    }
    volume
}

/// As an operator does: never half a bundle.
fn put(directory: &Path, name: &str, minio: &Minio) -> anyhow::Result<()> {
    let new = directory.join(".new");
    fs::copy(minio.ca_file().context("it speaks plain http")?, &new)?;
    Ok(fs::rename(new, directory.join(format!("{name}.pem")))?)
}

/// The bundle a mount was made with, by its record.
fn bundle(mount: &Path) -> anyhow::Result<PathBuf> {
    let record: Value = serde_json::from_slice(&fs::read(mount.join("mount.json"))?)?;
    Ok(record["key"]["ca_file"].as_str().context("no bundle is recorded")?.into())
}

async fn each_server_has_its_own_authority(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let (one, two) = tokio::try_join!(server(shared, stack, "one"), server(shared, stack, "two"))?;
    let directory = stack.tree().directory("authorities")?;
    put(&directory, "one", &one)?;
    let mut scene =
        Scene::with(shared, stack, "authorities", |options| options.flag("--s3-ca-dir", &directory)).await?;
    let of_one = volume(&scene, "one", &one).with("ca", "one");
    let of_two = volume(&scene, "two", &two).with("ca", "two");
    let publish =
        async |scene: &Scene, volume: &PodVolume| scene.node.publish(stack.identities(), volume).await;

    let target_one = publish(&scene, &of_one).await?;
    ensure!(fs::read(target_one.join("who"))? == b"one");

    // Its pod waits, and so does one that could do without: this is for the operator to put right.
    let place = directory.display().to_string();
    let words = ["ca \"two\": there is no two.pem in ", &place, "there are \"one\""];
    refused(publish(&scene, &of_two).await, Code::FailedPrecondition, &words)?;
    let optional = of_two.clone().with("optional", "true");
    refused(publish(&scene, &optional).await, Code::FailedPrecondition, &words)?;
    ensure!(!of_two.csi_target(&scene.node.pods()).exists() && scene.mounts().len() == 1);
    put(&directory, "two", &two)?;
    let target_two = publish(&scene, &of_two).await?;
    ensure!(fs::read(target_two.join("who"))? == b"two");

    // The other's authority does not vouch for it, and neither do the system's.
    for wrong in [
        volume(&scene, "wrong", &one).with("ca", "two"),
        volume(&scene, "wrong", &two).with("ca", "one"),
        volume(&scene, "wrong", &two),
    ] {
        refused(
            publish(&scene, &wrong).await,
            Code::Unavailable,
            &["cannot be reached (TLS: ", "ertificate"],
        )?;
    }
    // The node plugin's own endpoint.
    let plain = volume(&scene, "plain", stack.minio()).without("endpoint").with("ca", "one");
    refused(publish(&scene, &plain).await, Code::InvalidArgument, &["ca \"one\"", &stack.minio().url()])?;
    ensure!(scene.mounts().len() == 2, "{:?}", scene.mounts());

    // Mounts are shared, also with a node plugin that finds them, as long as the bundle is the same.
    let second = volume(&scene, "second", &one).with("ca", "one");
    let found = bundle(&scene.mounts()[0])?;
    scene.node.crash();
    put(&directory, "one", &two)?;
    scene.node.restart().await?;
    ensure!(
        found.is_file() && scene.mounts().iter().all(|mount| bundle(mount).is_ok_and(|file| file.is_file()))
    );
    refused(publish(&scene, &second).await, Code::Unavailable, &["cannot be reached (TLS: "])?;
    ensure!(fs::read(target_one.join("who"))? == b"one", "what was mounted before goes on");
    put(&directory, "one", &one)?;
    let target_second = publish(&scene, &second).await?;
    ensure!(fs::read(target_second.join("who"))? == b"one" && scene.mounts().len() == 2);

    for (volume, target) in [(&of_one, target_one), (&of_two, target_two), (&second, target_second)] {
        scene.node.unpublish(&volume.id(), &target).await?;
    }
    scene.finish(stack).await
}
