//! From flags to a running node plugin.

use crate::args::Args;
use crate::host::Host;
use crate::host::cgroups::Limits;
use crate::install::{Authorities, install};
use crate::kubelet::events::PodEvents;
use crate::kubelet::flex_driver::install_everywhere;
use crate::kubelet::registration::Registrar;
use crate::kubelet::taint::TaintRemover;
use crate::lease::{Journal, Leases, NodeIdentity, Revoker, RotationPolicy, VaultAccess};
use crate::locks::KeyedLocks;
use crate::metrics::Metrics;
use crate::mount::{Mounts, MountsConfig};
use crate::publish::{Absences, Publisher};
use crate::rpc::{Agent, CsiNode, FlexPolicy, Policy};
use anyhow::{Context as _, bail, ensure};
use boathouse_bucket::{Http, HttpConfig};
use boathouse_service::border::Workers;
use boathouse_service::csi_identity::CsiIdentity;
use boathouse_service::{metrics, serve, shutdown, uds};
use csi_proto::csi::v1::plugin_capability::service::Type::ControllerService;
use prometheus_client::registry::Registry;
use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;
use vault_client::{AuthMethod, VaultClient, VaultConfig};
use volume_spec::fence::Fence;

/// How long calls under way may take once we are asked to stop; Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(20);

/// Takes over the mounts of earlier runs, then serves CSI Identity and Node (and the agent API where FlexVolume
/// is on) until SIGTERM or SIGINT. Mounts stay.
///
/// # Errors
/// When something it cannot work without is missing; the error says what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    ensure!(nix::unistd::geteuid().is_root(), "boathouse-node mounts filesystems and must run as root");
    ensure!(
        Path::new("/dev/fuse").exists(),
        "/dev/fuse is missing: load the kernel module (modprobe fuse) and give the container the device"
    );
    let _state = lock(&args.state_dir)?;
    let _run = lock(&args.run_dir)?;
    let mut registry = Registry::default();
    let node_metrics = Metrics::register(&mut registry);
    let ready = Arc::new(AtomicBool::new(false));
    let readiness: metrics::Readiness = {
        let ready = ready.clone();
        Arc::new(
            move || {
                if ready.load(Ordering::SeqCst) { Ok(()) } else { Err("taking over mounts".to_owned()) }
            },
        )
    };
    let _monitoring = metrics::serve(args.metrics_addr, Arc::new(registry), readiness.clone()).await?;

    let limit = |value: u64| (value > 0).then_some(value);
    let limits = Limits { memory: limit(args.mount_memory_limit), pids: limit(args.mount_pids_limit) };
    let host = Host::find(limits)?;
    let host_root = host.root();
    let publisher = publisher(&args, node_metrics, host)?;
    let found = publisher.mounts.adopt().await.context("take over the mounts of an earlier run")?;
    tracing::info!(
        alive = found.alive,
        dead = found.dead,
        removed = found.removed,
        revoking = found.orphaned,
        "took over what an earlier run left"
    );
    match publisher.mounts.collect_programs() {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "removed programs of earlier versions"),
        Err(error) => tracing::warn!(%error, "remove programs of earlier versions"),
    }

    let policy = Arc::new(policy(&args));
    let workers = Workers::new();
    let node = CsiNode::new(publisher.clone(), policy.clone(), args.node_id.clone(), workers.clone());
    let listener = uds::bind_private(&args.endpoint).await?;
    // Also with FlexVolume switched off: what was mounted before must be unmounted.
    let agent_listener = uds::bind_private(&args.agent_socket).await?;
    tracing::info!(path = %agent_listener.path().display(), mounts = args.flex, "serving FlexVolume callouts");
    let agent = tokio::spawn(Agent::new(publisher, policy, workers.clone()).serve(agent_listener));
    ready.store(true, Ordering::SeqCst);
    // Its calls to the CSI socket wait in that socket's queue until it is served, a moment from now.
    let _registration = match &args.registration_dir {
        Some(directory) => Some(register(&args, directory).await?),
        None => None,
    };
    if args.flex {
        let (driver, directories) = (args.flex_driver.clone(), args.flex_install_dirs.clone());
        tokio::task::spawn_blocking(move || install_everywhere(&driver, &directories, host_root));
    }
    let routes = Routes::new(CsiIdentity::new(vec![ControllerService], readiness).into_service())
        .add_service(node.into_service());
    let served = serve(
        listener,
        routes,
        async {
            let _ = stop.await;
        },
        GRACE,
    )
    .await;
    agent.abort();
    workers.drain(GRACE).await;
    served?;
    Ok(())
}

/// Lets kubelet register the driver, for as long as the answer lives, and tells the scheduler once it has.
async fn register(args: &Args, directory: &Path) -> anyhow::Result<AbortOnDropHandle<()>> {
    let registrar = Registrar::bind(directory, args.endpoint.path()).await?;
    let remover = match args.remove_startup_taint {
        true => TaintRemover::in_cluster(&args.node_id)?,
        false => None,
    };
    if args.remove_startup_taint && remover.is_none() {
        tracing::info!("not in a pod with an API server (KUBERNETES_SERVICE_HOST): a startup taint stays");
    }
    let registered = registrar.registered();
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        let served = registrar.serve(std::future::pending());
        let followed = async {
            match remover {
                Some(remover) => remover.follow(registered).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Err(error) = served => tracing::error!(%error, "kubelet cannot register the driver any more"),
            () = followed => {}
        }
    })))
}

/// Two node plugins on the same directories would take each other's half-made mounts for abandoned ones. The
/// lock ends with the process.
fn lock(directory: &Path) -> anyhow::Result<File> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(directory);
    made.with_context(|| format!("create {}", directory.display()))?;
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("{}: another boathouse-node uses this directory", path.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

fn publisher(args: &Args, metrics: Metrics, host: Host) -> anyhow::Result<Publisher> {
    let client = VaultClient::new(&VaultConfig {
        ca_file: args.vault_ca_file.clone(),
        namespace: args.vault_namespace.clone(),
        timeout: args.vault_timeout,
        ..VaultConfig::new(args.vault_addr.clone())
    })
    .context("Vault settings")?;
    let auth = |role: &str| AuthMethod {
        mount: args.vault_auth_mount.clone(),
        kind: args.vault_auth_kind.into(),
        role: role.to_owned(),
    };
    let node = args
        .flex_token_file
        .clone()
        .map(|token_file| NodeIdentity { token_file, auth: auth(&args.flex_vault_role) });
    let vault = VaultAccess { client: client.clone(), auth: auth(&args.vault_role), node };
    let journal = Journal::open(&args.run_dir)?;
    let revoker = Revoker::new(client, journal.clone(), metrics.clone());
    let rotation = RotationPolicy { drain: args.key_drain, ..RotationPolicy::default() };
    let leases = Leases::new(vault, rotation, journal, revoker, metrics.clone());

    let mounts_dir = args.state_dir.join("mounts");
    // The directory itself stays open for search; what is below is for root alone.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&mounts_dir)
        .with_context(|| format!("create state directory {}", mounts_dir.display()))?;
    // As the mount table will spell it.
    let state_dir = args.state_dir.canonicalize().context("resolve the state directory")?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(&state_dir, mode).context("open the state directory for search")?;
    host.check_directory(&state_dir)?;
    let installed = install(&state_dir, &args.keeper, &args.goofys)?;
    let http = Http::new(HttpConfig { timeout: args.s3_timeout, ..HttpConfig::default() })?;
    let (ca_file, ca_dir) = (args.s3_ca_file.as_deref(), args.s3_ca_dir.clone());
    let authorities = Authorities::open(&installed.bin, http, ca_file, ca_dir)?;
    let config = MountsConfig {
        mounts_dir: state_dir.join("mounts"),
        installed,
        authorities,
        poll: args.key_poll,
        host,
        endpoint_timeout: args.s3_timeout,
        unmount_grace: args.unmount_grace,
        daemon_uids: args.daemon_uids.clone(),
    };
    let mounts = Mounts::new(config, leases.clone(), metrics.clone());
    let events = if args.pod_events { PodEvents::in_cluster(&args.node_id)? } else { None };
    Ok(Publisher {
        mounts,
        leases,
        metrics,
        limit: args.publish_timeout,
        busy: Arc::new(KeyedLocks::default()),
        absences: Arc::new(Absences::new(events)),
    })
}

fn policy(args: &Args) -> Policy {
    Policy {
        audience: args.token_audience.clone(),
        require_pod_info: !args.allow_missing_pod_info,
        endpoint: args.s3_endpoint.clone(),
        region: args.s3_region.clone(),
        vault_path: args.default_vault_path.clone(),
        flex: args.flex.then(|| FlexPolicy { fence: Fence(args.flex_paths.clone()) }),
    }
}
