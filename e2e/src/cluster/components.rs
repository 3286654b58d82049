//! How each program is started.

use super::clean;
use super::files;
use crate::place::Place;
use crate::warden::NODE_ADDRESS;
use anyhow::{Context as _, bail};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::KubernetesParts;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs and the directory they work in.
#[derive(Debug)]
pub(super) struct Components {
    place: Place,
    parts: KubernetesParts,
}

impl Components {
    pub(super) fn new(place: &Place, parts: &KubernetesParts) -> Self {
        Self { place: place.clone(), parts: parts.clone() }
    }

    fn start(&self, name: &str, program: &Path, arguments: Vec<String>) -> anyhow::Result<ProcessGuard> {
        let mut command = clean(program, &self.place.path("home"));
        command.args(arguments);
        let log = self.place.path("log").join(format!("{name}.log"));
        // Nothing here has a state worth a graceful end: the namespaces go with it.
        Ok(ProcessGuard::start(name, command, &log)?.with_grace(Duration::ZERO))
    }

    fn pki(&self, file: &str) -> PathBuf {
        self.place.path("pki").join(file)
    }

    pub(super) fn etcd(&self) -> anyhow::Result<ProcessGuard> {
        let mut arguments = flag("--data-dir", self.place.path("etcd").display());
        arguments.extend(flag("--listen-client-urls", "http://127.0.0.1:2379"));
        arguments.extend(flag("--advertise-client-urls", "http://127.0.0.1:2379"));
        arguments.extend(flag("--listen-peer-urls", "http://127.0.0.1:2380"));
        arguments.extend(flag("--initial-advertise-peer-urls", "http://127.0.0.1:2380"));
        arguments.extend(flag("--initial-cluster", "default=http://127.0.0.1:2380"));
        self.start("etcd", Path::new("/usr/bin/etcd"), arguments)
    }

    pub(super) fn containerd(&self) -> anyhow::Result<ProcessGuard> {
        let config = flag("--config", self.place.path("containerd.toml").display());
        self.start("containerd", Path::new("/usr/bin/containerd"), config)
    }

    pub(super) fn apiserver(&self) -> anyhow::Result<ProcessGuard> {
        let mut arguments = flag("--etcd-servers", "http://127.0.0.1:2379");
        for (name, value) in [
            // The port of its Service, whose address is one of the node's.
            ("--secure-port", "443"),
            ("--advertise-address", NODE_ADDRESS),
            ("--service-cluster-ip-range", "10.96.0.0/24"),
            ("--service-account-issuer", "https://kubernetes.default.svc"),
            ("--kubelet-preferred-address-types", "InternalIP"),
            ("--authorization-mode", "Node,RBAC"),
            ("--enable-admission-plugins", "NodeRestriction"),
            ("--allow-privileged", "true"),
            // There is no kube-proxy: webhooks behind a Service are called at their pod's address.
            ("--enable-aggregator-routing", "true"),
        ] {
            arguments.extend(flag(name, value));
        }
        for (name, file) in [
            ("--service-account-key-file", "sa.pub"),
            ("--service-account-signing-key-file", "sa.key"),
            ("--client-ca-file", "ca.crt"),
            ("--tls-cert-file", "apiserver.crt"),
            ("--tls-private-key-file", "apiserver.key"),
            ("--kubelet-client-certificate", "apiserver-kubelet.crt"),
            ("--kubelet-client-key", "apiserver-kubelet.key"),
            ("--kubelet-certificate-authority", "ca.crt"),
        ] {
            arguments.extend(flag(name, self.pki(file).display()));
        }
        self.start("kube-apiserver", &self.parts.apiserver, arguments)
    }

    /// With its default rate the first service account takes five seconds. Its directory of FlexVolume drivers is an
    /// empty one: it would call them too.
    pub(super) fn controller_manager(&self) -> anyhow::Result<ProcessGuard> {
        let mut arguments = flag("--kubeconfig", self.pki("controller-manager.kubeconfig").display());
        arguments.extend(flag("--service-account-private-key-file", self.pki("sa.key").display()));
        arguments.extend(flag("--root-ca-file", self.pki("ca.crt").display()));
        arguments.extend(flag("--use-service-account-credentials", "true"));
        arguments.extend(flag("--leader-elect", "false"));
        arguments.extend(flag("--bind-address", "127.0.0.1"));
        arguments.extend(flag("--kube-api-qps", "500"));
        arguments.extend(flag("--kube-api-burst", "1000"));
        arguments.extend(flag("--flex-volume-plugin-dir", self.place.path("empty").display()));
        self.start("kube-controller-manager", &self.parts.controller_manager, arguments)
    }

    pub(super) fn scheduler(&self) -> anyhow::Result<ProcessGuard> {
        let mut arguments = flag("--kubeconfig", self.pki("scheduler.kubeconfig").display());
        arguments.extend(flag("--leader-elect", "false"));
        arguments.extend(flag("--bind-address", "127.0.0.1"));
        arguments.extend(flag("--kube-api-qps", "200"));
        arguments.extend(flag("--kube-api-burst", "400"));
        self.start("kube-scheduler", &self.parts.scheduler, arguments)
    }

    pub(super) fn kubelet(&self) -> anyhow::Result<ProcessGuard> {
        let mut arguments = flag("--config", self.place.path("kubelet.json").display());
        arguments.extend(flag("--kubeconfig", self.pki("node.kubeconfig").display()));
        arguments.extend(flag("--hostname-override", files::node()));
        arguments.extend(flag("--node-ip", NODE_ADDRESS));
        arguments.extend(flag("--root-dir", "/var/lib/kubelet"));
        arguments.extend(flag("-v", "2"));
        self.start("kubelet", &self.parts.kubelet, arguments)
    }

    /// containerd's client.
    pub(super) fn ctr(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = clean(Path::new("/usr/bin/ctr"), &self.place.path("home"));
        command
            .args(["--address", "/run/containerd/containerd.sock", "--connect-timeout", "2s"])
            .args(arguments);
        let output = command.output().context("run ctr")?;
        if !output.status.success() {
            bail!("`ctr {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> Vec<String> {
    vec![format!("{name}={value}")]
}
