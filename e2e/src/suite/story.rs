//! `cargo xtask demo --cluster`: the story with real pods, act by act, each claim measured.

use super::notebook::{self, BASE};
use super::pods::{self, idle, inline, options, with_volume};
use super::worker::Worker;
use super::world::World;
use super::{processes, product};
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::stack::Tenant;
use std::time::{Duration, Instant};

/// The life of keys in the act of rotation.
const SHORT: &str = "20s";

struct Teller {
    act: Instant,
    number: u32,
}

impl Teller {
    fn act(&mut self, title: &str) {
        self.number += 1;
        self.act = Instant::now();
        println!("\n{}. {title}", self.number);
    }

    /// What was typed or called.
    fn call(&self, text: &str) {
        println!("   > {text}");
    }

    /// What came back, or what is so.
    fn so(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("   ✓ {:6.2} s  {line}", self.act.elapsed().as_secs_f64());
        }
    }
}

/// Tells it all.
///
/// # Errors
/// The first claim that is not true.
pub(super) fn tell(world: &mut World) -> anyhow::Result<()> {
    let began = Instant::now();
    let teller = &mut Teller { act: began, number: 0 };
    driver(world, teller)?;
    let alice = notebook(world, teller)?;
    let bob = legacy(world, teller)?;
    stranger(world, teller, &alice)?;
    rotation(world, teller)?;
    plugin_and_kubelet(world, teller)?;
    the_end(world, teller, &[alice, bob])?;
    println!("\nEvery claim held, in {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

fn driver(world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    teller.act("A node with the driver, from chart and image");
    let kubectl = world.cluster.kubectl();
    teller.call("kubectl get pods -n boathouse-system; kubectl get csinode");
    let pod = world.product.pod(&world.cluster)?;
    let names = "jsonpath={.spec.drivers[*].name}";
    let drivers = kubectl.run(&["get", "csinode", crate::warden::NODE, "-o", names])?;
    ensure!(drivers.contains(pods::DRIVER), "kubelet knows {drivers:?}");
    teller.so(&format!("pod {pod} serves; kubelet has registered {drivers}"));
    Ok(())
}

fn notebook(world: &World, teller: &mut Teller) -> anyhow::Result<Tenant> {
    teller.act("Alice's notebook: an annotation, and nothing about storage");
    let alice = notebook::tenant(world, "alice", "csi")?;
    let kubectl = world.cluster.kubectl();
    let began = Instant::now();
    kubectl.apply(&[notebook::notebook("alice", "nb")])?;
    pods::running(kubectl, "alice", "nb-0")?;
    let volumes = kubectl.run(&[
        "get",
        "pod",
        "-n",
        "alice",
        "nb-0",
        "-o",
        "jsonpath={.spec.volumes[*].csi.driver}",
    ])?;
    ensure!(volumes.matches(pods::DRIVER).count() == 2, "the webhook added {volumes:?}");
    teller.so(&format!(
        "created and ready in {:.2} s, with two CSI volumes from the webhook",
        began.elapsed().as_secs_f64()
    ));
    let script = format!("echo 'x,y' > {BASE}/private/data.csv; cat {BASE}/private/data.csv");
    teller.call(&format!("kubectl exec -n alice nb-0 -- sh -c \"{script}\""));
    ensure!(pods::shell(kubectl, "alice", "nb-0", &script)? == "x,y\n", "alice reads something else");
    let users = alice.users_among(&world.block(world.stack.minio_users())?);
    ensure!(users.len() == 1, "MinIO has {users:?}");
    teller.so(&format!("the file is there, and MinIO has one user for both directories: {}", users[0]));
    Ok(alice)
}

fn legacy(world: &World, teller: &mut Teller) -> anyhow::Result<Tenant> {
    teller.act("Bob's notebook, in a namespace that still gets FlexVolumes");
    let bob = notebook::tenant(world, "bob", "flexVolume")?;
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[notebook::notebook("bob", "nb")])?;
    pods::running(kubectl, "bob", "nb-0")?;
    let drivers = "jsonpath={.spec.volumes[*].flexVolume.driver}";
    let volumes = kubectl.run(&["get", "pod", "-n", "bob", "nb-0", "-o", drivers])?;
    ensure!(volumes.matches("statcan.gc.ca/boathouse").count() == 2, "the webhook added {volumes:?}");
    let script = format!("mkdir -p {BASE}/shared/bob && echo hello > {BASE}/shared/bob/note");
    teller.call(&format!("kubectl exec -n bob nb-0 -- sh -c \"{script}\""));
    pods::shell(kubectl, "bob", "nb-0", &script)?;
    teller.call("kubectl exec -n alice nb-0 -- cat …/shared/bob/note");
    let read = pods::shell(kubectl, "alice", "nb-0", &format!("cat {BASE}/shared/bob/note"))?;
    ensure!(read == "hello\n", "alice reads {read:?}");
    let private = pods::shell(kubectl, "bob", "nb-0", &format!("ls -A {BASE}/private"))?;
    ensure!(private.is_empty(), "bob's private directory has {private:?}");
    teller.so("they share what is shared, and Bob's private directory is his own");
    Ok(bob)
}

fn stranger(world: &World, teller: &mut Teller, alice: &Tenant) -> anyhow::Result<()> {
    teller.act("Bob asks for Alice's keys");
    let kubectl = world.cluster.kubectl();
    kubectl.apply(&[with_volume(idle("bob", "curious"), "/data", inline(&options(alice)))])?;
    pods::event(kubectl, "bob", "curious", &["FailedMount", "permission denied"])?;
    teller.call("kubectl get events -n bob");
    let events = pods::events(kubectl, "bob", "curious");
    teller.so(events.lines().find(|line| line.contains("permission denied")).unwrap_or_default());
    pods::delete(kubectl, "bob", "curious")
}

fn rotation(world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    teller.act("Keys rotate while a pod reads and writes");
    let worker = Worker::start_with(world, "carol", |options| options["vault-ttl"] = SHORT.into())?;
    let users = || -> anyhow::Result<Vec<String>> {
        Ok(worker.tenant.users_among(&world.block(world.stack.minio_users())?))
    };
    let first = users()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let second = loop {
        let now = users()?;
        if let Some(user) = now.iter().find(|user| !first.contains(user)) {
            break user.clone();
        }
        if Instant::now() > deadline {
            bail!("{first:?} was not replaced within a minute");
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    teller.so(&format!("{} follows {} (keys live {SHORT} here)", second, first.join(", ")));
    let rounds = worker.progress(world)?;
    teller.so(&format!("{rounds} rounds of write, read and remove, and no failed operation"));
    worker.end(world)
}

fn plugin_and_kubelet(world: &mut World, teller: &mut Teller) -> anyhow::Result<()> {
    teller.act("The node plugin's pod is deleted and kubelet is killed while a pod reads and writes");
    let worker = Worker::start(world, "dave")?;
    let keepers = processes::named("boathouse-keeper");
    let pod = world.product.pod(&world.cluster)?;
    teller.call(&format!("kubectl delete pod -n {} {pod}", product::NAMESPACE));
    pods::delete(world.cluster.kubectl(), product::NAMESPACE, &pod)?;
    teller.call("kill -9 kubelet");
    world.cluster.kill_kubelet()?;
    world.cluster.start_kubelet()?;
    world.product.ready(&world.cluster)?;
    ensure!(processes::named("boathouse-keeper") == keepers, "the keepers are others");
    let rounds = worker.progress(world)?;
    teller.so(&format!("the keepers are the same processes; {rounds} rounds and no failed operation"));
    worker.end(world)
}

fn the_end(world: &World, teller: &mut Teller, tenants: &[Tenant; 2]) -> anyhow::Result<()> {
    teller.act("The notebooks are deleted");
    for tenant in tenants {
        notebook::delete(world.cluster.kubectl(), &tenant.namespace, "nb")?;
        world.no_users(tenant)?;
    }
    ensure!(processes::named("goofys").is_empty(), "a goofys is left");
    teller.so("no goofys and no MinIO user is left; the file is in the bucket");
    let kept = world.block(world.stack.minio().get_object(&tenants[0].bucket, "data.csv"))?;
    ensure!(kept == b"x,y\n", "the file is not what alice wrote");
    world.finish().context("uninstall")?;
    teller.so("helm uninstall leaves no object, no mount, no daemon");
    Ok(())
}
