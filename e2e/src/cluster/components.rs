//! How each program is started.

use super::clean;
use crate::place::Place;
use crate::warden::{NODE, NODE_ADDRESS};
use anyhow::{Context as _, bail};
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::KubernetesParts;
use std::path::Path;
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

    fn start(
        &self,
        name: &str,
        program: &Path,
        flags: impl IntoIterator<Item = String>,
    ) -> anyhow::Result<ProcessGuard> {
        let mut command = clean(program, &self.place.path("home"));
        command.args(flags);
        let log = self.place.path("log").join(format!("{name}.log"));
        // Nothing here has a state worth a graceful end: the namespaces go with it.
        Ok(ProcessGuard::start(name, command, &log)?.with_grace(Duration::ZERO))
    }

    /// A flag with a path in the cluster's directory.
    fn path(&self, name: &str, path: &str) -> String {
        flag(name, self.place.path(path).display())
    }

    pub(super) fn etcd(&self) -> anyhow::Result<ProcessGuard> {
        let flags = [
            self.path("--data-dir", "etcd"),
            flag("--listen-client-urls", "http://127.0.0.1:2379"),
            flag("--advertise-client-urls", "http://127.0.0.1:2379"),
            flag("--listen-peer-urls", "http://127.0.0.1:2380"),
            flag("--initial-advertise-peer-urls", "http://127.0.0.1:2380"),
            flag("--initial-cluster", "default=http://127.0.0.1:2380"),
        ];
        self.start("etcd", Path::new("/usr/bin/etcd"), flags)
    }

    pub(super) fn containerd(&self) -> anyhow::Result<ProcessGuard> {
        let config = self.path("--config", "containerd.toml");
        self.start("containerd", Path::new("/usr/bin/containerd"), [config])
    }

    pub(super) fn apiserver(&self) -> anyhow::Result<ProcessGuard> {
        let flags = [
            flag("--etcd-servers", "http://127.0.0.1:2379"),
            // The port of its Service, whose address is one of the node's.
            flag("--secure-port", 443),
            flag("--advertise-address", NODE_ADDRESS),
            flag("--service-cluster-ip-range", "10.96.0.0/24"),
            flag("--service-account-issuer", "https://kubernetes.default.svc"),
            flag("--kubelet-preferred-address-types", "InternalIP"),
            flag("--authorization-mode", "Node,RBAC"),
            flag("--enable-admission-plugins", "NodeRestriction"),
            flag("--allow-privileged", true),
            // There is no kube-proxy: webhooks behind a Service are called at their pod's address.
            flag("--enable-aggregator-routing", true),
            self.path("--service-account-key-file", "pki/sa.pub"),
            self.path("--service-account-signing-key-file", "pki/sa.key"),
            self.path("--client-ca-file", "pki/ca.crt"),
            self.path("--tls-cert-file", "pki/apiserver.crt"),
            self.path("--tls-private-key-file", "pki/apiserver.key"),
            self.path("--kubelet-client-certificate", "pki/apiserver-kubelet.crt"),
            self.path("--kubelet-client-key", "pki/apiserver-kubelet.key"),
            self.path("--kubelet-certificate-authority", "pki/ca.crt"),
        ];
        self.start("kube-apiserver", &self.parts.apiserver, flags)
    }

    /// With its default rate the first service account takes five seconds. Its directory of FlexVolume drivers is an
    /// empty one: it would call them too.
    pub(super) fn controller_manager(&self) -> anyhow::Result<ProcessGuard> {
        let flags = [
            self.path("--kubeconfig", "pki/controller-manager.kubeconfig"),
            self.path("--service-account-private-key-file", "pki/sa.key"),
            self.path("--root-ca-file", "pki/ca.crt"),
            flag("--use-service-account-credentials", true),
            flag("--leader-elect", false),
            flag("--bind-address", "127.0.0.1"),
            flag("--kube-api-qps", 500),
            flag("--kube-api-burst", 1000),
            self.path("--flex-volume-plugin-dir", "empty"),
        ];
        self.start("kube-controller-manager", &self.parts.controller_manager, flags)
    }

    pub(super) fn scheduler(&self) -> anyhow::Result<ProcessGuard> {
        let flags = [
            self.path("--kubeconfig", "pki/scheduler.kubeconfig"),
            flag("--leader-elect", false),
            flag("--bind-address", "127.0.0.1"),
            flag("--kube-api-qps", 200),
            flag("--kube-api-burst", 400),
        ];
        self.start("kube-scheduler", &self.parts.scheduler, flags)
    }

    pub(super) fn kubelet(&self) -> anyhow::Result<ProcessGuard> {
        let flags = [
            self.path("--config", "kubelet.json"),
            self.path("--kubeconfig", "pki/node.kubeconfig"),
            flag("--hostname-override", NODE),
            flag("--node-ip", NODE_ADDRESS),
            flag("--root-dir", "/var/lib/kubelet"),
            flag("-v", 2),
        ];
        self.start("kubelet", &self.parts.kubelet, flags)
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

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}={value}")
}
