//! A notebook as its controller makes it, with nothing but an annotation: the webhook adds the volumes, and the
//! directories are there.

#[path = "../../../webhook/tests/mutation/pods.rs"]
mod generated;

use super::pods;
use super::processes;
use super::product::NAMESPACE;
use super::runner::{Case, alone, beside};
use super::world::World;
use crate::cluster::Kubectl;
use anyhow::{Context as _, anyhow, ensure};
use boathouse_testkit::stack::{ENGINE_MOUNT, SHARED_BUCKET, Tenant};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What asks the webhook for directories.
pub(super) const ANNOTATION: &str = "data.statcan.gc.ca/inject-boathouse";
/// The label that says which output a namespace gets.
const OUTPUT: &str = "boathouse.statcan.gc.ca/output";
/// Where the instance of the suite has its directories.
pub(super) const BASE: &str = "/home/jovyan/minio/standard";
const CROWD: usize = 20;
/// The webhook's certificate and key.
const SECRET: &str = "boathouse-webhook-tls";

pub(super) fn cases() -> Vec<Case<World>> {
    vec![
        beside!(the_story_with_csi),
        beside!(the_story_with_flex_volumes),
        beside!(a_flex_volume_by_hand_becomes_csi),
        beside!(keys_rotate_while_a_notebook_writes),
        beside!(keys_rotate_while_a_notebook_writes_through_the_shim),
        beside!(an_annotation_that_says_neither_yes_nor_no),
        beside!(a_misspelt_output_of_a_namespace),
        beside!(a_valid_pod_stays_valid),
        alone!(the_webhook_is_down),
        alone!(the_certificate_runs_out),
        alone!(an_optional_instance_is_dead),
        alone!(twenty_notebooks_at_once),
    ]
}

/// A namespace with a bucket whose pods get `output`.
pub(super) fn tenant(world: &World, name: &str, output: &str) -> anyhow::Result<Tenant> {
    let tenant = world.tenant(name)?;
    world.cluster.kubectl().run(&["label", "namespace", name, &format!("{OUTPUT}={output}")])?;
    Ok(tenant)
}

/// As Kubeflow's notebook controller makes one.
pub(super) fn notebook(namespace: &str, name: &str) -> Value {
    let labels = json!({ "statefulset": name, "notebook-name": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": { "matchLabels": { "statefulset": name } },
            "template": {
                "metadata": { "labels": labels, "annotations": { ANNOTATION: "true" } },
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "securityContext": { "fsGroup": 100 },
                    "containers": [{
                        "name": name,
                        "image": "localhost/busybox:1",
                        "imagePullPolicy": "Never",
                        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"],
                        "workingDir": "/home/jovyan",
                        "env": [{ "name": "NB_PREFIX", "value": format!("/notebook/{namespace}/{name}") }],
                        "securityContext": { "runAsUser": 1000, "runAsGroup": 100 },
                    }],
                },
            },
        },
    })
}

/// Deletes it and waits until its pod is gone.
pub(super) fn delete(kubectl: &Kubectl, namespace: &str, name: &str) -> anyhow::Result<()> {
    kubectl.run(&["delete", "statefulset", "-n", namespace, name])?;
    pods::gone(kubectl, namespace, &format!("{name}-0"))
}

fn the_story_with_csi(world: &World) -> anyhow::Result<()> {
    story(world, "csi", "csi")
}

fn the_story_with_flex_volumes(world: &World) -> anyhow::Result<()> {
    story(world, "flex", "flexVolume")
}

/// Two people, each with a private bucket and the one they share.
fn story(world: &World, slug: &str, output: &str) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    let names = [format!("alice-{slug}"), format!("bob-{slug}")];
    let mut tenants = Vec::new();
    for name in &names {
        let tenant = tenant(world, name, output)?;
        kubectl.apply(&[notebook(name, "nb")])?;
        tenants.push(tenant);
    }
    let field = if output == "csi" { "csi" } else { "flexVolume" };
    for tenant in &tenants {
        let namespace = tenant.namespace.as_str();
        pods::running(kubectl, namespace, "nb-0")?;
        let pod = kubectl.get("pod", Some(namespace), "nb-0")?.context("no pod")?;
        let volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
        let ours = volumes.iter().filter(|volume| volume[field].is_object()).count();
        ensure!(ours == 2, "{ours} volumes of kind {field}: {volumes:#?}");
        pods::round_trip(kubectl, namespace, "nb-0", &format!("{BASE}/private"))?;
        let mine = format!(
            "mkdir -p {BASE}/shared/{namespace} && echo {namespace} > {BASE}/shared/{namespace}/name"
        );
        pods::shell(kubectl, namespace, "nb-0", &mine)?;
        let listing = pods::shell(kubectl, namespace, "nb-0", &format!("ls -ln {BASE}/shared/{namespace}"))?;
        ensure!(listing.contains(" 1000     100 "), "{listing}");
        pods::shell(kubectl, namespace, "nb-0", &format!("echo {namespace} > {BASE}/private/whose"))?;
        let stored = world.block(world.stack.minio().get_object(&tenant.bucket, "whose"))?;
        ensure!(String::from_utf8_lossy(&stored).trim() == namespace, "{} has {stored:?}", tenant.bucket);
        let users = tenant.users_among(&world.block(world.stack.minio_users())?);
        ensure!(users.len() == 1, "{users:?}");
    }
    let [alice, bob] = &names;
    let read = pods::shell(kubectl, alice, "nb-0", &format!("cat {BASE}/shared/{bob}/name"))?;
    ensure!(read.trim() == bob, "alice reads {read:?}");
    // Refused when the file is closed, which a shell does not look at.
    let _ = pods::shell(kubectl, alice, "nb-0", &format!("echo x > {BASE}/shared/{bob}/name"));
    let kept = world.block(world.stack.minio().get_object(SHARED_BUCKET, &format!("{bob}/name")))?;
    ensure!(String::from_utf8_lossy(&kept).trim() == bob, "alice wrote to bob's folder");
    let private = pods::shell(kubectl, alice, "nb-0", &format!("cat {BASE}/private/*"))?;
    ensure!(private.trim() == alice, "alice's private directory has {private:?}");
    for tenant in &tenants {
        delete(kubectl, &tenant.namespace, "nb")?;
        world.no_users(tenant)?;
    }
    Ok(())
}

/// In a namespace that has been switched, a pod that was written for the FlexVolume driver logs in as itself.
fn a_flex_volume_by_hand_becomes_csi(world: &World) -> anyhow::Result<()> {
    let tenant = tenant(world, "by-hand", "csi")?;
    let kubectl = world.cluster.kubectl();
    let pod = pods::with_volume(pods::idle("by-hand", "old"), "/data", pods::flex(&pods::options(&tenant)));
    kubectl.apply(&[pod])?;
    pods::running(kubectl, "by-hand", "old")?;
    let pod = kubectl.get("pod", Some("by-hand"), "old")?.context("no pod")?;
    let driver = &pod["spec"]["volumes"][0]["csi"]["driver"];
    ensure!(*driver == pods::DRIVER, "{}", pod["spec"]["volumes"]);
    pods::round_trip(kubectl, "by-hand", "old", "/data")?;
    pods::delete(kubectl, "by-hand", "old")?;
    world.no_users(&tenant)
}

/// The webhook writes `vault-ttl: 24h`; the role allows twenty seconds.
fn keys_rotate_while_a_notebook_writes(world: &World) -> anyhow::Result<()> {
    keys_rotate(world, "rotating", "csi")
}

fn keys_rotate_while_a_notebook_writes_through_the_shim(world: &World) -> anyhow::Result<()> {
    keys_rotate(world, "rotating-flex", "flexVolume")
}

fn keys_rotate(world: &World, name: &str, output: &str) -> anyhow::Result<()> {
    let tenant = tenant(world, name, output)?;
    let role = json!({ "policy": tenant.role, "user_name_prefix": tenant.user_prefix, "default_ttl": 20, "max_ttl": 20 });
    world.block(world.stack.vault().write(&format!("{ENGINE_MOUNT}/roles/{}", tenant.role), &role))?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[notebook(name, "nb")])?;
    pods::running(kubectl, name, "nb-0")?;
    let script = format!(
        "cd {BASE}/private; n=0; bad=0; end=$(($(date +%s)+45)); while [ $(date +%s) -lt $end ]; do n=$((n+1)); \
         echo $n > f && [ \"$(cat f)\" = $n ] && rm f || bad=$((bad+1)); done; echo $n $bad"
    );
    let mut seen = std::collections::BTreeSet::new();
    let said = std::thread::scope(|scope| {
        let writer = scope.spawn(|| pods::shell(kubectl, name, "nb-0", &script));
        while !writer.is_finished() {
            seen.extend(tenant.users_among(&world.block(world.stack.minio_users())?));
            std::thread::sleep(Duration::from_millis(500));
        }
        writer.join().unwrap_or_else(|_| anyhow::bail!("the writer panicked"))
    })?;
    ensure!(said.trim().ends_with(" 0"), "rounds and failures: {said}");
    ensure!(seen.len() >= 3, "keys were not replaced twice: {seen:?}");
    delete(kubectl, name, "nb")?;
    world.no_users(&tenant)
}

/// Refused where it is made, with the annotation and what to write.
fn an_annotation_that_says_neither_yes_nor_no(world: &World) -> anyhow::Result<()> {
    tenant(world, "maybe", "csi")?;
    let mut pod = pods::idle("maybe", "pod");
    pod["metadata"]["annotations"] = json!({ ANNOTATION: "maybe" });
    let refused = world.cluster.kubectl().apply(&[pod]);
    let said = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
    ensure!(said.contains(ANNOTATION) && said.contains("maybe"), "{refused:?}");
    Ok(())
}

/// The property of the webhook's own tests, judged by the API server: what it takes without the webhook, it takes with it.
fn a_valid_pod_stays_valid(world: &World) -> anyhow::Result<()> {
    const PODS: usize = 100;
    let kubectl = world.cluster.kubectl();
    let mut runner = TestRunner::deterministic();
    let mut pods = Vec::new();
    for number in 0..PODS {
        let tree = generated::pod().new_tree(&mut runner);
        let mut pod = tree.map_err(|reason| anyhow!("generate a pod: {reason}"))?.current();
        pod["apiVersion"] = "v1".into();
        if !pod["metadata"]["name"].is_null() {
            pod["metadata"]["name"] = format!("pod-{number}").into();
        }
        for kind in ["containers", "initContainers"] {
            for container in pod["spec"][kind].as_array_mut().into_iter().flatten() {
                container["image"] = "localhost/busybox:1".into();
            }
        }
        pods.push(pod);
    }
    let asking = pods.iter().filter(|pod| pod["metadata"]["annotations"][ANNOTATION] == "true").count();
    ensure!(asking >= PODS / 10, "only {asking} pods ask for their directories");
    // The webhook is never asked about the first one.
    for (namespace, output) in
        [("kube-system", None), ("valid-flex", Some("flexVolume")), ("valid-csi", Some("csi"))]
    {
        if let Some(output) = output {
            tenant(world, namespace, output)?;
        }
        for pod in &mut pods {
            pod["metadata"]["namespace"] = namespace.into();
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": pods });
        kubectl.dry_run(&list).with_context(|| format!("pods in {namespace}"))?;
    }
    Ok(())
}

/// It would count as none, so it is refused where it is written.
fn a_misspelt_output_of_a_namespace(world: &World) -> anyhow::Result<()> {
    tenant(world, "misspelt", "csi")?;
    let label = |value: &str| {
        let label = format!("boathouse.statcan.gc.ca/output={value}");
        world.cluster.kubectl().run(&["label", "namespace", "misspelt", "--overwrite", &label])
    };
    let refused = label("flexvolume");
    let said = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
    ensure!(said.contains("is \"flexvolume\"; write csi or flexVolume"), "{refused:?}");
    label("flexVolume").map(drop)
}

/// Pods that ask for nothing are made all the same. Those that ask are refused, and made once it is back.
fn the_webhook_is_down(world: &mut World) -> anyhow::Result<()> {
    let tenant = tenant(world, "webhook-down", "csi")?;
    let kubectl = world.cluster.kubectl();
    kubectl.run(&["scale", "-n", NAMESPACE, "deployment/boathouse-webhook", "--replicas=0"])?;
    kubectl.wait("the webhook is down", Duration::from_secs(40), |kubectl| {
        let pods = kubectl.list("pods", NAMESPACE)?;
        let left =
            pods.iter().any(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "webhook");
        Ok((!left).then_some(()))
    })?;
    kubectl.apply(&[pods::idle("webhook-down", "plain"), notebook("webhook-down", "nb")])?;
    pods::running(kubectl, "webhook-down", "plain")?;
    let told = kubectl.wait("the StatefulSet is told", Duration::from_secs(20), |kubectl| {
        let said = pods::events(kubectl, "webhook-down", "nb");
        Ok(said.contains("failed calling webhook").then_some(()))
    });
    ensure!(
        kubectl.get("pod", Some("webhook-down"), "nb-0")?.is_none(),
        "a notebook without its directories"
    );
    world.product.install(&world.cluster, &json!({}))?;
    told?;
    let kubectl = world.cluster.kubectl();
    pods::running(kubectl, "webhook-down", "nb-0")?;
    pods::round_trip(kubectl, "webhook-down", "nb-0", &format!("{BASE}/private"))?;
    pods::delete(kubectl, "webhook-down", "plain")?;
    delete(kubectl, "webhook-down", "nb")?;
    world.no_users(&tenant)
}

/// The webhook has a certificate that runs out while it serves. The CronJob makes another, and the webhook takes it up
/// without a restart.
fn the_certificate_runs_out(world: &mut World) -> anyhow::Result<()> {
    tenant(world, "expiry", "csi")?;
    let kubectl = world.cluster.kubectl();
    let mut pod = pods::idle("expiry", "probe");
    pod["metadata"]["annotations"] = json!({ ANNOTATION: "true" });
    short_lived(kubectl, Duration::from_secs(45))?;
    kubectl
        .wait("calls succeed with it", Duration::from_secs(40), |kubectl| kubectl.dry_run(&pod).map(Some))?;
    let before = webhook_pods(kubectl)?;
    // The API server keeps its connection and does not look at the certificate again: it is the webhook that tells.
    kubectl.wait("the webhook says that it cannot serve", Duration::from_secs(90), |kubectl| {
        Ok((ready_replicas(kubectl)? == 0).then_some(()))
    })?;
    let cron = "--from=cronjob/boathouse-webhook-certificate";
    kubectl.run(&["create", "job", "renewal", "-n", NAMESPACE, cron])?;
    kubectl.run(&["wait", "-n", NAMESPACE, "--for=condition=complete", "job/renewal", "--timeout=60s"])?;
    // kubelet renews files from Secrets at its own pace.
    kubectl.wait("the webhook serves again", Duration::from_secs(150), |kubectl| {
        Ok((ready_replicas(kubectl)? == before.len() as u64).then_some(()))
    })?;
    kubectl.wait("calls succeed", Duration::from_secs(30), |kubectl| kubectl.dry_run(&pod).map(Some))?;
    ensure!(webhook_pods(kubectl)? == before, "the webhook was restarted");
    kubectl.run(&["delete", "job", "renewal", "-n", NAMESPACE]).map(drop)
}

/// Puts a certificate of this life in place of the webhook's, where pods and API server look for it, and starts the
/// webhook anew.
fn short_lived(kubectl: &Kubectl, life: Duration) -> anyhow::Result<()> {
    let (certificate, key) = certificate(life)?;
    let files = json!({ "tls.crt": certificate, "tls.key": key, "ca.crt": certificate });
    let patch = json!({ "stringData": files }).to_string();
    kubectl.run(&["patch", "secret", SECRET, "-n", NAMESPACE, "--type=merge", "-p", &patch])?;
    let bundle = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate);
    let trust = |index: u32| json!({ "op": "replace", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": bundle });
    let patch = json!([trust(0), trust(1)]).to_string();
    kubectl.run(&[
        "patch",
        "mutatingwebhookconfiguration",
        "boathouse-webhook",
        "--type=json",
        "-p",
        &patch,
    ])?;
    kubectl
        .run(&[
            "delete",
            "pods",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component=webhook",
            "--wait=false",
        ])
        .map(drop)
}

fn ready_replicas(kubectl: &Kubectl) -> anyhow::Result<u64> {
    let deployment =
        kubectl.get("deployment", Some(NAMESPACE), "boathouse-webhook")?.context("no Deployment")?;
    Ok(deployment["status"]["readyReplicas"].as_u64().unwrap_or(0))
}

pub(super) fn webhook_pods(kubectl: &Kubectl) -> anyhow::Result<Vec<(String, i64)>> {
    let pods = kubectl.list("pods", NAMESPACE)?;
    let mut names: Vec<(String, i64)> = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "webhook")
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0);
            (pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), restarts)
        })
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// A certificate for the webhook's name that vouches for itself, and its key.
fn certificate(life: Duration) -> anyhow::Result<(String, String)> {
    let mut params = rcgen::CertificateParams::new(vec![format!("boathouse-webhook.{NAMESPACE}.svc")])?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let now = jiff::Timestamp::now().as_second();
    params.not_before = time::OffsetDateTime::from_unix_timestamp(now - 3600)?;
    params.not_after = time::OffsetDateTime::from_unix_timestamp(now + i64::try_from(life.as_secs())?)?;
    let key = rcgen::KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// The webhook would read a new file by itself, once kubelet has renewed it. The API server's connection to an old pod lasts
/// as long as that does.
fn restart(world: &World) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    kubectl.run(&["rollout", "restart", "deployment/boathouse-webhook", "-n", NAMESPACE])?;
    world.product.ready(&world.cluster)?;
    kubectl.wait("the old webhook is gone", Duration::from_secs(60), |kubectl| {
        let pods = kubectl.list("pods", NAMESPACE)?;
        let of_webhook = |pod: &&Value| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "webhook";
        Ok(pods
            .iter()
            .filter(of_webhook)
            .all(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .then_some(()))
    })
}

/// The pod starts, the directory of that instance is empty, and an event says why.
fn an_optional_instance_is_dead(world: &mut World) -> anyhow::Result<()> {
    let tenant = tenant(world, "optional", "csi")?;
    let mut dead = super::product::instance("dead", "http://127.0.0.1:9");
    dead["optional"] = true.into();
    world.product.install(&world.cluster, &json!({ "webhook": { "instances": [dead] } }))?;
    let kubectl = world.cluster.kubectl();
    restart(world)?;
    kubectl.apply(&[notebook("optional", "nb")])?;
    pods::running(kubectl, "optional", "nb-0")?;
    pods::round_trip(kubectl, "optional", "nb-0", &format!("{BASE}/private"))?;
    let listing = pods::shell(kubectl, "optional", "nb-0", "ls -A /home/jovyan/minio/dead/private")?;
    ensure!(listing.is_empty(), "{listing}");
    let written = pods::shell(kubectl, "optional", "nb-0", "touch /home/jovyan/minio/dead/private/x");
    let refused = written.as_ref().is_err_and(|error| error.to_string().contains("Read-only file system"));
    ensure!(refused, "writing to it: {written:?}");
    pods::event(kubectl, "optional", "nb-0", &["BoathouseVolumeUnavailable", "127.0.0.1:9"])?;
    delete(kubectl, "optional", "nb")?;
    world.product.install(&world.cluster, &json!({}))?;
    restart(world)?;
    world.no_users(&tenant)
}

fn twenty_notebooks_at_once(world: &mut World) -> anyhow::Result<()> {
    let tenant = tenant(world, "classroom", "csi")?;
    let kubectl = world.cluster.kubectl();
    let names: Vec<String> = (0..CROWD).map(|n| format!("nb-{n}")).collect();
    let all: Vec<Value> = names.iter().map(|name| notebook("classroom", name)).collect();
    let began = Instant::now();
    kubectl.apply(&all)?;
    for name in &names {
        pods::running(kubectl, "classroom", &format!("{name}-0"))?;
    }
    let started = began.elapsed();
    // One person's notebooks have the same two volumes: two mounts, one key.
    ensure!(processes::named("goofys").len() == 2, "not two daemons: {:?}", processes::named("goofys"));
    let users = tenant.users_among(&world.block(world.stack.minio_users())?);
    ensure!(users.len() == 1, "{users:?}");
    let began = Instant::now();
    kubectl.run(&["delete", "statefulsets", "-n", "classroom", "--all"])?;
    for name in &names {
        pods::gone(kubectl, "classroom", &format!("{name}-0"))?;
    }
    let each = |total: Duration| total.as_millis() / CROWD as u128;
    println!(
        "          {CROWD} notebooks: {} ms each to start, {} ms to stop",
        each(started),
        each(began.elapsed())
    );
    world.no_users(&tenant)
}
