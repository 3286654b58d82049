//! The control plane and the node, started inside the namespaces.

mod components;
mod files;
mod kubectl;
mod pki;

pub use files::VOLUME_PLUGIN_DIR;
pub use kubectl::{Kubectl, is_ready};

use crate::place::Place;
use crate::warden::{NODE, NODE_ADDRESS};
use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::KubernetesParts;
use components::Components;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The API server, from inside.
pub const API: &str = "https://127.0.0.1:443";

const START_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// A running cluster. Dropping it ends its own programs; pods go with the namespaces.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    components: Components,
    kubectl: Kubectl,
    /// All that runs but kubelet.
    services: Vec<ProcessGuard>,
    kubelet: Option<ProcessGuard>,
}

impl Cluster {
    /// Starts everything and waits until the node is ready and pods may be made. `say` hears of each step.
    ///
    /// # Errors
    /// What did not come up, with the end of its log.
    pub fn start(place: &Place, parts: &KubernetesParts, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        let authority = pki::Authority::create(place)?;
        authority.api_server()?;
        authority.issue("kubelet", "kubelet", None, &[NODE, NODE_ADDRESS])?;
        authority.client("apiserver-kubelet", "kube-apiserver-kubelet", Some("system:masters"))?;
        authority.client("controller-manager", "system:kube-controller-manager", None)?;
        authority.client("scheduler", "system:kube-scheduler", None)?;
        let node = format!("system:node:{NODE}");
        authority.client("node", &node, Some("system:nodes"))?;
        let admin = authority.client("admin", "admin", Some("system:masters"))?;
        write_files(place)?;
        let kubectl = Kubectl::new(place, &parts.kubectl, &admin);
        let components = Components::new(place, parts);
        let etcd = components.etcd()?;
        let containerd = components.containerd()?;
        let apiserver = components.apiserver()?;
        say("containerd, etcd and the API server");
        let deadline = Instant::now() + START_LIMIT;
        until(deadline, &[&etcd, &apiserver], "the API server is not ready", || {
            kubectl.run(&["get", "--raw=/readyz"]).is_ok()
        })?;
        say("controllers, scheduler and kubelet");
        let controller_manager = components.controller_manager()?;
        let scheduler = components.scheduler()?;
        until(deadline, &[&containerd], "containerd does not answer", || {
            components.ctr(&["version"]).is_ok()
        })?;
        let services = vec![etcd, containerd, apiserver, controller_manager, scheduler];
        let cluster = Self { place: place.clone(), kubectl, services, kubelet: None, components };
        cluster.finish(say)
    }

    fn finish(mut self, say: &dyn Fn(&str)) -> anyhow::Result<Self> {
        let images = self.place.path("images");
        fs::create_dir_all(&images).context("make the directory of images")?;
        let pause = boathouse_image::pause(&images).context("make the pause image")?;
        let busybox = boathouse_image::busybox(&images).context("make the busybox image")?;
        self.import(&pause.path)?;
        self.start_kubelet()?;
        self.import(&busybox.path)?;
        let deadline = Instant::now() + START_LIMIT;
        let running: Vec<&ProcessGuard> = self.processes().collect();
        until(deadline, &running, "the node is not ready", || {
            self.kubectl.get("node", None, NODE).ok().flatten().is_some_and(|node| is_ready(&node))
        })?;
        until(deadline, &running, "no service account", || {
            self.kubectl.get("serviceaccount", Some("default"), "default").ok().flatten().is_some()
        })?;
        say("node ready");
        Ok(self)
    }

    /// The client, as administrator.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The directory of logs.
    pub fn logs(&self) -> PathBuf {
        self.place.path("log")
    }

    /// The cluster's directory.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The last lines of a component's log with `word` in them.
    pub fn said_of(&self, component: &str, word: &str) -> String {
        let log = fs::read(self.logs().join(format!("{component}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(word)).collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Gives containerd the images of an archive.
    ///
    /// # Errors
    /// containerd's words.
    pub fn import(&self, archive: &Path) -> anyhow::Result<()> {
        let path = archive.display().to_string();
        self.components.ctr(&["--namespace", "k8s.io", "images", "import", &path]).map(drop)
    }

    /// Gives an imported image more names.
    ///
    /// # Errors
    /// containerd's words.
    pub fn name_image(&self, image: &str, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            self.components.ctr(&["--namespace", "k8s.io", "images", "tag", image, name])?;
        }
        Ok(())
    }

    /// Starts kubelet (again).
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_kubelet(&mut self) -> anyhow::Result<()> {
        self.kubelet = Some(self.components.kubelet()?);
        Ok(())
    }

    /// SIGKILL to kubelet, as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_kubelet(&mut self) -> anyhow::Result<()> {
        self.kubelet.take().context("kubelet does not run")?.crash();
        Ok(())
    }

    /// Waits until a program of the cluster has ended; the error says which.
    ///
    /// # Errors
    /// Always, with the end of its log.
    pub fn watch(&self) -> anyhow::Result<()> {
        loop {
            for process in self.processes() {
                ensure!(process.is_running(), process.broken("has ended"));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn processes(&self) -> impl Iterator<Item = &ProcessGuard> {
        self.services.iter().chain(&self.kubelet)
    }
}

fn write_files(place: &Place) -> anyhow::Result<()> {
    for name in ["cni", "empty", "home"] {
        let path = place.path(name);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    }
    fs::create_dir_all(VOLUME_PLUGIN_DIR).context("create the directory of FlexVolume drivers")?;
    place.write("containerd.toml", &files::containerd(place))?;
    place.write("cni/10-e2e.conflist", &files::network().to_string())?;
    place.write("kubelet.json", &files::kubelet(place).to_string())?;
    Ok(())
}

/// Waits for `done`; gives up when one of the programs ends or time is up.
fn until(
    deadline: Instant,
    programs: &[&ProcessGuard],
    what: &str,
    mut done: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    while !done() {
        for program in programs {
            ensure!(program.is_running(), program.broken("ended while starting"));
        }
        if Instant::now() >= deadline {
            let tails: Vec<String> = programs.iter().map(|one| one.broken(what).to_string()).collect();
            bail!("{}", tails.join("\n"));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The command with nothing of this process' environment: kubelet hands its own to FlexVolume drivers.
fn clean(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", home).current_dir("/");
    command
}
