//! The webhook's certificate from a real cert-manager. Its two controllers run beside the cluster, as administrator.

use super::notebook::{self, BASE};
use super::pods;
use super::product::NAMESPACE;
use super::runner::{Case, alone};
use super::world::World;
use crate::cluster::Kubectl;
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boathouse_testkit::guard::ProcessGuard;
use boathouse_testkit::parts::NeighbourParts;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where cert-manager puts the webhook's certificate and its authority's.
const ISSUED: [&str; 2] = ["boathouse-webhook-issued", "boathouse-webhook-ca"];
/// Where the chart's Job puts it.
const OF_JOB: &str = "boathouse-webhook-tls";
/// Namespace of the pods that ask.
const TENANT: &str = "issued";
/// The chart's default `webhook.port`.
const PORT: u16 = 8443;
const LIMIT: Duration = Duration::from_secs(120);
/// For one connection to a webhook.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) fn cases() -> Vec<Case<World>> {
    vec![alone!(cert_manager_issues_and_renews_the_webhook_s_certificate)]
}

/// From the chart's Job to cert-manager, another certificate there, and back.
fn cert_manager_issues_and_renews_the_webhook_s_certificate(world: &mut World) -> anyhow::Result<()> {
    let tenant = notebook::tenant(world, TENANT, "csi")?;
    let mut manager = CertManager::start(world)?;
    let done = issued(world).and_then(|()| renewed(world)).and_then(|()| back_to_the_job(world));
    if done.is_err() {
        // Other cases want the product as it was.
        world.product.install(&world.cluster, &json!({}))?;
    }
    done.with_context(|| manager.said())?;
    manager.remove(world.cluster.kubectl())?;
    world.no_users(&tenant)
}

fn issued(world: &World) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    let before = trusted(kubectl)?;
    let source = json!({ "webhook": { "certificate": { "source": "cert-manager" } } });
    let (switched, refusals) = asking(kubectl, || {
        world.product.install(&world.cluster, &source)?;
        kubectl.wait("cert-manager's certificate is served", LIMIT, |kubectl| serve(kubectl, ISSUED[0]))
    });
    switched?;
    ensure!(trusted(kubectl)? != before, "caBundle is still the Job's");
    // Between cainjector's patch and the end of the last pod with the Job's certificate; docs/install.md says so.
    println!("          to cert-manager: pods refused for {:.1} s", refusals.lasted().as_secs_f64());
    kubectl.apply(&[notebook::notebook(TENANT, "nb")])?;
    pods::running(kubectl, TENANT, "nb-0")?;
    pods::round_trip(kubectl, TENANT, "nb-0", &format!("{BASE}/private"))?;
    notebook::delete(kubectl, TENANT, "nb")
}

/// As `cmctl renew` does it.
fn renewed(world: &World) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    let certificate = "certificates.cert-manager.io/boathouse-webhook";
    kubectl.run(&["wait", "-n", NAMESPACE, "--for=condition=Ready", certificate, "--timeout=60s"])?;
    let (old, bundle, running) =
        (certificate_in(kubectl, ISSUED[0])?, trusted(kubectl)?, notebook::webhook_pods(kubectl)?);
    let issue = json!({ "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "" });
    let patch = json!([{ "op": "add", "path": "/status/conditions/-", "value": issue }]).to_string();
    let (served, refusals) = asking(kubectl, || {
        let arguments = ["patch", "-n", NAMESPACE, certificate, "--subresource=status", "--type=json"];
        kubectl.run(&[&arguments[..], &["-p", &patch]].concat())?;
        kubectl.wait("cert-manager issues another", LIMIT, |kubectl| {
            Ok((certificate_in(kubectl, ISSUED[0])? != old).then_some(()))
        })?;
        kubectl.wait("the webhook serves it", LIMIT, |kubectl| serve(kubectl, ISSUED[0]))
    });
    served?;
    refusals.none()?;
    ensure!(trusted(kubectl)? == bundle, "the authority is another");
    ensure!(notebook::webhook_pods(kubectl)? == running, "the webhook was restarted");
    Ok(())
}

/// The Job trusts cert-manager's authority further, as long as pods serve its certificate.
fn back_to_the_job(world: &World) -> anyhow::Result<()> {
    let kubectl = world.cluster.kubectl();
    let (switched, refusals) = asking(kubectl, || {
        world.product.install(&world.cluster, &json!({}))?;
        kubectl.wait("the Job's certificate is served", LIMIT, |kubectl| serve(kubectl, OF_JOB))
    });
    switched?;
    refusals.none()
}

/// cert-manager without its own webhook, which only checks what users write.
struct CertManager {
    controllers: Vec<ProcessGuard>,
    definitions: PathBuf,
}

impl CertManager {
    fn start(world: &World) -> anyhow::Result<Self> {
        let parts = NeighbourParts::locate()?;
        let place = world.cluster.place();
        let definitions = fs::read_to_string(&parts.cert_manager_crds)
            .with_context(|| format!("read {}", parts.cert_manager_crds.display()))?;
        // Of helm's templates there are only labels in them.
        let plain: Vec<&str> = definitions.lines().filter(|line| !line.contains("{{")).collect();
        let definitions = place.write("cert-manager-crds.yaml", &plain.join("\n"))?;
        let file = definitions.display().to_string();
        let kubectl = world.cluster.kubectl();
        kubectl.run(&["apply", "--server-side", "-f", &file])?;
        kubectl.run(&["wait", "--for=condition=Established", "-f", &file, "--timeout=60s"])?;
        let start = |name: &str, program: &Path, more: &[&str]| {
            let mut command = Command::new(program);
            command.env_clear().env("HOME", place.path("home"));
            command.arg("--kubeconfig").arg(place.path("pki/admin.kubeconfig"));
            command.arg("--leader-elect=false").args(more);
            ProcessGuard::start(name, command, &world.cluster.logs().join(format!("{name}.log")))
        };
        let controllers = vec![
            start("cert-manager", &parts.cert_manager, &["--metrics-listen-address=127.0.0.1:0"])?,
            start("cainjector", &parts.cainjector, &[])?,
        ];
        Ok(Self { controllers, definitions })
    }

    /// The ends of their logs.
    fn said(&self) -> String {
        let said = self.controllers.iter().map(|controller| controller.broken("at the end").to_string());
        said.collect::<Vec<_>>().join("\n")
    }

    /// Ends it and removes what it leaves in the cluster.
    fn remove(&mut self, kubectl: &Kubectl) -> anyhow::Result<()> {
        for controller in &self.controllers {
            ensure!(controller.is_running(), controller.broken("has ended"));
        }
        self.controllers.clear();
        kubectl.run(&[&["delete", "secrets", "-n", NAMESPACE], &ISSUED[..]].concat())?;
        kubectl.run(&["delete", "-f", &self.definitions.display().to_string()]).map(drop)
    }
}

/// Answers to pods that ask for directories.
#[derive(Default)]
struct Refusals {
    asked: usize,
    last: Option<String>,
    between: Option<(Instant, Instant)>,
}

impl Refusals {
    fn lasted(&self) -> Duration {
        self.between.map(|(first, last)| last - first).unwrap_or_default()
    }

    fn none(&self) -> anyhow::Result<()> {
        let lasted = self.lasted();
        ensure!(self.last.is_none(), "pods were refused for {lasted:?}, at last with {:?}", self.last);
        ensure!(self.asked > 1, "only {} pods asked", self.asked);
        Ok(())
    }
}

/// Asks for a pod with directories again and again while `work` goes on, and once after it.
fn asking<T: Send>(
    kubectl: &Kubectl,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> (anyhow::Result<T>, Refusals) {
    let mut pod = pods::idle(TENANT, "probe");
    pod["metadata"]["annotations"] = json!({ notebook::ANNOTATION: "true" });
    let mut refusals = Refusals::default();
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        loop {
            let last = work.is_finished();
            refusals.asked += 1;
            if let Err(error) = kubectl.dry_run(&pod) {
                let now = Instant::now();
                refusals.between = Some((refusals.between.map_or(now, |(first, _)| first), now));
                refusals.last = Some(format!("{error:#}"));
            }
            if last {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let done = work.join().unwrap_or_else(|_| anyhow::bail!("panicked; see above"));
        (done, refusals)
    })
}

/// Whether all webhooks serve the certificate in a Secret, and the API server trusts just its authority.
fn serve(kubectl: &Kubectl, secret: &str) -> anyhow::Result<Option<()>> {
    let bundle = trusted(kubectl)?;
    let authority = entry(kubectl, secret, "ca.crt")?;
    ensure!(bundle == authority, "caBundle is not ca.crt of {secret}");
    let certificate = certificate_in(kubectl, secret)?;
    for pod in kubectl.list("pods", NAMESPACE)? {
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] != "webhook" {
            continue;
        }
        let address = pod["status"]["podIP"].as_str().context("a webhook without address")?;
        let address = SocketAddr::new(address.parse::<IpAddr>()?, PORT);
        let served = served(address, &certificates(&bundle)?).with_context(|| address.to_string())?;
        ensure!(served == certificate, "{address} serves another certificate than that in {secret}");
    }
    Ok(Some(()))
}

/// The caBundle of the configuration's webhooks.
fn trusted(kubectl: &Kubectl) -> anyhow::Result<String> {
    let name = "boathouse-webhook";
    let configuration = kubectl.get("mutatingwebhookconfiguration", None, name)?;
    let webhooks = configuration.as_ref().and_then(|all| all["webhooks"].as_array());
    let bundles = webhooks.into_iter().flatten().map(|one| one["clientConfig"]["caBundle"].as_str());
    let mut bundles: Vec<&str> = bundles.collect::<Option<_>>().context("a webhook without caBundle")?;
    bundles.dedup();
    let [bundle] = bundles[..] else { anyhow::bail!("{} different caBundles", bundles.len()) };
    Ok(bundle.to_owned())
}

/// What a Secret holds under a name, in base64.
fn entry(kubectl: &Kubectl, secret: &str, name: &str) -> anyhow::Result<String> {
    let object: Value =
        kubectl.get("secret", Some(NAMESPACE), secret)?.with_context(|| format!("no Secret {secret}"))?;
    object["data"][name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {secret}"))
}

/// The webhook's own one of the certificates in a Secret.
fn certificate_in(kubectl: &Kubectl, secret: &str) -> anyhow::Result<CertificateDer<'static>> {
    let all = certificates(&entry(kubectl, secret, "tls.crt")?)?;
    all.into_iter().next().with_context(|| format!("no certificate in {secret}"))
}

/// Certificates in PEM in base64.
fn certificates(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = STANDARD.decode(pem).context("no base64")?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().context("no PEM")
}

/// What a webhook shows to a client that trusts `authorities` and checks as the API server does.
fn served(
    address: SocketAddr,
    authorities: &[CertificateDer<'static>],
) -> anyhow::Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(format!("boathouse-webhook.{NAMESPACE}.svc"))?;
    let mut connection = ClientConnection::new(Arc::new(config), name)?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    connection.complete_io(&mut stream)?;
    let shown = connection.peer_certificates().and_then(<[_]>::first).context("it shows no certificate")?;
    Ok(shown.clone().into_owned())
}
