//! What all cases share: a cluster with the product on it, an OpenBao that asks its API server, a MinIO.

use super::processes;
use super::product::Product;
use crate::cluster::{API, Cluster};
use crate::place::Place;
use anyhow::{Context as _, ensure};
use boathouse_testkit::parts::{KubernetesParts, Parts};
use boathouse_testkit::programs::{Profile, Programs};
use boathouse_testkit::stack::{AUTH_ROLE, ENGINE_MOUNT, Stack, Tenant};
use serde_json::{Value, json};
use std::future::Future;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Audience of the tokens that log in.
pub(super) const AUDIENCE: &str = "vault";
/// Where pods of the cluster log in.
const AUTH_MOUNT: &str = "kubernetes";
/// How long keys live in the suite, unless a case wants it otherwise.
const TTL: Duration = Duration::from_secs(3600);

/// Everything that runs.
pub(super) struct World {
    pub(super) runtime: Runtime,
    pub(super) stack: Stack,
    pub(super) cluster: Cluster,
    pub(super) product: Product,
}

impl World {
    pub(super) fn start(place: &Place) -> anyhow::Result<Self> {
        let began = Instant::now();
        let say = |line: &str| println!("  {:5.1} s  {line}", began.elapsed().as_secs_f64());
        let parts = Parts::locate()?;
        let kubernetes = KubernetesParts::locate()?;
        let programs = Programs::locate(Profile::Release)?;
        let runtime = Runtime::new().context("start a runtime")?;
        // The stack starts while the cluster does.
        let stack = runtime.spawn(async move { Stack::start_for_pods(&parts, &programs).await });
        let cluster = Cluster::start(place, &kubernetes, &say)?;
        let stack = runtime.block_on(stack).context("start OpenBao and MinIO")??;
        let product = Product::new(place, &stack)?;
        Product::import(&cluster)?;
        let world = Self { runtime, stack, cluster, product };
        world.logins()?;
        say("OpenBao and MinIO");
        world.product.install(&world.cluster, &json!({}))?;
        say("boathouse installed");
        Ok(world)
    }

    /// Waits for asynchronous work on the servers.
    pub(super) fn block<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// `kubernetes` auth as docs/install.md sets it up: the API server is asked about each token.
    fn logins(&self) -> anyhow::Result<()> {
        let kubectl = self.cluster.kubectl();
        kubectl.run(&["create", "serviceaccount", "vault", "-n", "kube-system"])?;
        kubectl.run(&[
            "create",
            "clusterrolebinding",
            "vault-token-review",
            "--clusterrole=system:auth-delegator",
            "--serviceaccount=kube-system:vault",
        ])?;
        let reviewer = kubectl.run(&["create", "token", "vault", "-n", "kube-system", "--duration=24h"])?;
        let authority = self.cluster.place().read("pki/ca.crt").context("read the cluster's authority")?;
        let vault = self.stack.vault();
        self.block(async {
            vault.write(&format!("sys/auth/{AUTH_MOUNT}"), &json!({ "type": "kubernetes" })).await?;
            let config = json!({
                "kubernetes_host": API,
                "kubernetes_ca_cert": authority,
                "token_reviewer_jwt": reviewer.trim(),
                "disable_local_ca_jwt": true,
            });
            vault.write(&format!("auth/{AUTH_MOUNT}/config"), &config).await?;
            let mounts = vault.read("sys/auth").await?;
            let accessor = mounts["data"]["kubernetes/"]["accessor"].as_str().unwrap_or_default().to_owned();
            let namespace =
                format!("{{{{identity.entity.aliases.{accessor}.metadata.service_account_namespace}}}}");
            let rules =
                format!("path \"{ENGINE_MOUNT}/keys/profile-{namespace}\" {{ capabilities = [\"read\"] }}\n");
            vault.write("sys/policies/acl/boathouse-pod", &json!({ "policy": rules })).await?;
            let role = json!({
                "bound_service_account_names": "*",
                "bound_service_account_namespaces": "*",
                "audience": AUDIENCE,
                "token_policies": ["boathouse-pod"],
            });
            vault.write(&format!("auth/{AUTH_MOUNT}/role/{AUTH_ROLE}"), &role).await?;
            let node = "path \"minio/keys/profile-*\" { capabilities = [\"read\"] }\n";
            vault.write("sys/policies/acl/boathouse-node", &json!({ "policy": node })).await?;
            let role = json!({
                "bound_service_account_names": "boathouse-node",
                "bound_service_account_namespaces": super::product::NAMESPACE,
                "audience": AUDIENCE,
                "token_policies": ["boathouse-node"],
            });
            vault.write(&format!("auth/{AUTH_MOUNT}/role/boathouse-node"), &role).await
        })?;
        Ok(())
    }

    /// A namespace with a bucket of its name.
    pub(super) fn tenant(&self, namespace: &str) -> anyhow::Result<Tenant> {
        let tenant = self.block(self.stack.tenant(namespace, TTL))?;
        self.namespace(namespace)?;
        Ok(tenant)
    }

    /// A namespace in which pods can be made.
    pub(super) fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let kubectl = self.cluster.kubectl();
        kubectl.run(&["create", "namespace", name])?;
        kubectl.wait("its service account", Duration::from_secs(20), |kubectl| {
            kubectl.get("serviceaccount", Some(name), "default")
        })?;
        Ok(())
    }

    /// Does `work` with `changes` over the chart's values. Other cases find the product as it was, whatever happens.
    pub(super) fn with_values(
        &self,
        changes: &Value,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let done = self.product.install(&self.cluster, changes).and_then(|()| work());
        self.product.install(&self.cluster, &json!({}))?;
        done
    }

    /// Waits until MinIO has no user of a tenant any more.
    pub(super) fn no_users(&self, tenant: &Tenant) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let users = tenant.users_among(&self.block(self.stack.minio_users())?);
            if users.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "MinIO still has {}", users.join(", "));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Copies the logs of the cluster's programs and of all containers to where they outlive it.
    pub(super) fn keep_logs(&self) {
        let to = boathouse_testkit::repository().join("target/e2e-logs");
        let _ = std::fs::remove_dir_all(&to);
        let copied = std::fs::create_dir_all(&to).is_ok()
            && [self.cluster.logs(), "/var/log/pods".into()].iter().all(|from| {
                let status = Command::new("cp").args(["-rL"]).arg(from).arg(&to).status();
                status.is_ok_and(|status| status.success())
            });
        println!("logs {}: {}", if copied { "are in" } else { "could not all be copied to" }, to.display());
    }

    /// Uninstalls the product and looks for what it leaves: nothing in its namespace, no mount, no daemon, no key.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        self.product.uninstall()?;
        let kinds = "daemonsets,deployments,pods,services,jobs,cronjobs,roles,rolebindings";
        // Pods take their time to end.
        self.cluster.kubectl().wait(
            "nothing is left in the product's namespace",
            Duration::from_secs(60),
            |kubectl| {
                let left = kubectl.run(&["get", kinds, "-n", super::product::NAMESPACE, "-o", "name"])?;
                ensure!(left.trim().is_empty(), "there is {left}");
                Ok(Some(()))
            },
        )?;
        let cluster = "csidrivers,clusterroles,clusterrolebindings,mutatingwebhookconfigurations";
        let left = self.cluster.kubectl().run(&["get", cluster, "-o", "name"])?;
        let ours: Vec<&str> = left.lines().filter(|name| name.contains("boathouse")).collect();
        ensure!(ours.is_empty(), "left in the cluster: {ours:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?;
        ensure!(!mounts.contains(" - fuse."), "a FUSE filesystem is mounted: {mounts}");
        let daemons = processes::named("goofys");
        ensure!(daemons.is_empty(), "daemons are left: {daemons:?}");
        let users = self.block(self.stack.minio_users())?;
        ensure!(users.is_empty(), "MinIO users are left: {}", users.join(", "));
        Ok(())
    }
}
