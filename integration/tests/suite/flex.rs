//! The main job through FlexVolume: the driver binary as kubelet executes it.

use crate::faults::fake_daemon;
use crate::scene::{LIFE, Scene, eventually};
use crate::world::{Case, Shared, beside};
use anyhow::{Context as _, ensure};
use boathouse_testkit::kubelet::{Callout, PodVolume};
use boathouse_testkit::stack::Stack;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        beside!(mount_and_unmount),
        beside!(recorded_callouts_answer_as_they_did),
        beside!(a_namespace_is_fenced),
        beside!(off_unless_switched_on),
        beside!(a_mount_that_comes_too_late_is_taken_back),
    ]
}

pub(crate) async fn flex_scene(shared: &Shared, stack: &Stack, name: &str) -> anyhow::Result<Scene> {
    let token = stack.tree().directory(&format!("{name}-token"))?.join("token");
    fs::write(&token, stack.node_token(LIFE)?.expose_secret())?;
    Scene::with(shared, stack, name, |options| {
        options.with_flex(&token).flag("--default-vault-path", "minio/keys/profile-{namespace}")
    })
    .await
}

/// kubelet's contract: exit 0, one line of JSON, nothing on standard error.
fn well_formed(callout: &Callout) -> anyhow::Result<()> {
    ensure!(callout.exit == Some(0), "{callout:?}");
    ensure!(callout.stderr.is_empty(), "{callout:?}");
    ensure!(callout.output.trim_end_matches('\n').lines().count() == 1, "{callout:?}");
    ensure!(!callout.status().is_empty(), "{callout:?}");
    Ok(())
}

pub(crate) fn mount(scene: &Scene, shared: &Shared, volume: &PodVolume) -> anyhow::Result<Callout> {
    let target = volume.flex_target(&scene.node.pods());
    fs::create_dir_all(&target)?;
    let callout = scene
        .node
        .callout(&shared.programs.shim, &["mount", target.to_str().context("target")?, &volume.document()])?;
    well_formed(&callout)?;
    Ok(callout)
}

pub(crate) fn unmount(scene: &Scene, shared: &Shared, target: &Path) -> anyhow::Result<Callout> {
    let callout =
        scene.node.callout(&shared.programs.shim, &["unmount", target.to_str().context("target")?])?;
    well_formed(&callout)?;
    Ok(callout)
}

async fn mount_and_unmount(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = flex_scene(shared, stack, "flex").await?;
    stack.minio().put_object("flex", "f", b"x").await?;
    let volume = scene.volume("nb");
    let target = volume.flex_target(&scene.node.pods());
    let callout = mount(&scene, shared, &volume)?;
    ensure!(callout.status() == "Success", "{callout:?}\n{}", scene.log());
    ensure!(fs::read(target.join("f"))? == b"x");
    ensure!(scene.users(stack).await?.len() == 1);
    ensure!(mount(&scene, shared, &volume)?.status() == "Success", "a second mount callout");
    let callout = unmount(&scene, shared, &target)?;
    ensure!(callout.status() == "Success", "{callout:?}");
    ensure!(target.is_dir() && fs::read_dir(&target)?.count() == 0, "kubelet removes the directory, not we");
    // After a reboot kubelet unmounts directories on which nothing is mounted any more.
    ensure!(unmount(&scene, shared, &target)?.status() == "Success");
    // The pod went while the callout ran: kubelet has removed the directory, and it must not come back.
    fs::remove_dir(&target)?;
    let document = volume.document();
    let callout = scene
        .node
        .callout(&shared.programs.shim, &["mount", target.to_str().context("target")?, &document])?;
    well_formed(&callout)?;
    ensure!(callout.status() == "Failure" && callout.message().contains("gone"), "{callout:?}");
    ensure!(!target.exists());
    scene.finish(stack).await
}

/// The legacy driver's recorded callouts. What has to be real is put in place of the recording's example values:
/// endpoint, bucket, Vault path, and the keys that kubelet always adds.
async fn recorded_callouts_answer_as_they_did(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let recording: Vec<Value> =
        serde_json::from_str(include_str!("../../../flex-shim/tests/data/flexvolume.json"))?;
    let mut scene = flex_scene(shared, stack, "replay").await?;
    let mut replayed = 0;
    for entry in recording {
        let name = entry["name"].as_str().context("name")?;
        let work = scene.node.pods().join(format!("replay-{name}"));
        let arguments: Vec<String> = entry["args"]
            .as_array()
            .context("args")?
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let mut arguments: Vec<String> =
            arguments.into_iter().map(|argument| argument.replace("$W", &work.to_string_lossy())).collect();
        if arguments[0] == "mount" && arguments.len() == 3 {
            fs::create_dir_all(&arguments[1])?;
            arguments[2] = make_real(&arguments[2], &scene, stack, name)?;
        }
        let agent_runs = entry["agent_running"].as_bool().context("agent_running")?;
        if !agent_runs {
            scene.node.stop();
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let callout = scene.node.callout(&shared.programs.shim, &words)?;
        if !agent_runs {
            scene.node.restart().await?;
        }
        well_formed(&callout).with_context(|| name.to_owned())?;
        let expected = expected_status(name, &entry);
        ensure!(
            callout.status() == expected,
            "{name}: {expected:?} expected, got {callout:?}\n{}",
            scene.log()
        );
        if callout.status() == "Success" && arguments[0] == "mount" {
            ensure!(fs::read_dir(&arguments[1]).is_ok(), "{name}: Success before it could be read");
            let answer = unmount(&scene, shared, Path::new(&arguments[1]))?;
            ensure!(answer.status() == "Success", "{name}: {answer:?}");
        }
        replayed += 1;
    }
    ensure!(replayed == 39, "only {replayed} callouts in the recording");
    scene.finish(stack).await
}

/// The recorded status, except where the legacy driver answered nothing kubelet could use: a panic or usage text
/// (commands it did not know, missing arguments), and a success without a bucket.
fn expected_status(name: &str, entry: &Value) -> String {
    let recorded: Value =
        serde_json::from_str(entry["stdout"].as_str().unwrap_or_default()).unwrap_or_default();
    match (name, recorded["status"].as_str()) {
        ("mount-no-bucket", _) => "Failure".to_owned(),
        (_, Some(status)) => status.to_owned(),
        ("mount-no-args" | "mount-one-arg" | "unmount-no-args", None) => "Failure".to_owned(),
        (_, None) => "Not supported".to_owned(),
    }
}

fn make_real(document: &str, scene: &Scene, stack: &Stack, name: &str) -> anyhow::Result<String> {
    // One callout is not JSON on purpose.
    let Ok(Value::Object(recorded)) = serde_json::from_str(document) else { return Ok(document.to_owned()) };
    let kubelets: Value = serde_json::from_str(&scene.volume(name).document())?;
    let mut real: Map<String, Value> = recorded;
    for (key, value) in [
        ("bucket", scene.tenant.bucket.clone()),
        ("endpoint", stack.minio().url()),
        ("vault-path", scene.tenant.vault_path.clone()),
    ] {
        if let Some(recorded) = real.get_mut(key) {
            *recorded = value.into();
        }
    }
    for (key, value) in kubelets.as_object().context("document")? {
        if key.starts_with("kubernetes.io/") && !real.contains_key(key) {
            real.insert(key.clone(), value.clone());
        }
    }
    Ok(Value::Object(real).to_string())
}

async fn a_namespace_is_fenced(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = flex_scene(shared, stack, "fence-a").await?;
    let other = stack.tenant("fence-b", LIFE).await?;
    // The node's identity could read it; the fence must not let it.
    for path in [other.vault_path.as_str(), "minio/roles/profile-fence-a", "minio/x/keys/profile-fence-a"] {
        let callout = mount(&scene, shared, &scene.volume("nb").with("vault-path", path))?;
        ensure!(
            callout.status() == "Failure" && callout.message().contains("not allowed"),
            "{path}: {callout:?}"
        );
    }
    for path in [
        "minio/keys/../keys/profile-fence-a",
        "minio/keys/profile-fence-a?x=1",
        "minio/keys/profile-fence%2da",
    ] {
        let callout = mount(&scene, shared, &scene.volume("nb").with("vault-path", path))?;
        ensure!(
            callout.status() == "Failure" && callout.message().contains("vault-path"),
            "{path}: {callout:?}"
        );
    }
    ensure!(other.users_among(&stack.minio_users().await?).is_empty());
    scene.finish(stack).await
}

async fn off_unless_switched_on(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    let scene = Scene::new(shared, stack, "flex-off").await?;
    let callout = mount(&scene, shared, &scene.volume("nb"))?;
    ensure!(callout.status() == "Failure" && callout.message().contains("boathouse-node"), "{callout:?}");
    scene.finish(stack).await
}

async fn a_mount_that_comes_too_late_is_taken_back(shared: &Shared, stack: &Stack) -> anyhow::Result<()> {
    // Where the daemon's user may execute it.
    let goofys = stack.tree().directory("flex-late-goofys")?.join("goofys");
    fs::copy(&shared.parts.goofys, &goofys)?;
    let script = format!("/bin/sleep 8; exec '{}' \"$@\"", goofys.display());
    let late = fake_daemon(stack, "fake-late", &script)?;
    let token = stack.tree().directory("flex-late-token")?.join("token");
    fs::write(&token, stack.node_token(LIFE)?.expose_secret())?;
    let scene =
        Scene::with(shared, stack, "flex-late", |options| options.with_flex(&token).flag("--goofys", late))
            .await?;
    let volume = scene.volume("nb");
    let target = volume.flex_target(&scene.node.pods());
    fs::create_dir_all(&target)?;
    let output = Command::new(&shared.programs.shim)
        .args(["mount", target.to_str().context("target")?, &volume.document()])
        .env("BOATHOUSE_AGENT_SOCKET", scene.node.agent_socket())
        .env("BOATHOUSE_FLEX_TIMEOUT_SECONDS", "1")
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && said.contains("Failure") && said.contains("within 1 s"), "{said}");
    // kubelet takes the pod for failed, and its directory away. Nobody will ever call unmount.
    fs::remove_dir(&target)?;
    let log = scene.node.log();
    eventually("the late mount is noticed", Duration::from_secs(60), || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("the target directory is gone"))
    })
    .await?;
    ensure!(!target.exists(), "the directory was made again");
    scene.finish(stack).await
}
