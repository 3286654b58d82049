//! The main job through CSI.

use crate::scene::{Scene, eventually, refused};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::stack::Stack;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};
use tonic::Code;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(an_inline_volume_is_read_and_written),
        beside!(the_daemon_has_no_privileges_and_no_secrets_on_display),
        beside!(readonly_is_readonly),
        beside!(volumes_of_one_account_share_keys_and_mounts),
        beside!(a_republish_changes_nothing),
        beside!(two_publishes_at_once_make_one_mount),
        beside!(static_keys_work_without_vault),
        beside!(a_prefix_shows_only_itself),
        beside!(unpublish_of_what_was_never_published),
        beside!(stats_tell_the_condition_and_a_republish_heals),
        beside!(metrics_are_served),
    ]
}

async fn an_inline_volume_is_read_and_written(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "inline").await?;
    stack.minio().put_object("inline", "before.txt", b"from the bucket").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    ensure!(fs::read(target.join("before.txt"))? == b"from the bucket");
    fs::create_dir(target.join("dir"))?;
    fs::write(target.join("dir/new.txt"), "from the pod")?;
    ensure!(stack.minio().get_object("inline", "dir/new.txt").await? == b"from the pod");
    let metadata = fs::metadata(target.join("before.txt"))?;
    ensure!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777) == (1000, 100, 0o644), "{metadata:?}");
    let users = scene.users(stack).await?;
    ensure!(users.len() == 1, "{users:?}");
    scene.node.unpublish(&volume.id(), &target).await?;
    ensure!(!target.exists(), "the target is still there");
    // Vault has heard of it by now and deletes the user in its own time.
    scene.wait_for_users(stack, 0).await?;
    scene.finish(stack).await
}

async fn the_daemon_has_no_privileges_and_no_secrets_on_display(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "hygiene").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let pids = scene.processes("goofys");
    let [pid] = pids[..] else { anyhow::bail!("daemons: {pids:?}") };
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        ensure!(status.contains(line), "{line} is not in {status}");
    }
    ensure!(status.contains("Uid:\t64"), "not a daemon user: {status}");
    let arguments = fs::read(format!("/proc/{pid}/cmdline"))?;
    let environment = fs::read(format!("/proc/{pid}/environ"))?;
    let users = scene.users(stack).await?;
    for text in [&arguments, &environment] {
        ensure!(!String::from_utf8_lossy(text).contains(&users[0]), "the access key is on display");
    }
    // Neither a token nor a key lies below the state directory.
    let mount = scene.mounts().pop().context("no mount directory")?;
    let record = fs::read_to_string(mount.join("mount.json"))?;
    ensure!(!record.contains(&users[0]) && !record.contains("hvs.") && !record.contains("eyJ"), "{record}");
    let log = fs::read_to_string(scene.node.log())?;
    ensure!(!log.contains("eyJ"), "a service-account token is in the log");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn readonly_is_readonly(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "readonly").await?;
    stack.minio().put_object("readonly", "f", b"x").await?;
    let writer = scene.volume("writer");
    let mut reader = scene.volume("reader");
    reader.readonly = true;
    let written = scene.node.publish(stack.identities(), &writer).await?;
    let read = scene.node.publish(stack.identities(), &reader).await?;
    ensure!(fs::read(read.join("f"))? == b"x");
    let refused = fs::write(read.join("g"), "y").map_err(|error| error.raw_os_error());
    ensure!(refused == Err(Some(nix::errno::Errno::EROFS as i32)), "{refused:?}");
    fs::write(written.join("g"), "y")?;
    ensure!(scene.mounts().len() == 1, "read-only is a property of the target, not of the mount");
    scene.node.unpublish(&writer.id(), &written).await?;
    ensure!(fs::read(read.join("f"))? == b"x", "the other target went too");
    scene.node.unpublish(&reader.id(), &read).await?;
    scene.finish(stack).await
}

async fn volumes_of_one_account_share_keys_and_mounts(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "sharing").await?;
    let first = scene.volume("one");
    let second = scene.volume("two");
    let mut other_bucket = scene.volume("one").with("bucket", "shared");
    other_bucket.volume = "shared".to_owned();
    let a = scene.node.publish(stack.identities(), &first).await?;
    let b = scene.node.publish(stack.identities(), &second).await?;
    let c = scene.node.publish(stack.identities(), &other_bucket).await?;
    ensure!(scene.users(stack).await?.len() == 1, "one identity, one path: one key");
    ensure!(scene.mounts().len() == 2, "two buckets: two mounts");
    fs::write(a.join("x"), "1")?;
    ensure!(fs::read(b.join("x"))? == b"1");
    for (volume, target) in [(&first, &a), (&second, &b)] {
        scene.node.unpublish(&volume.id(), target).await?;
        ensure!(scene.users(stack).await?.len() == 1, "the key is still in use");
    }
    ensure!(scene.mounts().len() == 1);
    fs::read_dir(&c)?.count();
    scene.node.unpublish(&other_bucket.id(), &c).await?;
    scene.finish(stack).await
}

async fn a_republish_changes_nothing(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "republish").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let users = scene.users(stack).await?;
    let daemons = scene.processes("goofys");
    let log = fs::read_to_string(scene.node.log())?.len();
    for _ in 0..5 {
        scene.node.publish(stack.identities(), &volume).await?;
    }
    // Fast because nothing is done: no login, no keys, no mount, and nothing to say about it.
    let said = fs::read_to_string(scene.node.log())?.split_off(log);
    ensure!(!said.contains("published") && !said.contains("revoked"), "{said}");
    ensure!(scene.users(stack).await? == users && scene.processes("goofys") == daemons);
    let table = boathouse_mounts::table()?;
    ensure!(table.iter().filter(|entry| entry.mount_point == target).count() == 1, "mounts are stacked");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn two_publishes_at_once_make_one_mount(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "parallel").await?;
    let volume = scene.volume("nb");
    let identities = stack.identities();
    let answers = tokio::join!(
        scene.node.publish(identities, &volume),
        scene.node.publish(identities, &volume),
        scene.node.publish(identities, &volume)
    );
    let answers = [answers.0, answers.1, answers.2];
    ensure!(answers.iter().any(Result::is_ok), "{answers:?}");
    for answer in answers {
        if answer.is_err() {
            refused(answer, Code::Aborted, &["under way"])?;
        }
    }
    let target = volume.csi_target(&scene.node.pods());
    let table = boathouse_mounts::table()?;
    ensure!(table.iter().filter(|entry| entry.mount_point == target).count() == 1);
    ensure!(scene.users(stack).await?.len() == 1);
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn static_keys_work_without_vault(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    use secrecy::ExposeSecret as _;
    let scene = Scene::new(shared, stack, "static").await?;
    let mut volume = scene.volume("nb").without("vault-path");
    volume.secrets.insert("accessKeyId".into(), stack.minio().root_user().to_owned());
    volume.secrets.insert("secretAccessKey".into(), stack.minio().root_password().expose_secret().to_owned());
    let target = scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("x"), "1")?;
    ensure!(scene.users(stack).await?.is_empty(), "no user is made for static keys");
    scene.node.unpublish(&volume.id(), &target).await?;

    volume.secrets.insert("secretAccessKey".into(), "not-the-secret".into());
    let wrong = scene.node.publish(stack.identities(), &volume).await;
    refused(wrong, Code::Unauthenticated, &["keys were refused", "static"])?;
    let both = volume.with("vault-path", &scene.tenant.vault_path);
    refused(
        scene.node.publish(stack.identities(), &both).await,
        Code::InvalidArgument,
        &["vault-path", "static keys"],
    )?;
    scene.finish(stack).await
}

async fn a_prefix_shows_only_itself(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "prefix").await?;
    stack.minio().put_object("prefix", "outside", b"o").await?;
    stack.minio().put_object("prefix", "in/side/f", b"i").await?;
    let volume = scene.volume("nb").with("bucket", "prefix:in/side");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let names: Vec<_> =
        fs::read_dir(&target)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    ensure!(names == ["f"], "{names:?}");
    fs::write(target.join("g"), "1")?;
    ensure!(stack.minio().get_object("prefix", "in/side/g").await? == b"1");
    scene.node.unpublish(&volume.id(), &target).await?;
    scene.finish(stack).await
}

async fn unpublish_of_what_was_never_published(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "never").await?;
    let pods = scene.node.pods();
    scene.node.unpublish("v", &pods.join("no/such/parent/mount")).await?;
    let empty = pods.join("empty");
    fs::create_dir(&empty)?;
    scene.node.unpublish("v", &empty).await?;
    ensure!(!empty.exists());
    scene.node.unpublish("v", &empty).await?;
    // A directory with data on the node's disk is never emptied.
    let full = pods.join("full");
    fs::create_dir(&full)?;
    fs::write(full.join("precious"), "data")?;
    refused(scene.node.unpublish("v", &full).await, Code::FailedPrecondition, &["node's own disk"])?;
    ensure!(fs::read(full.join("precious"))? == b"data");
    let file = pods.join("file");
    fs::write(&file, "data")?;
    scene.node.unpublish("v", &file).await?;
    ensure!(file.exists(), "a file was removed");
    scene.finish(stack).await
}

async fn stats_tell_the_condition_and_a_republish_heals(
    shared: &Shared,
    stack: &Stack,
) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "stats").await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let stats = scene.node.stats(&target).await?;
    let condition = stats.volume_condition.context("no condition")?;
    ensure!(!condition.abnormal && stats.usage.iter().any(|usage| usage.total > 0), "{condition:?}");
    refused(scene.node.stats(&scene.node.pods()).await, Code::NotFound, &["no volume"])?;

    let daemons = scene.processes("goofys");
    kill(Pid::from_raw(daemons[0]), Signal::SIGKILL)?;
    // Asked at once and again: whoever notices first, the reason is the keeper's.
    let began = Instant::now();
    loop {
        let condition = scene.node.stats(&target).await?.volume_condition.context("no condition")?;
        if condition.abnormal {
            ensure!(condition.message.contains("SIGKILL"), "{condition:?}");
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "nobody noticed: {condition:?}");
    }
    let condition = scene.node.stats(&target).await?.volume_condition.context("no condition")?;
    ensure!(condition.abnormal && condition.message.contains("SIGKILL"), "{condition:?}");
    ensure!(fs::read_dir(&target).is_err(), "a dead mount answers");

    // kubelet's republish: a new mount on top of the dead one.
    scene.node.publish(stack.identities(), &volume).await?;
    fs::write(target.join("healed"), "1")?;
    let healed = Instant::now();
    while scene.node.stats(&target).await?.volume_condition.context("no condition")?.abnormal {
        ensure!(healed.elapsed() < Duration::from_secs(20), "the new mount does not answer");
    }
    scene.node.unpublish(&volume.id(), &target).await?;
    ensure!(!target.exists(), "one unpublish must remove both mounts");
    eventually("daemons are gone", Duration::from_secs(5), || scene.processes("goofys").is_empty()).await?;
    scene.finish(stack).await
}

async fn metrics_are_served(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let port = boathouse_testkit::free_port()?;
    let address = format!("127.0.0.1:{port}");
    let scene =
        Scene::with(shared, stack, "metrics", |options| options.flag("--metrics-addr", address.as_str()))
            .await?;
    let volume = scene.volume("nb");
    let target = scene.node.publish(stack.identities(), &volume).await?;
    let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
    for line in [
        "boathouse_node_mounts 1",
        "boathouse_node_publish_duration_seconds_count{result=\"ok\",mount=\"new\"} 1",
        "boathouse_node_credential_expiry_timestamp_seconds{mount=",
    ] {
        ensure!(text.contains(line), "{line} is not in\n{text}");
    }
    scene.node.unpublish(&volume.id(), &target).await?;
    let mut text = String::new();
    for _ in 0..500 {
        text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        // The exit is noticed by a task of its own.
        if text.contains("boathouse_node_daemon_exits_total{reason=\"unmounted\"} 1") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(text.contains("boathouse_node_daemon_exits_total{reason=\"unmounted\"} 1"), "{text}");
    ensure!(text.contains("boathouse_node_mounts 0"), "{text}");
    ensure!(reqwest::get(format!("http://{address}/readyz")).await?.status().is_success());
    scene.finish(stack).await
}
